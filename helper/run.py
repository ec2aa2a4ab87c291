"""A run: its identity, folder and name, lock, record, and what it continues from.

Names are the originals', extended so that two runs that differ in any flag never share a folder.
"""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import math
import os
import platform
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

# tensorboard_logger's generated protobuf code predates protobuf 4 and runs only with its Python implementation.
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
import numpy
import tensorboard_logger
import torch

import dataset
from distiller_zoo import distiller_dict

from . import checkpoint, ddp, files, options, stored_runs
from .commits import git_commit, other_code
from .device import describe
from .errors import UserError, in_short
from .files import unwritable
from .stored_runs import BEFORE, NEWEST, held, read, read_config

if TYPE_CHECKING:
    from .fit import Fit

# Flags that say where and how a run computes, not what: a resumed run may have others.
FREE = {"save_dir", "data_dir", "print_freq", "tb_freq", "save_freq", "num_workers", "loader", "device", "threads",
        "step", "kernels", "on_nan", "resume", "resume_every", "overwrite",
        "teacher_origin"}  # told by the weights, whose digest is compared
LATE = {"precision", "step", "path_t", "teacher_sha256", "data_sha256"}  # settled only when a run starts
NOT_STORED = {"save_dir", "resume", "overwrite", "step"}  # belong to a command or a device, not to a run
NOT_CONFIG = {"given", "stored", "defaults", "warnings", "pair_settings", "trial"}
TEACHER_SHOWN = {"model", "dataset", "learning_rate", "weight_decay", "trial"}
STUDENT_SHOWN = {"model_s", "model_t", "dataset", "distill", "gamma", "alpha", "beta", "trial", "mix", "pmixup",
                 "partmixup", "beta_a"}
LONGEST = 240  # file systems take 255 bytes
BUSY = "is training in this folder"  # what the second process in a folder says of the first
WRITTEN = ("args.json", "log.csv", "timing.csv", "curves.png", "summary.json", "*.pth", ".*.partial",
           "events.out.tfevents.*")  # all that a run writes but its lock
TIMING = ("seconds", "images_per_s")  # not in log.csv: on the CPU a resumed run makes that bit for bit
# One name, one tag: the originals' tags, then new ones. The first stage of two-stage methods has its own.
TAGS = ("train_acc", "train_loss", "test_acc", "test_loss", "test_acc_top5",
        "learning_rate", "images_per_s", "mixed_fraction", "skipped_steps")
BAD = "resume.bad.pth"
DIGESTS = {"teacher_sha256": "other weights in --path_t, sha256",
           "data_sha256": "other images under --data_dir than the run's (put them back), sha256 of their names"}
COLUMNS = {"init": {"train_loss", "seconds"},
           "main": {"train_loss", "train_acc", "test_loss", "test_acc", "test_acc_top5", "seconds"}}


# Identity and name ---------------------------------------------------------------------------------------------------

@cache
def default_flags(student: bool) -> dict[str, Any]:
    """Every flag of a training script with its default."""
    parser = (options.student_parser if student else options.teacher_parser)()
    return {action.dest: action.default for action in parser._actions if action.dest != "help"}


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that decides a run's numbers; two runs that agree in it are the same run.

    These are the flags that its method and its mixing read, the data and the teacher's weights. The flags of other
    methods, paths, threads and print intervals are left out. A flag that an older args.json lacks has its default,
    and a flag that this code lacks is ignored. A folder of one's own images counts with its path, because the digest
    of its data covers the files' names only.
    """
    student = "distill" in config
    known = {*default_flags(student), "trial", "data_sha256"}
    config = {**default_flags(student), **{k: v for k, v in config.items() if k in known | {"teacher_sha256"}}}
    names = known - FREE - options.idle_mixing(Namespace(**config))
    if student:
        names.add("teacher_sha256")
        if str(config["distill"]) in distiller_dict:  # args.json may have been edited, or written by newer code
            names -= options.idle_loss(Namespace(**config))
        if config.get("teacher_sha256"):
            names.discard("path_t")
    if config["dataset"] in dataset.FOLDERS:
        names.add("data_dir")
    values = {name: config.get(name) for name in names}
    return {name: os.path.realpath(str(v)) if name == "data_dir" else v for name, v in values.items()}


def teacher_name(opt: Namespace, trial: str) -> str:
    """RepDistiller: resnet110_cifar100_lr_0.05_decay_0.0005_trial_0, then what else was given."""
    name = f"{opt.model}_{opt.dataset}_lr_{opt.learning_rate}_decay_{opt.weight_decay}_trial_{trial}"
    return name + _extras(opt, TEACHER_SHOWN, len(name))


def student_name(opt: Namespace, trial: str) -> str:
    """MIX-KD: S=.._T=.._cifar100_mixstd_r=.._a=.._b=.._pmix=.._.._betalpha=.._1, then what else was given. Unlike
    there, mix=none stands in place of pmix and betalpha where nothing is mixed, and full mixup has no amount."""
    amount = f"_{opt.partmixup}" if opt.pmixup else ""
    mixing = "mix=none" if opt.mix == "none" else f"pmix={opt.pmixup}{amount}_betalpha={opt.beta_a}"
    beta = 0.0 if "beta" in options.idle_loss(opt) else opt.beta
    name = (f"S={opt.model_s}_T={opt.model_t}_{opt.dataset}_{opt.distill}_r={opt.gamma}_a={opt.alpha}_b={beta}"
            f"_{mixing}_{trial}")
    shown = STUDENT_SHOWN - ({"mix"} if opt.mix not in ("none", "mixup") else set())
    return name + _extras(opt, shown, len(name))


def _extras(opt: Namespace, shown: set[str], used: int) -> str:
    """_flag=value for each given flag that can change the result, differs from its default and is not shown already; a
    teacher is named by the digest of its weights."""
    config = vars(opt)
    names = opt.given & identity(config).keys() - shown
    parts = {name: _plain(config[name]) for name in names if config[name] != opt.defaults[name]}
    if "path_t" in opt.given and config.get("teacher_sha256"):
        parts["teacher"] = config["teacher_sha256"][:8]
    text = "".join(f"_{name}={value}" for name, value in sorted(parts.items()))
    return text if used + len(text) <= LONGEST else f"_x={_short_hash(text)}"


def _plain(value: Any) -> str:
    text = "-".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if re.fullmatch(r"[A-Za-z0-9.-]+", text) else _short_hash(text)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:8]


def config_of(opt: Namespace, trial: str) -> dict[str, Any]:
    """The resolved configuration of one trial, as args.json keeps it."""
    config = {k: v for k, v in sorted(vars(opt).items()) if k not in NOT_CONFIG}
    return {**config, "trial": trial}


# Record --------------------------------------------------------------------------------------------------------------

class Run:
    """One run's folders. :func:`find_run` chooses them and checks that they may be written."""

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
        """See :func:`helper.stored_runs.read_summary`."""
        return stored_runs.read_summary(self.folder)


class Onlooker(Run):
    """The same run in a process that leaves the writing to another."""

    def nothing(self, *_: Any) -> None:
        pass

    lock = undo = clear = start = log_epochs = log_step = nothing  # type: ignore[assignment]
    save_resume = save_weights = write_curves = write_summary = nothing  # type: ignore[assignment]


# Resume --------------------------------------------------------------------------------------------------------------

def stored_flags(opt: Namespace, folders: tuple[str, str]) -> tuple[Path, dict[str, Any]] | None:
    """``--resume FOLDER``: the file with the folder's configuration, and those of its values that are flags' values.

    They come from a file, so they are not to be trusted before a parser has checked them as it checks a command line.
    folders: the names of the model folder and of the TensorBoard folder beside it, under ``--save_dir``.
    """
    if opt.resume in (None, "auto"):
        return None
    folder = Path(opt.resume)
    config = read_config(folder)
    if config is None:
        raise UserError(f"--resume {folder}: holds no args.json of a run; give the run's folder, or auto")
    if folder.resolve().parent.name != folders[0]:
        raise UserError(f"--resume {folder}: runs of this script lie in SAVE_DIR/{folders[0]}/; move the folder there "
                        "if it is one")
    root = folder.resolve().parent.parent
    if "save_dir" in opt.given and Path(opt.save_dir).resolve() != root:
        raise UserError(f"--save_dir {opt.save_dir}: the run of --resume lies under {root}; leave --save_dir out")
    if len(opt.trial) > 1:
        raise UserError("--resume FOLDER goes on with one trial; use --resume auto for several")
    values = {k: v for k, v in config.items() if k not in NOT_STORED and (k, v) != ("step", "compile")}
    return folder / "args.json", {**values, "save_dir": str(root)}


def differing(config: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """'--flag here, there' for the flags that must agree and don't. ``--epochs`` may have grown.

    What makes two runs the same is :func:`identity`.
    """
    mine, theirs = identity(config), identity(other)
    names = sorted({*mine, *theirs} - {"epochs"})
    differ = [f"{DIGESTS.get(k, f'--{k}')} {_brief(k, mine.get(k))}, there {_brief(k, theirs.get(k))}" for k in names
              if mine.get(k) != theirs.get(k)]
    here, there = config["epochs"], other.get("epochs")
    if type(there) is not int or here < there:
        differ.append(f"--epochs {here}, there {_brief('epochs', there)}; it may grow, not shrink")
    return differ


def _brief(name: str, value: Any) -> str:
    if name in DIGESTS:
        return str(value)[:12]
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass
class Claim:
    """The runs of all trials, looked up but not yet touched, with their configurations."""

    runs: list[Run]
    configs: list[dict]

    @classmethod
    def look_up(cls, opt: Namespace, folders: tuple[str, str], name: Callable[[Namespace, str], str],
                images: str | None = None) -> Claim:
        """Raises UserError where a folder holds a run that must not be touched; writes nothing.

        images: digest of the names of a user's own images, which are part of the configuration.
        """
        digest = ddp.from_rank0(lambda: images)
        configs = [{**config_of(opt, trial), "data_sha256": digest} for trial in opt.trial]

        def found() -> list[Run]:
            check_writable(opt.save_dir)
            return [find_run(opt, name(opt, trial), config, folders)
                    for trial, config in zip(opt.trial, configs, strict=True)]
        runs = ddp.from_rank0(found)
        if not ddp.is_rank0():
            runs = [Onlooker(run.folder, run.tb_folder, run.finished) for run in runs]
        return cls(runs, configs)

    def finished(self) -> bool:
        """Whether ``--resume`` finds every run complete; then it shows their summaries and nothing is left to do."""
        if not all(run.finished for run in self.runs):
            return False
        for run in self.runs if ddp.is_rank0() else []:
            warn_of_code(run.folder, read(run.folder).commits)
            summary = run.summary()
            print(f"==> {run.folder} is finished: last accuracy {summary['last_top1']:.2f}, "
                  f"best accuracy {summary['best_top1']:.2f} after {summary['epochs']} epochs")
        return True

    def take(self, opt: Namespace, fits: Sequence[Fit], device: torch.device) -> None:
        """Lock every folder, restore what is resumed, start the records; an error leaves no folder behind."""
        try:
            for run in self.runs:
                run.lock()
                if not isinstance(run, Onlooker):
                    refuse_held(opt, run.folder)  # another process may have trained here since the look-up
            for run, config, fit in zip(self.runs, self.configs, fits, strict=True):
                fit.run, fit.config = run, config
                if ddp.is_rank0():
                    self._restore(opt, run, config, fit)
                if opt.resume and ddp.world_size() > 1:
                    _spread(run, fit)
            for run, config, fit in zip(self.runs, self.configs, fits, strict=True):
                if not run.finished:
                    if not fit.done:
                        run.trained_by(git_commit(), describe(device) + ddp.described())
                    run.start(config, fit.history)
                    print(f"==> {run.folder}")
        except BaseException:
            for run in self.runs:
                run.undo()
            raise

    @staticmethod
    def _restore(opt: Namespace, run: Run, config: dict, fit: Fit) -> None:
        def restore(state: dict) -> None:
            fit.load_state_dict(state)
            run.points = state["points"]
            before = read(run.source or run.folder)
            run.commits = list(map(str, state.get("commits") or before.commits))
            run.hardware = before.hardware  # not in the state, which is the same wherever and however a run is made
            if run.source is None:
                run.command = list(map(str, before.command))

        if not opt.resume or not load_state(run, config, restore):
            run.clear()
            return
        warn_of_code(run.source or run.folder, run.commits)
        if run.source is None and read_config(run.folder) is None:
            print(f"WARNING {run.folder / 'args.json'} was missing or damaged and is written anew", flush=True)
        run.finished = run.finished and fit.done
        print(f"==> trial {fit.trial}: " + ("finished" if run.finished else
              f"going on after {fit.stage} epoch {fit.epoch}, step {fit.step}"))


def _spread(run: Run, fit: Fit) -> None:
    """Give all processes the state that the first one has restored."""
    def state() -> tuple[bool, bytes]:
        buffer = io.BytesIO()
        torch.save(fit.state_dict(), buffer)
        return run.finished, buffer.getvalue()
    run.finished, stored = ddp.from_rank0(state)
    if not ddp.is_rank0():
        fit.load_state_dict(torch.load(io.BytesIO(stored), map_location="cpu", weights_only=True))


def warn_of_code(folder: Path, there: list[str]) -> None:
    """Say so where a run was trained, or begun, by other code than this as far as git tells: flags don't show that."""
    if other := other_code(there, git_commit()):
        print(f"WARNING {folder} was trained by the code of commit {other}; --overwrite, or another --save_dir, trains "
              "it anew", flush=True)


def check_writable(save_dir: str) -> None:
    """Raises UserError where ``--save_dir`` is not, or can't become, a folder that can be written to."""
    if why := unwritable(Path(save_dir)):
        raise UserError(f"--save_dir {save_dir[:60]}: {why}; name another folder")


def find_run(opt: Namespace, name: str, config: dict[str, Any], folders: tuple[str, str]) -> Run:
    """The folder of this trial: the one named by ``--resume``, the one that holds this configuration, or a new one.

    ``--resume auto`` leaves a run of fewer ``--epochs`` as it is: a longer one begins with its state in a new folder.

    Raises UserError, before anything is written, where the folder holds a run that was not to be touched.
    """
    root = Path(opt.save_dir)
    if opt.resume not in (None, "auto"):
        name = Path(opt.resume).resolve().name
    source = None
    if opt.resume == "auto" and not held(root / folders[0] / name):
        epochs, found = _fitting(root / folders[0], config)
        name = found.name if found and epochs == config["epochs"] else name
        source = found if found and found.name != name else None
    folder = root / folders[0] / name
    run = Run(folder, root / folders[1] / name)
    run.source = source
    found = read_config(folder)
    if opt.resume:
        if found is not None and (differ := differing(config, found)):
            raise UserError(f"--resume {folder}: another configuration: {'; '.join(differ)}; another --save_dir, or "
                            "--overwrite in place of --resume, starts anew")
        # without args.json the resume state must say whose run it is; it then writes both anew
        run.finished = found is not None and run.summary().get("epochs") == opt.epochs
        if not any(folder.glob("*_last.pth")) and (folder / NEWEST).exists():
            run.finished = False  # the state has the weights that are gone, and writes them anew
    refuse_held(opt, folder)
    return run


def refuse_held(opt: Namespace, folder: Path) -> None:
    """Raises UserError where a folder holds a run and neither ``--resume`` nor ``--overwrite`` was given."""
    if not opt.resume and not opt.overwrite and (what := held(folder)):
        raise UserError(f"{folder}: holds {what}; give --resume auto to go on with it, --overwrite to start anew, "
                        "or another --trial")


def _fitting(parent: Path, config: dict[str, Any]) -> tuple[int, Path | None]:
    """The folder whose run differs in nothing but free flags and fewer ``--epochs``; of several, the longest run."""
    fitting: list[tuple[int, Path]] = []
    for folder in sorted(parent.glob("*/")):
        found = read_config(folder)
        if found is not None and not differing(config, found) and held(folder):
            fitting.append((found["epochs"], folder))
    return max(fitting, default=(0, None))


def load_state(run: Run, config: dict[str, Any], restore: Callable[[dict], None]) -> bool:
    """Restore the newest good state of a locked run. A bad newest one is named, put aside and passed over.

    Returns False if the folder holds nothing to lose, so that the run may start in it. Raises UserError if it holds
    a run but no state that is good.
    """
    problems = []
    for path in (run.folder / NEWEST, run.folder / BEFORE):
        if not path.exists():
            continue
        try:
            _restore_from(path, config, restore)
        except UserError as problem:
            problems.append(str(problem))
            continue
        if problems:
            print(f"WARNING {'; '.join(problems)}; going on from {path.name}", flush=True)
            os.replace(run.folder / NEWEST, run.folder / BAD)  # else the next save would make it the one before
        return True
    if problems:
        raise UserError(f"{'; '.join(problems)}; nothing to go on from, start anew with --overwrite")
    if what := held(run.folder):
        found = read(run.folder)
        lost = NEWEST if found.config or not found.summary else "its args.json, or what can be read of it,"
        raise UserError(f"{run.folder}: holds {what}, but {lost} is gone; put it back, or start anew with --overwrite")
    return run.source is not None and _begin_with(run.source, run.folder, config, restore)


def _begin_with(source: Path, folder: Path, config: dict[str, Any], restore: Callable[[dict], None]) -> bool:
    """Restore the state of the shorter run in ``source`` and copy its best weights; False where that can't be."""
    path = source / NEWEST if (source / NEWEST).exists() else source / BEFORE
    try:
        state = _restore_from(path, config, restore)
        for best in source.glob("*_best.pth"):
            checkpoint.save(checkpoint.load(best), folder / best.name)
        # Last: once the record of these epochs is written, the folder counts as a run, which needs a state to go on.
        checkpoint.save({**state, "config": config}, folder / NEWEST)
    except UserError as problem:
        print(f"WARNING not beginning with the shorter run: {problem}", flush=True)
        return False
    print(f"==> beginning with {source}, which stays as it is", flush=True)
    return True


def _restore_from(path: Path, config: dict[str, Any], restore: Callable[[dict], None]) -> dict[str, Any]:
    state = checkpoint.load(path, digest_needed=True)
    known = isinstance(state, dict) and isinstance(state.get("config"), dict)
    if not known or state.get("trial") != config["trial"]:
        raise UserError(f"{path}: not a state of this run")
    if differ := differing(config, state["config"]):
        raise UserError(f"{path}: a state of another configuration: {'; '.join(differ)}")
    if why := _unsound(state):
        raise UserError(f"{path}: not a state of this run ({why})")
    try:
        restore(state)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # torch complains of wrong shapes and types in many ways
        why = f"{type(error).__name__}: {in_short(error)}"
        raise UserError(f"{path}: does not fit this version of the code ({why})") from None
    return state


def _unsound(state: dict[str, Any]) -> str:
    """What is wrong with a state's own account of itself, or ''."""
    stage, history, best = state.get("stage"), state.get("history"), state.get("best")
    if stage not in COLUMNS or not _count(state.get("epoch")) or not _count(state.get("step")):
        return "no stage, epoch and step"
    if not isinstance(history, list) or not all(map(_is_row, history)):
        return "its history is damaged"
    epochs = {s: [row["epoch"] for row in history if row["stage"] == s] for s in COLUMNS}
    gaps = any(numbers != list(range(1, len(numbers) + 1)) for numbers in epochs.values())
    if gaps or len(epochs[stage]) != state["epoch"] or (stage == "init" and epochs["main"]):
        return "its history and its epoch don't agree"
    if not isinstance(best, dict) or not all(map(_is_number, best.values())):
        return "no best epoch"
    if epochs["main"] and set(best) != {"top1", "top5", "epoch"}:
        return "no best epoch"
    points = state.get("points")
    if not isinstance(points, list) or not all(
            isinstance(p, (list, tuple)) and len(p) == 2 and _count(p[0]) and _is_number(p[1]) for p in points):
        return "its points for TensorBoard are damaged"
    return ""


def _is_row(row: Any) -> bool:
    return (isinstance(row, dict) and row.get("stage") in COLUMNS and _count(row.get("epoch"))
            and COLUMNS[row["stage"]] <= row.keys()
            and all(isinstance(k, str) and (k == "stage" or _is_number(v)) for k, v in row.items()))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < math.inf
