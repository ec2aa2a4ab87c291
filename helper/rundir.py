"""A run's folder: its name, what it holds, and the only reader of its args.json, summary.json and log.csv.

Names are the originals', extended so that two runs that differ in any flag never share a folder.
"""
from __future__ import annotations

import csv
import hashlib
import json
import math
import os
import re
import statistics
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import dataset
from distiller_zoo import distiller_dict

from . import options

ROLES = ("models", "student_model")  # folders under --save_dir: networks alone, distilled students
NEWEST, BEFORE = "resume.pth", "resume.prev.pth"
# Flags that say where and how a run computes, not what: a resumed run may have others.
FREE = {"save_dir", "data_dir", "print_freq", "tb_freq", "save_freq", "num_workers", "loader", "device", "threads",
        "step", "kernels", "on_nan", "resume", "resume_every", "overwrite",
        "teacher_origin"}  # told by the weights, whose digest is compared
LATE = {"precision", "step", "path_t", "teacher_sha256", "data_sha256"}  # settled only when a run starts
NOT_STORED = {"save_dir", "resume", "overwrite", "step"}  # belong to a command or a device, not to a run
NOT_CONFIG = {"given", "stored", "defaults", "warnings", "pair_settings", "trial"}
TEACHER_SHOWN = {"model", "dataset", "learning_rate", "weight_decay", "trial"}
STUDENT_SHOWN = {"model_s", "model_t", "dataset", "distill", "gamma", "alpha", "beta", "trial", "mix", "pmixup",
                 "partmixup", "beta_a"}
LONGEST = 240  # file systems take 255 bytes


@cache
def default_flags(student: bool) -> dict[str, Any]:
    """Every flag of a training script with its default."""
    parser = (options.student_parser if student else options.teacher_parser)()
    return {action.dest: action.default for action in parser._actions if action.dest != "help"}


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that decides a run's numbers; two runs that agree in it are the same run.

    These are the flags that its method and its mixing read, the data and the teacher's weights. The flags of other
    methods, paths, threads and print intervals are left out. A flag that an older args.json lacks has its default,
    and a flag that this code lacks is ignored. A folder of one's own images counts with its path, because the digest
    of its data covers the files' names only.
    """
    student = "distill" in config
    known = {*default_flags(student), "trial", "data_sha256"}
    config = {**default_flags(student), **{k: v for k, v in config.items() if k in known | {"teacher_sha256"}}}
    names = known - FREE - options.idle_mixing(Namespace(**config))
    if student:
        names.add("teacher_sha256")
        if str(config["distill"]) in distiller_dict:  # args.json may have been edited, or written by newer code
            names -= options.idle_loss(Namespace(**config))
        if config.get("teacher_sha256"):
            names.discard("path_t")
    if config["dataset"] in dataset.FOLDERS:
        names.add("data_dir")
    values = {name: config.get(name) for name in names}
    return {name: os.path.realpath(str(v)) if name == "data_dir" else v for name, v in values.items()}


def teacher_name(opt: Namespace, trial: str) -> str:
    """RepDistiller: resnet110_cifar100_lr_0.05_decay_0.0005_trial_0, then what else was given."""
    name = f"{opt.model}_{opt.dataset}_lr_{opt.learning_rate}_decay_{opt.weight_decay}_trial_{trial}"
    return name + _extras(opt, TEACHER_SHOWN, len(name))


def student_name(opt: Namespace, trial: str) -> str:
    """MIX-KD: S=.._T=.._cifar100_mixstd_r=.._a=.._b=.._pmix=.._.._betalpha=.._1, then what else was given. Unlike
    there, mix=none stands in place of pmix and betalpha where nothing is mixed, and full mixup has no amount."""
    amount = f"_{opt.partmixup}" if opt.pmixup else ""
    mixing = "mix=none" if opt.mix == "none" else f"pmix={opt.pmixup}{amount}_betalpha={opt.beta_a}"
    beta = 0.0 if "beta" in options.idle_loss(opt) else opt.beta
    name = (f"S={opt.model_s}_T={opt.model_t}_{opt.dataset}_{opt.distill}_r={opt.gamma}_a={opt.alpha}_b={beta}"
            f"_{mixing}_{trial}")
    shown = STUDENT_SHOWN - ({"mix"} if opt.mix not in ("none", "mixup") else set())
    return name + _extras(opt, shown, len(name))


def _extras(opt: Namespace, shown: set[str], used: int) -> str:
    """_flag=value for each given flag that can change the result, differs from its default and is not shown already; a
    teacher is named by the digest of its weights."""
    config = vars(opt)
    names = opt.given & identity(config).keys() - shown
    parts = {name: _plain(config[name]) for name in names if config[name] != opt.defaults[name]}
    if "path_t" in opt.given and config.get("teacher_sha256"):
        parts["teacher"] = config["teacher_sha256"][:8]
    text = "".join(f"_{name}={value}" for name, value in sorted(parts.items()))
    return text if used + len(text) <= LONGEST else f"_x={_short_hash(text)}"


def _plain(value: Any) -> str:
    text = "-".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if re.fullmatch(r"[A-Za-z0-9.-]+", text) else _short_hash(text)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


def config_of(opt: Namespace, trial: str) -> dict[str, Any]:
    """The resolved configuration of one trial, as args.json keeps it."""
    config = {k: v for k, v in sorted(vars(opt).items()) if k not in NOT_CONFIG}
    return {**config, "trial": trial}


@dataclass(frozen=True)
class RunData:
    """What a run's folder says of it. Of a file that is missing or damaged the part is empty.

    config: every flag, resolved. command: the words it was first started with. environment: versions and hardware.
    summary: accuracies (per cent), epochs, wall time; empty until the run is finished. log, timing: a dict of texts
    for each row of log.csv and timing.csv, read when they are first asked for.
    """

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def log(self) -> list[dict[str, str]]:
        return _read_csv(self.folder / "log.csv")

    @cached_property
    def timing(self) -> list[dict[str, str]]:
        return _read_csv(self.folder / "timing.csv")

    @property
    def commits(self) -> list[str]:
        """The commits of the code that trained it, see :func:`helper.record.git_commit`; several if it was resumed."""
        return commits_in(str(self.environment.get("git_commit") or ""))

    @property
    def hardware(self) -> list[str]:
        """What trained it, see :func:`helper.device.describe`; several if it was resumed elsewhere."""
        return [name for name in str(self.environment.get("hardware") or "").split("; ") if name]

    @property
    def label(self) -> str:
        """What it is in words: resnet8 from resnet20, mixstd, mix mixup; '' where the folder doesn't say."""
        config = self.config
        if config.keys() >= {"model_s", "model_t", "distill", "mix"}:
            return f"{config['model_s']} from {config['model_t']}, {config['distill']}, mix {config['mix']}"
        return f"{config['model']} alone, mix {config['mix']}" if config.keys() >= {"model", "mix"} else ""

    @property
    def images_per_s(self) -> float | None:
        """Median over the epochs of the main stage; None where nothing is told, or something that is no number."""
        told = [row.get("images_per_s") for row in self.timing if row.get("stage") == "main"]
        try:
            return statistics.median(map(float, filter(None, told))) if any(told) else None
        except ValueError:
            return None


def read(folder: Path) -> RunData:
    """All that a run's folder says of the run; never raises for what it holds."""
    args = _read_json(folder / "args.json")
    config, command, environment = (args.get(name) for name in ("config", "command", "environment"))
    return RunData(folder, config if isinstance(config, dict) else {},
                   command if isinstance(command, list) else [],
                   environment if isinstance(environment, dict) else {}, read_summary(folder))


def read_config(folder: Path) -> dict[str, Any] | None:
    """What args.json of a run folder holds; None where there is no readable one."""
    config = _read_json(folder / "args.json").get("config")
    return config if isinstance(config, dict) else None


def read_summary(folder: Path) -> dict[str, Any]:
    """What summary.json of a run folder holds; empty where there is none that can be true."""
    summary = _read_json(folder / "summary.json")
    numbers = [summary.get(name) for name in ("epochs", "last_top1", "best_top1", "best_epoch", "wall_time_s")]
    if not all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
        return {}
    teacher = summary.get("teacher_top1", 0.0)  # a teacher has none, nor has a student of older versions
    if type(teacher) not in (int, float) or not 0 <= teacher <= 100:
        return {}
    return summary if 0 <= summary["last_top1"] <= summary["best_top1"] <= 100 else {}


def commits_in(text: str) -> list[str]:
    """The commits of args.json's git_commit, one or several between commas."""
    return [name for name in text.split(", ") if name]


def other_code(commits: Iterable[str], here: str) -> str:
    """'A and B, here is C' where a run's code was not all of commit ``here``; '' where it was, or git tells nothing."""
    commits = list(dict.fromkeys(commits))
    if not here or not set(commits) - {here}:
        return ""
    told = f"{' and '.join(map(short_commit, commits))}, here is {short_commit(here)}"
    return f"{told} (+: uncommitted changes)" if "+" in told else told


def short_commit(commit: str) -> str:
    """The first digits of a commit, and of the digest of the changes to it."""
    name, plus, changes = commit.partition("+")
    return name[:8] + plus + changes[:4]


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _read_csv(file: Path) -> list[dict[str, str]]:
    try:
        with open(file, newline="") as lines:
            return list(csv.DictReader(lines))
    except (OSError, ValueError, csv.Error):
        return []


def held(folder: Path) -> str:
    """What run a folder holds: 'a finished run', 'an unfinished run', or '' for nothing worth keeping."""
    if (folder / "summary.json").exists():
        return "a finished run"
    if any((folder / name).exists() for name in (NEWEST, BEFORE)):
        return "an unfinished run"
    try:
        rows = (folder / "log.csv").read_bytes().count(b"\n") - 1
    except OSError:
        rows = 0
    return "an unfinished run" if rows > 0 else ""
