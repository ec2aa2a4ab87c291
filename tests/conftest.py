import signal
from pathlib import Path

import pytest

from tests.support import real_data, small_runs, tiny

ROOT = Path(__file__).resolve().parent.parent
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under nohup, which child processes would inherit


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory):
    """A folder with 200 training and 100 test images of CIFAR-100 and of CIFAR-10, in the official format. Read only:
    many tests share it. Use it with `tiny.official(folder)`, or `tiny.run_script` for a script."""
    folder = tmp_path_factory.mktemp("tiny")
    for name in tiny.BATCHES:
        tiny.write(folder, name, 200, 100)
    return folder


@pytest.fixture
def tiny_dir(tiny_files):
    """tiny_files, as the official files during the test."""
    with tiny.official(tiny_files):
        yield tiny_files


@pytest.fixture(scope="session")
def teacher(tmp_path_factory):
    """The checkpoint of a resnet8 trained for an epoch on a few digits. Read only."""
    save = tmp_path_factory.mktemp("teacher")
    small_runs.train_ok(save, "--epochs", 1)
    return small_runs.only_run(save) / "resnet8_last.pth"


@pytest.fixture(scope="session")
def real_cifar100(tmp_path_factory):
    """A folder that holds the real cifar-100-python; the test is skipped where there is none."""
    return real_data.cifar100(tmp_path_factory.mktemp("cifar100"))
