"""What a run's folder holds: the only reader of args.json, summary.json, log.csv and timing.csv."""
from __future__ import annotations

import csv
import json
import math
import statistics
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from .commits import commits_in

ROLES = ("models", "student_model")  # folders under --save_dir: networks alone, distilled students
NEWEST, BEFORE = "resume.pth", "resume.prev.pth"


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
        """The commits of the code that trained it, see :func:`helper.commits.git_commit`; several if it was resumed."""
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
