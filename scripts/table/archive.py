"""runs.csv of a result folder: every finished run of its table, kept even where its --save_dir is gone.

A line belongs to a cell by the run's whole configuration, not by the names of row and column alone: after a row's flags
or the recipe have changed, it stays in the file and out of the table. Seeds of different teachers never share a cell.
"""
from __future__ import annotations

import csv
import math
from dataclasses import asdict, fields
from pathlib import Path

from helper.errors import UserError
from helper.files import save_csv

from .plan import Plan
from .results import Result, digests, per_cent
from .spec import Cell

FULL = "full recipe"
CELL = ("row", "column", "configuration", "size")  # what a line is a run of
HEAD = (*CELL, *(field.name for field in fields(Result)))
NEW_COLUMNS = {"teacher_origin", "teacher_top1"}  # which older files lack


def seconds(text: str) -> float:
    """A number; ValueError for NaN and infinity, of which no mean can be made."""
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is no time")
    return value


NUMBERS = {"last_top1": per_cent, "best_top1": per_cent, "best_epoch": int, "wall_time_s": seconds,
           "teacher_top1": lambda text: per_cent(text) if text else None}


class Record:
    def __init__(self, path: Path, plan: Plan):
        """Raises UserError for a file that can't be read as a record: it is not overwritten."""
        self.path, self.plan = path, plan
        self.lines: dict[tuple[str, ...], tuple[tuple[str, ...], Result]] = {}
        self._read()
        for cell in plan.table.cells:
            for result in plan.results(cell):
                self._keep(self._place(cell), result)

    def of(self, cell: Cell) -> list[Result]:
        """The finished runs of a cell, all of one teacher: the plan's, or where its weights are nowhere (only records
        were kept) the one with the most seeds."""
        groups: dict[str, list[Result]] = {}
        wanted = self._place(cell)
        for place, result in self.lines.values():
            if place == wanted:
                groups.setdefault(result.teacher, []).append(result)
        teacher = self.plan.teacher_of(cell)
        if teacher and teacher.path.is_file():
            groups = {name: groups[name] for name in digests(teacher.path) if name in groups}
        chosen = max(groups.values(), key=len, default=[])
        return sorted(chosen, key=lambda result: _order(result.trial))

    def write(self) -> None:
        """The table's cells first, in its order; then what belongs to none of them."""
        order = {self._place(cell): i for i, cell in enumerate(self.plan.table.cells)}
        lines = sorted(self.lines.values(), key=lambda line: (order.get(line[0], len(order)), line[0], line[1].teacher,
                                                              _order(line[1].trial)))
        rows = [{**dict(zip(CELL, place, strict=True)), **asdict(result)} for place, result in lines]
        save_csv(rows, HEAD, self.path)

    def _place(self, cell: Cell) -> tuple[str, ...]:
        return (*cell.key, self.plan.configuration(cell), self.plan.size.label or FULL)

    def _keep(self, place: tuple[str, ...], result: Result) -> None:
        self.lines[(*place, result.teacher, result.trial)] = place, result

    def _read(self) -> None:
        if not self.path.exists():
            return
        try:
            with self.path.open(newline="") as file:
                for line in csv.DictReader(file):
                    values = {field.name: NUMBERS.get(field.name, str)(line[field.name]) for field in fields(Result)
                              if field.name in line or field.name not in NEW_COLUMNS}
                    self._keep(tuple(line[name] for name in CELL), Result(**values))
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise UserError(f"{self.path}: damaged, or of another version ({error!r}); move it away, the runs under "
                            "--save_dir are recorded anew") from None


def _order(trial: str) -> tuple:
    return (0, int(trial), "") if trial.isdigit() else (1, 0, trial)
