"""Faults of disks: full, read-only, writes that fail."""
from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.faults.processes import Job, check_refused, check_resumed, difference, halfway, tail, whole
from tests.faults.runs import Outcomes


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Context with a disk of 6 MB at ``folder``; yields False where this user may not mount one."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "drill", str(folder)]
    allowed = os.geteuid() == 0 and shutil.which("mount")
    mounted = allowed and subprocess.run(command, capture_output=True, timeout=240).returncode == 0
    try:
        yield bool(mounted)
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True, timeout=240)


def fill(file: Path) -> None:
    with open(file, "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


def full(job: Job, save: Path, rng: random.Random) -> Outcomes:
    """A disk that is full from the second epoch on: to the end, for a while, and at SIGTERM."""
    expected, found = whole(job, save), []
    for title in ("to the end", "for a while", "at SIGTERM"):
        for attempt in range(10):
            disk = save / f"{title.replace(' ', '_')}{attempt}"
            with small_disk(disk) as mounted:
                if not mounted:
                    return [("full disk", "skip: needs root, to mount a small disk")]
                training = halfway(job, disk, 2)
                fill(disk / "filler")
                training.until(lambda training=training: "could not save" in training.log)
                if title == "at SIGTERM":
                    training.kill(15)
                    if not check_refused(training, "No space left"):
                        continue  # it ended before the signal, as "to the end" does: try again
                    wrong = "" if training.status == 143 and "could not save" in training.log else tail(training)
                elif title == "to the end":
                    wrong = check_refused(training, "No space left")
                (disk / "filler").unlink()
                if title == "for a while":
                    wrong = tail(training) if training.wait() else difference(job, disk, expected)
                found.append((f"full disk {title}", wrong or check_resumed(job, disk, expected)))
            break
        else:
            found.append((f"full disk {title}", "ended before every signal"))
    return found


def short_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def limited(job: Job, save: Path, rng: random.Random) -> Outcomes:
    """No file may grow beyond 200 kB, so that every checkpoint fails in the middle of its write."""
    expected = whole(job, save)
    training = halfway(job, save / "run", 2)
    training.kill()
    training.wait()
    training = job.run(save / "run", before=short_files)
    wrong = check_refused(training, "File too large")
    return [("writes that fail half-way", wrong or check_resumed(job, save / "run", expected))]


def read_only(job: Job, save: Path, rng: random.Random) -> Outcomes:
    """A folder that may not be written: at the start of a run, and when one is resumed."""
    expected, disk = whole(job, save), save / "disk"
    with small_disk(disk) as mounted:
        if not mounted and os.geteuid() == 0:
            return [("read-only folder", "skip: root without the right to mount writes everywhere")]

        def protect(on: bool) -> None:
            if mounted:
                subprocess.run(["mount", "-o", "remount," + ("ro" if on else "rw"), str(disk)], check=True, timeout=240)
            for folder in [disk, *disk.rglob("*/")] if not mounted else ():
                folder.chmod(0o500 if on else 0o700)

        protect(True)
        wrong = check_refused(job.run(disk), str(disk))
        protect(False)
        if list(disk.iterdir()):
            wrong = wrong or "it left a folder"
        training = halfway(job, disk, 2)
        training.kill()
        training.wait()
        protect(True)
        later = check_refused(job.run(disk), str(disk))
        protect(False)
        later = later or check_resumed(job, disk, expected)
        return [("read-only folder, new run", wrong), ("read-only folder, resumed", later)]
