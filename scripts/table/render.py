"""The figures of a table, mean and deviation over seeds, and the files of result/NAME/: table.md, table.csv and the
records of finished runs.

result/NAME/ holds the full recipe only. Every other size has a folder of its own in it, named by what is reduced, and
is labelled as reduced in its title, its column heads, its CSV fields and its picture.
"""
from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import quote

from helper.commits import commits_in, short_commit
from helper.files import csv_text, save_text
from helper.fit import duration

from .markdown import markdown_cell, markdown_table
from .plan import Plan
from .results import Result
from .spec import Cell, Size, Table

DETAILS = "<!-- cells -->"  # the part above is copied into the README
NONE: Mapping[str, str] = MappingProxyType({})
WIDEST = 8  # columns; a wider table is transposed


@dataclass(frozen=True)
class Figure:
    """One number over its seeds, and its text."""

    values: Sequence[float] = ()

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        """The unbiased one; None for a single seed."""
        return statistics.stdev(self.values) if self.n > 1 else None

    @property
    def text(self) -> str:
        if not self.values:
            return ""
        return f"{self.mean:.2f}" + (f" ± {self.std:.2f}" if self.std is not None else "") + f" (n={self.n})"


def write(plan: Plan, failed: Mapping[str, str] = NONE) -> dict[tuple[str, str], Figure]:
    """The records of finished runs, table.csv and table.md into the plan's folder; returns the figures by cell. failed:
    by the label of a run why its last attempt failed."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    plan.keep_records()
    results = {cell.key: plan.results(cell) for cell in plan.table.cells}
    figures = {key: Figure([result.last_top1 for result in found]) for key, found in results.items()}
    save_text(table_csv(plan, results, figures), plan.folder / "table.csv")
    save_text(markdown(plan, results, figures, failed), plan.folder / "table.md")
    return figures


def table_csv(plan: Plan, results: dict, figures: dict) -> str:
    """One line per cell. The fields of a reduced size begin with reduced_, and published numbers are left out."""
    table, reduced, rows = plan.table, bool(plan.size.label), []
    prefix = "reduced_" if reduced else ""
    for cell in table.cells:
        found, figure = results[cell.key], figures[cell.key]
        row = {"row": cell.row.name, "column": cell.column, "size": plan.size.text, "seeds": figure.n,
               f"{prefix}last_top1": " ".join(f"{result.last_top1:.2f}" for result in found),
               f"{prefix}last_top1_mean": two(figure.mean), f"{prefix}last_top1_std": two(figure.std)}
        if not reduced:
            row |= {"published": two(cell.published), "difference": _signed(_difference(cell, figure)),
                    "source": cell.row.source if cell.published is not None else ""}
        best, seconds = (Figure([getattr(result, name) for result in found]).mean
                         for name in ("best_top1", "wall_time_s"))
        commits = dict.fromkeys(commit for result in found for commit in commits_in(result.git_commit))
        rows.append({**row, f"{prefix}best_top1_mean": two(best), "teacher": _teacher(found),
                     "hardware": ", ".join(dict.fromkeys(result.hardware for result in found if result.hardware)),
                     "time": duration(seconds) if seconds else "", "code": ", ".join(map(short_commit, commits)),
                     "command": command(plan, cell, found)})
    return csv_text(rows, list(rows[0]))


def _teacher(results: Sequence[Result]) -> str:
    """'someone (example.org/zoo), 72.61 %' of the runs of one teacher, as far as it is stored."""
    top1 = [f"{result.teacher_top1:.2f} %" for result in results if result.teacher_top1 is not None]
    origins = [result.teacher_origin for result in results[:1]]
    return ", ".join(text for text in (*origins, *top1[:1]) if text)


def markdown(plan: Plan, results: dict, figures: dict, failed: Mapping[str, str]) -> str:
    """table.md: the matrix of figures, which the README shows, then pictures and failed runs."""
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
    names = [table.name, "result_heatmap"] if table.picture == "surfaces" else [table.name]
    pictures = [f"![{markdown_cell(title)}]({quote(name)}.png)" for name in names]
    lines = [f"# {title}", "", *_paragraphs(notes), *_matrix(table, size, figures), "",
             *_comparisons(table, figures), *_paragraphs([*_training(table, results), *sources]), DETAILS,
             "", *_paragraphs(pictures), *_failures(failed),
             "[table.csv](table.csv) has a line per cell: its seeds, teacher, hardware, time, code and command. models/"
             " and student_model/ have the records of the runs."]
    return "\n".join(lines) + "\n"


def _failures(failed: Mapping[str, str]) -> list[str]:
    if not failed:
        return []
    return ["## Failed", "", "The last attempt at these ended with an error; the same command tries them again.", "",
            *(" ".join(f"- {label}: {reason}".split()) for label, reason in failed.items()), ""]


def command(plan: Plan, cell: Cell, results: Sequence[Result]) -> str:
    """The command that trained the cell's seeds, or that would."""
    run = plan.cell_runs[cell.key][0]
    return run.command([result.trial for result in results]) if run else f"# taken from {plan.source_of(cell).path}"


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
    """Each row against the rows of its ``compare``: the difference of the means and twice its standard error, from one
    deviation over seeds for all rows of a column, those of teachers apart."""
    def group(cell: Cell) -> tuple[str, bool]:
        return cell.column, cell.row.role == "teacher"

    stds = {key: pooled([figures[cell.key] for cell in table.cells if group(cell) == key])
            for key in map(group, table.cells)}
    lines, teachers = [], {row.name for row in table.rows if row.role == "teacher"}
    for cell, against in [(c, name) for c in table.cells for name in c.row.compare]:
        one, other = figures[cell.key], figures.get((against, cell.column), Figure())
        if not (one.n and other.n):
            continue
        std, error, verdict = stds[group(cell)], None, "needs more seeds"
        if group(cell) != (cell.column, against in teachers):
            std, verdict = None, "another network"
        if std:
            error = std * math.sqrt(1 / one.n + 1 / other.n)
            verdict = "yes" if abs(one.mean - other.mean) > 2 * error else "no"
        lines.append([cell.row.name, against, cell.column, _signed(one.mean - other.mean), f"{one.n}, {other.n}",
                      two(std), two(error and 2 * error), verdict])
    head = ["row", "against", "column", "difference", "n", "deviation, pooled over rows", "two standard errors",
            "more than two standard errors"]
    return [*markdown_table(head, lines), ""] if lines else []


def pooled(figures: Sequence[Figure]) -> float | None:
    """The standard deviation that rows have in common, sqrt(sum (n - 1) s^2 / sum (n - 1)): of two or three seeds a
    row's own says little. None where every row has one seed at most."""
    several = [figure for figure in figures if figure.std is not None]
    freedom = sum(figure.n - 1 for figure in several)
    return math.sqrt(sum((figure.n - 1) * figure.std**2 for figure in several) / freedom) if several else None


def _training(table: Table, results: dict) -> list[str]:
    """How long, on what and from which teachers, over the whole table."""
    trained = [result for found in results.values() for result in found if result.wall_time_s]
    if not trained:
        return []
    times = dict.fromkeys(duration(extreme(result.wall_time_s for result in trained)) for extreme in (min, max))
    hardware = dict.fromkeys(name for result in trained if result.hardware for name in result.hardware.split("; "))
    known = {f"{cell.teacher}{cell.row.teacher and f' ({cell.row.teacher})'}: {_teacher(results[cell.key])}"
             for cell in table.cells if _teacher(results[cell.key])}
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
