"""The finished runs under --save_dir, found by their configuration, whatever their folders are called."""
from __future__ import annotations

import json
import statistics
from argparse import Namespace
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from helper.known_teachers import known_teachers
from helper.run import SET_AT_START, as_begun, config_of, identity
from helper.stored_runs import FOLDERS, StoredRun, stored_runs
from helper.teacher import read_teacher

from .spec import Size

DIGITS = 12  # of a teacher's sha256 that are kept


@dataclass(frozen=True)
class Result:
    """What one finished run (one trial of one cell) came to; accuracies in per cent."""

    trial: str
    last_top1: float
    best_top1: float
    best_epoch: int
    wall_time_s: float  # of the training steps, evaluation and saves not included
    hardware: str
    git_commit: str
    folder: str
    teacher: str = ""  # beginning of the sha256 of the weights it was distilled from
    teacher_origin: str = ""  # the zoo that they come from, or 'trained here'
    teacher_top1: float | None = None  # of the teacher on the validation images; older runs don't say it


def result_of(run: StoredRun) -> Result:
    s, digest = run.summary, str(run.config.get("teacher_sha256", ""))
    known = known_teachers().get(digest)  # for runs from before the origin was stored
    return Result(run.config["trial"], s["last_top1"], s["best_top1"], s["best_epoch"], s["wall_time_s"],
                  run.environment.get("hardware", ""), run.environment.get("git_commit", ""), str(run.folder),
                  digest[:DIGITS], run.config.get("teacher_origin", known.origin if known else ""),
                  s.get("teacher_top1"))


class Store:
    """All runs of one --save_dir, read again by :meth:`refresh`."""

    def __init__(self, save_dir: str):
        self.root, self.untold = Path(save_dir), set()
        self.refresh()

    def refresh(self) -> None:
        self.runs = {kind: [run for run in stored_runs(self.root / kind) if self._told(run)] for kind in FOLDERS}

    def _told(self, run: StoredRun) -> bool:
        """Whether a folder says what its run is; one that holds a run and doesn't is named, once."""
        if "trial" in run.config:
            return True
        if (what := run.status) and run.folder not in self.untold:
            self.untold.add(run.folder)
            print(f"WARNING {run.folder}: holds {what}, but no args.json that can be read, so it counts for no table; "
                  "put args.json back", flush=True)
        return False

    def find(self, kind: str, opt: Namespace, trial: str, size: Size,
             teachers: tuple[Path, ...] = ()) -> StoredRun | None:
        """The finished run of this configuration, trial and size; None if there is none.

        teachers: where the teacher may lie. If one is there, the run's teacher must have had the same weights; if the
        weights are nowhere (only records were copied), the path must be one of them.
        """
        config = config_of(opt, trial)
        for run in self.runs[kind]:
            if (run.summary and _same(config, run.config)
                    and size.fits(run.summary, run.config["dataset"]) and _same_teacher(run.config, teachers)):
                return run
        return None

    def begun(self, kind: str, opt: Namespace, trial: str, teachers: tuple[Path, ...] = ()) -> StoredRun | None:
        """The unfinished run of this configuration, with which ``--resume auto`` goes on. teachers: as in find."""
        config = config_of(opt, trial)
        return next((run for run in self.runs[kind] if not run.summary and _same(config, run.config)
                     and _same_teacher(run.config, teachers) and run.status), None)

    def images_per_s(self, kind: str, opt: Namespace, on_cuda: bool) -> float | None:
        """Median throughput of the runs of the same networks and method, else of the same networks."""
        speeds = [(run.config, run.images_per_s) for run in self.runs[kind]
                  if run.images_per_s and str(run.config.get("device")).startswith("cuda") == on_cuda]
        for names in (("model", "model_s", "model_t", "distill"), ("model", "model_s", "model_t")):
            alike = [speed for config, speed in speeds
                     if all(config.get(name) == getattr(opt, name, None) for name in names)]
            if alike:
                return statistics.median(alike)
        return None


def _same(config: dict, found: dict) -> bool:
    config = as_begun({**config, "teacher_sha256": None}, found, given=bool(config.get("precision")))
    mine, theirs = identity(config), identity(found)
    compared = {*mine, *theirs} - SET_AT_START  # the teacher is compared by its weights
    return bool(found.get("precision")) and all(mine.get(k) == theirs.get(k) for k in compared)


def _same_teacher(found: dict, teachers: tuple[Path, ...]) -> bool:
    if not teachers:
        return True
    there = [path for path in teachers if path.is_file()]
    if there:
        return str(found.get("teacher_sha256"))[:DIGITS] in {name for path in there for name in digests(path)}
    return Path(found.get("path_t", "")) in teachers


def digests(path: Path) -> list[str]:
    """The weights in a file, as :class:`Result` names a teacher, and those that it is the half-precision copy of."""
    names, entry = [_digest(path, path.stat().st_mtime_ns)], index_entry(path)
    if "sha256_full" in entry and entry.get("sha256") == names[0]:
        names.append(entry["sha256_full"])
    return [str(name)[:DIGITS] for name in names]


def index_entry(path: Path) -> dict:
    """What index.json beside an exported checkpoint says of it; empty where there is none that can be read."""
    try:
        entry = json.loads(path.with_name("index.json").read_text())[path.stem]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def per_cent(value: Any) -> float:
    """A number from 0 to 100; ValueError or TypeError for all that is no accuracy."""
    if not 0 <= (number := float(value)) <= 100:
        raise ValueError(f"{value} is no accuracy in per cent")
    return number


@cache
def _digest(path: Path, changed: int) -> str:
    return read_teacher(str(path)).sha256
