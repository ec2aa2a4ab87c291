"""Several training processes at once: started in order, watched, stopped cleanly."""
from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from helper.errors import Interrupted, UserError
from helper.interrupts import Interrupts
from helper.run import BUSY

from .launch import launch
from .plan import Training

PATIENCE = 120  # seconds a stopped run may take to save before it is killed
AGAIN = 60.0  # seconds until a run that another process trains is looked at again
COMMAND = "$ "  # begins the line of a log that tells a run's command


class Process(Protocol):
    """What the pool asks of a running command; subprocess.Popen's part of it. ``place``: where it runs, '' for here."""

    place: str
    returncode: int | None

    def poll(self) -> int | None: ...
    def send_signal(self, signum: int) -> None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def kill(self) -> None: ...


@dataclass
class Child:
    run: Training
    process: Process
    log: Path
    slot: int
    begins: int = 0  # byte of the log at which what it says begins

    def reason(self) -> str:
        """Its last error, else the last thing it said, else ''. Another table may write to the same log meanwhile."""
        said = self.log.read_bytes()[self.begins:].decode(errors="replace").splitlines()
        lines = [line.strip() for line in said if line.strip() and not line.startswith(COMMAND)]
        errors = [line for line in lines if ": error: " in line]
        return (errors or lines or [""])[-1]


class Pool:
    """Trains runs, at most one a slot. gpus: CUDA devices to spread over, or none; jobs: runs at once on each.

    A failed run is reported and the others go on; runs whose teacher failed are not started. A killed table leaves no
    process behind: its children are told to save and stop. :class:`scripts.table.cluster.RayPool` trains on a cluster.
    """

    def __init__(self, jobs: int, gpus: list[str], logs: Path):
        self.slots = [name for name in map(visible, gpus) for _ in range(jobs)] if gpus else [""] * jobs
        self.logs = logs
        self.children: list[Child] = []
        self.waiting: list[Training] = []
        self.failed: dict[int, str] = {}
        self.later: dict[int, float] = {}  # runs that another process trains, with the time to look again

    @property
    def room(self) -> int:
        """How many processes there may be at once."""
        return len(self.slots)

    def train(self, runs: list[Training], after_each, news: Callable[[], bool] = lambda: False) -> int:
        """Train all; ``after_each()`` is called as processes end, and where ``news()`` says so in between. Returns the
        signal that stopped it, or 0."""
        self.waiting = list(runs)
        with Interrupts() as interrupts:
            while (self.waiting or self.children) and not interrupts.signum:
                self._start_what_can()
                if self._collect() or news():
                    after_each()
                time.sleep(0.1)
            if interrupts.signum:
                self._stop()
                after_each()
        return interrupts.signum

    def close(self) -> None:
        """Give back what the pool holds beside its processes."""

    def reason(self, run: Training) -> str:
        return self.failed.get(id(run), "")

    def _start_what_can(self) -> None:
        for run in list(self.waiting):
            if time.monotonic() < self.later.get(id(run), 0.0):
                continue
            before = run.teacher
            if before is not None and self.reason(before):
                self.failed[id(run)] = f"{before.label} failed"
                print(f"==> not started: {run.label}: {before.label} failed", flush=True)
                self.waiting.remove(run)
                continue
            busy = {child.slot for child in self.children}
            free = [slot for slot in range(len(self.slots)) if slot not in busy]
            behind = before is not None and (before in self.waiting or any(c.run is before for c in self.children))
            if free and not behind:
                self.waiting.remove(run)
                self.children.append(self._start(run, free[0]))

    def _start(self, run: Training, slot: int) -> Child:
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"{slug(run.label)}.log"
        argv = run.argv(run.missing)
        with path.open("a") as log:
            print(f"{COMMAND}python {shlex.join(argv)}", file=log)
        begins = path.stat().st_size
        process = self._spawn(argv, path, slot)
        print(f"==> started: {run.label}, trial {','.join(run.missing)}  (log {path})", flush=True)
        return Child(run, process, path, slot, begins)

    def _spawn(self, argv: list[str], path: Path, slot: int) -> Process:
        """Start one of the project's scripts, its words in ``argv``, its output at the end of ``path``."""
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self.slots[slot]:
            environment["CUDA_VISIBLE_DEVICES"] = self.slots[slot]
        if len(self.slots) > 1:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(self.slots))))
        return launch(argv, path, environment, signal.SIGTERM)

    def _collect(self) -> bool:
        ended = [child for child in self.children if child.process.poll() is not None]
        for child in ended:
            self.children.remove(child)
            status, place = child.process.returncode, child.process.place
            if self._tries_again(child):
                continue
            if status:
                self.failed[id(child.run)] = killed_by(status) or child.reason() or f"status {status}, without a word"
                print(f"==> FAILED{place}: {child.run.label}: {self.reason(child.run)}  (log {child.log})", flush=True)
            else:
                print(f"==> finished{place}: {child.run.label}", flush=True)
        return bool(ended)

    def _tries_again(self, child: Child) -> bool:
        """Whether an ended run was put back into ``waiting``: one that another table trains, as a teacher of both."""
        if not child.process.returncode or BUSY not in child.reason():
            return False
        if id(child.run) not in self.later:
            print(f"==> waiting: {child.run.label}: another process trains it; looking again every {AGAIN:.0f} s",
                  flush=True)
        self.later[id(child.run)] = time.monotonic() + AGAIN
        self.waiting.insert(0, child.run)
        return True

    def _stop(self) -> None:
        """SIGTERM: every run finishes its step and saves. Patience ends in a kill; what was saved before stays."""
        for child in self.children:
            child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()
            said = child.reason() or "before it said anything"
            done = "stopped" if child.process.returncode else "finished"
            print(f"==> {done}: {child.run.label}: {said}", flush=True)
        self.children.clear()


def killed_by(status: int) -> str:
    """'killed by SIGKILL, ...' for the exit status of a process that a signal ended; else ''."""
    if status >= 0:
        return ""
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"killed by {name}" + (", often because the machine ran out of memory" if name == "SIGKILL" else "")


def visible(gpu: str) -> str:
    """What CUDA_VISIBLE_DEVICES calls device ``gpu`` of this process, which may itself see only some of them."""
    if int(gpu) >= torch.cuda.device_count():
        raise UserError(f"--gpus {gpu}: torch sees {torch.cuda.device_count()} CUDA devices here, counted from 0")
    mine = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return mine[int(gpu)] if mine else gpu


def stopped(signum: int) -> Interrupted:
    """What to raise when a signal ended :meth:`Pool.train`."""
    return Interrupted(signum, f"stopped by signal {signum}; what had begun is saved, the same command goes on with it")


def slug(text: str) -> str:
    """A file name of letters, digits and a few signs."""
    return re.sub(r"[^A-Za-z0-9.=%+-]+", "_", text).strip("_")
