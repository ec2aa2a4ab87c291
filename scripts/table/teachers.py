"""Teachers that a table takes as files: RepDistiller's, fetched or one's own, those of models/pretrained/, and
torchvision's for ImageNet, which are downloaded when a run first reads them."""
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dataset import FOLDERS
from helper import checkpoint
from helper.errors import UserError, in_short
from helper.known_teachers import TORCHVISION
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


def torchvision_path(arch: str, table: Table) -> Path | None:
    """The --path_t of torchvision's weights; None for a table whose networks are not torchvision's."""
    return Path(f"{TORCHVISION}{arch}") if table.recipe["dataset"] in FOLDERS else None


def of_file(path: Path, finished: Iterable[Result]) -> list[Result]:
    """The accuracy of a teacher that came as a file: what it states, itself or in index.json beside it, else what one
    of its students among the ``finished`` runs measured when it started, else nothing. Of torchvision's weights, which
    are no file here, ``finished`` are the runs that were given them.

    Such a teacher is of the full recipe, so this belongs into full tables only.
    """
    here = path.is_file()
    top1, origin = stated(path) if here else None, ""
    if top1 is None:
        names = digests(path) if here else {result.teacher for result in finished}
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
