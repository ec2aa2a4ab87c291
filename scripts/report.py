#!/usr/bin/env python3
"""One static page of everything in result/ and save/: tables, pictures, curves, links to logs. It needs no network.

    python -m scripts.report                            # writes result/report.html

Pictures of result/ are part of the page; curves of single runs are linked relative to it.
"""
from __future__ import annotations

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from helper.argtypes import Parser, path
from helper.errors import UserError, guard
from helper.files import save_text
from helper.options import parse_teacher

from . import report_page as html
from .report_page import Markup
from .table.render import WIDEST, failures
from .table.spec import filled

LONGEST = 400  # rows of a CSV that are shown; the file is linked
KINDS = {"models": "teachers and students alone", "student_model": "distilled students"}


def parse(argv=None) -> argparse.Namespace:
    parser = Parser(prog="report", description=__doc__)
    parser.add_argument("--out", type=path, default="result", help="folder of the tables (default ./result)")
    parser.add_argument("--save_dir", type=path, default="save", help="folder of the runs (default ./save)")
    parser.add_argument("--page", type=path, default=None, help="file to write (default: report.html in --out)")
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
    contents = [(anchor, title) for anchor, title, _ in sections]
    body = [html.section(anchor, title, parts) for anchor, title, parts in sections]
    about = f"From {out} and {save_dir}. Accuracies are per cent, of the last epoch unless said otherwise."
    save_text(html.page("Mixup in knowledge distillation: results", about, contents, body), page)
    print(f"==> {page}")


# Tables and analyses --------------------------------------------------------------------------------------------------

def result_sections(out: Path, page: Path) -> Iterator[tuple[str, str, list[Markup]]]:
    """One section for every folder of ``out`` that holds a CSV or a picture."""
    folders = [out, *sorted(folder for folder in out.rglob("*") if folder.is_dir())] if out.is_dir() else []
    for folder in folders:
        tables, pictures = sorted(folder.glob("*.csv")), sorted(folder.glob("*.png"))
        if tables or pictures:
            name = str(folder.relative_to(out)) if folder != out else out.name
            yield f"result-{name}", title_of(folder) or name, folder_parts(folder, tables, pictures, page)


def title_of(folder: Path) -> str:
    text = folder / "table.md"
    first = text.read_text().split("\n", 1)[0] if text.is_file() else ""
    return first.removeprefix("# ")


def folder_parts(folder: Path, tables: list[Path], pictures: list[Path], page: Path) -> list[Markup]:
    parts = [html.paragraph(folder.name.replace("-", " ", 1), "reduced")] if folder.name.startswith("reduced-") else []
    if folder / "table.csv" in tables:
        parts.append(matrix(folder / "table.csv"))
    if failed := failures(folder / "table.md"):
        parts += [html.paragraph("Failed when last tried:", "reduced"),
                  *map(html.paragraph, failed)]
    for picture in pictures:
        parts.append(Markup(f"<h3>{html.text(picture.stem)}</h3>{html.inlined_image(picture, picture.stem)}"))
    for file in tables:
        parts.append(html.details(file.name, csv_table(file, page)))
    logs = [*sorted(folder.glob("*.md")), *sorted(folder.glob("*.log")), *sorted((folder / "logs").glob("*.log"))]
    if logs:
        links = Markup(", ".join(html.link(log, page, log.name) for log in logs))
        parts.append(html.details(f"texts and logs ({len(logs)})", html.paragraph(links)))
    return parts


def matrix(file: Path) -> Markup:
    """table.csv as rows x columns: mean, deviation and seeds, below them the published figure and the difference."""
    lines = read_csv(file)
    columns = list(dict.fromkeys(line["column"] for line in lines))
    rows = list(dict.fromkeys(line["row"] for line in lines))
    texts = {(line["row"], line["column"]): numbers(line) for line in lines}
    if any("last_top1_mean" not in line for line in lines):  # a head must say it too
        there = {(line["row"], line["column"]) for line in lines if line["seeds"] != "0"}
        rows, columns = filled(rows, columns, there.__contains__)
        texts = {(row, f"{column} (reduced)"): text for (row, column), text in texts.items()}
        columns = [f"{column} (reduced)" for column in columns]
    if len(columns) > WIDEST:
        return html.table(["", *rows], [[c, *(texts.get((r, c), "–") for r in rows)] for c in columns])
    return html.table(["", *columns], [[r, *(texts.get((r, c), "–") for c in columns)] for r in rows])


def numbers(line: dict) -> Markup:
    prefix = "" if "last_top1_mean" in line else "reduced_"
    mean, std = line[f"{prefix}last_top1_mean"], line[f"{prefix}last_top1_std"]
    own = f"{mean} ± {std} (n={line['seeds']})" if std else f"{mean} (n={line['seeds']})" if mean else "–"
    published = line.get("published", "")
    if not published:
        return Markup(f'<span class="whole">{html.text(own)}</span>')
    difference = line["difference"]
    below = f"{published} ({difference})" if difference else published
    return Markup(f'<span class="whole">{html.text(own)}</span><br><span class="soft whole">{html.text(below)}</span>')


def csv_table(file: Path, page: Path) -> Markup:
    lines = read_csv(file)
    link = html.paragraph(Markup(f"{html.link(file, page, file.name)}, {len(lines)} rows"
                                 + (f", the first {LONGEST} shown" if len(lines) > LONGEST else "")))
    if not lines:
        return link
    return Markup(link + html.table(list(lines[0]), [[line[k] or "" for k in lines[0]] for line in lines[:LONGEST]]))


def read_csv(file: Path) -> list[dict]:
    with file.open(newline="", errors="replace") as text:
        return [{k: v for k, v in line.items() if k is not None} for line in csv.DictReader(text)]


# Runs -----------------------------------------------------------------------------------------------------------------

def run_sections(save_dir: Path, page: Path) -> Iterator[tuple[str, str, list[Markup]]]:
    """Finished runs of the full recipe, finished reduced ones, and unfinished ones, each with its curves."""
    recipe = parse_teacher([]).defaults
    for kind, title in KINDS.items():
        groups: dict[str, list[tuple[Path, dict, dict]]] = {"": [], ", reduced": [], ", unfinished": []}
        for folder in sorted((save_dir / kind).glob("*/")):
            config, summary = read_json(folder / "args.json").get("config", {}), read_json(folder / "summary.json")
            if config:
                groups[group_of(config, summary, recipe)].append((folder, config, summary))
        for group, runs in groups.items():
            if runs:
                anchor = re.sub(r"\W+", "-", f"runs-{kind}{group}")
                yield anchor, f"Runs: {title}{group} ({len(runs)})", run_parts(runs, page, group == ", reduced")


def group_of(config: dict, summary: dict, recipe: dict) -> str:
    if not summary:
        return ", unfinished"
    full = (summary.get("epochs", 0) >= recipe["epochs"] and summary.get("train_fraction") == 1
            and summary.get("validated_on") == "test" and config.get("dataset") == recipe["dataset"])
    return "" if full else ", reduced"


def run_parts(runs: list[tuple[Path, dict, dict]], page: Path, reduced: bool) -> list[Markup]:
    mark = " (reduced)" if reduced else ""
    head = ["run", "trial", f"last top-1{mark}", f"best top-1{mark}", "trained", "time", "files"]
    rows, pictures = [], []
    for folder, config, summary in runs:
        files = [folder / name for name in ("log.csv", "timing.csv", "args.json", "summary.json")]
        links = Markup(" ".join(html.link(file, page, file.stem) for file in files if file.is_file()))
        best = f"{two(summary.get('best_top1'))} (epoch {summary['best_epoch']})" if summary else ""
        rows.append([folder.name, config.get("trial", ""), two(summary.get("last_top1")), best,
                     trained(config, summary), hours(summary.get("wall_time_s")), links])
        curves = folder / "curves.png"
        if curves.is_file():
            pictures.append(html.figure(html.linked_image(curves, page, folder.name), folder.name))
    parts = [html.table(head, rows)]
    if pictures:
        parts.append(html.details(f"curves ({len(pictures)})", f'<div class="runs">{"".join(pictures)}</div>'))
    return parts


def trained(config: dict, summary: dict) -> str:
    """Epochs, and whatever is less than the full recipe."""
    parts = [f"{summary['epochs']} epochs" if summary else f"of {config.get('epochs')} epochs"]
    if config.get("train_fraction", 1) != 1:
        parts.append(f"{100 * config['train_fraction']:g} % of the images")
    if summary.get("validated_on", "test") != "test":
        parts.append(f"validated on {summary['validated_on']}")
    return ", ".join(parts)


def read_json(file: Path) -> dict:
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def two(value) -> str:
    return f"{value:.2f}" if isinstance(value, (int, float)) else ""


def hours(seconds) -> str:
    return f"{seconds / 3600:.2f} h" if isinstance(seconds, (int, float)) else ""


if __name__ == "__main__":
    sys.exit(guard(main))
