"""Commands of the training scripts, run side by side in one process: for sweep.py and run_table --at_once.

    python -m scripts.table.several FILE --at_once N        # 0: auto

FILE is JSON: {LABEL: [SCRIPT, FLAG, ...]}. The line printed at the end of each run begins '==> 1 of 8, LABEL: '.
"""
from __future__ import annotations

import argparse
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import train_student_mixstd
import train_teacher
from helper import together
from helper.argtypes import number
from helper.errors import UserError, guard
from helper.fit import print_line
from helper.run import BUSY
from helper.together import Cache, Outcome

SCRIPTS = {"train_teacher.py": train_teacher, "train_student_mixstd.py": train_student_mixstd}


def at_once(text: str) -> int:
    """A number of runs; 0 stands for auto."""
    return 0 if text == "auto" else number(int, low=1, high=64)(text)


def train(runs: Mapping[str, tuple[str, Namespace]], at_once: int,
          report: Callable[[str, Outcome], None] = lambda label, outcome: None) -> dict[str, str]:
    """Train all, ``at_once`` side by side; returns by label the errors of those that failed.

    runs: by label, the script and its parsed flags, with one trial. at_once: 0 is auto. report: called with a label and
    an outcome as soon as it is known, after its line was printed.

    Raises Interrupted after a signal, with every run saved.
    """
    labels, ended, failed = [*runs], [], {}

    def leave(place: int, outcome: Outcome) -> None:
        label = labels[place]
        ended.append(label)
        if outcome.problem:
            failed[label] = outcome.problem
        what = f"FAILED: {outcome.problem}" if outcome.problem else f"{outcome.status}, last top-1 {outcome.last:.2f}"
        print_line(f"==> {len(ended)} of {len(labels)}, {label}: {what}")
        report(label, outcome)

    def prepare(script: str, opt: Namespace, cache: Cache):
        return SCRIPTS[script].prepare(opt, cache)

    device = next((opt.device for _, opt in runs.values()), "auto")
    together.train([partial(prepare, script, opt) for script, opt in runs.values()],
                   at_once or together.Pace(device), leave, labels)
    return failed


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--at_once", type=int, default=0)
    opt = parser.parse_args(argv)
    runs = {label: (script, SCRIPTS[script].parse(flags))
            for label, (script, *flags) in json.loads(opt.file.read_text()).items()}
    if failed := train(runs, opt.at_once):
        busy = any(BUSY in problem for problem in failed.values())  # then the table tries again later
        raise UserError(f"{len(failed)} of {len(runs)} runs failed" + (f": another process {BUSY}" if busy else ""))


if __name__ == "__main__":
    sys.exit(guard(main))
