"""Trainings under torchrun, one after another in the same processes, with a student that can equal one process's:

    python -m torch.distributed.run --standalone --nproc_per_node=2 -m tests.support.several FILE

FILE is JSON: a list of [role, flags]. The student, resnet8, has group norms in place of batch norms, whose statistics
would depend on the process's share of a batch. The role "student in double" trains in double precision, where rounding
can't hide an error. SEVERAL_DIE=RANK:STEP kills a process in a step (from 1), SEVERAL_FAIL=RANK:STEP is an error in
one; with SEVERAL_LATE rank 0 connects a second later.
"""
import atexit
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from unittest import mock

import torch
import torch.distributed as dist
from torch import nn

import models
import train_student_mixstd
import train_teacher
from dataset import DataError
from helper import ddp
from helper.engine import Engine
from helper.run import Run
from models.layers import BatchNorm2d, sum_and_relu
from models.replace import replaced

MAINS = {"teacher": train_teacher.main, "student": train_student_mixstd.main}


class GroupNorm(nn.GroupNorm):
    def forward(self, x, residual=None, relu=False):
        return sum_and_relu(super().forward(x), residual, relu)


def resnet8(num_classes):
    def without_buffers(norm):
        norm._buffers.clear()
        return GroupNorm(4, norm.num_features)
    return replaced(models.resnet.resnet8(num_classes=num_classes), lambda layer: isinstance(layer, BatchNorm2d),
                    without_buffers)


@contextlib.contextmanager
def double_precision():
    """Context in which every network and method computes in float64."""
    def doubled(make):
        def made(num_classes):
            net = make(num_classes=num_classes).double()
            net.register_forward_pre_hook(lambda _, args: (args[0].double(), *args[1:]))
            return net
        return made

    original = Engine.__init__

    def init(self, opt, model, method, teacher=None):
        original(self, opt, model, method.double(), teacher)
    names = {name: doubled(make) for name, make in models.model_dict.items()}
    with mock.patch.dict(models.model_dict, names), mock.patch.object(Engine, "__init__", init):
        yield


@contextlib.contextmanager
def prepared(role):
    """Context of a training: group norms, double precision where the role is "student in double", no picture."""
    with mock.patch.dict(models.model_dict, resnet8=resnet8), \
            mock.patch.object(Run, "write_curves", lambda self, history: None), \
            double_precision() if "double" in role else contextlib.nullcontext():
        yield


def train_all(argv):
    if "SEVERAL_LATE" in os.environ:
        assert CONNECTED.exists()
    for role, flags in json.loads(Path(argv[0]).read_text()):
        ddp.total(torch.zeros(1))  # waits for the end of the training before, which this one may resume
        with prepared(role):
            MAINS[role.split()[0]]([*flags, "--device", "cpu", "--threads", "1"])


def end_at(rank, step, end):
    seen, original = [0], Engine.step

    def counted(self, batch):
        seen[0] += 1
        if seen[0] == step and os.environ["RANK"] == str(rank):
            end()
        original(self, batch)
    Engine.step = counted


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise DataError("an image can't be read")


def connected_late(*given, connect=dist.init_process_group, **more):
    connect(*given, **more)
    time.sleep(1)
    CONNECTED.touch()


class Ended:
    """Prints a line when Python finalises."""

    def __del__(self):
        print("python has ended", flush=True)


if __name__ == "__main__":
    CONNECTED, ENDED = Path(sys.argv[1]).with_name("connected"), Ended()
    atexit.register(print, "atexit ran", flush=True)
    for name, end in (("SEVERAL_DIE", die), ("SEVERAL_FAIL", fail)):
        if name in os.environ:
            end_at(*map(int, os.environ[name].split(":")), end)
    if "SEVERAL_LATE" in os.environ and os.environ["RANK"] == "0":
        dist.init_process_group = connected_late
    sys.exit(ddp.launch(train_all, sys.argv[1:]))
