"""Markdown tables, for every page that has one."""
from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table; a cell's line breaks become blanks, and its bars are escaped."""
    return ["| " + " | ".join(map(markdown_cell, row)) + " |" for row in (head, ["---"] * len(head), *rows)]


def markdown_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
