"""Teachers that a table takes as files: RepDistiller's, fetched or one's own, and those of models/pretrained/."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from helper import checkpoint
from helper.errors import UserError, in_short
from helper.known_teachers import known_teachers
from helper.teacher import read_teacher

from .results import Result, digests, index_entry, per_cent
from .spec import Size, Table

TEACHER_TRIAL = "0"


def check(path: Path, arch: str, size: Size, table: Table) -> None:
    """A teacher that comes as a file serves as one of the full recipe, so it must not say that it is less."""
    full = {"dataset": size.recipe_dataset, "epochs": size.recipe_epochs, "train_fraction": 1.0, "holdout": 0}
    if less := read_teacher(str(path), arch).less_than(full):
        raise UserError(f"teacher {path}: trained on less than the recipe of table {table.name} ({', '.join(less)}); "
                        "put another in its place, or remove it and it is trained")


def vanilla(arch: str) -> Path:
    """RepDistiller's name of a teacher's file."""
    return Path(f"{arch}_vanilla", "ckpt_epoch_240.pth")


def places(arch: str) -> list[Path]:
    """Where fetch_pretrained_teachers.sh leaves a teacher of either zoo; RepDistiller's, the tables' own, is first."""
    return [vanilla(arch), *(known.path for known in known_teachers().values() if known.arch == arch)]


def of_file(path: Path, finished: Iterable[Result]) -> list[Result]:
    """The accuracy of a teacher that came as a file: what it states, itself or in index.json beside it, else what one
    of its students among the ``finished`` runs measured when it started, else nothing.

    Such a teacher is of the full recipe, so this belongs into full tables only.
    """
    top1, origin = stated(path), ""
    if top1 is None:
        names = digests(path)
        top1, origin = next(((result.teacher_top1, result.teacher_origin) for result in finished
                             if result.teacher in names and result.teacher_top1 is not None), (None, ""))
    if top1 is None:
        return []
    return [Result(TEACHER_TRIAL, top1, top1, 0, 0.0, "", "", str(path.parent), teacher_origin=origin)]


def stated(path: Path) -> float | None:
    """The accuracy, in per cent, that the file or index.json beside it states. UserError: it can't be one."""
    accuracy = checkpoint.load(path).get("accuracy", index_entry(path).get("top1"))
    try:
        return None if accuracy is None else per_cent(accuracy)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: a tensor of several numbers
        raise UserError(f"teacher {path}: states an accuracy that is none ({in_short(error)}); take another copy of "
                        "it, or of index.json beside it") from None
