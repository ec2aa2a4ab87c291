"""The record of a run: its folder, its lock, TensorBoard, tables, curves, checkpoints and summary."""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

# tensorboard_logger's generated protobuf code predates protobuf 4 and runs only with its Python implementation.
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
import numpy
import tensorboard_logger
import torch

from . import checkpoint, files, rundir
from .errors import UserError
from .rundir import BEFORE, NEWEST

BUSY = "is training in this folder"  # what the second process in a folder says of the first
CODE = ("dataset", "distiller_zoo", "helper", "models", "train_student_mixstd.py", "train_teacher.py")
WRITTEN = ("args.json", "log.csv", "timing.csv", "curves.png", "summary.json", "*.pth", ".*.partial",
           "events.out.tfevents.*")  # all that a run writes but its lock
TIMING = ("seconds", "images_per_s")  # not in log.csv: on the CPU a resumed run makes that bit for bit
# One name, one tag: the originals' tags, then new ones. The first stage of two-stage methods has its own.
TAGS = ("train_acc", "train_loss", "test_acc", "test_loss", "test_acc_top5",
        "learning_rate", "images_per_s", "mixed_fraction", "skipped_steps")


class Run:
    """One run's folders. :func:`helper.resume.find_run` chooses them and checks that they may be written."""

    def __init__(self, folder: Path, tb_folder: Path, finished: bool = False):
        self.folder, self.tb_folder = folder, tb_folder
        self.logger = None
        self.source: Path | None = None  # the folder of a shorter run, whose state a new longer one begins with
        self.finished = finished  # whether all that was asked for is done and summarised
        self.commits: list[str] = []  # of the code that has trained it, in order
        self.hardware: list[str] = []  # that has trained it, in order
        self.command: list[str] = []  # of a resumed run: the words it was first started with
        self.points: list[tuple[int, float]] = []  # what log_step was given, for a resumed run's TensorBoard
        self._lock = None
        self._made: list[Path] = []  # folders that lock() made
        self._logged = 0  # rows of the history that stand in TensorBoard

    def lock(self) -> None:
        """Make the folder and take its lock. The system drops the lock with the process, so a crash leaves none."""
        self._made = [f for f in (self.folder, *self.folder.parents) if not f.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--save_dir: {self.folder} can't be made ({error.strerror}); name another "
                            "folder") from None
        file = self.folder / ".lock"
        handle = open(file, "a+")  # noqa: SIM115 - held open for the life of the run
        try:
            # POSIX's, because data workers don't inherit it: it goes with this process, even if they outlive it
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not file.exists() or not os.path.samestat(file.stat(), os.fstat(handle.fileno())):
                raise BlockingIOError  # whoever held it before has just removed it with the folder
        except (BlockingIOError, PermissionError):
            handle.seek(0)
            pid = handle.read(20).strip()
            handle.close()
            self._made = []
            raise UserError(f"{self.folder}: process {pid if pid.isdigit() else '?'} {BUSY}; wait "
                            "for it, or change --trial or --save_dir") from None
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        self._lock = handle
        for partial in self.folder.glob(".*.partial"):
            partial.unlink()  # a kill in the middle of a write left it

    def undo(self) -> None:
        """Unlock, and remove the folders if :meth:`lock` made them: for an error before training."""
        if self._lock and self._made:
            self.clear()
            (self.folder / ".lock").unlink(missing_ok=True)
            for folder in (self.tb_folder, *self._made, self.tb_folder.parent):
                with contextlib.suppress(OSError):  # not there, or not empty
                    folder.rmdir()
        self.unlock()

    def unlock(self) -> None:
        if self._lock:
            self._lock.close()
            self._lock = None

    def clear(self) -> None:
        """Remove what an earlier run left in both folders: ``--overwrite``, or a run that died before a save."""
        for folder in (self.folder, self.tb_folder):
            for pattern in WRITTEN:
                for file in folder.glob(pattern) if folder.is_dir() else ():
                    file.unlink()

    def trained_by(self, commit: str, hardware: str) -> None:
        """From here on this code on this hardware trains it."""
        for name, before in ((commit, self.commits), (hardware, self.hardware)):
            if name and name not in before:
                before.append(name)

    def start(self, config: dict[str, Any], history: list[dict]) -> None:
        """Write args.json and bring the tables and TensorBoard to the state of ``history``."""
        environment = {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__,
                       "torchvision": version("torchvision"), "git_commit": ", ".join(self.commits),
                       "hardware": "; ".join(self.hardware)}
        command = self.command or [Path(sys.executable).name, *sys.argv]
        args = {"config": config, "command": command, "environment": environment}
        files.save_json(args, self.folder / "args.json")
        for stale in self.tb_folder.glob("events.out.tfevents.*") if self.tb_folder.is_dir() else ():
            stale.unlink()  # replayed below, so that no epoch stands twice
        self.logger = tensorboard_logger.Logger(logdir=str(self.tb_folder), flush_secs=2)
        for step, loss in self.points:
            self.logger.log_value("train_loss_step", loss, step)
        self.log_epochs(history)

    def log_epochs(self, history: list[dict]) -> None:
        """The tables anew, and to TensorBoard what it has not yet."""
        for row in history[self._logged:]:
            self._to_tensorboard(row)
            self._logged += 1
        self.write_tables(history)

    def log_step(self, loss: float, step: int) -> None:
        self.points.append((step, loss))
        with contextlib.suppress(OSError):  # a full disk; the epoch's save will say so
            self.logger.log_value("train_loss_step", loss, step)

    def _to_tensorboard(self, row: dict) -> None:
        if row["stage"] == "init":
            self.logger.log_value("init_train_loss", row["train_loss"], row["epoch"])
            return
        for name, value in row.items():
            if name in TAGS or name.startswith("train_loss_"):
                self.logger.log_value(name, value, row["epoch"])

    def write_tables(self, history: list[dict]) -> None:
        """log.csv: what was learned, the same for a resumed run; timing.csv: how long it took."""
        names = list(dict.fromkeys(name for row in history for name in row))
        for name, columns in (("log.csv", [n for n in names if n not in TIMING]),
                              ("timing.csv", [n for n in names if n in ("stage", "epoch", *TIMING)])):
            files.save_csv(history, columns, self.folder / name)

    def save_resume(self, state: dict[str, Any]) -> None:
        """Everything needed to go on. The file before stays until the next save, and takes over if this one is bad."""
        newest, fresh = self.folder / NEWEST, self.folder / "resume.next.pth"
        checkpoint.save(state, fresh)
        if newest.exists():
            os.replace(newest, self.folder / BEFORE)
        os.replace(fresh, newest)
        files.sync_folder(self.folder)

    def save_weights(self, state: dict[str, Any], path: Path) -> None:
        """A checkpoint in the originals' form, in the folder of this run or of one beside it."""
        checkpoint.save(state, path)

    def write_curves(self, history: list[dict]) -> None:
        """curves.png: loss and accuracy by epoch."""
        rows = [row for row in history if row["stage"] == "main"]
        if rows:
            from matplotlib.figure import Figure  # slow to import, so only where it is used
            figure = Figure(figsize=(10, 4), layout="constrained")
            left, right = figure.subplots(1, 2)
            epochs = [row["epoch"] for row in rows]
            for axis, names, label in ((left, ("train_loss", "test_loss"), "loss"),
                                       (right, ("train_acc", "test_acc", "test_acc_top5"), "accuracy, %")):
                for name in names:
                    axis.plot(epochs, [row[name] for row in rows], label=name, marker="." if len(rows) < 30 else None)
                axis.set(xlabel="epoch", ylabel=label)
                axis.grid(alpha=0.3)
                axis.legend()
            figure.suptitle(self.folder.name, fontsize=8)
            picture = io.BytesIO()
            figure.savefig(picture, format="png", dpi=100)
            files.save_bytes(picture.getbuffer(), self.folder / "curves.png")

    def write_summary(self, summary: dict[str, Any]) -> None:
        files.save_json(summary, self.folder / "summary.json")

    def summary(self) -> dict[str, Any]:
        """See :func:`helper.rundir.read_summary`."""
        return rundir.read_summary(self.folder)


class Onlooker(Run):
    """The same run in a process that leaves the writing to another."""

    def nothing(self, *_: Any) -> None:
        pass

    lock = undo = clear = start = log_epochs = log_step = nothing  # type: ignore[assignment]
    save_resume = save_weights = write_curves = write_summary = nothing  # type: ignore[assignment]


@cache  # the code of this process is what it was when it began
def git_commit() -> str:
    """The commit the code stands at; '' outside a checkout. Where the code that trains differs from it, '+' and the
    first digits of a digest of the changes follow."""
    root = Path(__file__).resolve().parent.parent
    try:
        def git(*words):
            command = ["git", "-C", str(root), *words]
            return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        changes = git("diff", "HEAD", "--", *CODE)
        for name in git("ls-files", "--others", "--exclude-standard", "--", *CODE).splitlines():
            changes += name + (root / name).read_text(errors="replace")
        mark = "+" + hashlib.sha256(changes.encode(errors="replace")).hexdigest()[:8] if changes else ""
        return git("rev-parse", "HEAD") + mark
    except (OSError, subprocess.SubprocessError):
        return ""

