"""A training run: its identity, folder and name, lock, record, and the states that it resumes from.

Two runs are the same if :func:`identity` of their configurations is the same: the flags that the method and the mixing
read, the data, the teacher's weights. Folder names are the originals', extended by every other flag of the identity, so
that two different runs never share a folder. One process trains in a folder; nothing stored is overwritten without
``--overwrite``.
"""
from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import platform
import re
import sys
from argparse import Namespace
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

# tensorboard_logger's generated protobuf code predates protobuf 4 and runs only with its Python implementation.
os.environ.setdefault("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "python")
import numpy
import tensorboard_logger
import torch

import dataset
from distiller_zoo import distiller_dict

from . import checkpoint, commits, curves, ddp, files, options
from .device import DEFAULT_PRECISIONS, describe
from .errors import UserError, in_short
from .options import default_flags, parent_of
from .stored_runs import BEFORE, FOLDERS, NEWEST, StoredRun, stored_runs

if TYPE_CHECKING:
    from .fit import Fit

# Flags that set where and how a run computes, not what; they may differ when it is resumed.
NOT_IDENTITY = {"save_dir", "data_dir", "print_freq", "tb_freq", "save_freq", "num_workers", "loader", "device",
                "threads", "step", "kernels", "on_nan", "resume", "resume_every", "overwrite",
                "teacher_origin"}  # follows from the weights, whose digest is compared
SET_AT_START = {"path_t", "teacher_sha256", "data_sha256"}  # unknown before a run starts
NOT_CONFIG = {"given", "stored", "defaults", "warnings", "pair_settings", "trial"}
IN_TEACHER_NAME = {"model", "dataset", "learning_rate", "weight_decay", "trial"}
IN_STUDENT_NAME = {"model_s", "model_t", "dataset", "distill", "gamma", "alpha", "beta", "trial", "mix", "pmixup",
                   "partmixup", "beta_a"}
DIGESTS = {"teacher_sha256": "other weights in --path_t, sha256",
           "data_sha256": "other images under --data_dir than the run's (put them back), sha256 of their names"}
LONGEST = 240  # file systems take 255 bytes
BUSY = "is training in this folder"  # part of the error of a second process
WRITTEN = ("args.json", "log.csv", "timing.csv", "curves.png", "summary.json", "resume*.pth", "*_best.pth",
           "*_last.pth", "ckpt_epoch_*.pth", ".*.partial", "events.out.tfevents.*")  # a run's files but its lock
TIMING = ("seconds", "images_per_s")  # in timing.csv; log.csv of a resumed run is bit for bit that of one without pause
# One name, one tag: the originals' tags, then new ones. The first stage of two-stage methods has its own.
TAGS = ("init_train_loss", "train_acc", "train_loss", "test_acc", "test_loss", "test_acc_top5",
        "learning_rate", "images_per_s", "mixed_fraction", "skipped_steps")


# Identity and name ----------------------------------------------------------------------------------------------------

def config_of(opt: Namespace, trial: str) -> dict[str, Any]:
    """The resolved configuration of one trial, as args.json keeps it."""
    config = {k: v for k, v in sorted(vars(opt).items()) if k not in NOT_CONFIG}
    return {**config, "trial": trial}


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that decides a run's numbers; two runs that agree in it are the same run.

    The flags of other methods, paths, threads and print intervals are left out. A flag that an older args.json lacks
    has its default, and a flag that this code lacks is ignored. A folder of one's own images counts with its path,
    because the digest of its data covers the files' names only.
    """
    student = "distill" in config
    known = {*default_flags(student), "trial", "data_sha256", "teacher_sha256"}
    config = {**default_flags(student), **{name: value for name, value in config.items() if name in known}}
    names = known - NOT_IDENTITY - options.idle_mixing(Namespace(**config))
    if student and str(config["distill"]) in distiller_dict:  # args.json may be edited, or of newer code
        names -= options.idle_loss(Namespace(**config))
    if config.get("teacher_sha256"):
        names.discard("path_t")
    values = {name: config.get(name) for name in names}
    if config["dataset"] not in dataset.CLASSES:
        values["data_dir"] = os.path.realpath(str(config["data_dir"]))
    return values


def differing(config: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """'--flag here, there' for what keeps two configurations from being one run. ``--epochs`` may have grown."""
    mine, theirs = identity(config), identity(other)
    differ = [f"{DIGESTS.get(name, f'--{name}')} {_brief(name, mine.get(name))}, there {_brief(name, theirs.get(name))}"
              for name in sorted({*mine, *theirs} - {"epochs"}) if mine.get(name) != theirs.get(name)]
    here, there = config["epochs"], other.get("epochs")
    if type(there) is not int or here < there:
        differ.append(f"--epochs {here}, there {_brief('epochs', there)}; it may grow, not shrink")
    return differ


def as_begun(config: dict[str, Any], stored: dict[str, Any], precision_given: bool) -> dict[str, Any]:
    """``config`` with a stored run's precision, unless one was given: a run that began with one device's default
    keeps it on every device."""
    begun = stored.get("precision")
    return {**config, "precision": begun} if not precision_given and begun in DEFAULT_PRECISIONS else config


def _brief(name: str, value: Any) -> str:
    return str(value)[:12] if name in DIGESTS else repr(value)[:60]


def teacher_name(opt: Namespace, trial: str) -> str:
    """RepDistiller: resnet110_cifar100_lr_0.05_decay_0.0005_trial_0, then what else was given."""
    name = f"{opt.model}_{opt.dataset}_lr_{opt.learning_rate}_decay_{opt.weight_decay}_trial_{trial}"
    return name + _other_flags(opt, IN_TEACHER_NAME, len(name))


def student_name(opt: Namespace, trial: str) -> str:
    """MIX-KD: S=.._T=.._cifar100_mixstd_r=.._a=.._b=.._pmix=.._.._betalpha=.._1, then what else was given. Unlike
    MIX-KD, mix=none replaces pmix and betalpha where nothing is mixed, and full mixup has no amount."""
    amount = f"_{opt.partmixup}" if opt.pmixup else ""
    mixing = "mix=none" if opt.mix == "none" else f"pmix={opt.pmixup}{amount}_betalpha={opt.beta_a}"
    beta = 0.0 if "beta" in options.idle_loss(opt) else opt.beta
    name = (f"S={opt.model_s}_T={opt.model_t}_{opt.dataset}_{opt.distill}_r={opt.gamma}_a={opt.alpha}_b={beta}"
            f"_{mixing}_{trial}")
    in_name = IN_STUDENT_NAME - ({"mix"} if opt.mix not in ("none", "mixup") else set())
    return name + _other_flags(opt, in_name, len(name))


def _other_flags(opt: Namespace, in_name: set[str], used: int) -> str:
    """_flag=value for each given flag of the identity that differs from its default and is not in the name yet; a
    teacher is named by the digest of its weights."""
    config = vars(opt)
    names = opt.given & identity(config).keys() - in_name
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


# Run ------------------------------------------------------------------------------------------------------------------

class Run:
    """One run: :meth:`find` chooses its folder, :meth:`begin` locks it and restores, then it records and saves.

    Of several processes (torchrun) rank 0 alone locks, records and saves.
    """

    def __init__(self, folder: Path, tb_folder: Path, config: dict[str, Any]):
        self.folder, self.tb_folder, self.config = folder, tb_folder, config
        self.finished = False  # whether all requested epochs were done before
        self.shorter: Path | None = None  # the folder of a run of fewer epochs, with whose state this one begins
        self.commits: list[str] = []  # the commits of the code that trained it, in order
        self.hardware: list[str] = []  # the devices that trained it, in order
        self.command = [Path(sys.executable).name, *sys.argv]  # the command that first started it
        self.points: list[tuple[int, float]] = []  # what log_step was given, for a resumed run's TensorBoard
        self._logger: Any = None
        self._lock: IO[str] | None = None
        self._made: list[Path] = []  # folders that lock() made
        self._logged = 0  # rows of the history that are in TensorBoard

    # Begin: find, lock, restore

    @classmethod
    def find(cls, opt: Namespace, images: str | None = None) -> Run:
        """The run of these flags' one trial: in the folder of ``--resume``, with auto in the folder that holds this
        configuration, else in a new one. Writes nothing. images: digest of the names of a user's own images.

        ``--resume auto`` leaves a run of fewer ``--epochs`` as it is: a longer one begins with its state in a new
        folder. Raises UserError where the folder holds a run that must not be touched.
        """
        trial, = opt.trial
        config = {**config_of(opt, trial), "data_sha256": images}
        check_writable(opt.save_dir)
        runs, given = Path(opt.save_dir, parent_of(opt)), "precision" in opt.given
        name = (student_name if "distill" in opt else teacher_name)(opt, trial)
        stored, shorter, finished = StoredRun(runs / name), None, False
        if opt.resume == "auto" and not stored.status:
            alike = [run for run in stored_runs(runs)
                     if run.config and not differing(as_begun(config, run.config, given), run.config) and run.status]
            stored = max(alike, key=lambda run: (run.config["epochs"], run.folder), default=stored)
            if alike and stored.config["epochs"] < opt.epochs:
                shorter = stored.folder
        elif opt.resume not in (None, "auto"):
            stored = StoredRun(runs / Path(opt.resume).resolve().name)
        if opt.resume and stored.config:
            config = as_begun(config, stored.config, given)
            if differ := differing(config, stored.config):
                raise UserError(f"--resume {stored.folder}: another configuration: {'; '.join(differ)}; another "
                                "--save_dir, or --overwrite in place of --resume, starts anew")
            # a finished run whose last weights are gone writes them anew from its state
            weights = any(stored.folder.glob("*_last.pth")) or not (stored.folder / NEWEST).exists()
            finished = not shorter and weights and stored.summary.get("epochs") == opt.epochs
        folder = runs / name if shorter else stored.folder
        refuse_stored(opt, folder)
        run = cls(folder, Path(opt.save_dir, FOLDERS[runs.name], folder.name), config)
        run.shorter, run.finished = shorter, finished
        return run

    def begin(self, fit: Fit) -> None:
        """Lock the folder, restore what is resumed, start the record; an error leaves no new folder behind."""
        fit.run = self
        try:
            if ddp.is_rank0():
                self.lock()
                refuse_stored(fit.opt, self.folder)  # another process may have trained here since find()
                if fit.opt.resume and self._restore(fit):
                    commits.warn_of_other(self.shorter or self.folder, self.commits)
                    print(f"==> trial {fit.trial}: resumed after {fit.stage} epoch {fit.epoch}, step {fit.step}")
                else:
                    self.clear()
            if fit.opt.resume and ddp.world_size() > 1:
                ddp.send_state(fit)
            if ddp.is_rank0():
                if not fit.done:
                    for new, names in ((commits.git_commit(), self.commits),
                                       (describe(fit.engine.device) + ddp.described(), self.hardware)):
                        if new and new not in names:
                            names.append(new)
                self.start(fit.history)
                print(f"==> {self.folder}")
        except BaseException:
            self.undo()
            raise

    def lock(self) -> None:
        """Make the folder and take its lock. The system drops the lock with the process, so a crash leaves none."""
        self._made = [f for f in (self.folder, *self.folder.parents) if not f.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = files.lock_folder(self.folder)
        except BlockingIOError as error:
            raise UserError(f"{self.folder}: process {error} {BUSY}; wait for it, or change --trial or "
                            "--save_dir") from None
        except OSError as error:
            raise UserError(f"--save_dir: {self.folder} can't be made or locked ({error.strerror}); name another "
                            "folder") from None
        for partial in self.folder.glob(".*.partial"):
            partial.unlink()  # left by a kill in the middle of a write

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
                for file in folder.glob(pattern):
                    file.unlink()

    def _restore(self, fit: Fit) -> bool:
        """Restore the newest good state. A bad newest one is reported, renamed and passed over.

        Returns False if the folder holds nothing to lose, so that the run may start in it. Raises UserError if it holds
        a run but no good state.
        """
        stored, problems = StoredRun(self.folder), list[str]()
        for path in filter(Path.exists, (self.folder / NEWEST, self.folder / BEFORE)):
            try:
                self._load(path, fit)
            except UserError as problem:
                problems.append(str(problem))
                continue
            if problems:
                print(f"WARNING {'; '.join(problems)}; resuming from {path.name}", flush=True)
                # else the next save would keep it as BEFORE
                os.replace(self.folder / NEWEST, self.folder / "resume.bad.pth")
            if not stored.config:
                print(f"WARNING {self.folder / 'args.json'} was missing or damaged and is written anew", flush=True)
            self.command = list(map(str, stored.command)) or self.command
            return True
        if problems:
            raise UserError(f"{'; '.join(problems)}; no state to resume from, start anew with --overwrite")
        if stored.status:
            lost = NEWEST if stored.config or not stored.summary else "its args.json, or what can be read of it,"
            raise UserError(f"{self.folder}: holds {stored.status}, but {lost} is gone; put it back, or start anew "
                            "with --overwrite")
        return self.shorter is not None and self._begin_with(self.shorter, fit)

    def _begin_with(self, shorter: Path, fit: Fit) -> bool:
        """Copy a shorter run's best weights and restore its state; False, with nothing restored, where it fails."""
        fresh = copy.deepcopy(fit.state_dict())  # a state may fit in part
        self.log_epochs([])  # a log before the first weights: without one they count as somebody's copy
        try:
            for best in shorter.glob("*_best.pth"):
                checkpoint.save(checkpoint.load(best), self.folder / best.name)
            self._load(shorter / (NEWEST if (shorter / NEWEST).exists() else BEFORE), fit)
        except UserError as problem:
            print(f"WARNING not beginning with the shorter run: {problem}", flush=True)
            fit.load_state_dict(fresh)
            return False
        self.save_resume(fit.state_dict())  # before the record of these epochs, which makes the folder count as a run
        print(f"==> beginning with {shorter}, which stays as it is", flush=True)
        return True

    def _load(self, path: Path, fit: Fit) -> None:
        """Restore the state in a file; UserError where it is damaged, another run's, or of another version's form."""
        state = checkpoint.load(path, digest_needed=True)
        config = state.get("config") if isinstance(state, dict) else None
        if not isinstance(config, dict) or state.get("trial") != self.config["trial"]:
            raise UserError(f"{path}: not a state of this run")
        if differ := differing(self.config, config):
            raise UserError(f"{path}: a state of another configuration: {'; '.join(differ)}")
        try:
            if not all(type(step) is int and type(loss) in (int, float) for step, loss in state["points"]):
                raise ValueError("its points are no numbers")
            fit.load_state_dict(state)
            self.points, self.commits = state["points"], list(map(str, state.get("commits", [])))
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # torch complains of wrong shapes and types in many ways
            raise UserError(f"{path}: damaged, or of another version of the code ({type(error).__name__}: "
                            f"{in_short(error)})") from None
        # from args.json, because a state is the same wherever and however a run is made
        self.hardware = StoredRun(path.parent).hardware

    # Record and save

    def start(self, history: list[dict]) -> None:
        """Write args.json and bring the tables and TensorBoard to the state of ``history``."""
        environment = {"python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__,
                       "torchvision": version("torchvision"), "git_commit": ", ".join(self.commits),
                       "hardware": "; ".join(self.hardware)}
        args = {"config": self.config, "command": self.command, "environment": environment}
        files.save_json(args, self.folder / "args.json")
        for stale in self.tb_folder.glob("events.out.tfevents.*"):
            stale.unlink()  # written again below, so that no epoch is there twice
        self._logger = tensorboard_logger.Logger(logdir=str(self.tb_folder), flush_secs=2)
        for step, loss in self.points:
            self._logger.log_value("train_loss_step", loss, step)
        self.log_epochs(history)

    def log_epochs(self, history: list[dict]) -> None:
        """log.csv (what was learned), timing.csv (how long it took), and to TensorBoard what it lacks."""
        for row in history[self._logged:]:
            for name, value in row.items():
                tag = f"init_{name}" if row["stage"] == "init" else name
                if tag in TAGS or tag.startswith("train_loss_"):
                    self._logger.log_value(tag, value, row["epoch"])
            self._logged += 1
        names = dict.fromkeys(name for row in history for name in row if name not in TIMING)
        files.save_csv(history, list(names), self.folder / "log.csv")
        files.save_csv(history, ["stage", "epoch", *TIMING], self.folder / "timing.csv")

    def log_step(self, loss: float, step: int) -> None:
        self.points.append((step, loss))
        with contextlib.suppress(OSError):  # a full disk, which the epoch's save reports
            self._logger.log_value("train_loss_step", loss, step)

    def save_resume(self, state: dict[str, Any]) -> None:
        """All that resuming needs. The file before stays until the next save, and is used if this one is bad."""
        newest, fresh = self.folder / NEWEST, self.folder / "resume.next.pth"
        checkpoint.save({**state, "trial": self.config["trial"], "config": self.config, "points": self.points,
                         "commits": self.commits}, fresh)
        if newest.exists():
            os.replace(newest, self.folder / BEFORE)
        os.replace(fresh, newest)
        files.sync_folder(self.folder)

    def write_curves(self, history: list[dict]) -> None:
        """curves.png: loss and accuracy by epoch."""
        curves.write(history, StoredRun(self.folder).title, self.folder / "curves.png")

    def write_summary(self, summary: dict[str, Any]) -> None:
        """summary.json, which makes it a finished run."""
        files.save_json(summary, self.folder / "summary.json")


def check_writable(save_dir: str) -> None:
    """Raises UserError where ``--save_dir`` is not, or can't become, a folder that can be written to."""
    if why := files.unwritable(Path(save_dir)):
        raise UserError(f"--save_dir {save_dir[:60]}: {why}; name another folder")


def refuse_stored(opt: Namespace, folder: Path) -> None:
    """Raises UserError where a folder holds a run and neither ``--resume`` nor ``--overwrite`` was given."""
    if not opt.resume and not opt.overwrite and (status := StoredRun(folder).status):
        raise UserError(f"{folder}: holds {status}; give --resume auto to continue it, --overwrite to start anew, "
                        "or another --trial")
