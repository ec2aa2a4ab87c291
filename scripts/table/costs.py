"""What a run costs: multiply-adds of the networks, and this device's rate of them.

A step of distillation costs, an image, the teacher's forward pass and three times the student's (backward is two
forwards); a network alone three times its own; an image of the test set one forward pass. The losses, the features'
connectors, batch norm and data are left out, so the estimates are of the right size, not exact. Reading and decoding
ImageNet's files can take longer than its steps: ``scripts.benchmark --what feed`` measures both.
"""
from __future__ import annotations

import time
from functools import cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models import any_model, cpu_kernels, imagenet_dict, model_dict
from models.folding import folded

CLASSES = 100
TIMED = ("resnet56", "resnet20", 64)  # what measured_rate times: teacher, student and batch
TRAINING = 3.0  # a training step in forward passes
STEPS = 5


@cache
def multiply_adds(name: str) -> int:
    """Of the convolutions and linear layers in one forward pass of one image of the size that the network was made for,
    32 x 32 or 224 x 224."""
    size = 224 if name in imagenet_dict else 32
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        any_model[name](num_classes=CLASSES).eval()(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() // 2


def epoch_cost(student: str, teacher: str | None, train: int, test: int) -> float:
    """Multiply-adds of an epoch of ``train`` images and its validation on ``test``; the teacher's of the training."""
    of_student = multiply_adds(student)
    of_teacher = multiply_adds(teacher) if teacher else 0
    return train * (TRAINING * of_student + of_teacher) + test * of_student


@cache
def measured_rate(device: str) -> float:
    """Multiply-adds a second of a few real steps of :data:`TIMED` on ``device``; once a process.

    The quickest of :data:`STEPS` is taken: what else the machine does is not the run's cost.
    """
    teacher, student, batch = TIMED
    where = torch.device(device)
    with torch.random.fork_rng(devices=[]):
        model_t = folded(model_dict[teacher](num_classes=CLASSES).eval())
        model_s = model_dict[student](num_classes=CLASSES).train()
        images = torch.randn(batch, 3, 32, 32).to(where, memory_format=torch.channels_last)
    model_t, model_s = (model.to(where, memory_format=torch.channels_last) for model in (model_t, model_s))
    if where.type == "cpu":
        model_t, model_s = _quick(model_t, teacher=True), _quick(model_s)

    def step() -> float:
        start = time.perf_counter()
        with torch.no_grad():
            target = model_t(images).softmax(1)
        model_s.zero_grad()
        nn.functional.cross_entropy(model_s(images), target).backward()
        if where.type == "cuda":
            torch.cuda.synchronize(where)
        return time.perf_counter() - start

    step()  # the first one allocates, and on CUDA chooses its algorithms
    seconds = min(step() for _ in range(STEPS))
    return batch * (TRAINING * multiply_adds(student) + multiply_adds(teacher)) / seconds


def _quick(model: nn.Module, teacher: bool = False) -> nn.Module:
    """With the compiled kernels of the training scripts, where there are any."""
    try:
        cpu_kernels.load()
        model = cpu_kernels.accelerate(model)
        return cpu_kernels.fused(model, False, False) if teacher else model
    except cpu_kernels.Unavailable:
        return model
