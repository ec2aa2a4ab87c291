"""HTML of the report: a page that needs no network, in light and dark. Every text is escaped here and only here."""
from __future__ import annotations

import base64
import html
import os
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

STYLE = (Path(__file__).parent / "report.css").read_text()


class Markup(str):
    """HTML that is already escaped; any other text is escaped by :func:`text`."""


def text(value: object) -> Markup:
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def link(target: Path, page: Path, label: str) -> Markup:
    """A link relative to the page, so that both can be moved together."""
    return Markup(f'<a href="{_address(target, page)}">{text(label)}</a>')


def linked_image(target: Path, page: Path, label: str) -> Markup:
    return Markup(f'<img loading="lazy" src="{_address(target, page)}" alt="{text(label)}">')


def inlined_image(path: Path, label: str) -> Markup:
    content = base64.b64encode(path.read_bytes()).decode()
    return Markup(f'<img src="data:image/png;base64,{content}" alt="{text(label)}">')


def figure(image: Markup, caption: str) -> Markup:
    return Markup(f"<figure>{image}<figcaption>{text(caption)}</figcaption></figure>")


def table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> Markup:
    lines = ["<tr>" + "".join(f"<th>{text(name)}</th>" for name in head) + "</tr>"]
    for row in rows:
        cells = (f'<td class="{"number" if _is_number(value) else "text"}">{text(value)}</td>' for value in row)
        lines.append("<tr>" + "".join(cells) + "</tr>")
    return Markup('<div class="scroll"><table>' + "\n".join(lines) + "</table></div>")


def section(anchor: str, title: str, body: Sequence[str]) -> Markup:
    return Markup(f'<section id="{text(anchor)}"><h2>{text(title)}</h2>\n' + "\n".join(body) + "</section>")


def details(title: str, body: str) -> Markup:
    return Markup(f"<details><summary>{text(title)}</summary>{body}</details>")


def paragraph(content: object, kind: str = "") -> Markup:
    return Markup(f'<p class="{kind}">{text(content)}</p>' if kind else f"<p>{text(content)}</p>")


def page(title: str, about: str, contents: Sequence[tuple[str, str]], body: Sequence[str]) -> str:
    entries = "".join(f'<li><a href="#{text(anchor)}">{text(name)}</a></li>' for anchor, name in contents)
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{text(title)}</title>\n'
            f"<style>{STYLE}</style></head>\n<body><main><h1>{text(title)}</h1>{paragraph(about, 'soft')}\n"
            f"<nav><ul>{entries}</ul></nav>\n" + "\n".join(body) + "\n</main></body></html>\n")


def _address(target: Path, page: Path) -> str:
    relative = os.path.relpath(target.resolve(), page.parent.resolve())
    return html.escape(urllib.parse.quote(relative), quote=True)


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True
