"""Stored runs under --save_dir: the only reader of args.json, summary.json, log.csv and timing.csv."""
from __future__ import annotations

import csv
import json
import math
import statistics
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .commits import commits_in

# Folder of runs -> folder of their TensorBoard events, both under --save_dir; RepDistiller's and MIX-KD's names.
FOLDERS = {"models": "tensorboard", "student_model": "student_tensorboards"}
NEWEST, BEFORE = "resume.pth", "resume.prev.pth"
FINISHED, UNFINISHED, WEIGHTS = "a finished run", "an unfinished run", "weights without the record of a run"


@dataclass(frozen=True)
class StoredRun:
    """A run's folder, read on first access. Missing or damaged files read as empty; nothing is raised."""

    folder: Path

    @cached_property
    def _args(self) -> dict[str, Any]:
        return _read_json(self.folder / "args.json")

    @property
    def config(self) -> dict[str, Any]:
        """Every flag, resolved."""
        config = self._args.get("config")
        return config if isinstance(config, dict) else {}

    @property
    def command(self) -> list[str]:
        """The command line that first started it."""
        command = self._args.get("command")
        return command if isinstance(command, list) else []

    @property
    def environment(self) -> dict[str, Any]:
        """Versions, commits and hardware."""
        environment = self._args.get("environment")
        return environment if isinstance(environment, dict) else {}

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Accuracies (per cent), epochs, wall_time_s (of the training steps; of an epoch in which the run was stopped,
        of those after that); empty until the run is finished, and where it is invalid."""
        summary = _read_json(self.folder / "summary.json")
        numbers = [summary.get(name) for name in ("epochs", "last_top1", "best_top1", "best_epoch", "wall_time_s")]
        if not all(type(n) in (int, float) and math.isfinite(n) for n in numbers):
            return {}
        teacher = summary.get("teacher_top1", 0.0)  # neither a teacher nor a student of older versions has one
        if type(teacher) not in (int, float) or not 0 <= teacher <= 100:
            return {}
        return summary if 0 <= summary["last_top1"] <= summary["best_top1"] <= 100 else {}

    @cached_property
    def log(self) -> list[dict[str, str]]:
        return _read_csv(self.folder / "log.csv")

    @cached_property
    def timing(self) -> list[dict[str, str]]:
        return _read_csv(self.folder / "timing.csv")

    @property
    def status(self) -> str:
        """FINISHED, UNFINISHED, WEIGHTS, or '' where there is nothing to keep; depends on which files exist. A run
        writes its log.csv before its first weights, so weights without one were put there by somebody."""
        if (self.folder / "summary.json").exists():
            return FINISHED
        if any((self.folder / name).exists() for name in (NEWEST, BEFORE)):
            return UNFINISHED
        try:
            rows = (self.folder / "log.csv").read_bytes().count(b"\n") - 1
        except OSError:
            return WEIGHTS if any(self.folder.glob("*.pth")) else ""
        return UNFINISHED if rows > 0 else ""

    @property
    def commits(self) -> list[str]:
        """Of the code that trained it, see :func:`helper.commits.git_commit`; several if it was resumed."""
        return commits_in(str(self.environment.get("git_commit") or ""))

    @property
    def hardware(self) -> list[str]:
        """What trained it, see :func:`helper.device.describe`; several if it was resumed elsewhere."""
        return [name for name in str(self.environment.get("hardware") or "").split("; ") if name]

    @property
    def pair(self) -> str:
        """resnet20 > resnet8, or resnet8 alone; '' where args.json lacks the networks."""
        config = self.config
        if config.keys() >= {"model_s", "model_t"}:
            return f"{config['model_t']} > {config['model_s']}"
        return f"{config['model']} alone" if "model" in config else ""

    @property
    def mixing(self) -> str:
        """no mixing, full mixup, partial mixup, full cutmix or partial cutmix."""
        mix = self.config.get("mix", "none")
        if mix == "none":
            return "no mixing"
        return f"{'partial' if self.config.get('pmixup', True) else 'full'} {mix}"

    @property
    def label(self) -> str:
        """Method, networks and mixing: mixstd, resnet20 > resnet8, partial mixup; '' where args.json lacks the
        networks."""
        return ", ".join(filter(None, (self.config.get("distill"), self.pair, self.mixing))) if self.pair else ""

    @property
    def title(self) -> str:
        """The label and the seed; the folder's name where args.json lacks the networks."""
        return f"{self.label}, seed {self.config.get('trial', '')}" if self.label else self.folder.name

    @property
    def images_per_s(self) -> float | None:
        """Median over the epochs of the main stage; None where timing.csv has no number."""
        speeds = [row.get("images_per_s") for row in self.timing if row.get("stage") == "main"]
        try:
            return statistics.median(map(float, filter(None, speeds))) if any(speeds) else None
        except ValueError:
            return None


def stored_runs(parent: Path) -> list[StoredRun]:
    """The runs in save/models or save/student_model, in the order of their names."""
    return [StoredRun(folder) for folder in sorted(parent.glob("*/"))]


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
