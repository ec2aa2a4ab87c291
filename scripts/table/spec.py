"""Tables as data: scripts/tables/NAME.json, read and checked.

A table is rows x columns of cells, each cell one training command. Keys of a file:

    title, about (lines), recipe (flags of every run)
    columns     "teacher > student", or "network" where every row trains one network alone
    trial       default of --trial (else 1,2,3);  picture: points, curves or surfaces;  x_label: of curves
    reduced     where the table's own recipe is less than the papers': in what, in words
    rows        name; role: distil (default), student (alone), teacher (the one the column distils from); flags;
                teacher: flags of the teacher's training; published: "KEY: METHOD" of dataset/published.json ("KEY"
                where the row trains networks alone), or one number or null a column, with a source that is a key of
                sources (key -> where the numbers are from);
                column_flags: column -> more flags; skip: columns that the method can't serve;
                series and x: curve and place of a row in the picture; surface: drawn as one;
                compare: the row that this one is set against, with the difference's standard error
"""
from __future__ import annotations

import json
import shlex
from argparse import Namespace
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from dataset import FOLDERS, published_figures, sizes
from helper.errors import UserError, near

from .checks import impossible, no_number, wrong_type

FOLDER = Path(__file__).parents[1] / "tables"


@dataclass(frozen=True)
class Row:
    name: str
    role: str = "distil"
    flags: str = ""
    teacher: str = ""
    published: tuple = ()
    source: str = ""
    column_flags: dict = field(default_factory=dict, hash=False)
    skip: tuple = ()
    series: str = ""
    x: float | None = None
    surface: bool = False
    compare: str = ""


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
        """What dataset/published.json calls it: the pair, or the network that is trained alone."""
        return {"teacher": self.teacher, "student": self.student}.get(self.row.role, self.column)

    @property
    def flags(self) -> list[str]:
        return shlex.split(f"{self.row.flags} {self.row.column_flags.get(self.column, '')}")


@dataclass(frozen=True)
class Size:
    """How much of the recipe is run. ``folder`` is empty for all of it, and only then; ``label`` too, unless the
    table's own recipe is reduced."""

    recipe_epochs: int
    recipe_dataset: str
    epochs: int
    train_fraction: float
    holdout: int
    dataset: str
    reduced: str = ""  # in what the table's own recipe is less
    data_dir: str = "data"  # where images of one's own are counted

    @cached_property
    def _changes(self) -> list[tuple[str, str]]:
        changes = []
        if self.epochs != self.recipe_epochs:
            changes.append((f"epochs={self.epochs}", f"{self.epochs} of {self.recipe_epochs} epochs"))
        if self.train_fraction != 1:
            changes.append((f"train_fraction={self.train_fraction}",
                            f"{100 * self.train_fraction:.10g} % of the training images"))
        if self.holdout:
            changes.append((f"holdout={self.holdout}", f"validated on {self.holdout} images held out of training"))
        if self.dataset != self.recipe_dataset:
            changes.append((f"dataset={self.dataset}", f"data set {self.dataset}"))
        return changes

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
    def whole(self) -> tuple[int, int]:
        """Training and test images of the data set."""
        return sizes(self.dataset, self.data_dir)

    @property
    def images(self) -> tuple[int, int]:
        """Training images, and those that an epoch is validated on."""
        train, test = self.whole
        return round((train - self.holdout) * self.train_fraction), self.holdout or test

    @property
    def share(self) -> float:
        """The recipe's training images that are taken, as a share; another data set counts by its size."""
        return self.images[0] / sizes(self.recipe_dataset, self.data_dir)[0]

    def scaled(self, opt: Namespace, per_epoch: Iterable[str], per_image: Iterable[str]) -> list[str]:
        """Those flags with their values of ``opt`` shrunk as epochs and images are; none where all are trained."""
        shares = {**dict.fromkeys(per_epoch, self.epochs / self.recipe_epochs), **dict.fromkeys(per_image, self.share)}
        return [part for name, share in shares.items() if share != 1
                for part in (f"--{name}", str(max(1, round(getattr(opt, name) * share))))]

    @property
    def schedule(self) -> str:
        """What a change of the number of epochs does to the schedule, in words."""
        return ("The learning rate drops, first stages and warm-ups come at the same shares of the epochs."
                if self.epochs != self.recipe_epochs else "")


@dataclass
class Table:
    name: str
    title: str
    recipe: dict
    columns: list[str]
    rows: list[Row]
    about: list[str] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    trial: str = "1,2,3"
    picture: str = "points"
    x_label: str = ""
    reduced: str = ""

    @cached_property
    def cells(self) -> list[Cell]:
        return [Cell(row, column, row.published[i] if row.published else None)
                for row in self.rows for i, column in enumerate(self.columns) if column not in row.skip]

    def shown(self, size: Size, figures: dict) -> Table:
        """What a matrix or a picture shows: the columns with a run, the rows with one or a published figure there."""
        published = set() if size.label else {cell.key for cell in self.cells if cell.published is not None}
        rows, columns = filled([row.name for row in self.rows], self.columns,
                               lambda key: key in figures and figures[key].n > 0, published)
        kept = [self.columns.index(column) for column in columns]
        return replace(self, columns=columns, rows=[
            replace(row, published=tuple(row.published[i] for i in kept) if row.published else ())  # they go by place
            for row in self.rows if row.name in rows])

    def size(self, epochs: int | None = None, train_fraction: float = 1.0, holdout: int = 0,
             dataset: str | None = None, data_dir: str = "data") -> Size:
        full, name = self.recipe["epochs"], self.recipe["dataset"]
        if (epochs or full) > full:
            raise UserError(f"--epochs {epochs}: the recipe of table {self.name} has {full}; give {full} or less")
        size = Size(full, name, epochs or full, train_fraction, holdout, dataset or name, self.reduced, data_dir)
        if (size.dataset in FOLDERS) != (name in FOLDERS):
            raise UserError(f"--dataset {dataset}: the networks of table {self.name} are made for {name}'s size "
                            "of images; give another data set, or another table")
        if holdout >= size.whole[0]:
            raise UserError(f"--holdout {holdout}: {size.dataset} has {size.whole[0]} training images")
        return size


def with_published(table: Table, path: Path) -> Table:
    """The table with the numbers in place of the keys of dataset/published.json."""
    known, sources = published_figures(table.recipe["dataset"]), dict(table.sources)
    rows = []
    for row in table.rows:
        if isinstance(row.published, str):
            key, _, method = row.published.partition(": ")
            entry = known.get(key, {})
            numbers = entry.get("methods", {}).get(method) if row.role == "distil" else entry.get("alone")
            if numbers is None:
                raise UserError(f"{path}: row {row.name}: published {row.published!r} is no entry of "
                                f"dataset/published.json for {table.recipe['dataset']}; keys there: {', '.join(known)}")
            names = [Cell(row, column, None).published_as for column in table.columns]
            row = replace(row, published=tuple(map(numbers.get, names)), source=key)
            sources[key] = entry["source"]
        rows.append(row)
    return replace(table, rows=rows, sources=sources)


def filled(rows: Sequence[str], columns: Sequence[str], has: Callable,
           published: Container[tuple[str, str]] = ()) -> tuple[list[str], list[str]]:
    """The columns with a number of one's own in them, and the rows with one, or a published one, there; all where there
    is none. A table is seldom run whole."""
    there = [c for c in columns if any(has((r, c)) for r in rows)]
    if not there:
        return list(rows), list(columns)
    return [r for r in rows if any(has((r, c)) or (r, c) in published for c in there)], there


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> Table:
    """The table of this name, or of a file of one's own. UserError: no such table, or a file that isn't one."""
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not path.is_file():
        raise UserError(f"table {name!r}: unknown{near(name, names())}; tables: {', '.join(names())}, or a .json file")
    try:
        content = json.loads(path.read_text(), parse_constant=no_number)
        if "name" in content:
            raise ValueError("its name is the file's; leave 'name' out")
        rows = [Row(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}) for row in content["rows"]]
        table = Table(path.stem, **{**content, "rows": rows})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a table ({' '.join(str(error).split())}); those in scripts/tables show the keys"
                        ) from None
    if path.resolve().parent != FOLDER.resolve() and path.stem in names():
        raise UserError(f"{path}: {path.stem} is a table of the project, whose results would mix; rename the file")
    if problem := wrong_type(table):
        raise UserError(f"{path}: {problem}")
    table = with_published(table, path)
    if problem := impossible(table):
        raise UserError(f"{path}: {problem}")
    return table
