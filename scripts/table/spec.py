"""Tables as data: scripts/tables/NAME.json, read and checked.

A table is rows x columns of cells, each cell one training command. Keys of a file:

    title, about (lines), recipe (flags of every run)
    columns     "teacher > student", or "network" where every row trains one network alone
    trial       default of --trial (else 1,2,3);  picture: points, curves or surfaces;  x_label: of curves
    reduced     where the table's own recipe is less than the papers': a description
    rows        name; role: distil (default), student (alone), teacher (the one the column distils from); flags (not
                of a teacher); teacher: flags of the teacher's training (not of a student alone); published:
                "KEY: METHOD" of dataset/published.json ("KEY" where the row trains networks alone), or one number or
                null per column, with source, a text; skip: columns whose networks the method can't train;
                series and x: curve and position of a row in the picture; surface: plot it as one;
                compare: the rows that this one is compared with, by the difference and its standard error
"""
from __future__ import annotations

import hashlib
import json
import re
import shlex
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import pydantic
from pydantic import ConfigDict, Field, FiniteFloat
from typing_extensions import TypedDict

from dataset import FOLDERS, SIZES, published_figures, sizes
from helper.argtypes import trial_list
from helper.errors import UserError, near
from models import imagenet_dict, model_dict

FOLDER = Path(__file__).parents[1] / "tables"
# Flags that neither a row nor a recipe may set, because the table, its columns or the command line set them.
DECIDED = {"dataset", "epochs", "lr_decay_epochs", "train_fraction", "holdout", "trial", "save_dir", "data_dir",
           "device", "model", "model_s", "model_t", "path_t", "resume", "overwrite"}
Epoch = Annotated[int, Field(ge=1, le=10**6)]
STRICT = ConfigDict(strict=True, extra="forbid")  # no other keys, no conversions


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Row:
    name: str
    role: Literal["distil", "student", "teacher"] = "distil"
    flags: str = ""
    teacher: str = ""
    published: Annotated[list[FiniteFloat | None], Field(min_length=1)] | str = field(default_factory=list)
    source: str = ""
    skip: list[str] = field(default_factory=list)
    series: str = ""
    x: FiniteFloat | None = None
    surface: bool = False
    compare: list[str] = field(default_factory=list)


class Recipe(TypedDict):
    """Flags of every run; those that are not listed here too."""

    __pydantic_config__ = ConfigDict(strict=True, extra="allow")
    dataset: str
    epochs: Epoch
    lr_decay_epochs: list[Epoch]


@dataclass(frozen=True)
class Cell:
    """One number of a table. teacher is '' where the row trains a network alone."""

    row: Row
    column: str
    published: float | None

    @property
    def key(self) -> tuple[str, str]:
        return self.row.name, self.column

    @property
    def label(self) -> str:
        return f"{self.row.name}, {self.column}"

    @property
    def teacher(self) -> str:
        return self.column.split(" > ")[0] if " > " in self.column else ""

    @property
    def student(self) -> str:
        return self.column.split(" > ")[-1]

    @property
    def published_as(self) -> str:
        """Its key in dataset/published.json: the pair, or the network that is trained alone."""
        return {"teacher": self.teacher, "student": self.student}.get(self.row.role, self.column)


@dataclass(frozen=True)
class Size:
    """How much of the recipe is run. For all of it, and only then, ``folder`` is empty, and so is ``label`` unless the
    table's own recipe is reduced."""

    recipe_epochs: int
    recipe_dataset: str
    recipe_drops: tuple[int, ...]
    epochs: int
    train_fraction: float
    dataset: str
    reduced: str = ""  # what is reduced in the table's own recipe
    data_dir: str = "data"  # where a user's images are counted

    @cached_property
    def _changes(self) -> list[tuple[str, str]]:
        changes = (("epochs", self.recipe_epochs, f"{self.epochs} of {self.recipe_epochs} epochs"),
                   ("train_fraction", 1, f"{100 * self.train_fraction:.10g} % of the training images"),
                   ("dataset", self.recipe_dataset, f"data set {self.dataset}"))
        return [(f"{name}={getattr(self, name)}", text) for name, full, text in changes if getattr(self, name) != full]

    @property
    def label(self) -> str:
        texts = [text for text in (self.reduced, *(text for _, text in self._changes)) if text]
        return "reduced: " + ", ".join(texts) if texts else ""

    @property
    def text(self) -> str:
        return self.label or "full recipe"

    @property
    def folder(self) -> str:
        return "reduced-" + "-".join(name for name, _ in self._changes) if self._changes else ""

    @cached_property
    def images(self) -> tuple[int, int]:
        """Training images, and those that an epoch is validated on."""
        train, test = sizes(self.dataset, self.data_dir)
        return round(train * self.train_fraction), test

    @property
    def share(self) -> float:
        """The recipe's training images that are taken, as a share; another data set counts by its size."""
        return self.images[0] / sizes(self.recipe_dataset, self.data_dir)[0]

    def scaled(self, opt: Namespace, per_epoch: Iterable[str], per_image: Iterable[str]) -> list[str]:
        """Those flags with their values of ``opt`` shrunk as epochs and images are; none where all are trained."""
        shares = {**dict.fromkeys(per_epoch, self.epochs / self.recipe_epochs), **dict.fromkeys(per_image, self.share)}
        return [part for name, share in shares.items() if share != 1
                for value in [getattr(opt, name)]
                for part in (f"--{name}", str(max(min(value, 1), round(value * share))))]

    @property
    def schedule(self) -> str:
        """A description of what a change of the number of epochs does to the schedule."""
        drops = f"drops after epochs {', '.join(map(str, self.drops))}" if self.drops else "does not drop"
        return (f"The learning rate {drops}; first stages and warm-ups are shortened as the epochs are."
                if self.epochs != self.recipe_epochs else "")

    @property
    def drops(self) -> list[int]:
        """The drops at the recipe's shares of the epochs; those that fall together or outside are one or none."""
        share = self.epochs / self.recipe_epochs
        drops = {max(1, round(epoch * share)) for epoch in self.recipe_drops}
        return sorted(drop for drop in drops if drop < self.epochs)


@pydantic.dataclasses.dataclass(config=STRICT)
class Table:
    title: str
    recipe: Recipe
    columns: list[str]
    rows: list[Row]
    about: list[str] = field(default_factory=list)
    trial: str = "1,2,3"
    picture: Literal["points", "curves", "surfaces"] = "points"
    x_label: str = ""
    reduced: str = ""
    name: str = ""  # the file's

    @cached_property
    def cells(self) -> list[Cell]:
        return [Cell(row, column, row.published[i] if row.published else None)
                for row in self.rows for i, column in enumerate(self.columns) if column not in row.skip]

    @property
    def sources(self) -> list[str]:
        """Where the published figures are from."""
        return list(dict.fromkeys(row.source for row in self.rows if row.published))

    def run_part(self, size: Size, figures: dict) -> Table:
        """The part that has been run: the columns with a run, and the rows with a run or a published figure in them;
        all where nothing has been run."""
        run = {cell.key for cell in self.cells if cell.key in figures and figures[cell.key].n}
        shown = run | {cell.key for cell in self.cells if cell.published is not None and not size.label}
        kept = [i for i, column in enumerate(self.columns) if not run or any(column == of for _, of in run)]
        columns = [self.columns[i] for i in kept]
        return replace(self, columns=columns, rows=[
            replace(row, published=[row.published[i] for i in kept]) if row.published else row
            for row in self.rows if not run or any((row.name, column) in shown for column in columns)])

    def size(self, epochs: int | None = None, train_fraction: float = 1.0,
             dataset: str | None = None, data_dir: str = "data") -> Size:
        full, name = self.recipe["epochs"], self.recipe["dataset"]
        if (epochs or full) > full:
            raise UserError(f"--epochs {epochs}: the recipe of table {self.name} has {full}; give {full} or less")
        size = Size(full, name, tuple(self.recipe["lr_decay_epochs"]), epochs or full, train_fraction, dataset or name,
                    self.reduced, data_dir)
        if (size.dataset in FOLDERS) != (name in FOLDERS):
            raise UserError(f"--dataset {dataset}: the networks of table {self.name} are made for {name}'s size "
                            "of images; give another data set, or another table")
        return size


def slug(text: str) -> str:
    """A file name of letters, digits and a few signs."""
    name = re.sub(r"[^\w.=%+-]+", "_", text).strip("_")
    if len(name.encode()) < 200:  # of the 255 bytes that file systems take
        return name
    return f"{name[:40]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> Table:
    """The table of this name, or of a user's file. UserError: no such table, or a file that isn't one."""
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not path.is_file() and path != FOLDER / f"{name}.json":
        raise UserError(f"table {name}: no such file")
    if not path.is_file():
        raise UserError(f"table {name!r}: unknown{near(name, names())}; tables: {', '.join(names())}, or a .json file")
    if path.resolve().parent != FOLDER.resolve() and path.stem in names():
        raise UserError(f"{path}: {path.stem} is a table of the project, whose results would mix; rename the file")
    text = path.read_bytes()
    try:
        table = pydantic.TypeAdapter(Table).validate_json(text)
        problem = next(mistakes(table), "")
    except pydantic.ValidationError as error:
        problem = wrong_type(error, text)
    if problem:
        problem = " ".join(problem.split())  # a name or a key of the file may hold line breaks
        raise UserError(f"{path}: {problem}; the keys are described in scripts/table/spec.py")
    table.name, table.title = path.stem, " ".join(table.title.split())
    table.rows = [with_published(row, table, path) for row in table.rows]
    return table


def with_published(row: Row, table: Table, path: Path) -> Row:
    """The row with the numbers and the source that its key has in dataset/published.json."""
    if not isinstance(row.published, str):
        return row
    known = published_figures(table.recipe["dataset"])
    key, _, method = row.published.partition(": ")
    entry = known.get(key, {})
    numbers = entry.get("methods", {}).get(method) if row.role == "distil" else entry.get("alone")
    if numbers is None:
        raise UserError(f"{path}: row {row.name}: published {row.published!r} is no entry of dataset/published.json "
                        f"for {table.recipe['dataset']}; keys there: {', '.join(known)}")
    names = [Cell(row, column, None).published_as for column in table.columns]
    return replace(row, published=[*map(numbers.get, names)], source=entry["source"])


# Mistakes in a file ---------------------------------------------------------------------------------------------------

def wrong_type(error: pydantic.ValidationError, text: bytes) -> str:
    """The first key that is missing, unknown or of another type, with its row, and what pydantic expects."""
    errors = error.errors(include_url=False)
    kind, where = errors[0]["type"], errors[0]["loc"]
    if not where:  # not JSON, or not an object
        return errors[0]["msg"]
    in_row = where[0] == "rows" and len(where) > 1
    depth = 3 if in_row else 2  # below it are the alternatives of a type
    place = " ".join(map(str, where[:depth]))
    if in_row:
        row = json.loads(text)["rows"][where[1]]
        named = isinstance(row, dict) and row.get("name")
        place = ": ".join([f"row {named or where[1] + 1}", *where[2:3]])
    if kind == "unexpected_keyword_argument":
        return f"{place}: unknown key{near(where[-1], [f.name for f in fields(Row if in_row else Table)])}"
    expected = dict.fromkeys(e["msg"] for e in errors if e["loc"][:depth] == where[:depth])
    return f"{place}: {', or '.join(expected)}"


def mistakes(table: Table) -> Iterator[str]:
    """What is wrong with the values of a table. Each check relies on those before it."""
    recipe, rows, columns = table.recipe, table.rows, table.columns
    if table.name:
        yield "unknown key 'name': a table has its file's name"
    try:
        trial_list(table.trial)
    except ArgumentTypeError as error:
        yield f"trial: {error}"
    if recipe["dataset"] not in SIZES:
        yield f"recipe: dataset {recipe['dataset']!r} is none of {', '.join(SIZES)}"
    if table.picture == "curves" and not (table.x_label and any(row.x is not None for row in rows)):
        yield "picture 'curves' needs x_label, and x of the rows"
    if not rows or not columns:
        yield "it has no rows or no columns"
    if len({row.name for row in rows}) < len(rows) or len(set(columns)) < len(columns):
        yield "two rows or two columns have the same name"
    yield from (f"recipe: {key} is decided by the columns or by run_table's flags"
                for key in recipe.keys() & DECIDED - Recipe.__annotations__.keys())
    for row in rows:
        yield from (f"row {row.name}: {problem}" for problem in mistakes_of_row(row, table))
    networks = imagenet_dict if recipe["dataset"] in FOLDERS else model_dict
    for column in columns:
        names = column.split(" > ")
        pair = any(row.role != "student" for row in rows if column not in row.skip)
        if len(names) not in ((2,) if pair else (1, 2)):
            yield f"column {column!r}: must be 'TEACHER > STUDENT', or one network where every row trains it alone"
        yield from (f"column {column!r}: {name!r} is no network{near(name, networks)}" for name in names
                    if name not in networks)


def mistakes_of_row(row: Row, table: Table) -> Iterator[str]:
    for flags in (row.flags, row.teacher):
        try:
            given = {word.split("=")[0] for word in shlex.split(flags)}
        except ValueError as error:
            yield f"flags {flags!r} ({error})"
        yield from (f"{flag} is decided by the recipe, the columns or run_table's flags"
                    for flag in given & {f"--{name}" for name in {*DECIDED, *table.recipe}})
    if row.role == "teacher" and row.flags:
        yield "flags of a teacher's training are under 'teacher'; 'flags' would have no effect"
    if row.role == "student" and row.teacher:
        yield "'teacher' has no effect on a network that is trained alone"
    if isinstance(row.published, list) and len(row.published) not in (0, len(table.columns)):
        yield f"{len(row.published)} published numbers for {len(table.columns)} columns"
    if row.published and isinstance(row.published, list) and not row.source:
        yield "published numbers without a source"
    yield from (f"compare {name!r} is no other row" for name in row.compare
                if name not in {other.name for other in table.rows} - {row.name})
    yield from (f"{column!r} is no column" for column in set(row.skip) - set(table.columns))
