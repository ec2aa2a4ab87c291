"""A run with data workers leaves nothing in the folder for temporary files, however it ends."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ["--dataset", "digits", "--holdout", "20", "--train_fraction", "0.05", "--batch_size", "16", "--model",
         "resnet8", "--epochs", "1", "--device", "cpu", "--threads", "1", "--loader", "torch", "--num_workers", "2"]
TRAINING = """
import os, signal, sys
import train_teacher
from helper.ddp import launch
from helper.engine import Engine
from helper.errors import UserError
from helper.record import Run
real, Run.write_curves = Engine.step, lambda self, history: None

def step(self, *args):
    {at_step}
    return real(self, *args)
Engine.step = step
sys.exit(launch(train_teacher.main))
"""
OUTSIDE = """
import os, signal, sys, torch
from torch.utils.data import TensorDataset
from dataset.loaders import DataLoader, from_workers
from helper.errors import guard

def main(argv):
    batches = from_workers(DataLoader(TensorDataset(torch.zeros(99)), num_workers=2))
    next(batches)
    os.kill(os.getpid(), {signum})
    list(batches)
sys.exit(guard(main))
"""


@pytest.mark.parametrize(("code", "status", "words"), [
    (TRAINING.format(at_step="pass"), 0, ""),
    (TRAINING.format(at_step="os.kill(os.getpid(), signal.SIGTERM)"), 143, "saved"),
    (TRAINING.format(at_step="raise UserError('a mistake')"), 2, "a mistake"),
    (TRAINING.format(at_step="raise AttributeError('a fault')"), 1, "a fault"),
    (OUTSIDE.format(signum="signal.SIGTERM"), 143, "outside training"),
    (OUTSIDE.format(signum="signal.SIGHUP"), 129, "outside training"),
], ids=["end", "SIGTERM", "user's error", "traceback", "SIGTERM outside training", "SIGHUP outside training"])
def test_the_temporary_folder_is_empty(tmp_path, code, status, words):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environ = {**os.environ, "TMPDIR": str(temporary),
               "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}  # torch's own, one per user, made at its import
    done = subprocess.run([sys.executable, "-c", code, *FLAGS, "--save_dir", tmp_path / "save"], cwd=ROOT, env=environ,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == status and words in done.stderr, done.stderr
    assert list(temporary.iterdir()) == []
