"""run_table --at_once: a table's runs shared out over a few processes, each of which trains several side by side."""
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from helper.files import save_text

from .jobs import Pool
from .plan import Training

KINDS = {"models": "teachers and networks alone", "student_model": "students"}  # in this order


class Group:
    """Runs of one process, in the place of a :class:`Training` of a :class:`Pool`. file: its job, see several.py."""

    teacher = None

    def __init__(self, kind: str, number: int, runs: list[Training], at_once: int, folder: Path):
        self.label = f"{KINDS[kind]}, group {number}"
        self.runs, self.at_once, self.file = runs, at_once, folder / f"{kind}-{number}.json"
        self.ended = self.file.with_suffix(".ended.json")
        self.ended.unlink(missing_ok=True)
        self.seen = 0

    @property
    def missing(self) -> list[str]:
        """Trials of any run; those of one seed share their batches, so they come side by side."""
        return list(dict.fromkeys(trial for run in self.runs for trial in run.missing))

    def argv(self, trials: list[str]) -> list[str]:
        runs = {f"{run.label}, trial {trial}": run.argv([trial])
                for trial in trials for run in self.runs if trial in run.missing}
        save_text(json.dumps({"at_once": self.at_once, "runs": runs}, indent=1), self.file)
        return ["scripts/table/several.py", str(self.file)]

    def problems(self) -> dict[str, str]:
        """By run and trial, the error of those that have ended, '' where there was none."""
        return json.loads(self.ended.read_text()) if self.ended.exists() else {}

    def has_news(self) -> bool:
        seen, self.seen = self.seen, len(self.problems())
        return seen != self.seen


def train(pool: Pool, runs: list[Training], at_once: int, folder: Path, after_each: Callable[[], None]) -> int:
    """Train all, those that others need as teachers first; returns the signal that stopped it, or 0.

    A run's error is then pool.reason(run). folder: for the jobs and logs of the processes.
    """
    groups: list[Group] = []  # all, because the pool tells them apart by their ids

    def report() -> None:
        for group in groups:
            problems = group.problems()
            for run in group.runs:
                lines = [problems.get(f"{run.label}, trial {trial}") for trial in run.trials]
                if any(lines):
                    pool.failed[id(run)] = next(filter(None, lines))
        after_each()

    for kind in KINDS:
        chosen = []
        for run in runs:
            if run.kind == kind and run.teacher is not None and pool.reason(run.teacher):
                pool.failed[id(run)] = f"{run.teacher.label} failed"
                print(f"==> not started: {run.label}: {run.teacher.label} failed", flush=True)
            elif run.kind == kind:
                chosen.append(run)
        room = min(pool.room, len(chosen))
        new = [Group(kind, i + 1, chosen[i::room], at_once, folder) for i in range(room)]
        groups += new
        if signum := pool.train(new, report, lambda new=new: any([group.has_news() for group in new])):
            return signum
        for group in new:  # a process that was killed had no time to say which
            for run in group.runs:
                if run.missing and not pool.reason(run):
                    pool.failed[id(run)] = pool.reason(group)
    return 0
