"""Training processes of the fault drill: started, watched, killed, and their results compared.

Python's fork server starts them: a process with one thread that has imported everything (see warm.py) and computed
nothing, so that a start takes 20 ms in place of 5 s. From the fork on they equal ``python train_teacher.py ...``.
No process is forked from one that has threads, queues or locks of the drill.
"""
from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import train_student_mixstd
import train_teacher
from helper import checkpoint
from helper.errors import guard
from helper.run import Run

SCRIPTS = {"teacher": train_teacher, "student": train_student_mixstd}
LIMIT = 240  # seconds after which a process counts as hung
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.faults.warm", "tests.faults.disks"])
# When multiprocessing starts a process, it reads the exit statuses of all others. A status can be read once: if two
# threads read the same one at the same time, the second gets 255.
STATUS = threading.Lock()
WHOLE, EXPECTED = threading.Lock(), {}  # of whole()


def nothing() -> None:
    """The default of ``before``."""


@dataclass
class Job:
    """A training to be started: its script and its flags."""

    role: str
    flags: Sequence[str]
    picture: bool = False  # whether curves.png is drawn, which costs more than the training

    @property
    def folder(self) -> str:
        return {"teacher": "models", "student": "student_model"}[self.role]

    def argv(self, save: Path, *more: str) -> list[str]:
        return [*self.flags, "--save_dir", str(save), "--device", "cpu", "--threads", "1", "--print_freq", "1", *more]

    def start(self, save: Path, *more: str, before: Callable[[], None] = nothing) -> Training:
        """Start it, resuming what is in ``save``; ``before``, a function of a module, is called in the new process."""
        return Training(self, self.argv(save, "--resume", "auto", *more), Path(f"{save}.log"), before)

    def run(self, save: Path, *more: str, before: Callable[[], None] = nothing) -> Training:
        training = self.start(save, *more, before=before)
        training.wait()
        return training

    def runs(self, save: Path) -> list[Path]:
        return sorted((save / self.folder).glob("*/"))


class Training:
    """A training process. ``status``: its exit status, -9 if killed by signal 9; ``log``: its output."""

    def __init__(self, job: Job, argv: Sequence[str], log: Path, before: Callable[[], None]):
        self.file = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self.skip = log.stat().st_size if log.exists() else 0
        self.process = SERVER.Process(target=become, args=(job.role, list(argv), log, before, job.picture))
        with STATUS:
            self.process.start()
        self.pid = self.process.pid

    @property
    def status(self) -> int | None:
        with STATUS:
            return self.process.exitcode

    @property
    def log(self) -> str:
        return self.file.read_bytes()[self.skip:].decode(errors="replace") if self.file.exists() else ""

    def running(self) -> bool:
        return self.status is None

    def wait(self) -> int:
        """The status; a process that hangs is killed and counts as 124."""
        wait([self.process.sentinel], LIMIT)
        if not self.running():
            return self.status
        self.kill()
        wait([self.process.sentinel], LIMIT)
        return 124

    def until(self, seen: Callable[[], object], pause: float = 0.002) -> bool:
        """Wait until ``seen()``; False if the process ended first or hung."""
        end = time.monotonic() + LIMIT
        while self.running() and time.monotonic() < end:
            if seen():
                return True
            time.sleep(pause)
        return False

    def kill(self, signum: int = signal.SIGKILL) -> None:
        if self.running():
            os.kill(self.pid, signum)

    def children(self) -> list[int]:
        file = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(word) for word in file.read_text().split()] if file.exists() else []


def become(role: str, argv: list[str], log: Path, before: Callable[[], None], picture: bool) -> None:
    """In the new process: set session, output and command line, then run the training script."""
    status = 1
    try:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the drill runs under nohup
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(out, stream)
        sys.stdout, sys.stderr = (os.fdopen(n, "w", buffering=1) for n in (1, 2))
        sys.argv = [f"train_{role}", *argv]
        # data workers start by the default method, not by the one that started this process
        multiprocessing.set_start_method(multiprocessing.get_all_start_methods()[0], force=True)
        before()
        if not picture:
            Run.write_curves = lambda self, history: None
        status = guard(SCRIPTS[role].main, argv)
    except SystemExit as leave:
        status = leave.code
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(status or 0)


def results(job: Job, save: Path) -> dict[str, dict]:
    """Per run, what must not differ: weights, everything in the resume state but timing, log.csv, summary."""
    found = {}
    for folder in job.runs(save):
        state = checkpoint.load(folder / "resume.pth")
        for row in state["history"]:
            row.update(seconds=0, images_per_s=0)
        summary = json.loads((folder / "summary.json").read_text())
        summary.pop("wall_time_s")
        found[folder.name] = {
            "log.csv": (folder / "log.csv").read_text(), "summary.json": summary,
            "resume.pth": checkpoint.digest({k: v for k, v in state.items() if k != "config"}),
            **{file.name: checkpoint.digest(checkpoint.load(file)["model"])
               for file in sorted(folder.glob("*.pth")) if not file.name.startswith("resume")}}
    return found


def difference(job: Job, save: Path, expected: dict[str, dict]) -> str:
    """How the runs in ``save`` differ from those expected, or ''."""
    try:
        found = results(job, save)
    except Exception as error:  # a result that can't be read is lost
        return f"no result: {type(error).__name__}: {error}"
    if found.keys() != expected.keys():
        return f"runs {sorted(found)}, expected {sorted(expected)}"
    return "; ".join(f"{run}: {part} differs" for run in expected for part in expected[run].keys() | found[run].keys()
                     if expected[run].get(part) != found[run].get(part))


def in_save(save: Path) -> bool:
    """Whether a checkpoint or a table is being written."""
    return next(save.glob("*/*/.*.partial"), None) is not None


def tail(training: Training) -> str:
    return " | ".join(training.log.strip().splitlines()[-3:])


def check_refused(training: Training, *words: str) -> str:
    """'' if a run ended with status 2 and one line that contains ``words``, otherwise what was wrong."""
    training.wait()
    lines = [line for line in training.log.splitlines() if ": error: " in line]
    if training.status != 2 or len(lines) != 1 or "Traceback" in training.log:
        return f"status {training.status}, not one line and 2: {tail(training)}"
    missing = [word for word in words if word not in lines[0]]
    return f"{missing} not in: {lines[0]}" if missing else ""


def check_resumed(job: Job, save: Path, expected: dict) -> str:
    """Resume what is in ``save``; '' if it ends as expected, otherwise what was wrong."""
    training = job.run(save)
    return f"status {training.status}: {tail(training)}" if training.status else difference(job, save, expected)


def whole(job: Job, save: Path) -> dict:
    """Results of the undisturbed job, trained once per parent folder of ``save``."""
    with WHOLE:
        key = (save.parent, job.role, *job.flags)
        if key not in EXPECTED:
            job.run(save / "whole")
            EXPECTED[key] = results(job, save / "whole")
        return EXPECTED[key]


def halfway(job: Job, save: Path, epoch: int = 3) -> Training:
    """A started run in ``save`` that has reached ``epoch``."""
    training = job.start(save)
    training.until(lambda: f"Epoch {epoch}/" in training.log)
    return training
