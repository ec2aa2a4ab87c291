"""Which folder a run gets, whether it may have it, and what it goes on from."""
from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from . import checkpoint
from .record import BEFORE, NEWEST, Run
from .util import UserError

# Flags that change no number of a run, so a resumed one may have others.
FREE = {"save_dir", "data_dir", "print_freq", "tb_freq", "num_workers", "device", "threads", "resume", "overwrite"}
NOT_CONFIG = {"given", "defaults", "warnings", "trial"}


def config_of(opt: Namespace, trial: str) -> dict[str, Any]:
    """The resolved configuration of one trial, as args.json keeps it."""
    config = {k: v for k, v in sorted(vars(opt).items()) if k not in NOT_CONFIG}
    return {**config, "trial": trial}


def adopt(opt: Namespace, folders: tuple[str, str]) -> None:
    """``--resume FOLDER``: flags that were not given are those of the folder's run; the trial is its trial.

    folders: the names of the model folder and of the TensorBoard folder beside it, under ``--save_dir``.
    """
    if opt.resume in (None, "auto"):
        return
    folder = Path(opt.resume)
    config = read_config(folder)
    if config is None:
        raise UserError(f"--resume {folder}: holds no args.json of a run; give the run's folder, or auto")
    if folder.resolve().parent.name != folders[0]:
        raise UserError(f"--resume {folder}: not a run of this script; its runs lie in {folders[0]}/")
    for name, value in config.items():
        if name in vars(opt) and name not in opt.given | FREE | NOT_CONFIG:
            setattr(opt, name, value)
    if "trial" not in opt.given:
        opt.trial = [config["trial"]]
    if len(opt.trial) > 1:
        raise UserError("--resume FOLDER goes on with one trial; use --resume auto for several")
    opt.save_dir = str(folder.resolve().parent.parent)


def read_config(folder: Path) -> dict[str, Any] | None:
    """What args.json of a run folder holds; None where there is no readable one."""
    try:
        config = json.loads((folder / "args.json").read_text())["config"]
        return config if isinstance(config, dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def differing(config: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """'--flag here, there' for the flags that must agree and don't. ``--epochs`` may have grown."""
    differ = [f"--{k} {config.get(k)!r}, there {other.get(k)!r}" for k in sorted({*config, *other} - FREE)
              if k != "epochs" and config.get(k) != other.get(k)]
    if config["epochs"] < other.get("epochs", 0):
        differ.append(f"--epochs {config['epochs']}, there {other['epochs']}; it may grow, not shrink")
    return differ


def find_run(opt: Namespace, name: str, config: dict[str, Any], folders: tuple[str, str]) -> Run:
    """The folder of this trial: the one named by ``--resume``, the one that holds this configuration, or a new one.

    Raises UserError, before anything is written, where the folder holds a run that was not to be touched.
    """
    root = Path(opt.save_dir)
    if opt.resume not in (None, "auto"):
        name = Path(opt.resume).resolve().name
    elif opt.resume == "auto" and read_config(root / folders[0] / name) is None:
        # --epochs may have grown, and it is part of the name
        for folder in sorted((root / folders[0]).glob("*/")):
            found = read_config(folder)
            if found is not None and not differing(config, found):
                name = folder.name
    folder = root / folders[0] / name
    run = Run(folder, root / folders[1] / name)
    found = read_config(folder)
    if opt.resume:
        if found is not None and (differ := differing(config, found)):
            raise UserError(f"--resume {folder}: another configuration: {'; '.join(differ)}")
    elif not opt.overwrite and found is not None and (held := _held(folder)):
        raise UserError(f"{folder}: holds {held}; give --resume auto to go on with it, --overwrite to start anew, "
                        "or another --trial")
    return run


def _held(folder: Path) -> str:
    if (folder / "summary.json").exists():
        return "a finished run"
    return "an unfinished run" if any((folder / f).exists() for f in (NEWEST, BEFORE)) else ""


def load_state(run: Run, config: dict[str, Any]) -> dict[str, Any] | None:
    """The newest good state of a locked run, or None if it has none. A bad newest one is named and passed over."""
    problems = []
    for path in (run.folder / NEWEST, run.folder / BEFORE):
        if not path.exists():
            continue
        try:
            state = checkpoint.load(path)
            if not isinstance(state, dict) or state.get("trial") != config["trial"] or "config" not in state:
                raise UserError(f"{path}: not a state of this run")
            if differ := differing(config, state["config"]):
                raise UserError(f"{path}: a state of another configuration: {'; '.join(differ)}")
        except UserError as problem:
            problems.append(str(problem))
            continue
        for problem in problems:
            print(f"WARNING {problem}; going on from {path.name}", flush=True)
        return state
    if problems:
        raise UserError(f"{'; '.join(problems)}; nothing to go on from, start anew with --overwrite")
    return None
