"""Real CIFAR-100 and teachers, where a machine has them; they are in no clone, and tests don't download them."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def beside(name):
    """Path of ``name`` in $MIXKD_SHARED or in shared/ beside a folder above the code; None if there is none."""
    places = [Path(os.environ["MIXKD_SHARED"])] if "MIXKD_SHARED" in os.environ else []
    places += [folder / "shared" for folder in ROOT.parents]
    return next((place / name for place in places if (place / name).exists()), None)


def cifar100(unpacked):
    """The folder of cifar-100-python: $MIXKD_DATA, data/ in or above the code, or shared/cifar100 unpacked into
    ``unpacked``. Skips the test where there is none."""
    places = [os.environ["MIXKD_DATA"]] if "MIXKD_DATA" in os.environ else []
    for place in (*places, ROOT / "data", *(folder / "data" for folder in ROOT.parents)):
        if all(Path(place, "cifar-100-python", name).exists() for name in ("train", "test")):
            return Path(place)
    tool, pack = beside("tools/unpack_cifar100.py"), beside("cifar100")
    if tool is None or pack is None:
        pytest.skip("no CIFAR-100 in $MIXKD_DATA, in data/ or in shared/cifar100 beside the code")
    subprocess.run([sys.executable, str(tool), str(unpacked), "--pack", str(pack)], check=True, timeout=300)
    return unpacked


def teachers():
    """The folder of chenyaofo's files, $MIXKD_TEACHERS or shared/teachers beside the code; None if there is none."""
    return Path(os.environ["MIXKD_TEACHERS"]) if "MIXKD_TEACHERS" in os.environ else beside("teachers")
