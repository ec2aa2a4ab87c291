"""The recipe of the published tables: its schedule, its learning rates, and what counts as less than it."""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

# What a full run trains on and for how long; the scripts' own defaults.
FULL: dict[str, Any] = {"dataset": "cifar100", "epochs": 240, "train_fraction": 1.0, "holdout": 0}
# RepDistiller trains these at 0.01; there it overrides even a given --learning_rate, here it is a default.
SLOW_NETWORKS = ("MobileNetV2", "ShuffleV1", "ShuffleV2")
# What ImageNet is trained with (He et al., CVPR 2016, and torchvision), for 100 epochs in place of 90, as distillation
# papers do. mdistiller trains 512 images a step at 0.2: both are scaled by two.
IMAGENET_RECIPE = {"batch_size": 256, "epochs": 100, "learning_rate": 0.1, "lr_decay_epochs": [30, 60, 90],
                   "weight_decay": 1e-4, "loader": "torch"}
FULL_IMAGENET = {**FULL, "dataset": "imagenet", "epochs": IMAGENET_RECIPE["epochs"]}


def default_rate(network: str) -> float:
    """The learning rate where none is given and the data set has no recipe of its own: IMAGENET_RECIPE's rate holds for
    every network, because the 0.01 belongs to batches of 64 images of CIFAR."""
    return 0.01 if network in SLOW_NETWORKS else 0.05


def learning_rate_at(epoch: int, opt: Namespace) -> float:
    """The rate of an epoch, which count from 1: the one place to change the schedule. ``opt`` has all flags.

    RepDistiller's steps: learning_rate * lr_decay_rate^(number of lr_decay_epochs below ``epoch``). With 150, 180, 210
    the drops come at the start of epochs 151, 181 and 211.
    """
    return opt.learning_rate * opt.lr_decay_rate ** sum(epoch > drop for drop in opt.lr_decay_epochs)


def full_recipe(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a full run of the data set of ``values`` has: ImageNet's recipe, else CIFAR-100's."""
    return FULL_IMAGENET if values.get("dataset") == FULL_IMAGENET["dataset"] else FULL


def less_than(values: Mapping[str, Any], full: Mapping[str, Any] | None = None) -> list[str]:
    """'--epochs 3', ... for each of ``values`` that differs from ``full``, by default the full recipe of their data
    set; more epochs are no less. Empty: in full."""
    full, less = full or full_recipe(values), []
    for name, value in values.items():
        if name not in full:
            continue
        if name == "epochs" and value >= full[name]:
            continue
        if value != full[name]:
            less.append(f"--{name} {value}")
    return less
