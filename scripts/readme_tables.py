"""The README's tables, made anew between their markers, so that they can't differ from what they tell of.

    <!-- table:NAME -->          or NAME/reduced-...: a folder under result/ with a table.md
    <!-- table:flags -->         the flags of both scripts, from their parsers
    <!-- table:methods -->       the methods of the zoo
    <!-- end -->
"""
from __future__ import annotations

import re
from pathlib import Path

from helper.errors import UserError
from helper.files import save_text

from .flag_table import flag_table, method_table
from .table.render import DETAILS

README = Path(__file__).resolve().parent.parent / "README.md"
MADE = {"flags": flag_table, "methods": method_table}
MARKED = re.compile(r"(<!-- table:([^\n]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def refreshed(text: str, out: Path) -> str:
    """``text`` with what stands between each pair of markers replaced. UserError: a marker without its table."""
    if text.count("<!-- table:") != len(MARKED.findall(text)):
        raise UserError("README: a <!-- table:NAME --> has no <!-- end -->")
    return MARKED.sub(lambda match: match[1] + excerpt(out, match[2]) + match[3], text)


def excerpt(out: Path, name: str) -> str:
    """table.md down to its details, its title in bold, with a link to the rest; or one of the tables made here."""
    if name in MADE:
        return MADE[name]()
    path = out / name / "table.md"
    if not path.is_file():
        raise UserError(f"README: <!-- table:{name} -->, but there is no {path}; run the table or remove the marker")
    title, body = path.read_text().split(DETAILS)[0].split("\n", 1)
    link = f"Every cell, its command and its picture: [{out.name}/{name}]({out.name}/{name}/table.md)."
    return f"**{title.removeprefix('# ')}**\n{body.rstrip()}\n\n{link}\n"


def refresh_file(out: Path, readme: Path = README) -> None:
    text = readme.read_text()
    new = refreshed(text, out)
    if new != text:
        save_text(new, readme)
    news = "refreshed" if new != text else f"all as in {out.name}"
    print(f"{readme.name}: {len(MARKED.findall(new))} tables, {news}")
