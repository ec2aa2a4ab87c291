#!/usr/bin/env python3
"""Run a table of the paper and compare it with the published numbers.

    python -m scripts.run_table                         # lists the tables
    python -m scripts.run_table main --dry_run          # its runs, which are done, what the rest costs
    python -m scripts.run_table main --only "MIXSTD*resnet56*" --trial 1,2,3 --jobs 4
    python -m scripts.run_table main --gpus 0,1 --at_once auto      # a process per GPU, several runs in each
    python -m scripts.run_table main --executor ray --address auto --gpus_per_run 0.25     # see scripts/SCALING.md
    python -m scripts.run_table imagenet --data_dir DIR     # DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg
    python -m scripts.run_table main --epochs 8 --train_fraction 0.1        # reduced, and labelled so everywhere
    python -m scripts.run_table --readme                # refresh the generated tables of the READMEs

Teachers are trained first, or taken from --teacher_dir, from models/pretrained/ or from where
fetch_pretrained_teachers.sh puts them; a table of a reduced recipe, as claims, trains its own. A table may be
interrupted at any time; the same command continues it. Tables, pictures and logs go to result/NAME/, runs to --save_dir
as with the training scripts.
"""
from __future__ import annotations

import argparse
import fnmatch
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from dataset import FOLDERS, NAMES
from helper.argtypes import Parser, folder_path, name_from, number, path, trial_list
from helper.commits import commits_in, git_commit, other_code
from helper.device import pick_device
from helper.errors import UserError, guard
from helper.fit import duration
from helper.known_teachers import known_teachers, vanilla
from helper.run import check_writable
from helper.teacher import read_teacher

from . import readme_tables
from .table import costs, jobs, plots, render, several, spec
from .table.cluster import RayExecutor, check_reachable
from .table.jobs import Job, Local, visible
from .table.plan import Plan, Training
from .table.spec import Cell, Size, Table


def parse(argv=None) -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("table", nargs="?", default=None, metavar="NAME",
                        help=f"one of {', '.join(spec.names())}, or a .json file")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--dry_run", action="store_true", default=False,
                       help="print the plan with its commands, train and write nothing")
    parser.add_argument("--only", action="append", default=None, metavar="PATTERN",
                        help="cells whose 'ROW, TEACHER > STUDENT' contains it; * and ? are wildcards, case is ignored "
                             "(several times: the cells of each)")
    parser.add_argument("--trial", type=trial_list, default=None, metavar="IDS", help="seeds (default: the table's)")
    parser.add_argument("--epochs", type=number(int, low=1), default=None, help="less than the recipe's is reduced")
    parser.add_argument("--train_fraction", type=number(float, above=0, high=1), default=1.0, help="below 1 is reduced")
    parser.add_argument("--dataset", type=name_from(NAMES, "data set"), default=None,
                        help="one other than the recipe's counts as reduced")
    parser.add_argument("--jobs", type=number(int, low=1, high=64), default=1, help="runs at once on each device")
    parser.add_argument("--at_once", type=several.at_once, default=None, metavar="N",
                        help="distribute the runs over the --jobs of all devices and train N side by side in each "
                             "process, or auto: 2 on the CPU, on CUDA as many as raise the rate (default: a process "
                             "per run)")
    parser.add_argument("--gpus", type=gpu_list, default=[], metavar="IDS", help="CUDA devices to spread over, as 0,1")
    parser.add_argument("--executor", type=name_from(("local", "ray"), "executor"), default="local",
                        help="local: processes of this machine; ray: a Ray cluster, see scripts/SCALING.md")
    parser.add_argument("--address", default=None, metavar="HOST:PORT",
                        help="of the Ray cluster, or auto for one that runs on this machine (default: start one)")
    parser.add_argument("--gpus_per_run", type=number(float, low=0, high=64), default=None,
                        help="GPUs a run takes of the Ray cluster, as 0.25 (default: 1 where it has any)")
    parser.add_argument("--cpus_per_run", type=number(float, above=0, high=1024), default=1.0,
                        help="CPU cores a run takes of the Ray cluster (default 1)")
    parser.add_argument("--teacher_dir", type=path, default=None,
                        help="folder with NAME_vanilla/ckpt_epoch_240.pth or NAME_chenyaofo/cifar100_NAME-*.pt")
    parser.add_argument("--save_dir", type=path, default="save", help="where run folders are (default ./save)")
    parser.add_argument("--data_dir", type=path, default="data", help="where the data is or goes (default ./data)")
    parser.add_argument("--out", type=folder_path, default="result", help="where tables go (default ./result)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")
    parser.add_argument("--threads", type=number(int, low=0, high=1024), default=0,
                        help="CPU threads of each run (default: all cores, shared by --jobs)")
    modes.add_argument("--readme", action="store_true", default=False,
                        help="refresh the generated tables of the READMEs, train nothing")
    parser.removed = {"--print": "--dry_run prints the command of each run, scripts/run_NAME.sh has a table's",
                      "--holdout": "tables validate on the test images; the training scripts have it, and a sweep's "
                                   "flags after --"}
    opt = parser.parse(argv)
    refuse_other_executors(opt)
    return opt


def refuse_other_executors(opt: argparse.Namespace) -> None:
    """Raises UserError for a flag that only the other --executor reads."""
    others = {"local": ("address", "gpus_per_run", "cpus_per_run"), "ray": ("jobs", "gpus")}[opt.executor]
    for name in others:
        if name in opt.given:
            raise UserError(f"--{name} does nothing with --executor {opt.executor}; leave it out" +
                            (", Ray decides what runs where" if opt.executor == "ray" else " or give --executor ray"))


def gpu_list(text: str) -> list[str]:
    gpus = text.split(",")
    if not all(gpu.isdigit() for gpu in gpus) or len(set(gpus)) < len(gpus):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of CUDA devices as 0,1")
    return gpus


def main(argv=None) -> None:
    opt = parse(argv)
    if opt.readme:
        if idle := sorted(opt.given - {"readme", "out"}):
            raise UserError(f"--readme trains nothing: leave out {', '.join(idle)}")
        readme_tables.refresh_pages(Path(opt.out))
        return
    if opt.table is None:
        if opt.given:
            raise UserError(f"name a table before the flags: {', '.join(spec.names())}, or a .json file")
        for name in spec.names():
            print(f"{name:20} {spec.load(name).title}")
        return
    table = spec.load(opt.table)
    size = table.size(opt.epochs, opt.train_fraction, opt.dataset, opt.data_dir)
    check_places(opt, size)
    plan = Plan(table, size, opt, chooser(table, opt.only))
    show(plan, opt)
    if not opt.dry_run:
        run(plan, opt)


def check_places(opt: argparse.Namespace, size: Size) -> None:
    """Raises UserError for devices and folders that the runs could not use; a Ray cluster's devices are not here."""
    if not opt.dry_run:
        check_writable(opt.save_dir)
        if size.dataset in FOLDERS and not Path(opt.data_dir, "train").is_dir():
            raise UserError(f"--data_dir {opt.data_dir}: has no train/CLASS/*.jpg; give the folder of the images' "
                            "train/ and val/")
    for gpu in opt.gpus:
        visible(gpu)
    if opt.executor == "local":
        pick_device(opt.device)
    elif opt.address not in (None, "auto") and not opt.dry_run:
        check_reachable(opt.address)


def chooser(table: Table, patterns: list[str] | None) -> Callable[[Cell], bool]:
    """Whether a cell matches one of the patterns, or there are none. Raises UserError for a pattern without a cell."""
    def matches(cell: Cell, pattern: str) -> bool:
        return fnmatch.fnmatchcase(cell.label.lower(), f"*{pattern.lower()}*")

    for pattern in patterns or []:
        if not any(matches(cell, pattern) for cell in table.cells):
            raise UserError(f"--only {pattern}: no cell of table {table.name} matches; rows: "
                            f"{'; '.join(row.name for row in table.rows)}; columns: {'; '.join(table.columns)}")
    return lambda cell: not patterns or any(matches(cell, pattern) for pattern in patterns)


def run(plan: Plan, opt: argparse.Namespace) -> None:
    """Train what is missing and write the table, again after every run, so that it is up to date at all times."""
    logs, executor = plan.folder / "logs", make_executor(opt)
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {opt.out}: {logs} can't be made ({error.strerror}); name another folder") from None
    started = list[Job]()

    def problems(otherwise: str = "") -> dict[str, str]:
        found = {run.label: job.problem_of(run) or otherwise for job in started for run in job.runs if run.missing}
        return {label: problem for label, problem in found.items() if problem}

    def write() -> str:
        """Why the table can't be written, which doesn't stop the runs; '' where it was."""
        plan.refresh()
        try:
            plots.draw(plan.table, plan.size, render.write(plan, problems()), plan.folder)
        except OSError as error:
            why = f"{error.filename or plan.folder}: {error.strerror}; make room, or move it away"
            print(f"WARNING {why}", flush=True)
            return why
        return ""

    waiting = plan.waiting
    for wave in waves(waiting, opt.at_once, executor.room):
        started += wave
        jobs.train(wave, executor, logs, write)
    if why := write():
        raise UserError(f"{why}; all runs are in {opt.save_dir}, the same command writes the table")
    print(f"==> {plan.folder / 'table.md'}")
    if failed := problems("its process ended without it"):
        raise UserError(f"{len(failed)} of {len(waiting)} runs failed: {'; '.join(failed)}; their logs are in "
                        f"{logs}, the same command tries them again")


def waves(runs: list[Training], at_once: int | None, room: int) -> list[list[Job]]:
    """The processes, one for each run; with --at_once as many as there is ``room`` for, each with its share of the
    runs, and those of the students when the teachers have ended."""
    if at_once is None:
        made: dict[int, Job] = {}
        for run in runs:  # teachers come first
            made[id(run)] = Job(run.label, [run], made.get(id(run.teacher)))
        return [list(made.values())]
    split = []
    for kind, name in (("models", "teachers and networks alone"), ("student_model", "students")):
        chosen = [run for run in runs if run.kind == kind]
        shares = [chosen[i::room] for i in range(min(room, len(chosen)))]
        split.append([Job(f"{name}, group {i}", share, at_once=at_once) for i, share in enumerate(shares, 1)])
    return split


def make_executor(opt: argparse.Namespace) -> Local | RayExecutor:
    if opt.executor == "local":
        return Local(opt.jobs, opt.gpus)
    shared = [Path(opt.save_dir), *([Path(opt.data_dir)] if Path(opt.data_dir).is_dir() else [])]
    shared[0].mkdir(parents=True, exist_ok=True)
    return RayExecutor(opt.address, opt.gpus_per_run, opt.cpus_per_run, shared)


def show(plan: Plan, opt: argparse.Namespace) -> None:
    """Print the plan: teachers, the rows' runs, what they cost."""
    print(f"{plan.table.name}: {plan.table.title}")
    print(f"size: {plan.size.text} ({plan.size.epochs} epochs, {plan.size.dataset}). "
          f"{plan.size.schedule}".rstrip())
    for (arch, flags), teacher in plan.teachers.items():
        if teacher.run is None:
            print(f"teacher {arch}{' ' + flags if flags else ''}: {teacher.path}{origin(teacher.path)}")
        elif opt.teacher_dir and not flags and teacher.run.missing:
            print(f"teacher {arch}: not in --teacher_dir ({vanilla(arch)}), so the table trains it")
    shown = [run for run in plan.runs.values() if run.wanted]
    rate, unit = plan.store.rate(opt.device != "cpu" and torch.cuda.is_available()), costs.unit()

    def cost(work: float) -> str:
        return f"{work / unit:.2g} units" + (f", about {duration(work / rate)}" if rate else "")

    for run in sorted(shown, key=lambda run: run.kind != "models"):
        print(f"  [{state(run)}] {run.label}" + (f"  {cost(plan.cost(run))}" if run.missing else ""))
        if run.missing:
            print(f"      {run.command()}")
    trials = sum(len(run.wanted) for run in shown)
    missing = sum(len(run.missing) for run in shown)
    print(f"{trials} runs, {trials - missing} done, {missing} to do")
    warn_of_records(plan)
    warn_of_code(plan)
    if missing:
        whole, chain = plan.costs()
        print(f"in units of one full run of resnet56 > resnet20: {whole / unit:.4g} in all, {chain / unit:.3g} in the "
              "longest chain of a teacher and a student")
        if rate:
            print(f"about {duration(whole / rate)} one after another, at the rate of the runs under --save_dir")


def warn_of_records(plan: Plan) -> None:
    """Of the finished runs whose records the table's folder has: how those that would be trained again are counted as
    done, and how many no row shows, because their teacher has other weights than the plan's."""
    again = sum(len({*run.missing} & run.kept.keys()) for run in plan.runs.values())
    if again:
        print(f"{again} of these have records in {plan.folder}; to count them as done: mkdir -p {plan.opt.save_dir} && "
              f"cp -rn {plan.folder}/models {plan.folder}/student_model {plan.opt.save_dir}/")
    shown = {result.folder for run in plan.runs.values() for result in run.kept.values()}
    others = {str(found.folder) for run in plan.runs.values() if run.source
              for found in plan.records.of_other_teachers(run.opt, run.source.files)} - shown
    if others:
        print(f"WARNING {len(others)} finished runs in {plan.folder} have teachers of other weights than this plan's, "
              "so the table leaves them out; give another --out, or put their teachers in place")


def warn_of_code(plan: Plan) -> None:
    """Warn of finished runs that were trained by other code than this, as far as git shows."""
    here = git_commit()
    found = {result.folder: commits_in(result.git_commit)
             for run in plan.runs.values() for result in run.done.values()}
    runs = [commits for commits in found.values() if other_code(commits, here)]
    if runs:
        other = other_code([commit for commits in runs for commit in commits], here)
        print(f"WARNING {len(runs)} finished runs were trained by the code of {other}; to train them "
              "again give another --save_dir")


def origin(path: Path) -> str:
    """Zoo and published accuracy of a teacher that known_teachers.json lists; '' of another."""
    known = known_teachers().get(read_teacher(str(path)).sha256) if path.is_file() else None
    return f", of {known.origin}, published top-1 {known.top1:.2f}" if known else ""


def state(run: Training) -> str:
    """'done', '1/3 done' or 'to do', and the epochs that the rest has been trained."""
    if not run.missing:
        return "done"
    done, epochs = len(run.wanted) - len(run.missing), sum(run.unfinished.get(trial, 0) for trial in run.missing)
    return (f"{done}/{len(run.wanted)} done" if done else "to do") + (f", {epochs} epochs trained" if epochs else "")


if __name__ == "__main__":
    sys.exit(guard(main))
