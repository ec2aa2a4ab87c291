#!/usr/bin/env python3
"""One static page of everything in result/ and save/: tables, pictures, curves, links to logs. It needs no network.

    python -m scripts.report                            # writes result/report.html

Full-size tables come first, reduced ones are folded. Pictures of result/ are embedded in the page; curves of single
runs are linked relative to it.
"""
from __future__ import annotations

import argparse
import base64
import csv
import os
import re
import sys
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from distiller_zoo import distiller_dict
from helper.argtypes import Parser, file_path, folder_path, path
from helper.errors import UserError, guard
from helper.files import save_text
from helper.fit import duration
from helper.known_teachers import known_teachers
from helper.options import default_flags
from helper.recipe import default_rate, less_than
from helper.run import identity
from helper.stored_runs import FOLDERS, StoredRun, stored_runs

from .table.render import DETAILS

LONGEST = 400  # rows of a CSV that are shown; the file is linked
KINDS = {"models": "teachers and students alone", "student_model": "distilled students"}
TEMPLATE = "report.html.j2"
IN_COLUMNS = {"model", "model_s", "model_t", "distill", "mix", "pmixup", "trial", "dataset", "epochs", "holdout",
              "train_fraction", "path_t", "teacher_sha256", "data_sha256", "precision"}  # of a run's row


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
    kept = sorted({place.parent for role in FOLDERS for place in out.rglob(role)})
    tables, reduced_tables = result_sections(out, page)
    runs, other_runs = run_sections([save_dir, *kept], page)
    sections = [*tables, *runs]
    if folded := [*reduced_tables, *other_runs]:
        sections.append(Section("reduced", f"Reduced and unfinished ({len(folded)})", [
            note("Fewer epochs or fewer images than the papers' recipe, or another data set: not comparable with "
                 "published figures.", "reduced"),
            *({**details(part.title, *part.blocks), "anchor": part.anchor} for part in folded)]))
    if not sections:
        raise UserError(f"nothing to report: {out} holds no results and {save_dir} no runs; run a table, or name "
                        "other folders with --out and --save_dir")
    page.parent.mkdir(parents=True, exist_ok=True)
    about = f"Read from {out} and {save_dir}. Accuracy: top-1 in per cent, of the last epoch unless stated otherwise."
    save_text(render("Mixup in knowledge distillation: results", about, sections), page)
    print(f"==> {page}")


def render(title: str, about: str, sections: list[Section]) -> str:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
    return environment.get_template(TEMPLATE).render(title=title, about=about, sections=sections)


# Blocks ---------------------------------------------------------------------------------------------------------------

def note(text: Any, style: str = "") -> dict[str, Any]:
    return {"kind": "note", "text": text, "style": style}


def table(head: list[str], rows: list[list], style: str = "") -> dict[str, Any]:
    return {"kind": "table", "head": head, "rows": rows, "style": style}


def details(title: str, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "details", "title": title, "blocks": blocks}


def link(target: Path, page: Path, label: str) -> dict[str, str]:
    """A link relative to the page, so that both can be moved together."""
    relative = os.path.relpath(target.resolve(), page.parent.resolve())
    return {"href": urllib.parse.quote(relative), "label": label}


def links(found: list[dict[str, str]], between: str = ", ") -> dict[str, Any]:
    return {"links": found, "between": between}


def picture(file: Path) -> dict[str, str]:
    """Embedded in the page."""
    content = base64.b64encode(file.read_bytes()).decode()
    return {"kind": "picture", "name": file.stem, "source": f"data:image/png;base64,{content}"}


# Tables and analyses --------------------------------------------------------------------------------------------------

def result_sections(out: Path, page: Path) -> tuple[list[Section], list[Section]]:
    """(full-size, reduced): one section per folder of ``out`` that holds a table.md, a CSV or a picture. A folder
    without a table.md, as that of an analysis, is part of the section of the folder above it that has one."""
    folders = [out, *sorted(folder for folder in out.rglob("*") if folder.is_dir())] if out.is_dir() else []
    parts: dict[Path, list[Path]] = {}
    for folder in folders:
        if not is_run(folder) and any(any(folder.glob(name)) for name in ("table.md", "*.csv", "*.png")):
            parts.setdefault(owner(folder, out), []).append(folder)
    found: dict[str, list[Section]] = {"table": [], "analysis": [], "reduced": []}
    for top, members in parts.items():
        name = str(top.relative_to(out)) if top != out else out.name
        blocks = [block for folder in members for block in folder_blocks(folder, top, page)]
        kind = "reduced" if is_reduced(top) else "table" if (top / "table.csv").is_file() else "analysis"
        found[kind].append(Section(f"result-{name}", title_of(top) or name, blocks))
    return [*found["table"], *found["analysis"]], found["reduced"]


def is_run(folder: Path) -> bool:
    return folder.parent.name in FOLDERS and bool(StoredRun(folder).config)


def owner(folder: Path, out: Path) -> Path:
    above = [folder, *folder.parents]
    return next((place for place in above[:above.index(out)] if (place / "table.md").is_file() or is_reduced(place)),
                folder)


def is_reduced(folder: Path) -> bool:
    """Whether a folder's name or the title of its table.md labels it so."""
    return folder.name.startswith("reduced-") or "(reduced" in title_of(folder)


def title_of(folder: Path) -> str:
    text = folder / "table.md"
    first = text.read_text(errors="replace").split("\n", 1)[0] if text.is_file() else ""
    return first.removeprefix("# ")


def folder_blocks(folder: Path, top: Path, page: Path) -> list[dict]:
    """A folder's table.md, the pictures that no table.md of the section shows, its CSVs and logs."""
    text, tables = top / "table.md", sorted(folder.glob("*.csv"))
    written = text.read_text(errors="replace") if text.is_file() else ""
    blocks = [{"kind": "heading", "text": folder.name}] if folder != top else [markdown_block(written, top, page)]
    blocks += [picture(file) for file in sorted(folder.glob("*.png")) if f"({file.relative_to(top)})" not in written]
    blocks += [details(file.name, *csv_blocks(file, page)) for file in tables]
    logs = [*sorted(folder.glob("*.md")), *sorted(folder.glob("*.log")), *sorted((folder / "logs").glob("*.log"))]
    if logs:
        found = links([link(log, page, log.name) for log in logs])
        blocks.append(details(f"texts and logs ({len(logs)})", note(found)))
    return blocks


def markdown_block(text: str, folder: Path, page: Path) -> dict[str, Any]:
    """The text of a folder's table.md without its title. HTML in it is shown as text, except the line breaks of
    cells."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(text.partition("\n")[2].replace(DETAILS, ""))
    for part in [part for token in tokens for part in token.children or []]:
        embed_or_link(part, folder, page)
    shown = markdown.renderer.render(tokens, markdown.options, {}).replace("&lt;br&gt;", "<br>")
    shown = shown.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    return {"kind": "html", "html": Markup(shown)}


def embed_or_link(part: Token, folder: Path, page: Path) -> None:
    """Embeds a .png of the folder, and shows any other picture as its text. Makes a link to a file relative to the
    page, and a dead one plain text."""
    reference = str(part.attrs.get("src") or part.attrs.get("href", ""))
    file = folder / urllib.parse.unquote(reference)
    exists = os.path.exists(file)
    if part.type == "image":
        if exists and file.suffix == ".png" and file.resolve().is_relative_to(folder.resolve()):
            part.attrs["src"] = picture(file)["source"]
        else:
            part.type = "text"  # its content is the text for the picture
    elif part.type == "link_open" and exists:
        part.attrs["href"] = link(file, page, "")["href"]
    elif part.type == "link_open" and not reference.startswith(("http://", "https://")):
        del part.attrs["href"]


def csv_blocks(file: Path, page: Path) -> list[dict]:
    try:
        with file.open(newline="", errors="replace") as text:
            lines = [line for line in csv.reader(text) if line]
    except csv.Error as error:
        raise UserError(f"{file}: damaged ({error}); move it away") from None
    rows = lines[1:]
    more = f", the first {LONGEST} shown" if len(rows) > LONGEST else ""
    blocks = [note(links([link(file, page, f"{file.name}, {len(rows)} rows{more}")]))]
    return [*blocks, table(lines[0], rows[:LONGEST])] if rows else blocks


# Runs -----------------------------------------------------------------------------------------------------------------

def run_sections(places: list[Path], page: Path) -> tuple[list[Section], list[Section]]:
    """(finished runs of the full recipe, finished reduced and unfinished ones), each section with its curves. places:
    folders that hold models/ and student_model/, as --save_dir does."""
    full, others = [], []
    for kind, title in KINDS.items():
        groups: dict[str, list[StoredRun]] = {"": [], ", reduced": [], ", unfinished": []}
        found: dict[tuple[str, str], StoredRun] = {}  # a table's records are copies of runs
        for run in (run for place in places for run in stored_runs(place / kind)):
            found.setdefault((run.folder.name, str(run.config.get("teacher_sha256"))), run)
        for run in found.values():
            if run.config:
                groups[group_of(run)].append(run)
        for group, runs in groups.items():
            if runs:
                runs.sort(key=lambda run: (run.label, trained(run), teacher_of(run), str(run.config.get("trial"))))
                section = Section(re.sub(r"\W+", "-", f"runs-{kind}{group}"), f"Runs: {title}{group} ({len(runs)})",
                                  run_blocks(runs, page))
                (others if group else full).append(section)
    return full, others


def group_of(run: StoredRun) -> str:
    if not run.summary:
        return ", unfinished"
    return ", reduced" if less_than({**run.config, "epochs": run.summary["epochs"]}) else ""


def run_blocks(runs: list[StoredRun], page: Path) -> list[dict]:
    """A table with one row per run. A column that is empty in all rows is left out."""
    lines, curves = [], []
    for run in runs:
        files = [run.folder / name for name in ("log.csv", "timing.csv", "args.json", "summary.json")]
        summary = run.summary
        lines.append({
            "method": str(run.config.get("distill", "")), "networks": run.pair or run.folder.name, "mixing": run.mixing,
            "teacher": teacher_of(run), "seed": str(run.config.get("trial", "")),
            "last top-1": two(summary.get("last_top1")),
            "best top-1": f"{two(summary['best_top1'])} (epoch {summary.get('best_epoch')})" if summary else "",
            "trained": trained(run), "other flags": other_flags(run),
            "time": duration(summary["wall_time_s"]) if summary else "",
            "files": links([link(file, page, file.stem) for file in files if file.is_file()], between=" ")})
        if (run.folder / "curves.png").is_file():
            curves.append(link(run.folder / "curves.png", page, run.title))
    head = [name for name in lines[0] if any(line[name] for line in lines)]
    blocks = [table(head, [[line[name] for name in head] for line in lines], "whole")]
    if curves:
        blocks.append(details(f"curves ({len(curves)})", {"kind": "curves", "curves": curves}))
    return blocks


def teacher_of(run: StoredRun) -> str:
    """The zoo that a teacher is from, else its mixing and seed where its run's folder still exists, else the first
    digits of its weights' digest."""
    config = run.config
    path_t, digest = str(config.get("path_t") or ""), str(config.get("teacher_sha256") or "")
    if known := known_teachers().get(digest):
        return known.origin.split(" (")[0]
    for place in (run.folder.parent.parent, Path(str(config.get("save_dir") or "save"))):
        teacher = StoredRun(place / "models" / Path(path_t).parent.name)
        if path_t and teacher.config:
            return f"{teacher.mixing}, seed {teacher.config.get('trial')}"
    return digest[:8]


def other_flags(run: StoredRun) -> str:
    """The flags of a run's identity that differ from their defaults and have no column of their own."""
    config, student = run.config, "distill" in run.config
    defaults = {**default_flags(student), "learning_rate": default_rate(config.get("model_s" if student else "model"))}
    if method := distiller_dict.get(str(config.get("distill"))):
        defaults |= {**dict(zip(("gamma", "alpha", "beta"), method.weights, strict=True)), "rescale": method.rescale}
    try:
        names = identity(config).keys() - IN_COLUMNS
    except (KeyError, TypeError, ValueError):
        return "args.json is damaged"
    return " ".join(f"--{name} {','.join(map(str, v)) if isinstance(v := config[name], list) else v}"
                    for name in sorted(names & config.keys()) if config[name] != defaults.get(name))


def trained(run: StoredRun) -> str:
    """Epochs, data set, and whatever is less than the full recipe."""
    config, summary = run.config, run.summary
    length = f"{summary['epochs']} epochs" if summary else f"of {config.get('epochs')} epochs"
    parts = [f"{length}, {config.get('dataset', '')}"]
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
