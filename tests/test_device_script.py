"""scripts/bench/device.sh on the CPU: no second of a device is to be lost to a typo."""
import json
import os
import subprocess
import sys

import pytest

from tests.support.tiny import ROOT

pytestmark = pytest.mark.slow


def test_every_experiment_leaves_its_figures(tmp_path):
    words = ["--device", "cpu", "--steps", "2", "--rounds", "1", "--pair", "resnet8:resnet8", "--batch_size", "4"]
    subprocess.run(["bash", "scripts/bench/device.sh", str(tmp_path), *words], cwd=ROOT, check=True, timeout=600,
                   env={**os.environ, "PYTHON": sys.executable, "ALL": "590"}, stdout=subprocess.DEVNULL)
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert not [row for row in rows if "failed" in row], (tmp_path / "log.txt").read_text()[-2000:]
    experiments = [row["experiment"] for row in rows]
    assert experiments[0] == experiments[-1] == "base" and {"card", "profile", "lanes", "epochs"} <= set(experiments)
    for row in rows:
        if "variant_off" in row:
            assert row["base_off"] == 0  # on the CPU bit for bit the eager step
            assert row["variant_off"] < 1e-3 if "norms" in row["experiment"] else row["variant_off"] == 0
    assert [len(row["trial"]) for row in rows if row["experiment"] == "lanes"] == [1, 3, 8, 16, 1, 3, 8]
