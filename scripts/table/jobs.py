"""Several training processes at once: started in order, watched, stopped cleanly."""
from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import torch

from helper.errors import Interrupted, UserError
from helper.interrupts import Interrupts

from .plan import Run

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120  # seconds a stopped run may take to save before it is killed
PR_SET_PDEATHSIG = 1
COMMAND = "$ "  # begins the line of a log that tells a run's command
LIBC = ctypes.CDLL(None)  # looked up here: between fork and exec little is allowed


@dataclass
class Child:
    run: Run
    process: subprocess.Popen
    log: TextIO
    slot: int


class Pool:
    """Trains runs, at most one a slot. gpus: CUDA devices to spread over, or none; jobs: runs at once on each.

    A failed run is reported and the others go on; runs whose teacher failed are not started. A killed table leaves no
    process behind: its children are told to save and stop.
    """

    def __init__(self, jobs: int, gpus: list[str], logs: Path):
        self.slots = [name for name in map(visible, gpus) for _ in range(jobs)] if gpus else [""] * jobs
        self.logs = logs
        self.children: list[Child] = []
        self.failed: dict[int, str] = {}

    def train(self, runs: list[Run], after_each) -> int:
        """Train all; ``after_each()`` is called as runs finish. Returns the signal that stopped it, or 0."""
        waiting = list(runs)
        with Interrupts() as interrupts:
            while (waiting or self.children) and not interrupts.signum:
                self._start_what_can(waiting)
                if self._collect():
                    after_each()
                time.sleep(0.1)
            if interrupts.signum:
                self._stop()
                after_each()
        return interrupts.signum

    def reason(self, run: Run) -> str:
        return self.failed.get(id(run), "")

    def _start_what_can(self, waiting: list[Run]) -> None:
        for run in list(waiting):
            before = run.teacher
            if before is not None and self.reason(before):
                self.failed[id(run)] = f"{before.label} failed"
                print(f"==> not started: {run.label}: {before.label} failed", flush=True)
                waiting.remove(run)
                continue
            busy = {child.slot for child in self.children}
            free = [slot for slot in range(len(self.slots)) if slot not in busy]
            behind = before is not None and (before in waiting or any(c.run is before for c in self.children))
            if free and not behind:
                waiting.remove(run)
                self.children.append(self._start(run, free[0]))

    def _start(self, run: Run, slot: int) -> Child:
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"{slug(run.label)}.log"
        argv = run.argv(run.missing)
        log = path.open("a")
        print(f"{COMMAND}python {shlex.join(argv)}", file=log, flush=True)
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if self.slots[slot]:
            environment["CUDA_VISIBLE_DEVICES"] = self.slots[slot]
        if len(self.slots) > 1:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // len(self.slots))))
        # A session of its own: Ctrl-C reaches this process alone, which then stops the children in order.
        process = subprocess.Popen([sys.executable, str(ROOT / argv[0]), *argv[1:]], stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL, env=environment, start_new_session=True,
                                   preexec_fn=_die_with_parent if sys.platform == "linux" else None)
        print(f"==> started: {run.label}, trial {','.join(run.missing)}  (log {path})", flush=True)
        return Child(run, process, log, slot)

    def _collect(self) -> bool:
        ended = [child for child in self.children if child.process.poll() is not None]
        for child in ended:
            self.children.remove(child)
            child.log.close()
            status = child.process.returncode
            if status:
                self.failed[id(child.run)] = last_line(Path(child.log.name)) or f"status {status}, without a word"
                print(f"==> FAILED: {child.run.label}: {self.reason(child.run)}  (log {child.log.name})", flush=True)
            else:
                print(f"==> finished: {child.run.label}", flush=True)
        return bool(ended)

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
            child.log.close()
            said = last_line(Path(child.log.name)) or "before it said anything"
            print(f"==> stopped: {child.run.label}: {said}", flush=True)
        self.children.clear()


def visible(gpu: str) -> str:
    """What CUDA_VISIBLE_DEVICES calls device ``gpu`` of this process, which may itself see only some of them."""
    if int(gpu) >= torch.cuda.device_count():
        raise UserError(f"--gpus {gpu}: torch sees {torch.cuda.device_count()} CUDA devices here, counted from 0")
    mine = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return mine[int(gpu)] if mine else gpu


def stopped(signum: int) -> Interrupted:
    """What to raise when a signal ended :meth:`Pool.train`."""
    return Interrupted(signum, f"stopped by signal {signum}; what had begun is saved, the same command goes on with it")


def _die_with_parent() -> None:
    """Linux: SIGTERM to this child when the table's process dies, even by SIGKILL."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def last_line(path: Path) -> str:
    """The last thing a run said; '' where the log ends with its command."""
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines and not lines[-1].startswith(COMMAND) else ""


def slug(text: str) -> str:
    """A file name of letters, digits and a few signs."""
    return re.sub(r"[^A-Za-z0-9.=%+-]+", "_", text).strip("_")
