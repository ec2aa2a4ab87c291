"""A run with data workers leaves nothing in the folder for temporary files, however it ends."""
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from dataset import DataError
from dataset.loaders import from_workers

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--dataset", "digits", "--holdout", "20", "--train_fraction", "0.05", "--batch_size", "16", "--model",
         "resnet8", "--epochs", "1", "--device", "cpu", "--threads", "1", "--loader", "torch", "--num_workers", "2"]
SCRIPT = """
import os, signal, sys
import train_teacher
from helper.ddp import launch
from helper.engine import Engine
real = Engine.step

def step(self, *args):
    {at_step}
    return real(self, *args)
Engine.step = step
sys.exit(launch(train_teacher.main))
"""
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "--log-dir", os.devnull]


@pytest.fixture
def temporary():
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is too long for sockets
        yield Path(folder)


def trained(folder, temporary, at_step="pass", processes=()):
    script = folder / "script.py"
    script.write_text(SCRIPT.format(at_step=at_step))
    environ = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    environ.pop("TORCHINDUCTOR_CACHE_DIR", None)
    if processes:  # torchrun itself makes this folder
        environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "cache")
    return subprocess.run([sys.executable, *processes, script, *FLAGS, "--save_dir", folder / "save"], cwd=ROOT,
                          env=environ, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("at_step, status, words", [
    pytest.param("pass", 0, "", id="end"),
    pytest.param("os.kill(os.getpid(), signal.SIGTERM)", 143, "saved", id="SIGTERM"),
    pytest.param("raise AttributeError('a fault')", 1, "a fault", id="error"),
])
@pytest.mark.parametrize("processes", [
    pytest.param([], id="python"), pytest.param(TORCHRUN, id="torchrun", marks=pytest.mark.slow)])
def test_the_temporary_folder_is_empty(tmp_path, temporary, processes, at_step, status, words):
    done = trained(tmp_path, temporary, at_step, processes)
    assert done.returncode == (min(status, 1) if processes else status) and words in done.stderr, done.stderr
    assert list(temporary.iterdir()) == []


def test_a_folder_too_long_for_sockets_is_refused(monkeypatch):
    """Else a worker finds that out in a thread, and the batches never come."""
    loader = DataLoader(torch.zeros(4), num_workers=1)
    monkeypatch.setitem(multiprocessing.current_process()._config, "tempdir", f"/tmp/{'long' * 25}/pymp-12345678")
    with pytest.raises(DataError, match="TMPDIR: /tmp/longlong.* is too long"):
        next(from_workers(loader))
