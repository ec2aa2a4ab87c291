"""What training costs, in multiply-adds of the networks' convolutions and linear layers.

A step of distillation costs, per image, the teacher's forward pass and three times the student's (backward is two
forward passes); a network alone three times its own; an image of the test set one forward pass. The losses,
connectors, batch norm and data are left out, so the estimates have the right size and are not exact. Reading and
decoding ImageNet's files can take longer than its steps: ``scripts.benchmark --what feed`` measures both.
"""
from __future__ import annotations

from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from dataset import SIZES
from helper.recipe import FULL
from models import any_model, imagenet_dict

CLASSES = 100
UNIT = ("resnet20", "resnet56")  # a student and its teacher, whose full run is the unit of a table's cost


@cache
def multiply_adds(name: str) -> int:
    """Of a forward pass of one image of the size that the network was made for, 32 x 32 or 224 x 224."""
    size = 224 if name in imagenet_dict else 32
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        any_model[name](num_classes=CLASSES).eval()(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() // 2


def image_cost(student: str, teacher: str | None) -> int:
    """Of one training image."""
    return 3 * multiply_adds(student) + (multiply_adds(teacher) if teacher else 0)


def epoch_cost(student: str, teacher: str | None, train: int, test: int) -> int:
    """Of an epoch of ``train`` images and its validation on ``test``; the teacher's accuracy is measured once a run."""
    return train * image_cost(student, teacher) + test * multiply_adds(student)


def unit() -> int:
    return epoch_cost(*UNIT, *SIZES[FULL["dataset"]]) * FULL["epochs"]
