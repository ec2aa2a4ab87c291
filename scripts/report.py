#!/usr/bin/env python3
"""One static page of everything in result/ and save/: tables, pictures, curves, links to logs. It needs no network.

    python -m scripts.report                            # writes result/report.html

Pictures of result/ are part of the page; curves of single runs are linked relative to it.
"""
from __future__ import annotations

import argparse
import base64
import csv
import os
import re
import sys
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from helper.argtypes import Parser, file_path, folder_path, path
from helper.errors import UserError, guard
from helper.files import save_text
from helper.recipe import less_than
from helper.stored_runs import StoredRun, stored_runs

from .table.render import WIDEST, duration, failures
from .table.spec import filled

LONGEST = 400  # rows of a CSV that are shown; the file is linked
KINDS = {"models": "teachers and students alone", "student_model": "distilled students"}
TEMPLATE = "report.html.j2"


@dataclass
class Section:
    """A titled part of the page. blocks: what the template shows, each a dict with its ``kind``."""

    anchor: str
    title: str
    blocks: list[dict[str, Any]]


def parse(argv=None) -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("--out", type=folder_path, default="result", help="folder of the tables (default ./result)")
    parser.add_argument("--save_dir", type=path, default="save", help="folder of the runs (default ./save)")
    parser.add_argument("--page", type=file_path(".html", ".htm"), default=None,
                        help="file to write (default: report.html in --out)")
    return parser.parse(argv)


def main(argv=None) -> None:
    opt = parse(argv)
    out, save_dir = Path(opt.out), Path(opt.save_dir)
    page = Path(opt.page) if opt.page else out / "report.html"
    sections = [*result_sections(out, page), *run_sections(save_dir, page)]
    if not sections:
        raise UserError(f"nothing to report: {out} holds no results and {save_dir} no runs; run a table, or name "
                        "other folders with --out and --save_dir")
    page.parent.mkdir(parents=True, exist_ok=True)
    about = f"From {out} and {save_dir}. Accuracies are per cent, of the last epoch unless said otherwise."
    save_text(render("Mixup in knowledge distillation: results", about, sections), page)
    print(f"==> {page}")


def render(title: str, about: str, sections: list[Section]) -> str:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    environment.tests["number_like"] = is_number
    return environment.get_template(TEMPLATE).render(title=title, about=about, sections=sections)


# Blocks ---------------------------------------------------------------------------------------------------------------

def note(text: Any, style: str = "") -> dict[str, Any]:
    return {"kind": "note", "text": text, "style": style}


def table(head: list[str], rows: list[list]) -> dict[str, Any]:
    return {"kind": "table", "head": head, "rows": rows}


def details(title: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "details", "title": title, "blocks": blocks}


def link(target: Path, page: Path, label: str) -> dict[str, str]:
    """A link relative to the page, so that both can be moved together."""
    relative = os.path.relpath(target.resolve(), page.parent.resolve())
    return {"href": urllib.parse.quote(relative), "label": label}


def links(found: list[dict[str, str]], between: str = ", ") -> dict[str, Any]:
    return {"links": found, "between": between}


def picture(file: Path) -> dict[str, str]:
    """Part of the page itself."""
    content = base64.b64encode(file.read_bytes()).decode()
    return {"kind": "picture", "name": file.stem, "source": f"data:image/png;base64,{content}"}


def is_number(value: Any) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


# Tables and analyses --------------------------------------------------------------------------------------------------

def result_sections(out: Path, page: Path) -> Iterator[Section]:
    """One section for every folder of ``out`` that holds a CSV or a picture."""
    folders = [out, *sorted(folder for folder in out.rglob("*") if folder.is_dir())] if out.is_dir() else []
    for folder in folders:
        tables, pictures = sorted(folder.glob("*.csv")), sorted(folder.glob("*.png"))
        if tables or pictures:
            name = str(folder.relative_to(out)) if folder != out else out.name
            yield Section(f"result-{name}", title_of(folder) or name, folder_blocks(folder, tables, pictures, page))


def title_of(folder: Path) -> str:
    text = folder / "table.md"
    first = text.read_text(errors="replace").split("\n", 1)[0] if text.is_file() else ""
    return first.removeprefix("# ")


def folder_blocks(folder: Path, tables: list[Path], pictures: list[Path], page: Path) -> list[dict]:
    blocks = [note(folder.name.replace("-", " ", 1), "reduced")] if folder.name.startswith("reduced-") else []
    if folder / "table.csv" in tables:
        blocks.append(whole_matrix(folder / "table.csv"))
    if failed := failures(folder / "table.md"):
        blocks += [note("Failed when last tried:", "reduced"), *map(note, failed)]
    blocks += map(picture, pictures)
    blocks += [details(file.name, *csv_blocks(file, page)) for file in tables]
    logs = [*sorted(folder.glob("*.md")), *sorted(folder.glob("*.log")), *sorted((folder / "logs").glob("*.log"))]
    if logs:
        found = links([link(log, page, log.name) for log in logs])
        blocks.append(details(f"texts and logs ({len(logs)})", note(found)))
    return blocks


def whole_matrix(file: Path) -> dict[str, Any]:
    try:
        return matrix(file)
    except KeyError as column:
        raise UserError(f"{file}: no table of run_table, it lacks the column {column}; move it away") from None


def matrix(file: Path) -> dict[str, Any]:
    """table.csv as rows x columns: mean, deviation and seeds, below them the published figure and the difference."""
    lines = read_csv(file)
    columns = list(dict.fromkeys(line["column"] for line in lines))
    rows = list(dict.fromkeys(line["row"] for line in lines))
    texts = {(line["row"], line["column"]): numbers(line) for line in lines}
    there = {(line["row"], line["column"]) for line in lines if line["seeds"] != "0"}
    published = {(line["row"], line["column"]) for line in lines if line.get("published")}
    rows, columns = filled(rows, columns, there.__contains__, published)
    if any("last_top1_mean" not in line for line in lines):  # a head must say it too
        texts = {(row, f"{column} (reduced)"): text for (row, column), text in texts.items()}
        columns = [f"{column} (reduced)" for column in columns]
    if len(columns) > WIDEST:
        return table(["", *rows], [[c, *(texts.get((r, c), "–") for r in rows)] for c in columns])
    return table(["", *columns], [[r, *(texts.get((r, c), "–") for c in columns)] for r in rows])


def numbers(line: dict) -> dict[str, str]:
    prefix = "" if "last_top1_mean" in line else "reduced_"
    mean, std = line[f"{prefix}last_top1_mean"], line[f"{prefix}last_top1_std"]
    own = f"{mean} ± {std} (n={line['seeds']})" if std else f"{mean} (n={line['seeds']})" if mean else "–"
    published, difference = line.get("published", ""), line.get("difference", "")
    return {"own": own, "below": f"{published} ({difference})" if published and difference else published}


def csv_blocks(file: Path, page: Path) -> list[dict]:
    lines = read_csv(file)
    more = f", the first {LONGEST} shown" if len(lines) > LONGEST else ""
    blocks = [note(links([link(file, page, f"{file.name}, {len(lines)} rows{more}")]))]
    if lines:
        blocks.append(table(list(lines[0]), [[line[k] or "" for k in lines[0]] for line in lines[:LONGEST]]))
    return blocks


def read_csv(file: Path) -> list[dict]:
    try:
        with file.open(newline="", errors="replace") as text:
            return [{k: v for k, v in line.items() if k is not None} for line in csv.DictReader(text)]
    except csv.Error as error:
        raise UserError(f"{file}: damaged ({error}); move it away") from None


# Runs -----------------------------------------------------------------------------------------------------------------

def run_sections(save_dir: Path, page: Path) -> Iterator[Section]:
    """Finished runs of the full recipe, finished reduced ones, and unfinished ones, each with its curves."""
    for kind, title in KINDS.items():
        groups: dict[str, list[StoredRun]] = {"": [], ", reduced": [], ", unfinished": []}
        for run in stored_runs(save_dir / kind):
            if run.config:
                groups[group_of(run)].append(run)
        for group, runs in groups.items():
            if runs:
                anchor = re.sub(r"\W+", "-", f"runs-{kind}{group}")
                title_here = f"Runs: {title}{group} ({len(runs)})"
                yield Section(anchor, title_here, run_blocks(runs, page, group == ", reduced"))


def group_of(run: StoredRun) -> str:
    if not run.summary:
        return ", unfinished"
    return ", reduced" if less_than({**run.config, "epochs": run.summary["epochs"]}) else ""


def run_blocks(runs: list[StoredRun], page: Path, reduced: bool) -> list[dict]:
    mark = " (reduced)" if reduced else ""
    head = ["run", "trial", f"last top-1{mark}", f"best top-1{mark}", "trained", "time", "files"]
    rows, curves = [], []
    for run in runs:
        files = [run.folder / name for name in ("log.csv", "timing.csv", "args.json", "summary.json")]
        found = links([link(file, page, file.stem) for file in files if file.is_file()], between=" ")
        summary = run.summary
        best = f"{two(summary['best_top1'])} (epoch {summary.get('best_epoch')})" if summary else ""
        rows.append([run.folder.name, run.config.get("trial", ""), two(summary.get("last_top1")), best, trained(run),
                     duration(summary["wall_time_s"]) if summary else "", found])
        if (run.folder / "curves.png").is_file():
            curves.append(link(run.folder / "curves.png", page, run.folder.name))
    blocks = [table(head, rows)]
    if curves:
        blocks.append(details(f"curves ({len(curves)})", {"kind": "curves", "curves": curves}))
    return blocks


def trained(run: StoredRun) -> str:
    """Epochs, and whatever is less than the full recipe."""
    config, summary = run.config, run.summary
    parts = [f"{summary['epochs']} epochs" if summary else f"of {config.get('epochs')} epochs"]
    share = config.get("train_fraction", 1)
    if share != 1:
        parts.append(f"{100 * share:g} % of the images" if isinstance(share, (int, float)) else f"a share of {share!r}")
    if summary.get("validated_on", "test") != "test":
        parts.append(f"validated on {summary['validated_on']}")
    return ", ".join(parts)


def two(value) -> str:
    return f"{value:.2f}" if isinstance(value, (int, float)) else ""


if __name__ == "__main__":
    sys.exit(guard(main))
