"""Finished runs: those under --save_dir, found by their configuration whatever their folders are called, and those
recorded in runs.csv of a result folder, which stay when their folders are gone."""
from __future__ import annotations

import contextlib
import csv
import json
import statistics
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from helper.argtypes import number
from helper.device import DEFAULT_PRECISIONS
from helper.errors import UserError
from helper.files import save_csv
from helper.known_teachers import known_teachers
from helper.run import SET_AT_START, config_of, identity
from helper.stored_runs import FOLDERS, StoredRun, stored_runs
from helper.teacher import read_teacher
from models import any_model

from .costs import image_cost

DIGITS = 12  # of a teacher's sha256 that are kept
PLACE = ("row", "column", "configuration", "size")  # first columns of runs.csv: the cell that a run belongs to


@dataclass(frozen=True)
class Result:
    """One finished run (one trial of one cell); accuracies in per cent."""

    trial: str
    last_top1: float
    best_top1: float
    best_epoch: int
    wall_time_s: float  # of the training steps, without evaluation and saves
    hardware: str
    git_commit: str
    folder: str
    teacher: str = ""  # first digits of the sha256 of its teacher's weights
    teacher_origin: str = ""  # the zoo of these weights, or 'trained here'
    teacher_top1: float | None = None  # of the teacher on the validation images; absent from older runs

    @property
    def order(self) -> tuple:
        return (0, int(self.trial), "") if self.trial.isdigit() else (1, 0, self.trial)


def result_of(run: StoredRun) -> Result:
    s, digest = run.summary, str(run.config.get("teacher_sha256", ""))
    known = known_teachers().get(digest)  # for runs from before the origin was stored
    return Result(run.config["trial"], s["last_top1"], s["best_top1"], s["best_epoch"], s["wall_time_s"],
                  run.environment.get("hardware", ""), run.environment.get("git_commit", ""), str(run.folder),
                  digest[:DIGITS], run.config.get("teacher_origin", known.origin if known else ""),
                  s.get("teacher_top1"))


# Under --save_dir -----------------------------------------------------------------------------------------------------

class Store:
    """All runs of one --save_dir by their identity, read again by :meth:`refresh`."""

    def __init__(self, save_dir: str):
        self.root, self.warned = Path(save_dir), set[Path]()
        self.refresh()

    def refresh(self) -> None:
        self.runs: dict[str, list[StoredRun]] = {}
        for run in (run for kind in FOLDERS for run in stored_runs(self.root / kind)):
            if run.config.get("precision") and "trial" in run.config:
                self.runs.setdefault(_key(run.config), []).append(run)
            elif run.status and "trial" not in run.config and run.folder not in self.warned:
                self.warned.add(run.folder)
                print(f"WARNING {run.folder}: holds {run.status}, but no readable args.json, so no table counts it; "
                      "put args.json back", flush=True)

    def find(self, opt: Namespace, trial: str, teachers: Sequence[Path] = ()) -> StoredRun | None:
        """The run of this configuration and trial: a finished one, else an unfinished one, which --resume auto
        continues. None if there is none.

        teachers: files that may be the run's teacher. If one exists, the run's teacher must have the same weights; if
        none does (only records were copied), the run's --path_t must be one of them.
        """
        config = config_of(opt, trial)
        precisions = [config["precision"]] if config["precision"] else DEFAULT_PRECISIONS
        found = [run for run in self.runs.get(_key(config), ()) if run.status
                 and run.config["precision"] in precisions and _same_teacher(run.config, teachers)]
        return max(found, key=is_finished, default=None)

    def rate(self, cuda: bool) -> float | None:
        """Multiply-adds per second in training, the median over the runs on CUDA, or on the CPU; None without any. Runs
        that moved between devices are left out: their epochs have two rates."""
        rates = [run.images_per_s * image_cost(*networks(run.config)) for runs in self.runs.values() for run in runs
                 if run.images_per_s and str(run.config.get("device")).startswith("cuda") == cuda
                 and len(run.hardware) < 2
                 and {*networks(run.config)} <= {*any_model, None}]  # another version may have had other networks
        return statistics.median(rates) if rates else None


def is_finished(run: StoredRun) -> bool:
    """Whether it has trained all its epochs, whose number may have grown since its summary was written."""
    return run.summary.get("epochs") == run.config.get("epochs", 0)


def networks(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """The network that is trained, and its teacher or None."""
    return config.get("model_s", config.get("model")), config.get("model_t")


def _key(config: Mapping[str, Any]) -> str:
    """A run's identity but its teacher, which is compared by its weights, and its precision, which a device chooses."""
    values = identity({**config, "teacher_sha256": None})
    return repr(sorted((name, float(value) if type(value) is int else value) for name, value in values.items()
                       if name not in SET_AT_START | {"precision"}))


def _same_teacher(config: Mapping[str, Any], teachers: Sequence[Path]) -> bool:
    existing = [path for path in teachers if path.is_file()]
    if existing:
        return str(config.get("teacher_sha256"))[:DIGITS] in {name for path in existing for name in digests(path)}
    return not teachers or Path(config.get("path_t", "")) in teachers


def digests(path: Path) -> list[str]:
    """The weights in a file, as :attr:`Result.teacher` has them, and those that it is the half-precision copy of by
    index.json beside it, which scripts/export_weights.py writes."""
    names = [_digest(path, path.stat().st_mtime_ns)]
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, RecursionError):  # no such index.json
        entry = json.loads(path.with_name("index.json").read_text())[path.stem]
        names += [entry["sha256_full"]] if entry["sha256"] == names[0] else []
    return [name[:DIGITS] for name in names]


@cache
def _digest(path: Path, changed: int) -> str:
    return read_teacher(str(path)).sha256


# runs.csv -------------------------------------------------------------------------------------------------------------

per_cent = number(float, low=0, high=100)
NUMBERS = {"last_top1": per_cent, "best_top1": per_cent, "best_epoch": int, "wall_time_s": number(float),
           "teacher_top1": lambda text: per_cent(text) if text else None}


class Record:
    """runs.csv: finished runs by place, which is row, column, configuration and size.

    The place has a run's whole configuration: after a row's flags or the recipe have changed, a run stays in the file
    and out of the table. Seeds of different teachers are never averaged.
    """

    def __init__(self, path: Path):
        """Raises UserError for a file that can't be read as a record: it is not overwritten."""
        self.path = path
        self.lines: dict[tuple[str, ...], tuple[tuple[str, ...], Result]] = {}
        if not path.exists():
            return
        try:
            with path.open(newline="") as file:
                for line in csv.DictReader(file):
                    values = {field.name: NUMBERS.get(field.name, str)(line[field.name]) for field in fields(Result)}
                    self.add(tuple(line[name] for name in PLACE), [Result(**values)])
        except (KeyError, TypeError, ValueError, ArgumentTypeError, csv.Error) as error:
            raise UserError(f"{path}: damaged, or of another version ({error!r}); move it away, the runs under "
                            "--save_dir are recorded anew") from None

    def add(self, place: tuple[str, ...], results: Iterable[Result]) -> None:
        for result in results:
            self.lines[(*place, result.teacher, result.trial)] = place, result

    def runs_at(self, place: tuple[str, ...], teacher: Path | None) -> list[Result]:
        """The runs of one place and one teacher: of the file ``teacher``, or where it doesn't exist (only records were
        kept) of the teacher with the most seeds."""
        groups: dict[str, list[Result]] = {}
        for found, result in self.lines.values():
            if found == place:
                groups.setdefault(result.teacher, []).append(result)
        if teacher and teacher.is_file():
            groups = {name: groups[name] for name in digests(teacher) if name in groups}
        return sorted(max(groups.values(), key=len, default=[]), key=lambda result: result.order)

    def write(self, places: Sequence[tuple[str, ...]]) -> None:
        """The runs at ``places`` first, in that order; then all others."""
        order = {place: i for i, place in enumerate(places)}
        lines = sorted(self.lines.values(), key=lambda line: (order.get(line[0], len(order)), line[0], line[1].teacher,
                                                              line[1].order))
        rows = [{**dict(zip(PLACE, place, strict=True)), **asdict(result)} for place, result in lines]
        save_csv(rows, [*PLACE, *(field.name for field in fields(Result))], self.path)
