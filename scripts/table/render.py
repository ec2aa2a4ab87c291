"""The figures of a table, mean and deviation over seeds, and the Markdown and CSV files of result/NAME/.

result/NAME/ holds the full recipe only. Every other size has a folder of its own in it, named by what is reduced, and
is labelled as reduced in its title, its column heads, its CSV fields and its picture.
"""
from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from helper.commits import commits_in, short_commit
from helper.files import csv_text, save_text
from helper.fit import duration

from .markdown import markdown_cell, markdown_table
from .plan import Plan
from .results import Record, Result
from .spec import Cell, Size, Table

DETAILS = "<!-- cells -->"  # the part above is copied into the README
NONE: Mapping[str, str] = MappingProxyType({})
WIDEST = 8  # columns; a wider table is transposed


@dataclass(frozen=True)
class Figure:
    """One cell over its seeds. std is the unbiased one, None for a single seed; n 0: nothing is finished."""

    n: int
    mean: float | None = None
    std: float | None = None
    best: float | None = None  # mean of the best epochs' accuracies
    trials: tuple[str, ...] = ()
    teacher: str = ""  # its origin and its accuracy
    hardware: str = ""
    seconds: float = 0.0  # mean of the runs; 0 for a teacher that came as a file
    code: str = ""  # the commits that trained them

    @classmethod
    def of(cls, results: Sequence[Result]) -> Figure:
        last = [result.last_top1 for result in results]
        if not last:
            return cls(0)
        std = statistics.stdev(last) if len(last) > 1 else None
        commits = dict.fromkeys(commit for result in results for commit in commits_in(result.git_commit))
        return cls(len(last), statistics.fmean(last), std, statistics.fmean(result.best_top1 for result in results),
                   tuple(result.trial for result in results), _teacher(results),
                   ", ".join(dict.fromkeys(result.hardware for result in results if result.hardware)),
                   statistics.fmean(result.wall_time_s for result in results),
                   ", ".join(map(short_commit, commits)))

    @property
    def text(self) -> str:
        if not self.n:
            return ""
        return f"{self.mean:.2f}" + (f" ± {self.std:.2f}" if self.std is not None else "") + f" (n={self.n})"


def _teacher(results: Sequence[Result]) -> str:
    """'someone (example.org/zoo), 72.61 %' of the runs of one teacher, as far as it is stored."""
    top1 = [f"{result.teacher_top1:.2f} %" for result in results if result.teacher_top1 is not None]
    return ", ".join(text for text in (results[0].teacher_origin, *top1[:1]) if text)


def write(plan: Plan, folder: Path, failed: Mapping[str, str] = NONE) -> dict[tuple[str, str], Figure]:
    """runs.csv, table.csv and table.md into ``folder``; returns the figures by cell. failed: by the label of a run why
    its last attempt failed."""
    folder.mkdir(parents=True, exist_ok=True)
    record, cells = Record(folder / "runs.csv"), plan.table.cells
    places = {cell.key: plan.place(cell) for cell in cells}
    for cell in cells:
        record.add(places[cell.key], plan.results(cell))
    record.write([*places.values()])
    figures = {}
    for cell in cells:
        teacher = plan.source_of(cell).path if cell.row.role == "distil" else None
        figures[cell.key] = Figure.of(record.runs_at(places[cell.key], teacher))
    save_text(table_csv(plan, figures), folder / "table.csv")
    save_text(markdown(plan, figures, failed), folder / "table.md")
    return figures


def table_csv(plan: Plan, figures: dict) -> str:
    """One line per cell. The fields of a reduced size begin with reduced_, and published numbers are left out."""
    table, reduced, rows = plan.table, bool(plan.size.label), []
    prefix = "reduced_" if reduced else ""
    for cell in table.cells:
        figure = figures[cell.key]
        row = {"row": cell.row.name, "column": cell.column, "size": plan.size.text, "seeds": figure.n,
               f"{prefix}last_top1_mean": two(figure.mean), f"{prefix}last_top1_std": two(figure.std)}
        if not reduced:
            row |= {"published": two(cell.published), "difference": _signed(_difference(cell, figure)),
                    "source": cell.row.source if cell.published is not None else ""}
        rows.append({**row, f"{prefix}best_top1_mean": two(figure.best), "teacher": figure.teacher,
                     "hardware": figure.hardware, "time": duration(figure.seconds) if figure.seconds else "",
                     "code": figure.code, "command": command(plan, cell, figure)})
    return csv_text(rows, list(rows[0]))


def markdown(plan: Plan, figures: dict, failed: Mapping[str, str] = NONE) -> str:
    """table.md: the matrix of figures, which the README shows, then pictures, failed runs and commands."""
    table, size = plan.table, plan.size
    title = table.title + (f" ({size.label})" if size.label else "")
    notes = [*table.about]
    if size.label:
        notes.append(f"**{size.label[0].upper()}{size.label[1:]}. These numbers are not to be compared with published "
                     f"ones, which are left out here.** {size.schedule}".strip())
    published = bool(table.sources) and not size.label
    more = "; below it the published figure and the difference" if published else ""
    notes.append(f"Last epoch's top-1 accuracy (%), mean ± standard deviation over n seeds{more}. Columns without a "
                 f"run are left out, and rows without one{' or a published figure' if published else ''}.")
    sources = [] if size.label else [f"Published: {text}." for text in table.sources]
    commands = [line for cell in table.cells for line in (f"# {cell.label}", command(plan, cell, figures[cell.key]))]
    names = [table.name, "result_heatmap"] if table.picture == "surfaces" else [table.name]
    pictures = [f"![{markdown_cell(title)}]({name}.png)" for name in names]
    lines = [f"# {title}", "", *_paragraphs(notes), *_matrix(table, size, figures), "",
             *_comparisons(table, figures), *_paragraphs([*_training_times(table, figures), *sources]), DETAILS,
             "", *_paragraphs(pictures), *_failures(failed), "## Commands", "",
             "[table.csv](table.csv) has a line per cell, with its teacher, hardware, time and code.", "",
             "```", *commands, "```"]
    return "\n".join(lines) + "\n"


def _failures(failed: Mapping[str, str]) -> list[str]:
    if not failed:
        return []
    return ["## Failed", "", "The last attempt at these ended with an error; the same command tries them again.", "",
            *(" ".join(f"- {label}: {reason}".split()) for label, reason in failed.items()), ""]


def command(plan: Plan, cell: Cell, figure: Figure) -> str:
    """The command that trained the cell's seeds, or that would."""
    run = plan.cell_runs[cell.key][0]
    return run.command(figure.trials) if run else f"# taken from {plan.source_of(cell).path}"


def _matrix(table: Table, size: Size, figures: dict) -> list[str]:
    """Rows x columns of numbers, transposed where there are too many columns."""
    mark = " (reduced)" if size.label else ""
    cells = {cell.key: cell for cell in table.cells}
    table = table.run_part(size, figures)
    names, columns = [row.name for row in table.rows], table.columns

    def text(name: str, column: str) -> str:
        cell = cells.get((name, column))
        if cell is None:
            return "–"
        figure = figures[cell.key]
        if size.label or cell.published is None:
            return figure.text
        difference = _signed(_difference(cell, figure))
        return f"{figure.text or '–'}<br>{cell.published:.2f}" + (f" ({difference})" if difference else "")

    if len(columns) > WIDEST:
        head, lines = names, [[c, *(text(n, c) for n in names)] for c in columns]
    else:
        head, lines = columns, [[n, *(text(n, c) for c in columns)] for n in names]
    return markdown_table(["", *(h + mark for h in head)], lines)


def _comparisons(table: Table, figures: dict) -> list[str]:
    """Each row with ``compare`` against that row: the difference of the means and twice its standard error."""
    lines = []
    for cell in table.cells:
        one, other = figures[cell.key], figures.get((cell.row.compare, cell.column), Figure(0))
        if not (one.n and other.n):
            continue
        error, verdict = standard_error(one, other), "needs more seeds"
        if error is not None:
            verdict = "yes" if abs(one.mean - other.mean) > 2 * error else "no"
        lines.append([cell.row.name, cell.row.compare, cell.column, _signed(one.mean - other.mean),
                      two(None if error is None else 2 * error), f"{one.n}, {other.n}", verdict])
    head = ["row", "against", "column", "difference", "two standard errors", "n", "more than two standard errors"]
    return [*markdown_table(head, lines), ""] if lines else []


def standard_error(one: Figure, other: Figure) -> float | None:
    """Of the difference of two means, sqrt(s1^2 / n1 + s2^2 / n2); None where one of them has a single seed."""
    if one.std is None or other.std is None:
        return None
    return math.sqrt(one.std**2 / one.n + other.std**2 / other.n)


def _training_times(table: Table, figures: dict) -> list[str]:
    """How long, on what and from which teachers, over the whole table."""
    trained = [figure for figure in figures.values() if figure.seconds]
    if not trained:
        return []
    times = dict.fromkeys(duration(extreme(figure.seconds for figure in trained)) for extreme in (min, max))
    hardware = dict.fromkeys(name for figure in trained if figure.hardware for name in figure.hardware.split("; "))
    known = {f"{cell.teacher}: {figures[cell.key].teacher}" for cell in table.cells if figures[cell.key].teacher}
    teachers = sorted(text for text in known if not any(other != text and other.startswith(text) for other in known))
    made = f"A run's training steps took {' to '.join(times)}" + (f" ({'; '.join(hardware)})" if hardware else "")
    return [f"{made}." + (f" Teachers: {'; '.join(teachers)}." if teachers else "")]


def _paragraphs(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in (text, "")]


def _difference(cell: Cell, figure: Figure) -> float | None:
    return None if cell.published is None or figure.mean is None else figure.mean - cell.published


def two(value: float | None) -> str:
    """With two decimals; '' for None."""
    return "" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}"
