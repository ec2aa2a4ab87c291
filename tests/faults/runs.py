"""The faults of the drill. Each returns (fault, '' or what was lost) per attempt, or 'skip: ' and a reason where the
fault can't be produced on this machine."""
from __future__ import annotations

import os
import random
import signal
import time
from functools import partial
from pathlib import Path

from tests.faults.processes import Job, check_refused, check_resumed, difference, halfway, in_save, results, tail, whole

Outcomes = list[tuple[str, str]]


def killed(title: str, job: Job, save: Path, kills: int, rng: random.Random) -> Outcomes:
    """SIGKILL at random moments of a run, every third in the middle of a save; then the run is resumed to its end."""
    began = time.monotonic()
    job.run(save / "whole")
    expected, seconds = results(job, save / "whole"), time.monotonic() - began
    done, drilled, rounds = 0, save / "killed", 0
    while done < kills:
        training = job.start(drilled)
        if done % 3 == 2:
            training.until(partial(in_save, drilled), pause=0.0005)
            time.sleep(rng.uniform(0, 0.004))
        else:
            time.sleep(rng.uniform(0.05, 0.8 * seconds))
        training.kill()
        status, rounds = training.wait(), rounds + 1
        if status == -signal.SIGKILL:
            done += 1
        elif status or rounds > 10 * kills:
            return [(title, f"status {status}: {tail(training)}")] * max(done, 1)
        else:
            drilled = save / f"killed{rounds}"  # it finished before the kill: start again
    lost = check_resumed(job, drilled, expected)
    return [(title, lost)] * done


def signals(job: Job, save: Path, rng: random.Random) -> Outcomes:
    """SIGTERM, SIGHUP and Ctrl-C in the middle of an epoch; Ctrl-C twice."""
    expected, found = whole(job, save), []
    ways = (("SIGTERM", signal.SIGTERM, 143, 0), ("Ctrl-C", signal.SIGINT, 130, 0),
            ("closed terminal", signal.SIGHUP, 129, 0), ("Ctrl-C twice", signal.SIGINT, 130, 1))
    for title, signum, status, again in ways:
        for epoch in (1, 2):
            for attempt in range(10):
                folder = save / f"{title}{epoch}_{attempt}"
                training = halfway(job, folder, epoch)
                time.sleep(rng.uniform(0, 0.3))
                for _ in range(1 + again):
                    training.kill(signum)
                    time.sleep(0.01)
                if training.wait():
                    break  # otherwise it finished before the signal: try again
            wrong = f"status {training.status}: {tail(training)}" if training.status != status else ""
            if not again and "saved, continue with" not in training.log:
                wrong = wrong or f"no message that it was saved: {tail(training)}"
            found.append((f"{title} in mid-epoch", wrong or check_resumed(job, folder, expected)))
    return found


def second_processes(job: Job, save: Path, rng: random.Random) -> Outcomes:
    """A second process on a folder; two at once; a second one with several trials, one of them in training."""
    expected, found = whole(job, save), []
    first = halfway(job, save / "late", 1)
    first.kill(signal.SIGSTOP)  # it must not finish before the others have tried
    wrong = check_refused(job.start(save / "late"), "is training in this folder")
    more = Job(job.role, [*job.flags, "--trial", "9,0"]).start(save / "late")
    wrong = wrong or check_refused(more, "is training in this folder")
    if len(job.runs(save / "late")) > 1:
        wrong = wrong or "the refused one left a folder"
    first.kill(signal.SIGCONT)
    wrong = wrong or ("" if first.wait() == 0 else tail(first)) or difference(job, save / "late", expected)
    found.append(("second process on a folder", wrong))
    both = [job.start(save / "pair") for _ in range(2)]
    statuses = sorted(training.wait() for training in both)
    wrong = "" if statuses == [0, 2] else f"statuses {statuses}"
    return [*found, ("two processes at once", wrong or difference(job, save / "pair", expected))]


def workers(job: Job, save: Path, rng: random.Random) -> Outcomes:
    """A data worker killed; a signal to the whole process group."""
    job = Job(job.role, [*job.flags, "--loader", "torch", "--num_workers", "2"])
    expected = whole(job, save)
    training = halfway(job, save / "worker", 2)
    if not training.children():
        training.kill()
        training.wait()
        return [("data worker killed", "skip: /proc does not list children here")]
    os.kill(rng.choice(training.children()), signal.SIGKILL)
    wrong = check_refused(training, "data worker") or check_resumed(job, save / "worker", expected)
    training = halfway(job, save / "group", 2)
    os.killpg(training.pid, signal.SIGTERM)
    status = "" if training.wait() == 143 else f"status {training.status}: {tail(training)}"
    signalled = status or check_resumed(job, save / "group", expected)
    return [("data worker killed", wrong), ("SIGTERM to workers too", signalled)]
