"""The processes of a table: started in order, watched, and stopped so that every run is saved."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from helper.errors import Interrupted, UserError
from helper.files import save_json
from helper.interrupts import Interrupts
from helper.run import BUSY

from .launch import launch
from .plan import Training
from .spec import slug

if TYPE_CHECKING:
    from .cluster import RayExecutor, RayProcess

PATIENCE = 120  # seconds a stopped run may take to save before it is killed
AGAIN = 60.0  # seconds between two tries of a run that another process trains
UPDATE = 30.0  # seconds between two updates of a table while no process ends: one may train many runs
COMMAND = "$ "  # first characters of the line in a log that holds the command


@dataclass(eq=False)
class Job:
    """A process that trains one run with its own script; with ``at_once`` several runs side by side, by several.py.

    needs: the job that must succeed first. problem: why it failed, '' if it didn't.
    """

    label: str
    runs: Sequence[Training]
    needs: Job | None = None
    at_once: int | None = None
    problem: str = ""
    process: subprocess.Popen | RayProcess | None = None
    log: Path | None = None
    log_start: int = 0  # byte of the log at which the output of this attempt starts
    not_before: float = 0.0

    @property
    def missing(self) -> list[str]:
        """The trials to train, of any run."""
        return list(dict.fromkeys(trial for run in self.runs for trial in run.missing))

    def argv(self, logs: Path) -> list[str]:
        if self.at_once is None:
            return self.runs[0].argv(self.missing)
        runs = {f"{run.label}, trial {trial}": run.argv([trial])  # runs of a seed are neighbours: they share batches
                for trial in self.missing for run in self.runs if trial in run.missing}
        digest = hashlib.sha256(json.dumps(runs).encode()).hexdigest()[:8]  # another table may write its group 1
        file = logs / f"{slug(self.label)}-{digest}.json"
        save_json(runs, file)
        return ["scripts/table/several.py", str(file), "--at_once", str(self.at_once)]

    def output(self) -> list[str]:
        """What this attempt has written to its log. Another table may write to the same log."""
        text = self.log.read_bytes()[self.log_start:].decode(errors="replace") if self.log else ""
        return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(COMMAND)]

    def last_error(self) -> str:
        """The last error in the output, else the last line, else ''."""
        lines = self.output()
        return ([line for line in lines if ": error: " in line] or lines or [""])[-1]

    def problem_of(self, run: Training) -> str:
        """Why a run has failed: of several runs in one process its line in the log, else what ended the process."""
        line = re.compile(rf"==> \d+ of \d+, {re.escape(run.label)}, trial \S+: FAILED: (.*)")
        found = [match[1] for match in map(line.match, self.output() if self.at_once is not None else ()) if match]
        return (found or [self.problem])[-1]


class Local:
    """Starts processes on this machine: ``jobs`` at once, on each of the CUDA devices ``gpus`` where there are any.

    room: how many at once; full: whether so many run. :class:`.cluster.RayExecutor` has the same attributes.
    """

    def __init__(self, jobs: int, gpus: Sequence[str] = ()):
        self.slots = [name for name in map(visible, gpus) for _ in range(jobs)] if gpus else [""] * jobs
        self.processes: list[subprocess.Popen | None] = [None] * len(self.slots)
        self.room = len(self.slots)

    def _free(self) -> list[int]:
        return [i for i, process in enumerate(self.processes) if process is None or process.poll() is not None]

    @property
    def full(self) -> bool:
        return not self._free()

    def start(self, argv: list[str], log: Path) -> subprocess.Popen:
        slot, environment = self._free()[0], dict(os.environ)
        if self.slots[slot]:
            environment["CUDA_VISIBLE_DEVICES"] = self.slots[slot]
        if self.room > 1:
            environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self.room)))
        self.processes[slot] = launch(argv, log, environment, signal.SIGTERM)
        return self.processes[slot]


def train(jobs: Iterable[Job], executor: Local | RayExecutor, logs: Path, update: Callable[[], None]) -> None:
    """Run all jobs. A failed one is reported and the others continue; those that need it are not started.

    update: called as jobs end, and every :data:`UPDATE` seconds. Raises Interrupted after a signal, when all processes
    have saved and ended. A table that is killed leaves no process behind, see :func:`.launch.launch`.
    """
    waiting, running, updated = list(jobs), list[Job](), time.monotonic()
    with Interrupts() as interrupts:
        while (waiting or running) and not interrupts.signum:
            for job in list(waiting):
                if job.needs and job.needs.problem:
                    job.problem = f"{job.needs.label} failed"
                    print(f"==> not started: {job.label}: {job.problem}", flush=True)
                    waiting.remove(job)
                elif not job.missing:  # another process has trained it
                    waiting.remove(job)
                elif not (job.needs in waiting or job.needs in running or executor.full
                          or time.monotonic() < job.not_before):
                    waiting.remove(job)
                    running.append(job)
                    start(job, executor, logs)
            ended = [job for job in running if job.process.poll() is not None]
            for job in ended:
                running.remove(job)
                if not end(job):
                    waiting.insert(0, job)
            if ended or time.monotonic() > updated + UPDATE:
                update()
                updated = time.monotonic()
            time.sleep(0.1)
        if interrupts.signum:
            stop(running)
            update()
            raise Interrupted(interrupts.signum, f"stopped by signal {interrupts.signum}; all runs that had begun are "
                                                 "saved, the same command continues them")


def start(job: Job, executor: Local | RayExecutor, logs: Path) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    job.log = logs / f"{slug(job.label)}.log"
    argv = job.argv(logs)
    with job.log.open("a") as log:
        print(f"{COMMAND}python {shlex.join(argv)}", file=log)
    job.log_start = job.log.stat().st_size
    job.process = executor.start(argv, job.log)
    print(f"==> started: {job.label}, trial {','.join(job.missing)}  (log {job.log})", flush=True)


def end(job: Job) -> bool:
    """Report a job whose process has ended; False if it must be started again, because another process trains it."""
    status = job.process.returncode
    if not status:
        print(f"==> finished: {job.label}", flush=True)
        return True
    reason = killed_by(status) or job.last_error() or f"exit status {status}, without output"
    if BUSY in reason:
        if not job.not_before:
            print(f"==> waiting: {job.label}: another process trains it; next try in {AGAIN:.0f} s", flush=True)
        job.not_before = time.monotonic() + AGAIN
        return False
    job.problem = reason
    print(f"==> FAILED: {job.label}: {reason}  (log {job.log})", flush=True)
    return True


def stop(running: list[Job]) -> None:
    """SIGTERM: every run finishes its step and saves. After :data:`PATIENCE` a kill; earlier saves stay."""
    for job in running:
        job.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + PATIENCE
    for job in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            job.process.wait(max(0.0, deadline - time.monotonic()))
        if job.process.poll() is None:
            job.process.kill()
            job.process.wait()
        begun = job.process.returncode != -signal.SIGTERM  # a run in training ends with another status, see Interrupts
        reason = job.last_error() or "without output" if begun else "before its first step"
        print(f"==> stopped: {job.label}: {reason}", flush=True)


def killed_by(status: int) -> str:
    """'killed by SIGKILL, ...' for the exit status of a process that a signal ended; else ''."""
    if status >= 0:
        return ""
    name = signal.Signals(-status).name
    return f"killed by {name}" + (", often because the machine ran out of memory" if name == "SIGKILL" else "")


def visible(gpu: str) -> str:
    """The name in CUDA_VISIBLE_DEVICES of device ``gpu`` of this process, which itself may see only some of them."""
    if int(gpu) >= torch.cuda.device_count():
        raise UserError(f"--gpus {gpu}: torch sees {torch.cuda.device_count()} CUDA devices here, counted from 0")
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return names[int(gpu)] if names else gpu
