"""How the analyses' pictures look: one palette, one grid, one legend. Packages that only some commands use are imported
here, when they are used."""
from __future__ import annotations

import importlib
import textwrap
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from helper.errors import UserError

# Okabe and Ito's colours, distinguishable for colour-blind readers; dark ones first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31", "#7F7F7F", "#6A3D9A")
MARKERS = "osD^vP*X<>"
LONGEST = 30  # characters of a legend's line


def need(module: str, package: str) -> ModuleType:
    """Import what only some commands use, when they use it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{package} can't be imported ({error}); install it: pip install {package}") from None


def wrapped(label: str, width: int = LONGEST) -> str:
    return textwrap.fill(label, width)


def make_figure(title: str, rows: int, columns: int, size: tuple[float, float], **kwargs):
    """(figure, axes (rows, columns)): panels of ``size`` inches each, a light grid, one title above all."""
    figures = need("matplotlib.figure", "matplotlib")
    figure = figures.Figure(figsize=(columns * size[0], rows * size[1] + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=12, x=0.01, horizontalalignment="left")
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    for axis in axes.flat:
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def add_legend(figure, entries: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """One legend for all panels, right of them: (text, style of its line)."""
    lines = need("matplotlib.lines", "matplotlib")
    handles = [lines.Line2D([], [], label=wrapped(text), **style) for text, style in entries]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9, labelspacing=0.9)
