"""Which folders runs get, whether they may have them, and what they go on from."""
from __future__ import annotations

import io
import math
import os
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import dataset

from . import checkpoint, ddp
from .device import describe
from .errors import UserError, in_short
from .files import unwritable
from .record import Onlooker, Run, git_commit
from .rundir import BEFORE, NEWEST, NOT_STORED, config_of, held, identity, other_code, read, read_config

if TYPE_CHECKING:
    from .fit import Fit

BAD = "resume.bad.pth"
DIGESTS = {"teacher_sha256": "other weights in --path_t, sha256",
           "data_sha256": "other images under --data_dir than the run's (put them back), sha256 of their names"}
COLUMNS = {"init": {"train_loss", "seconds"},
           "main": {"train_loss", "train_acc", "test_loss", "test_acc", "test_acc_top5", "seconds"}}


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

    What makes two runs the same is :func:`helper.rundir.identity`.
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
    def look_up(cls, opt: Namespace, folders: tuple[str, str], name: Callable[[Namespace, str], str]) -> Claim:
        """Raises UserError where a folder holds a run that must not be touched; writes nothing.

        DataError: images in folders that aren't there, whose names are part of the configuration.
        """
        images = ddp.from_rank0(lambda: dataset.digest(opt.dataset, opt.data_dir))
        configs = [{**config_of(opt, trial), "data_sha256": images} for trial in opt.trial]

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
