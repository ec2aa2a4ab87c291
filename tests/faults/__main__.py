"""Kills training processes and fills their disks; resumed runs must end as undisturbed ones do. For damaged and
hostile files see tests/test_faults.py.

    python -m tests.faults            # every method, under 10 minutes on 2 cores
    python -m tests.faults --quick    # a few methods, about a minute

Prints a table: fault, tried, survived, lost. A run has survived if, resumed, it ends with the same weights, optimiser,
memories, log.csv and summary bit for bit; or, for a fault that can only be refused, if it ends with one line and no
file is damaged. The exit status is 1 if anything was lost.
"""
from __future__ import annotations

import os
import random
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import torch

from distiller_zoo import Pair, distiller_dict
from helper.argtypes import Parser, number, path
from helper.errors import UserError, guard
from helper.options import parse_student
from helper.pair import shapes_of
from models import model_dict
from tests.faults import disks, runs
from tests.faults.processes import Job

DATA = ["--dataset", "digits", "--holdout", "40", "--train_fraction", "0.06", "--batch_size", "16", "--tb_freq", "2"]
N_DATA = 84  # training images of that fraction
FAULTS = (runs.signals, runs.workers, runs.second_processes, disks.full, disks.limited, disks.read_only)
LONG = (disks.limited, disks.read_only)  # left out by --quick
SMALL = {"nce_k": "40"}  # flags whose defaults are made for more images


def methods() -> dict[str, str]:
    """Every method that supports the drill's pair -> the state it keeps: 'memory', 'two stages' or ''."""
    shapes = shapes_of(model_dict["resnet8"](num_classes=10), (3, 32, 32), False)
    pair = Pair(shapes, shapes, N_DATA, 10, labels=torch.arange(N_DATA) % 10)
    found = {}
    for name, method in distiller_dict.items():
        opt = parse_student(method_flags(name))
        if method.unsupported(opt, pair):
            continue
        has_memory = any(len(b.shape) and b.shape[0] == N_DATA for b in method(opt, pair).buffers())
        found[name] = "two stages" if method.two_stage else "memory" if has_memory else ""
    return found


def method_flags(name: str) -> list[str]:
    method = distiller_dict[name]
    flags = ["--distill", name, *(f"--{flag}={SMALL[flag]}" for flag in method.flags if flag in SMALL)]
    return [*flags, "--init_epochs", "2"] if method.two_stage else flags


def kill_jobs(teacher: Path, quick: bool) -> dict[str, Job]:
    """The jobs to kill: title -> job."""
    epochs = ["--epochs", "4", "--lr_decay_epochs", "2", "--save_freq", "2"]
    jobs = {"SIGKILL, teacher": Job("teacher", [*DATA, *epochs, "--model", "resnet8", "--mix", "mixup"],
                                     picture=True),
            "SIGKILL, 3 teachers at once": Job("teacher", [*DATA, *epochs, "--model", "resnet8", "--trial", "1,2,3"])}
    student = [*DATA, "--model_s", "resnet8", "--path_t", str(teacher), "--epochs", "3", "--save_freq", "2"]
    kept = methods()
    chosen = list(kept)
    if quick:
        chosen = ["mixstd", *(next(n for n in kept if kept[n] == what) for what in ("memory", "two stages"))]
    for name in chosen:
        jobs[f"SIGKILL, {name}" + (f" ({kept[name]})" if kept[name] else "")] = Job(
            "student", [*student, *method_flags(name)])
    trio = method_flags(next(n for n in kept if kept[n] == "memory"))
    jobs["SIGKILL, 3 students at once"] = Job("student", [*student, *trio, "--trial", "1,2,3"])
    return jobs


def tasks(root: Path, teacher: Path, quick: bool, seed: int) -> list[tuple]:
    """(function, arguments) per task, long ones first."""
    short = Job("teacher", [*DATA, "--epochs", "3", "--model", "resnet8"])
    work = []
    for i, (title, job) in enumerate(kill_jobs(teacher, quick).items()):
        kills = 3 if quick else (8 if " at once" in title else 6 if job.role == "teacher" else 4)
        work.append((runs.killed, title, job, root / f"kill{i}", kills, random.Random(f"{seed} {i}")))
    work.sort(key=lambda item: " at once" not in item[1])
    for i, fault in enumerate(f for f in FAULTS if not (quick and f in LONG)):
        work.append((fault, short, root / f"fault{i}", random.Random(f"{seed} fault {i}")))
    return work


def print_table(rows: dict[str, list[str]], skipped: list[str]) -> int:
    """One line per fault; returns how many were lost."""
    width = max(map(len, rows))
    print(f"\n{'fault':<{width}}  tried  survived  lost")
    total = [0, 0]
    for fault, outcomes in rows.items():
        lost = sum(map(bool, outcomes))
        total = [total[0] + len(outcomes), total[1] + lost]
        print(f"{fault:<{width}}  {len(outcomes):>5}  {len(outcomes) - lost:>8}  {lost:>4}")
    print(f"{'all':<{width}}  {total[0]:>5}  {total[0] - total[1]:>8}  {total[1]:>4}")
    for line in skipped:
        print(f"skipped: {line}")
    for fault, outcomes in rows.items():
        for why in filter(None, dict.fromkeys(outcomes)):
            print(f"LOST {fault}: {why}")
    return total[1]


def attempt(fault, *args) -> runs.Outcomes:
    """The outcomes of a fault; an exception within the drill counts as lost."""
    try:
        return fault(*args)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return [(fault.__name__, f"{type(error).__name__} in {where.name}, line {where.lineno}: {error}")]


def drill(root: Path, quick: bool, seed: int) -> int:
    began = time.monotonic()
    teacher = Job("teacher", [*DATA, "--epochs", "2", "--model", "resnet8"])
    first = teacher.run(root / "teacher")
    if first.status:
        raise UserError(f"the drill's teacher could not be trained: {first.log.strip().splitlines()[-1]}")
    work = tasks(root, teacher.runs(root / "teacher")[0] / "resnet8_last.pth", quick, seed)
    rows, skipped = defaultdict(list), []
    cores = max(1, min(4, len(os.sched_getaffinity(0))))
    with ThreadPoolExecutor(cores) as pool:  # threads that start processes and watch them
        for future in as_completed([pool.submit(attempt, *item) for item in work]):
            for fault, lost in future.result():
                if lost.startswith("skip: "):
                    skipped.append(f"{fault}: {lost[6:]}")
                else:
                    rows[fault].append(lost)
                    print("x" if lost else ".", end="", flush=True)
    lost = print_table(dict(sorted(rows.items(), key=lambda row: not row[0].startswith("SIGKILL"))), skipped)
    kills = sum(len(outcomes) for fault, outcomes in rows.items() if fault.startswith("SIGKILL"))
    print(f"{kills} kills, {time.monotonic() - began:.0f} s on {cores} cores, seed {seed}")
    return lost


def main(argv=None):
    parser = Parser(description=__doc__)
    parser.add_boolean(parser, "--quick", False, "a few methods and kills")
    parser.add_argument("--seed", type=number(int, low=0, high=10**9), default=0,
                        help="seed of the random moments (default 0)")
    parser.add_argument("--work_dir", type=path, default=None, help="folder for the runs, which is kept (default: a "
                        "temporary one)")
    opt = parser.parse(argv)
    if opt.work_dir:
        Path(opt.work_dir).mkdir(parents=True)
        lost = drill(Path(opt.work_dir).resolve(), opt.quick, opt.seed)
    else:
        with tempfile.TemporaryDirectory(prefix="drill-") as folder:
            lost = drill(Path(folder), opt.quick, opt.seed)
    if lost:
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(guard(main))
