"""A run with data workers leaves no temporary files, however it ends. For torchrun see tests/test_ddp.py."""
import multiprocessing
import os
import subprocess
import sys
import tempfile

import pytest
import torch
from torch.utils.data import DataLoader

from dataset import DataError
from dataset.loaders import from_workers
from tests.support.tiny import ROOT

FLAGS = ["--dataset", "digits", "--holdout", "20", "--train_fraction", "0.05", "--batch_size", "16", "--model",
         "resnet8", "--epochs", "1", "--device", "cpu", "--threads", "1", "--loader", "torch", "--num_workers", "2"]
# Code run in a step: the exit status.
ENDS = {"pass": 0, "os.kill(os.getpid(), signal.SIGTERM)": 143, "raise AttributeError('a fault')": 1}
# One process imports everything; each run is a fork of it with its own folder for temporary files.
SCRIPT = """
import os, signal, sys, tempfile
import tests.faults.warm, train_teacher
from helper.ddp import launch
from helper.engine import Engine
real, folder, flags = Engine.step, sys.argv[1], sys.argv[2:]
for i, at_step in enumerate(ENDS):
    os.environ["TMPDIR"] = tempfile.tempdir = f"{folder}/{i}"  # set before a run asks for it, and for one that has
    child = os.fork()
    if not child:
        def step(self, *args):
            exec(at_step)
            return real(self, *args)
        Engine.step = step
        sys.exit(launch(train_teacher.main, [*flags, "--save_dir", f"{folder}/save{i}"]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.slow
def test_the_temporary_folder_is_empty_after_the_end_a_signal_and_an_error():
    environ = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    with tempfile.TemporaryDirectory() as folder:  # tmp_path is too long for sockets
        for i in range(len(ENDS)):
            os.mkdir(f"{folder}/{i}")
        done = subprocess.run([sys.executable, "-c", f"ENDS = {[*ENDS]}\n{SCRIPT}", folder, *FLAGS], cwd=ROOT,
                              env=environ, capture_output=True, text=True, timeout=300)
        assert [int(line) for line in done.stdout.splitlines() if line.isdigit()] == [*ENDS.values()], done.stderr
        assert "saved, continue with" in done.stderr and "a fault" in done.stderr
        assert [os.listdir(f"{folder}/{i}") for i in range(len(ENDS))] == [[], [], []]


def test_a_temporary_folder_too_long_for_sockets_is_refused(monkeypatch):
    """Otherwise the error is raised in a worker's thread, and the loader waits for ever."""
    loader = DataLoader(torch.zeros(4), num_workers=1)
    monkeypatch.setitem(multiprocessing.current_process()._config, "tempdir", f"/tmp/{'long' * 25}/pymp-12345678")
    with pytest.raises(DataError, match="TMPDIR: /tmp/longlong.* is too long"):
        next(from_workers(loader))
