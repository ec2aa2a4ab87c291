"""Trainings under torchrun, one after another in the same processes, on a student that makes equality possible:

    python -m torch.distributed.run --standalone --nproc_per_node=2 -m tests.support.several FILE

FILE is JSON: a list of [role, flags]. Its student, resnet8, has group norms in place of batch norms, whose statistics
would be those of a process's share of a batch. SEVERAL_DIE=RANK:STEP kills a process in a step (from 1).
SEVERAL_DOUBLE=1 trains in double precision, where rounding can't hide a mistake.
"""
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from unittest import mock

from torch import nn

import models
import train_student_mixstd
import train_teacher
from helper.ddp import launch
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


def group_norms():
    """Context in which resnet8 has them."""
    return mock.patch.dict(models.model_dict, resnet8=resnet8)


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


def train_all(argv):
    for role, flags in json.loads(Path(argv[0]).read_text()):
        MAINS[role]([*flags, "--device", "cpu", "--threads", "1"])


def die_at(rank, step):
    seen, original = [0], Engine.step

    def counted(self, batch):
        seen[0] += 1
        if seen[0] == step and os.environ["RANK"] == str(rank):
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, batch)
    Engine.step = counted


if __name__ == "__main__":
    Run.write_curves = lambda self, history: None  # costs more than the training
    if "SEVERAL_DIE" in os.environ:
        die_at(*map(int, os.environ["SEVERAL_DIE"].split(":")))
    precision = double_precision if "SEVERAL_DOUBLE" in os.environ else contextlib.nullcontext
    with group_norms(), precision():
        sys.exit(launch(train_all, sys.argv[1:]))
