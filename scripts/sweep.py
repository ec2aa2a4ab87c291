#!/usr/bin/env python3
"""Train with every combination of some flags' values, and compare the results in a table.

    python -m scripts.sweep --vary distill=kd,mixstd --vary kd_T=1,4 --vary trial=1,2,3 -- \\
        --path_t save/models/resnet56_vanilla/ckpt_epoch_240.pth --model_s resnet20
    python -m scripts.sweep --vary model=resnet8,resnet20 --vary learning_rate=0.05,0.1 -- train_teacher.py \\
        --epochs 60 --lr_decay_epochs 37,45,52

After -- come flags of train_student_mixstd.py, or train_teacher.py and its flags. Each combination is a run with a
folder of its own and --resume auto: the same command continues where it was stopped and skips what is finished.
Combinations that differ only in flags that their method doesn't read are one run. Runs share a process and its device
(--at_once); for several devices start several commands, each with other values.

OUT/FLAGS-DIGEST/ gets table.md (mean and standard deviation over the trials), runs.csv (a line per combination) and
sweep.png (a curve over a flag with numbers, points for names, a heat map for two flags with numbers), written again
after every run.
"""
from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import shlex
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dataset import FOLDERS, sizes
from distiller_zoo import distiller_dict
from helper.argtypes import Parser, folder_path, seed_of
from helper.errors import Interrupted, UserError, guard
from helper.files import lock_folder, save_csv, save_text
from helper.fit import print_line
from helper.recipe import less_than
from helper.run import NOT_IDENTITY, check_writable, config_of, identity
from helper.teacher import read_teacher
from helper.together import Outcome

from .support import images_of, named_pair
from .table import several
from .table.markdown import markdown_table
from .table.plots import draw_sweep
from .table.render import Figure, two
from .table.results import Store, is_finished
from .table.spec import slug

SCRIPT = "train_student_mixstd.py"
SHORT = {"gamma": "-r", "alpha": "-a", "beta": "-b"}
OWN = ("--vary", "--at_once", "--out", "--dry_run")


@dataclass
class Point:
    """A combination of the varied flags' values. run: the label of the run that has its numbers, which is an earlier
    point's where the two differ only in flags that their method doesn't read."""

    values: dict[str, str]
    run: str


def parse(argv: Sequence[str]) -> Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("--vary", type=variation, action="append", default=[], metavar="FLAG=VALUES",
                        help="a flag and its values, as kd_T=1,4; values that contain commas are separated by "
                             "semicolons, as 'lr_decay_epochs=30,40;60'")
    parser.add_argument("--at_once", type=several.at_once, default=0, metavar="N",
                        help="runs side by side on the device: a number, or auto: 2 on the CPU, on CUDA as many as "
                             "raise the rate and fit the memory (default auto)")
    parser.add_argument("--out", type=folder_path, default="result/sweep",
                        help="where the table's folder goes (default result/sweep)")
    parser.add_argument("--dry_run", action="store_true", default=False, help="print the commands, train nothing")
    opt = parser.parse(argv)
    names = [name for name, _ in opt.vary]
    if not names:
        raise UserError("--vary: name at least one flag and its values, as --vary kd_T=1,4")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--vary {name}: given twice; put all values into one")
        if name in ("resume", "overwrite"):
            raise UserError(f"--vary {name}: the runs of a sweep have --resume auto; leave it out")
        if name in NOT_IDENTITY:
            raise UserError(f"--vary {name}: it is not part of a run's identity; give --{name} after --")
    return opt


def variation(text: str) -> tuple[str, list[str]]:
    name, _, values = text.partition("=")
    found = values.split(";" if ";" in values else ",")
    if not name or not all(found):
        raise argparse.ArgumentTypeError(f"{text!r} is not a flag with values, as kd_T=1,4")
    if len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r} has a value twice")
    name = name.lstrip("-")
    return {short.lstrip("-"): flag for flag, short in SHORT.items()}.get(name, name), found


def main(argv: Sequence[str] | None = None) -> None:
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index("--") if "--" in words else len(words)
    for word in words if "--" not in words else ():
        if word.startswith("-") and word.split("=")[0] not in (*OWN, "--help", "-h") or word.endswith(".py"):
            raise UserError(f"{word}: flags of the training go after --, as in --vary kd_T=1,4 -- {word} ...")
    opt, rest = parse(words[:cut]), words[cut + 1:]
    for word in rest:
        if word.split("=")[0] in OWN:
            raise UserError(f"{word}: a flag of the sweep; it goes before --")
    if rest and rest[0].endswith(".py") and rest[0] not in several.SCRIPTS:
        raise UserError(f"{rest[0]}: after -- one of {', '.join(several.SCRIPTS)}, or flags of {SCRIPT}")
    script, common = (rest[0], rest[1:]) if rest and rest[0] in several.SCRIPTS else (SCRIPT, rest)
    points, runs = combinations(opt.vary, script, common)
    if opt.dry_run:
        for words, _ in runs.values():
            print(f"python {script} {shlex.join(words)}")
        print(f"{len(points)} combinations, {len(runs)} runs")
        return
    sweep = Sweep(opt, rest, points, resolved(script, runs))
    with sweep.lock():
        sweep.write()
        print(f"{len(points)} combinations, {len(runs)} runs; table: {sweep.folder / 'table.md'}", flush=True)
        try:
            failed = several.train({label: (script, run) for label, (_, run) in runs.items()}, opt.at_once,
                                   sweep.report)
        except Interrupted as stop:
            raise Interrupted(stop.signum, f"{stop}; the same command continues the sweep") from None
        sweep.write()
    print("\n".join(["", *sweep.table(), "", f"==> {sweep.folder / 'table.md'}"]))
    if failed:
        raise UserError(f"{len(failed)} of {len(runs)} runs failed: {'; '.join(failed)}; the reasons are in "
                        f"{sweep.folder / 'runs.csv'}, the same command tries them again")


def combinations(vary: Sequence[tuple[str, list[str]]], script: str, common: list[str],
                 ) -> tuple[list[Point], dict[str, tuple[list[str], Namespace]]]:
    """All combinations, and by label the runs that have their numbers: each the words of its command and its parsed
    flags. Ends with one line and status 2 where the training script refuses a value.
    """
    names = [name for name, _ in vary]
    seeds = [seed_of(trial) for flag, trials in vary if flag == "trial" for trial in trials]
    if len(set(seeds)) < len(seeds):
        raise UserError("--vary trial: two trials have one seed; leave one out")
    for name in (*names, "resume", "overwrite"):
        given = [word for word in common if word == f"--{name}" or word.startswith(f"--{name}=")
                 or name in SHORT and word.startswith(SHORT[name])]
        if given:
            raise UserError(f"{given[0]}: " + ("given after -- and with --vary; leave one out" if name in names else
                                             "the runs of a sweep have --resume auto; leave it out"))
    points, runs, known = [], {}, dict[str, str]()
    for values in itertools.product(*(values for _, values in vary)):
        named = dict(zip(names, values, strict=True))
        words = [*common, *(f"--{name}={value}" for name, value in named.items()), "--resume", "auto"]
        opt = several.SCRIPTS[script].parse(words)
        if len(opt.trial) > 1:
            raise UserError(f"--trial {','.join(opt.trial)}: vary it, as --vary trial={','.join(opt.trial)}")
        label = " ".join(f"{name}={value}" for name, value in named.items())
        run = known.setdefault(repr(sorted(identity(config_of(opt, opt.trial[0])).items())), label)
        points.append(Point(named, run))
        if run == label:
            runs[label] = words, opt
    return points, dict(sorted(runs.items(), key=lambda item: item[1][1].trial))  # runs of one seed share batches


def resolved(script: str, runs: dict[str, tuple[list[str], Namespace]]) -> dict[str, Namespace]:
    """The runs' flags with the teacher's network, which its file names, and the settings of the pair.

    Raises UserError for what would stop a run only at its turn: a folder, a teacher's file, a method that the pair of
    networks doesn't support (in folders of images this depends on their size and is left to the run)."""
    read = cache(lambda path_t, model_t: read_teacher(path_t, model_t).arch)
    found = {}
    for label, (words, run) in runs.items():
        check_writable(run.save_dir)
        found[label] = run
        if "path_t" not in run:
            continue
        found[label] = opt = several.SCRIPTS[script].parse([*words, "--model_t", read(run.path_t, run.model_t)])
        method = distiller_dict[run.distill]
        if opt.dataset in FOLDERS:
            continue
        images = images_of(opt, sizes(opt.dataset, opt.data_dir)[0])
        if why := method.unsupported(opt, named_pair(opt, method, images)):
            raise UserError(f"{label}: --distill {opt.distill} with {opt.model_t} and {opt.model_s}: {why}; or leave "
                            "the value out")
    return found


class Sweep:
    """The outcomes of the runs so far, and the files with them."""

    def __init__(self, opt: Namespace, rest: list[str], points: list[Point], runs: dict[str, Namespace]):
        self.vary, self.points, self.runs = opt.vary, points, runs
        self.store = Store(next(run.save_dir for run in runs.values()))
        self.reduced = sorted({flag for run in runs.values() for flag in less_than(vars(run))})  # than the full recipe
        vary = [word for name, values in opt.vary
                for word in ("--vary", f"{name}={(';' if ',' in ''.join(values) else ',').join(values)}")]
        self.command = "python -m scripts.sweep " + shlex.join([*vary, "--", *rest])
        self.flags = [(name, values) for name, values in opt.vary if name != "trial"]  # trials are averaged
        digest = hashlib.sha256(self.command.encode(errors="surrogateescape")).hexdigest()[:6]
        self.folder = Path(opt.out, f"{slug('+'.join(name for name, _ in opt.vary))}-{digest}")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.outcomes: dict[str, Outcome] = {}

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """The folder's lock, so that a second start of the sweep doesn't overwrite the table."""
        try:
            handle = lock_folder(self.folder)
        except BlockingIOError as error:
            raise UserError(f"{self.folder}: process {error} is training this sweep; wait for it, or give another "
                            "--out") from None
        self.outcomes = self.finished_before()
        try:
            yield
        finally:
            (self.folder / ".lock").unlink()
            handle.close()

    def finished_before(self) -> dict[str, Outcome]:
        """By label, the runs that are finished, by whatever command."""
        found = {}
        for label, opt in self.runs.items():
            stored = self.store.find(opt, [Path(opt.path_t)] if "path_t" in opt else []).get(opt.trial[0])
            if stored and is_finished(stored):
                found[label] = Outcome("finished", str(stored.folder), "", stored.summary["last_top1"],
                                       stored.summary["best_top1"])
        return found

    def report(self, label: str, outcome: Outcome) -> None:
        """A run has ended. A table that can't be written doesn't stop the other runs."""
        self.outcomes[label] = outcome
        try:
            self.write()
        except OSError as error:
            print_line(f"WARNING could not write to {self.folder} ({error.strerror or error})")

    def write(self) -> None:
        """runs.csv, table.md and sweep.png."""
        names = [name for name, _ in self.vary]
        rows = []
        for point in self.points:
            outcome = self.outcomes.get(point.run, Outcome("waiting"))
            rows.append({**point.values, "status": outcome.status, "last_top1": two(outcome.last),
                         "best_top1": two(outcome.best), "problem": outcome.problem, "folder": outcome.folder or ""})
        save_csv(rows, [*names, "status", "last_top1", "best_top1", "problem", "folder"], self.folder / "runs.csv")
        finished = sum(not outcome.problem for outcome in self.outcomes.values())
        runs = len({point.run for point in self.points})
        note = f"Last epoch's top-1 (%), mean ± standard deviation over n trials; {finished} of {runs} runs finished."
        if runs < len(self.points):
            note += " Combinations that differ only in flags that their method doesn't read are one run."
        reduced = f" (reduced: {', '.join(self.reduced)})" if self.reduced else ""
        text = [f"# Sweep over {', '.join(names)}{reduced}", "", *self.table(), "",
                f"{note} [All combinations](runs.csv).", "", "![sweep](sweep.png)", "", "```bash", self.command, "```"]
        save_text("\n".join(text) + "\n", self.folder / "table.md")
        draw_sweep(self.flags, self.figures(), self.folder / "sweep.png")

    def figures(self) -> dict[tuple[str, ...], Figure]:
        """A figure per combination of :attr:`flags`."""
        found: dict[tuple[str, ...], list[float]] = {}
        for point in self.points:
            outcome = self.outcomes.get(point.run)
            last = found.setdefault(tuple(point.values[name] for name, _ in self.flags), [])
            if outcome and outcome.last is not None:
                last.append(outcome.last)
        return {key: Figure(last) for key, last in found.items()}

    def table(self) -> list[str]:
        """Rows by all varied flags but the last, columns by the last."""
        figures = self.figures()
        if len(self.flags) < 2:
            head = [*(name for name, _ in self.flags), "last epoch's top-1"]
            return markdown_table(head, [[*key, figure.text or "–"] for key, figure in figures.items()])
        *down, (name, across) = self.flags
        head = [*(flag for flag, _ in down), *(f"{name}={value}" for value in across)]
        rows = [[*row, *(figures[(*row, value)].text or "–" for value in across)]
                for row in itertools.product(*(values for _, values in down))]
        return markdown_table(head, rows)


if __name__ == "__main__":
    sys.exit(guard(main))
