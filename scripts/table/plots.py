"""Pictures of tables: points beside the published ones, curves over a flag, surfaces over two depths."""
from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure as Canvas

from helper.files import save_bytes

from .spec import Row, Size, Table

OWN, PUBLISHED = "#1f6fb4", "#d1495b"
NARROWEST = 8  # inches, so that a title fits
LABEL = "last epoch's top-1, %"


def draw(table: Table, size: Size, figures: dict, folder: Path) -> None:
    """NAME.png into ``folder``, and of surfaces result_heatmap.png too. A reduced size says so in the title."""
    table, mark = table.shown(size, figures), f"\n{size.label}" if size.label else ""
    if table.picture == "surfaces":
        _save(_heat_maps(table, figures, f"{table.title}{mark}"), folder / f"{table.name}.png")
        _save(_surfaces(table, figures, f"{table.title}{mark}"), folder / "result_heatmap.png")
    else:
        make = _curves if table.picture == "curves" else _points
        _save(make(table, figures, not size.label, f"{table.title}{mark}"), folder / f"{table.name}.png")


def _save(canvas: Canvas, path: Path) -> None:
    picture = io.BytesIO()
    canvas.savefig(picture, format="png", dpi=110)
    save_bytes(picture.getbuffer(), path)


def _points(table: Table, figures: dict, show_published: bool, title: str) -> Canvas:
    """One panel per column: our mean with its deviation, and the published figure. A column in which none of the
    table's students has been distilled is left out: it would show published figures and a network trained alone."""
    distilled = {cell.column for cell in table.cells
                 if cell.row.role == "distil" and cell.key in figures and figures[cell.key].n}
    columns = [column for column in table.columns if column in distilled] or table.columns
    rows, wide = table.rows, min(len(columns), 5)
    high = -(-len(columns) // wide)
    size = max(NARROWEST, 2.2 + 2.3 * wide), 1.5 + high * (0.8 + 0.28 * len(rows))
    canvas = Canvas(figsize=size, layout="constrained")
    axes = canvas.subplots(high, wide, sharey=True, squeeze=False).ravel()
    cells = {cell.key: cell for cell in table.cells}
    for axis, column in zip(axes, columns, strict=False):
        for place, row in enumerate(rows):
            cell = cells.get((row.name, column))
            figure = figures.get((row.name, column))
            if cell and show_published and cell.published is not None:
                axis.plot(cell.published, place, "D", mfc="none", color=PUBLISHED, ms=6, label="published")
            if figure and figure.n:
                axis.errorbar(figure.mean, place, xerr=figure.std, fmt="o", color=OWN, ms=5, capsize=3, label="here")
        axis.set_title(column, fontsize=9)
        axis.grid(axis="x", alpha=0.3)
        axis.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)  # the first row on top
    for axis in axes[len(columns):]:
        axis.set_axis_off()
    _legend(canvas, axes)
    canvas.supxlabel(LABEL, fontsize=9)
    canvas.suptitle(title, fontsize=11)
    return canvas


def _curves(table: Table, figures: dict, show_published: bool, title: str) -> Canvas:
    """One panel per column, one line per series over the rows' x."""
    wide = len(table.columns)
    canvas = Canvas(figsize=(max(NARROWEST, 1 + 4.2 * wide), 4.2), layout="constrained")
    axes = canvas.subplots(1, wide, squeeze=False).ravel()
    for axis, column in zip(axes, table.columns, strict=True):
        for series in dict.fromkeys(row.series for row in table.rows):
            found = [(row.x, figures[row.name, column]) for row in table.rows
                     if row.series == series and figures.get((row.name, column)) and figures[row.name, column].n]
            if found:
                axis.errorbar([x for x, _ in found], [f.mean for _, f in found], [f.std or 0 for _, f in found],
                              marker="o", capsize=3, label=series)
        axis.set(title=column, xlabel=table.x_label, ylabel=LABEL)
        axis.grid(alpha=0.3)
    _legend(canvas, axes)
    canvas.suptitle(title, fontsize=11)
    return canvas


def _grid(table: Table, row: Row, figures: dict) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Teachers, students, means and standard deviations (teachers, students) of a row; NaN where there is none."""
    pairs = [column.split(" > ") for column in table.columns]
    teachers, students = (list(dict.fromkeys(pair[i] for pair in pairs)) for i in (0, 1))
    means, stds = (np.full((len(teachers), len(students)), np.nan) for _ in range(2))
    for teacher, student in pairs:
        figure = figures.get((row.name, f"{teacher} > {student}"))
        if figure and figure.n:
            place = teachers.index(teacher), students.index(student)
            means[place] = figure.mean
            stds[place] = np.nan if figure.std is None else figure.std
    return teachers, students, means, stds


def _heat_maps(table: Table, figures: dict, title: str) -> Canvas:
    """One map per row of the table, teachers down, students across, all on one colour scale."""
    wide = min(len(table.rows), 2)
    high = -(-len(table.rows) // wide)
    canvas = Canvas(figsize=(max(NARROWEST, 5 * wide), 1.2 + 3.4 * high), layout="constrained")
    axes = canvas.subplots(high, wide, squeeze=False).ravel()
    grids = [_grid(table, row, figures) for row in table.rows]
    low, top = _limits([means for _, _, means, _ in grids])
    for axis, row, (teachers, students, means, stds) in zip(axes, table.rows, grids, strict=False):
        image = _map(axis, means, stds, (low, top), [*map(_depth, students)], [*map(_depth, teachers)])
        axis.set(title=row.name, xlabel="student depth", ylabel="teacher depth")
    for axis in axes[len(grids):]:
        axis.set_axis_off()
    canvas.colorbar(image, ax=axes, label=LABEL, shrink=0.6)
    canvas.suptitle(title, fontsize=11)
    return canvas


def _surfaces(table: Table, figures: dict, title: str) -> Canvas:
    """The paper's two surfaces: accuracy over the depths of teacher and student."""
    rows = [row for row in table.rows if row.surface] or table.rows
    canvas = Canvas(figsize=(max(NARROWEST, 5.5 * len(rows)), 5.2), layout="constrained")
    grids = [_grid(table, row, figures) for row in rows]
    low, top = _limits([means for _, _, means, _ in grids])
    for place, (row, (teachers, students, means, _)) in enumerate(zip(rows, grids, strict=True), 1):
        axis = canvas.add_subplot(1, len(rows), place, projection="3d")
        x, y = np.meshgrid(range(len(students)), range(len(teachers)))
        shade = np.clip((means - low) / (top - low), 0, 1)
        if np.isfinite(means).all() and min(means.shape) > 1:
            axis.plot_surface(x, y, means, cmap="viridis", vmin=low, vmax=top, alpha=0.85, edgecolor="black", lw=0.3)
        there = np.isfinite(means)
        axis.scatter(x[there], y[there], means[there], c=colormaps["viridis"](shade[there]), edgecolor="black", s=25)
        axis.set_xticks(range(len(students)), map(_depth, students))
        axis.set_yticks(range(len(teachers)), map(_depth, teachers))
        axis.set(title=row.name, xlabel="student depth", ylabel="teacher depth", zlabel=LABEL, zlim=(low, top))
        axis.view_init(elev=25, azim=-125)
        axis.set_box_aspect(None, zoom=0.85)  # room for the labels
    canvas.suptitle(title, fontsize=11)
    return canvas


def draw_sweep(flags: list[tuple[str, list[str]]], figures: dict, path: Path) -> None:
    """A sweep: a heat map over two flags with numbers, else a curve with error bars over the last flag with numbers,
    else a point with an error bar per combination.

    flags: the varied flags and their values. figures: a Figure per combination of values.
    """
    canvas = Canvas(figsize=(NARROWEST, max(3.5, 1.2 + 0.35 * len(figures))), layout="constrained")
    axis = canvas.subplots()
    numbers = [i for i, (_, values) in enumerate(flags) if len(values) > 1 and all(map(is_number, values))]
    if len(flags) == 2 and len(numbers) == 2:
        (row, down), (column, across) = flags
        means, stds = (np.array([[getattr(figures[a, b], name) for b in across] for a in down], dtype=float)
                       for name in ("mean", "std"))  # None becomes NaN
        image = _map(axis, means, stds, _limits([means]), across, down)
        axis.set(xlabel=column, ylabel=row)
        canvas.colorbar(image, ax=axis, label=LABEL)
    elif numbers:
        x = numbers[-1]
        series: dict[str, list] = {}
        for key, figure in figures.items():
            if figure.n:
                others = " ".join(f"{name}={value}" for i, ((name, _), value) in enumerate(zip(flags, key, strict=True))
                                  if i != x)
                series.setdefault(others, []).append((float(key[x]), figure.mean, figure.std or 0.0))
        for name, points in series.items():
            axis.errorbar(*zip(*sorted(points), strict=True), marker="o", capsize=3, label=name or None)
        values = sorted(map(float, flags[x][1]))
        if values[0] > 0 and values[-1] >= 8 * values[0]:
            axis.set_xscale("log")
            axis.minorticks_off()
        axis.set_xticks(values, [f"{value:g}" for value in values])
        axis.set(xlabel=flags[x][0], ylabel=LABEL)
        axis.grid(alpha=0.3)
        if any(series):
            canvas.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    else:
        for place, figure in enumerate(figures.values()):
            if figure.n:
                axis.errorbar(figure.mean, place, xerr=figure.std, fmt="o", color=OWN, capsize=3)
        axis.set_yticks(range(len(figures)), [", ".join(key) or "all trials" for key in figures])
        axis.set_ylim(len(figures) - 0.5, -0.5)
        axis.set(xlabel=LABEL, ylabel=", ".join(name for name, _ in flags))
        axis.grid(axis="x", alpha=0.3)
    trials = sorted({figure.n for figure in figures.values() if figure.n} or {1})
    several = f"mean ± standard deviation, n={' to '.join(map(str, dict.fromkeys((trials[0], trials[-1]))))}"
    canvas.suptitle(several if trials[-1] > 1 else "one trial", fontsize=9)
    _save(canvas, path)


def is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _map(axis, means: np.ndarray, stds: np.ndarray, limits: tuple[float, float], across: list[str], down: list[str]):
    """A heat map with its values written in, NaN where there is none; returns the image, for a colour bar."""
    low, top = limits
    image = axis.imshow(means, vmin=low, vmax=top, cmap="viridis", aspect="auto")
    for (i, j), value in np.ndenumerate(means):
        if np.isfinite(value):
            color = "white" if value < (low + top) / 2 else "black"
            std = f"\n±{stds[i, j]:.1f}" if np.isfinite(stds[i, j]) else ""
            axis.text(j, i, f"{value:.1f}{std}", ha="center", va="center", fontsize=8, color=color)
    axis.set_xticks(range(len(across)), across)
    axis.set_yticks(range(len(down)), down)
    return image


def _limits(grids: list[np.ndarray]) -> tuple[float, float]:
    values = np.concatenate([grid.ravel() for grid in grids])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 100.0
    low, top = float(np.floor(values.min())), float(np.ceil(values.max()))
    return low, max(top, low + 1)


def _depth(name: str) -> str:
    return re.sub(r"^resnet", "", name)


def _legend(canvas: Canvas, axes) -> None:
    handles = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        canvas.legend(handles.values(), handles.keys(), loc="outside lower right", fontsize=8)
