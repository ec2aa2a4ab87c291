"""Stored runs of a table: under --save_dir, found by their configuration whatever their folders are called, and the
copies of their records in the table's result folder, which stay when --save_dir is gone."""
from __future__ import annotations

import contextlib
import json
import statistics
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from helper.device import DEFAULT_PRECISIONS
from helper.files import save_bytes
from helper.known_teachers import known_teachers
from helper.run import SET_AT_START, config_of, identity
from helper.stored_runs import FINISHED, FOLDERS, StoredRun, stored_runs
from helper.teacher import read_teacher
from models import any_model

from .costs import image_cost

DIGITS = 12  # of a teacher's sha256 that are compared
RECORD = ("args.json", "log.csv", "timing.csv", "summary.json")  # of a run; the last one makes it a finished one


@dataclass(frozen=True)
class Result:
    """One finished run (one trial of one cell); accuracies in per cent."""

    trial: str
    last_top1: float
    best_top1: float
    wall_time_s: float = 0.0  # of the training steps, without evaluation and saves
    hardware: str = ""
    git_commit: str = ""
    folder: str = ""
    teacher: str = ""  # first digits of the sha256 of its teacher's weights
    teacher_origin: str = ""  # the zoo of these weights, or 'trained here'
    teacher_top1: float | None = None  # of the teacher on the validation images; absent from older runs

    @property
    def order(self) -> tuple:
        return (0, int(self.trial), "") if self.trial.isdigit() else (1, 0, self.trial)


def result_of(run: StoredRun) -> Result:
    s, digest = run.summary, str(run.config.get("teacher_sha256", ""))
    known = known_teachers().get(digest)  # for runs from before the origin was stored
    return Result(run.config["trial"], s["last_top1"], s["best_top1"], s["wall_time_s"],
                  run.environment.get("hardware", ""), run.environment.get("git_commit", ""), str(run.folder),
                  digest[:DIGITS], run.config.get("teacher_origin", known.origin if known else ""),
                  s.get("teacher_top1"))


class Store:
    """All runs of a folder as --save_dir by their identity, read again by :meth:`refresh`."""

    def __init__(self, folder: str | Path):
        self.root, self.warned = Path(folder), set[Path]()
        self.refresh()

    def refresh(self) -> None:
        self.runs: dict[str, list[StoredRun]] = {}
        for run in (run for kind in FOLDERS for run in stored_runs(self.root / kind)):
            if run.config.get("precision") and "trial" in run.config:
                self.runs.setdefault(_key(run.config), []).append(run)
            damaged = "" if "trial" in run.config else "args.json"
            if run.status == FINISHED and not run.summary:
                damaged = "summary.json"
            if run.status and damaged and run.folder not in self.warned:
                self.warned.add(run.folder)
                print(f"WARNING {run.folder}: holds {run.status}, but no readable {damaged}, so no table counts it; "
                      f"put {damaged} back", flush=True)

    def find(self, opt: Namespace, teachers: Sequence[Path] = ()) -> dict[str, StoredRun]:
        """The runs of this configuration by trial; if two share a trial, the finished one. --resume auto continues an
        unfinished one.

        teachers: files that may be the runs' teacher. If one exists, a run's teacher must have the same weights; if
        none does (only records were kept), its --path_t must be named as one of them.
        """
        found = [run for run in self._of(opt) if _same_teacher(run.config, teachers)]
        return {run.config["trial"]: run for run in sorted(found, key=is_finished)}

    def of_other_teachers(self, opt: Namespace, teachers: Sequence[Path]) -> list[StoredRun]:
        """The finished runs of this configuration that :meth:`find` leaves out."""
        return [run for run in self._of(opt) if is_finished(run) and not _same_teacher(run.config, teachers)]

    def _of(self, opt: Namespace) -> list[StoredRun]:
        config = config_of(opt, "")
        precisions = [config["precision"]] if config["precision"] else DEFAULT_PRECISIONS
        return [run for run in self.runs.get(_key(config), ())
                if run.status and run.config["precision"] in precisions]

    def rate(self, cuda: bool) -> float | None:
        """Multiply-adds per second in training, the median over the runs on CUDA, or on the CPU; None without any. Runs
        that moved between devices are left out: their epochs have two rates."""
        rates = [run.images_per_s * image_cost(*networks(run.config)) for runs in self.runs.values() for run in runs
                 if run.images_per_s and str(run.config.get("device")).startswith("cuda") == cuda
                 and len(run.hardware) < 2
                 and {*networks(run.config)} <= {*any_model, None}]  # another version may have had other networks
        return statistics.median(rates) if rates else None

    def keep(self, result: Result) -> None:
        """Copy the record of a finished run of another folder into this one."""
        source = Path(result.folder)
        target = self.root / source.parent.name / source.name
        target.mkdir(parents=True, exist_ok=True)
        for name in RECORD:
            with contextlib.suppress(FileNotFoundError):  # older versions wrote no timing.csv
                content = (source / name).read_bytes()
                if not (target / name).is_file() or (target / name).read_bytes() != content:
                    save_bytes(content, target / name)


def is_finished(run: StoredRun) -> bool:
    """Whether it has trained all its epochs, whose number may have grown since its summary was written."""
    return run.summary.get("epochs") == run.config.get("epochs", 0)


def networks(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """The network that is trained, and its teacher or None."""
    return config.get("model_s", config.get("model")), config.get("model_t")


def _key(config: Mapping[str, Any]) -> str:
    """A run's identity but its trial, its teacher, which is compared by its weights, and its precision, which a device
    chooses."""
    values = identity({**config, "teacher_sha256": None, "trial": ""})
    return repr(sorted((name, float(value) if type(value) is int else value) for name, value in values.items()
                       if name not in SET_AT_START | {"precision"}))


def _same_teacher(config: Mapping[str, Any], teachers: Sequence[Path]) -> bool:
    existing = [path for path in teachers if path.is_file()]
    if existing:
        return str(config.get("teacher_sha256"))[:DIGITS] in {name for path in existing for name in digests(path)}
    return not teachers or Path(config.get("path_t", "")).parts[-2:] in {path.parts[-2:] for path in teachers}


def digests(path: Path) -> list[str]:
    """The digest of the weights in a file, as :attr:`Result.teacher` has it, and that of the full-precision original
    where index.json beside it, which scripts/export_weights.py writes, names one."""
    names = [_digest(path, path.stat().st_mtime_ns)]
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, RecursionError):  # no such index.json
        entry = json.loads(path.with_name("index.json").read_text())[path.stem]
        names += [entry["sha256_full"]] if entry["sha256"] == names[0] else []
    return [name[:DIGITS] for name in names]


@cache
def _digest(path: Path, changed: int) -> str:
    return read_teacher(str(path)).sha256
