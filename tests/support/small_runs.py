"""Trainings of a second in this process: 3 % of the digits, resnet8, the main() of both scripts."""
import contextlib
import io
import os
import signal
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

import train_student_mixstd
import train_teacher
from helper.engine import Engine
from helper.errors import guard
from helper.run import Run
from tests.faults.processes import Job, results  # noqa: F401 - for the tests

SOME = ["--dataset", "digits", "--holdout", "20", "--train_fraction", "0.03", "--batch_size", "16"]
DATA = {"teacher": [*SOME, "--model", "resnet8"], "student": [*SOME, "--model_s", "resnet8"]}
MAINS = {"teacher": train_teacher.main, "student": train_student_mixstd.main}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Leave out curves.png, which takes longer than the training."""
    monkeypatch.setattr(Run, "write_curves", lambda self, history: None)


class Killed(BaseException):
    """Simulates SIGKILL: nothing in the project catches it."""


@dataclass
class Done:
    status: int
    out: str
    err: str


def call(main, argv):
    """guard(main, argv) with what it printed; the SystemExit of argparse is its status."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = guard(main, list(map(str, argv)))
        except SystemExit as leave:
            status = leave.code or 0
    return Done(status, out.getvalue(), err.getvalue())


def train(save, *flags, role="teacher"):
    torch.manual_seed(0)  # as in a new process
    return call(MAINS[role], [*DATA[role], "--save_dir", save, "--device", "cpu", "--threads", 1, *flags])


def train_ok(*args, **kwargs):
    done = train(*args, **kwargs)
    assert done.status == 0, done.err
    return done


def assert_refused(done, *words):
    """Assert status 2 and exactly one line, which contains ``words``."""
    assert done.status == 2 and done.err.count("\n") == 1 and "error: " in done.err, (done.status, done.err)
    for word in words:
        assert str(word) in done.err, (word, done.err)


def results_of(save, role="teacher"):
    return results(Job(role, []), Path(save))


def only_run(save, role="teacher"):
    folder, = Job(role, []).runs(Path(save))
    return folder


def scalars(folder):
    """{tag: [(step, value)]} of the one event file, read with its framing by hand and TensorBoard's own messages."""
    from tensorboard.compat.proto.event_pb2 import Event
    file, = folder.glob("events.out.tfevents.*")
    content, at, found = file.read_bytes(), 0, {}
    while at < len(content):
        length, = struct.unpack_from("<Q", content, at)
        event = Event.FromString(content[at + 12:at + 12 + length])
        at += 12 + length + 4
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def kill_at(monkeypatch, step):
    """Raise Killed in training step ``step``, counted from 1 and from now on."""
    original, seen = Engine.__dict__["step"], [0]

    def die(self, batch):
        seen[0] += 1
        if seen[0] == step:
            raise Killed
        return original(self, batch)
    monkeypatch.setattr(Engine, "step", die)


def signal_at(monkeypatch, step, signum=signal.SIGTERM):
    """Send this process a signal after training step ``step`` (from 1); returns the list of the steps made."""
    original, made = Engine.__dict__["step"], []

    def signalled(self, batch):
        original(self, batch)
        made.append(1)
        if len(made) == step:
            os.kill(os.getpid(), signum)
    monkeypatch.setattr(Engine, "step", signalled)
    return made


def train_and_kill(save, *flags, at, role="teacher"):
    """Train until Killed is raised in step ``at``."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, at)
        with pytest.raises(Killed):
            train(save, *flags, role=role)
