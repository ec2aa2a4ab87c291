"""What is wrong with a table's file, in words for the one who wrote it. See spec for the keys."""
from __future__ import annotations

import shlex
from argparse import ArgumentTypeError

from dataset import FOLDERS, SIZES
from helper.argtypes import trial_list
from models import imagenet_dict, model_dict

PICTURES = ("points", "curves", "surfaces")
# Flags that neither a row nor a recipe may set: the table, its columns and the command line do.
DECIDED = ("dataset", "epochs", "lr_decay_epochs", "train_fraction", "holdout", "trial", "save_dir", "data_dir",
           "device", "model", "model_s", "model_t", "path_t", "resume", "overwrite")
ROLES = ("distil", "student", "teacher")


def no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _is(kind, *values) -> bool:
    return all(type(value) in kind if isinstance(kind, tuple) else type(value) is kind for value in values)


def wrong_type(table) -> str:
    """What no table can have, in words; '' if every value is of its kind."""
    recipe = table.recipe
    if not _is(dict, recipe) or recipe.get("dataset") not in SIZES:
        return f"recipe: dataset must be one of {', '.join(SIZES)}"
    if not _is(int, recipe.get("epochs")) or recipe["epochs"] < 1:
        return "recipe: epochs must be a whole number from 1"
    drops = recipe.get("lr_decay_epochs")
    if not _is(list, drops) or not _is(int, *drops):
        return "recipe: lr_decay_epochs must be a list of epochs, as [150, 180, 210]"
    if not _is(list, table.columns, table.about) or not _is(dict, table.sources) or not _is(
            str, table.trial, table.title, table.x_label, table.reduced, *table.columns, *table.about,
            *table.sources.values()):
        return 'trial and title are texts, as "1,2,3", columns and about lists of texts, sources maps to texts'
    try:
        trial_list(table.trial)
    except ArgumentTypeError as error:
        return f"trial: {error}"
    if table.picture not in PICTURES:
        return f"picture {table.picture!r} is none of {', '.join(PICTURES)}"
    for row in table.rows:
        if not _is(dict, row.column_flags):
            return f"row {row.name}: column_flags must map columns to flags"
        if not _is((int, float, type(None)), row.x):
            return f"row {row.name}: x must be a number"
        if not _is(str, row.name, row.flags, row.teacher, row.source, row.series, row.compare,
                   *row.column_flags.values()):
            return f"row {row.name}: its name, flags, teacher, source, series and compare must be texts"
        numbers = (int, float, type(None))
        if not _is(tuple, row.skip) or not _is(str, *row.skip) or not (
                _is(str, row.published) or _is(tuple, row.published) and _is(numbers, *row.published)):
            return (f"row {row.name}: published is a list of numbers or null, or 'KEY: METHOD' of "
                    "dataset/published.json; skip is a list of columns")
        for flags in (row.flags, row.teacher, *row.column_flags.values()):
            try:
                given = {word.split("=")[0] for word in shlex.split(flags)}
            except ValueError as error:
                return f"row {row.name}: flags {flags!r} ({error})"
            refused = {"-h", "--help", "--help_all", *(f"--{name}" for name in {*DECIDED, *recipe})}
            if taken := sorted(given & refused):
                return f"row {row.name}: {taken[0]} is decided by the table's recipe, its columns or run_table's flags"
    if taken := sorted({*recipe} & {*DECIDED} - {"dataset", "epochs", "lr_decay_epochs"}):
        return f"recipe: {taken[0]} is not the recipe's to say"
    return ""


def impossible(table) -> str:
    """What is of the right kinds and makes no table, in words, or ''."""
    if not table.rows or not table.columns:
        return "it has no rows or no columns"
    known = imagenet_dict if table.recipe["dataset"] in FOLDERS else model_dict
    for column in table.columns:
        names = column.split(" > ")
        pair = any(row.role != "student" for row in table.rows if column not in row.skip)
        if len(names) > 2 or (pair and len(names) < 2) or any(name not in known for name in names):
            return f"column {column!r}: must be 'TEACHER > STUDENT', or one network where every row trains it alone"
    if len({row.name for row in table.rows}) < len(table.rows) or len(set(table.columns)) < len(table.columns):
        return "two rows or two columns have the same name"
    for row in table.rows:
        if row.role not in ROLES:
            return f"row {row.name}: role {row.role!r} is none of {', '.join(ROLES)}"
        if row.published and len(row.published) != len(table.columns):
            return f"row {row.name}: {len(row.published)} published numbers for {len(table.columns)} columns"
        if row.compare and row.compare not in {other.name for other in table.rows} - {row.name}:
            return f"row {row.name}: compares with {row.compare!r}, which is no other row"
        if row.published and row.source not in table.sources:
            return f"row {row.name}: published numbers without a source"
        if unknown := {*row.column_flags, *row.skip} - {*table.columns}:
            return f"row {row.name}: names columns that are none: {', '.join(sorted(unknown))}"
    return ""
