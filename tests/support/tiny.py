"""CIFAR in miniature: a few hundred images in the official file format, and the scripts run on them.

The data code checks files against the names and md5 sums in torchvision's classes, so small data needs those classes
patched in the running process, as `official` does; no flag, file or environment variable of the project can do it.

As a program it runs a script of the project with the files of a folder as the official ones:
    python -m tests.support.tiny FOLDER SCRIPT [ARGUMENTS ...]
"""
import contextlib
import hashlib
import io
import os
import pickle
import runpy
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from unittest import mock

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
BATCHES = {  # name: folder, label key, classes, training files, test files, names of the classes: file, key
    "cifar100": ("cifar-100-python", "fine_labels", 100, ["train"], ["test"], ("meta", "fine_label_names")),
    "cifar10": ("cifar-10-batches-py", "labels", 10, [f"data_batch_{i}" for i in range(1, 6)], ["test_batch"],
                ("batches.meta", "label_names")),
}


class _Python2Pickler(pickle._Pickler):
    """Protocol 2 as Python 2 wrote it, the form of the official files: strings of bytes, numpy's old
    module name."""

    dispatch = dict(pickle._Pickler.dispatch)

    def __init__(self, file):
        super().__init__(file, protocol=2)

    def save_string(self, value):
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string

    def save_global(self, value, name=None):
        module = "numpy.core.multiarray" if value.__name__ == "_reconstruct" else "numpy"
        self.write(f"c{module}\n{value.__name__}\n".encode())
        self.memoize(value)

    dispatch[type] = save_global


def dumps(value):
    """`value` as the official files would hold it."""
    out = io.BytesIO()
    _Python2Pickler(out).dump(value)
    return out.getvalue()


def images(n, classes, seed):
    """(pixels uint8 (n, 3072), labels list): balanced classes in random order, with a colour and a bar per class under
    noise, so that a network can learn them."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    looks = np.random.default_rng(0)
    colour, row = looks.integers(40, 216, (classes, 3, 1, 1)), looks.integers(0, 28, classes)
    pixels = colour[labels] + rng.integers(-40, 40, (n, 3, 32, 32))
    for image, label in zip(pixels, labels, strict=True):
        image[label % 3, row[label] : row[label] + 4] = 255
    return pixels.astype(np.uint8).reshape(n, -1), labels.tolist()


def write(folder, name="cifar100", train=200, test=100):
    """Write the files of `name` under `folder`, `train` and `test` images in all; returns `folder` as a Path."""
    base, key, classes, train_files, test_files, (meta, names) = BATCHES[name]
    target = Path(folder) / base
    target.mkdir(parents=True, exist_ok=True)
    for files, count, seed in ((train_files, train, 1), (test_files, test, 2)):
        pixels, labels = images(count, classes, seed)
        for i, file in enumerate(files):
            part = slice(i * count // len(files), (i + 1) * count // len(files))
            entry = {"filenames": [f"{i}_{label}.png" for label in labels[part]], "batch_label": f"{file} of tiny data",
                     key: labels[part], "data": pixels[part]}
            (target / file).write_bytes(dumps(entry))
    (target / meta).write_bytes(dumps({names: [f"class{i}" for i in range(classes)]}))
    return Path(folder)


def _md5(path):
    return hashlib.md5(Path(path).read_bytes()).hexdigest() if Path(path).exists() else "missing"


@contextlib.contextmanager
def official(folder):
    """Context in which the files now under `folder` are the official ones, for torchvision and for us."""
    from torchvision import datasets

    with contextlib.ExitStack() as stack:
        for cls in (datasets.CIFAR100, datasets.CIFAR10):
            base = Path(folder) / cls.base_folder
            for attribute in ("train_list", "test_list"):
                listed = [[file, _md5(base / file)] for file, _ in getattr(cls, attribute)]
                stack.enter_context(mock.patch.object(cls, attribute, listed))
            meta = {**cls.meta, "md5": _md5(base / cls.meta["filename"])}
            stack.enter_context(mock.patch.object(cls, "meta", meta))
        yield Path(folder)


def archive(folder, target, base="cifar-100-python"):
    """Pack `folder`/`base` as the official archive is packed; returns its md5."""
    with tarfile.open(target, "w:gz") as tar:
        tar.add(Path(folder) / base, base)
    return _md5(target)


def run_script(folder, script, *args, timeout=300):
    """Run ROOT/`script` with `args` in a subprocess, with the files under `folder` as the official ones.

    Returns subprocess.CompletedProcess with text output. `args` must name `folder` by the script's own flag.
    """
    command = [sys.executable, str(Path(__file__).resolve()), str(folder), str(ROOT / script), *map(str, args)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, text=True, capture_output=True, timeout=timeout)


def run_inside(folder, script, *args):
    """Like run_script, but within this process, which saves the start of Python and torch. Raises the script's
    SystemExit; its output goes to this process's."""
    path = str(ROOT / script)
    with official(folder), mock.patch.object(sys, "argv", [path, *map(str, args)]), \
            mock.patch.object(sys, "path", [str(Path(path).parent), *sys.path]):
        return runpy.run_path(path, run_name="__main__")


def write_stamp(folder):
    """Write the file by which scripts/environment.sh marks an environment as complete."""
    files = (ROOT / "requirements.txt", ROOT / "requirements-dev.txt")
    (folder / ".mixkd-requirements").write_text("".join(file.read_text() for file in files))


if __name__ == "__main__":
    run_inside(*sys.argv[1:])
