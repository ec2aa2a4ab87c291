"""Faults of disks and files: full, read-only, data that is missing or altered, files that try to run code."""
from __future__ import annotations

import contextlib
import os
import pickle
import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from tests.faults.processes import Job, check_refused, check_resumed, difference, halfway, tail, whole
from tests.faults.runs import Outcomes
from tests.support import tiny
from tests.support.bombs import Bomb

BOMB = "it holds more than tensors and plain values"


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


def full(job: Job, save: Path, rng: random.Random, teacher: Path) -> Outcomes:
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


def limited(job: Job, save: Path, rng: random.Random, teacher: Path) -> Outcomes:
    """No file may grow beyond 200 kB, so that every checkpoint fails in the middle of its write."""
    expected = whole(job, save)
    training = halfway(job, save / "run", 2)
    training.kill()
    training.wait()
    training = job.run(save / "run", before=short_files)
    wrong = check_refused(training, "File too large")
    return [("writes that fail half-way", wrong or check_resumed(job, save / "run", expected))]


def read_only(job: Job, save: Path, rng: random.Random, teacher: Path) -> Outcomes:
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


def data(job: Job, save: Path, rng: random.Random, teacher: Path) -> Outcomes:
    """CIFAR files that are missing, truncated, altered, or a bomb with the expected checksum."""
    good, crater, found = tiny.write(save / "good", "cifar100", 120, 60), save / "crater", []
    ways = {"missing": lambda file: file.unlink(), "truncated": lambda file: os.truncate(file, 5000),
            "altered": lambda file: file.write_bytes(file.read_bytes()[:-9] + b"x" * 9),
            "a bomb": lambda file: file.write_bytes(pickle.dumps({"data": Bomb(crater)}))}
    for title, harm in ways.items():
        folder = save / title.replace(" ", "_")
        shutil.copytree(good, folder)
        file = folder / "cifar-100-python" / "train"
        harm(file)
        sums = folder if title == "a bomb" else good
        job = Job("teacher", ["--dataset", "cifar100", "--data_dir", str(folder), "--model", "resnet8"])
        words = {"truncated": ["md5"], "altered": ["md5"], "a bomb": ["mkdir"]}.get(title, [])
        training = job.run(save / "run", before=partial(with_sums_of, sums))
        wrong = check_refused(training, str(file.parent), "train", *words)
        if (save / "run").exists() or crater.exists():
            wrong = wrong or "it left a folder, or code was run"
        found.append((f"data file {title}", wrong))
    return found


def with_sums_of(folder: Path) -> None:
    """In this process, take the files in ``folder`` for the official ones and block downloads."""
    os.environ.update(https_proxy="http://127.0.0.1:9")  # nothing listens there
    official = tiny.official(folder)
    official.__enter__()
    KEPT.append(official)  # garbage collection would end the context


KEPT: list = []


def bombs(job: Job, save: Path, rng: random.Random, teacher: Path) -> Outcomes:
    """Pickles that run code, as teacher, as data and as resume files."""
    expected, crater, found = whole(job, save), save / "crater", []
    zipped, plain = save / "resnet8_bomb" / "zipped.pth", save / "resnet8_bomb" / "plain.pth"
    zipped.parent.mkdir(parents=True)
    torch.save({"model": Bomb(crater), "arch": "resnet8"}, zipped)
    plain.write_bytes(pickle.dumps({"model": Bomb(crater)}))
    for file in (zipped, plain):
        student = Job("student", ["--dataset", "digits", "--path_t", str(file), "--epochs", "1"])
        wrong = check_refused(student.run(save / "student"), str(file), BOMB)
        found.append(("bomb as a teacher", wrong or ("code was run" if crater.exists() else "")))
    for i, names in enumerate((("resume.pth",), ("resume.pth", "resume.prev.pth"))):
        training = halfway(job, save / f"resume{i}")
        training.kill()
        training.wait()
        for name in names:
            shutil.copy(zipped, job.runs(save / f"resume{i}")[0] / name)
        if len(names) == 1:
            wrong = check_resumed(job, save / f"resume{i}", expected, BOMB, "resuming from resume.prev.pth")
        else:
            wrong = check_refused(job.run(save / f"resume{i}"), BOMB)
        found.append(("bomb as a resume file", wrong or ("code was run" if crater.exists() else "")))
    return found
