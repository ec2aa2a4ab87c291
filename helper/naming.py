"""Run names: the originals', extended so that two runs that differ in any flag never share a folder."""
from __future__ import annotations

import hashlib
import re
from argparse import Namespace
from typing import Any

TEACHER_SHOWN = {"model", "dataset", "learning_rate", "weight_decay", "trial"}
STUDENT_SHOWN = {"model_s", "model_t", "dataset", "distill", "gamma", "alpha", "beta", "pmixup", "partmixup", "beta_a",
                 "trial"}
NOT_NAMED = {"save_dir", "resume", "overwrite"}  # the folder itself, and what is done with it
HASHED = {"path_t", "data_dir"}  # paths are too long to show and may hold anything
LONGEST = 240  # file systems take 255 bytes


def teacher_name(opt: Namespace, trial: str) -> str:
    """RepDistiller: resnet110_cifar100_lr_0.05_decay_0.0005_trial_0, then what else was given."""
    name = f"{opt.model}_{opt.dataset}_lr_{opt.learning_rate}_decay_{opt.weight_decay}_trial_{trial}"
    return name + _extras(opt, TEACHER_SHOWN, len(name))


def student_name(opt: Namespace, trial: str) -> str:
    """MIX-KD: S=.._T=.._cifar100_mixstd_r=.._a=.._b=.._pmix=.._.._betalpha=.._1, then what else was given."""
    name = (f"S={opt.model_s}_T={opt.model_t}_{opt.dataset}_{opt.distill}_r={opt.gamma}_a={opt.alpha}_b={opt.beta}"
            f"_pmix={opt.pmixup}_{opt.partmixup}_betalpha={opt.beta_a}_{trial}")
    return name + _extras(opt, STUDENT_SHOWN, len(name))


def _extras(opt: Namespace, shown: set[str], used: int) -> str:
    """_flag=value for every given flag that differs from its default and is not shown already."""
    names = sorted(n for n in opt.given - shown - NOT_NAMED if getattr(opt, n) != opt.defaults[n])
    text = "".join(f"_{n}={_plain(n, getattr(opt, n))}" for n in names)
    return text if used + len(text) <= LONGEST else f"_x={_short_hash(text)}"


def _plain(name: str, value: Any) -> str:
    text = "-".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if name not in HASHED and re.fullmatch(r"[A-Za-z0-9.-]+", text) else _short_hash(text)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]
