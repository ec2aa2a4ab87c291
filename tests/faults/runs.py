"""The faults of the drill. Each returns (fault, '' or what was lost) per attempt, or 'skip: ' and a reason where the
fault can't be produced on this machine."""
from __future__ import annotations

import os
import random
import shutil
import signal
import time
from functools import partial
from pathlib import Path

from helper import checkpoint
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
    training = job.run(drilled)
    lost = f"status {training.status}: {tail(training)}" if training.status else difference(job, drilled, expected)
    return [(title, lost)] * done


def signals(job: Job, save: Path, rng: random.Random, teacher: Path) -> Outcomes:
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


def damaged(job: Job, save: Path, rng: random.Random, teacher: Path) -> Outcomes:
    """The newest checkpoint truncated, emptied, with a flipped bit, swapped for another; then both damaged."""
    expected, source = whole(job, save), save / "source"
    other = Job(job.role, [*job.flags, "--trial", "7"])
    for victim, folder in ((job, source), (other, save / "other")):
        training = halfway(victim, folder)
        training.kill(signal.SIGTERM)
        training.wait()
    stranger = other.runs(save / "other")[0] / "resume.pth"

    def flip(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[rng.randrange(len(content) // 4, len(content) // 2)] ^= 1 << rng.randrange(8)
        file.write_bytes(content)

    ways = {"truncated": lambda f: os.truncate(f, rng.randrange(1, f.stat().st_size)),
            "emptied": lambda f: os.truncate(f, 0),
            "with a flipped bit": flip, "swapped for another trial's": lambda f: shutil.copy(stranger, f),
            "swapped for a teacher": lambda f: shutil.copy(teacher, f)}
    found = []
    for i, (title, harm) in enumerate(ways.items()):
        folder = save / f"harm{i}"
        shutil.copytree(source, folder)
        harm(job.runs(folder)[0] / "resume.pth")
        wrong = check_resumed(job, folder, expected, "resume.pth", "resuming from resume.prev.pth")
        found.append((f"newest checkpoint {title}", wrong))
    folder = save / "both"
    shutil.copytree(source, folder)
    files = [job.runs(folder)[0] / name for name in ("resume.pth", "resume.prev.pth")]
    for file in files:
        flip(file)
    before = [file.read_bytes() for file in files]
    wrong = check_refused(job.run(folder), "resume.pth", "resume.prev.pth", "--overwrite")
    kept = before == [file.read_bytes() for file in files]
    return [*found, ("both checkpoints damaged: refused, unchanged", wrong or ("" if kept else "they were changed"))]


def second_processes(job: Job, save: Path, rng: random.Random, teacher: Path) -> Outcomes:
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


def workers(job: Job, save: Path, rng: random.Random, teacher: Path) -> Outcomes:
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


def not_finite(job: Job, save: Path, rng: random.Random, teacher: Path) -> Outcomes:
    """A learning rate that blows the weights up, at once and after two good epochs; stop and skip."""
    at_once = Job(job.role, [*job.flags, "--learning_rate", "1e8"])
    wrong = check_refused(at_once.run(save / "once"), "epoch 1", "not finite", "--learning_rate")
    later = Job(job.role, [*job.flags, "--lr_decay_epochs", "2", "--lr_decay_rate", "1e9"])
    stopped = check_refused(later.run(save / "later"), "epoch 3", "not finite", "resume.pth, is kept")
    state = checkpoint.load(later.runs(save / "later")[0] / "resume.pth")
    if state["epoch"] != 2 or not _finite(state):
        stopped = stopped or "the checkpoint kept is not that of epoch 2, or not finite"
    training = later.run(save / "later", "--on_nan", "skip")
    state = checkpoint.load(later.runs(save / "later")[0] / "resume.pth")
    skipped = "" if training.status in (0, 2) and "Traceback" not in training.log and _finite(state) else tail(training)
    return [("not finite at once, stop", wrong), ("not finite later, stop", stopped),
            ("not finite later, skip", skipped)]


def _finite(state: dict) -> bool:
    return all(bool(value.isfinite().all()) for part in ("model", "method") for value in state[part].values())
