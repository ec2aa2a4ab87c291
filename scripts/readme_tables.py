"""The generated tables of the READMEs, between their markers. A test compares them with the parsers and result/.

    <!-- table:NAME -->          or NAME/reduced-...: a folder under result/ with a table.md
    <!-- table:flags -->         the flags of both scripts, from their parsers
    <!-- table:methods -->       the methods of distiller_zoo
    <!-- end -->
"""
from __future__ import annotations

import re
from pathlib import Path

from helper.errors import UserError
from helper.files import save_text

from .flag_table import flag_table, method_table
from .table.render import DETAILS

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("result/README.md", "helper/FLAGS.md", "distiller_zoo/README.md")
GENERATED = {"flags": flag_table, "methods": method_table}
MARKED = re.compile(r"(<!-- table:([^\n]+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def refreshed(text: str, out: Path) -> str:
    """``text`` with the text between each pair of markers replaced. UserError: a marker without its table."""
    if text.count("<!-- table:") != len(MARKED.findall(text)):
        raise UserError("a <!-- table:NAME --> has no <!-- end -->")
    return MARKED.sub(lambda match: match[1] + excerpt(out, match[2]) + match[3], text)


def excerpt(out: Path, name: str) -> str:
    """table.md down to its details, its title in bold, with a link to the rest; or one of the generated tables."""
    if name in GENERATED:
        return GENERATED[name]()
    path = out / name / "table.md"
    if not path.is_file():
        raise UserError(f"<!-- table:{name} -->, but there is no {path}; run the table or remove the marker")
    title, body = path.read_text().split(DETAILS)[0].split("\n", 1)
    link = f"Pictures and details: [{name}]({name}/table.md)."
    return f"**{title.removeprefix('# ')}**\n{body.rstrip()}\n\n{link}\n"


def refresh_pages(out: Path, root: Path = ROOT) -> None:
    for page in PAGES:
        text = (root / page).read_text()
        try:
            new = refreshed(text, out)
        except UserError as error:
            raise UserError(f"{page}: {error}") from None
        if new != text:
            save_text(new, root / page)
        print(f"{page}: {len(MARKED.findall(new))} tables, {'refreshed' if new != text else 'unchanged'}")
