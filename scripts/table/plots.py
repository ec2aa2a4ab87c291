"""Pictures of tables: points with the published ones, curves over a flag, surfaces over two depths."""
from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure as Canvas

from helper.files import save_bytes

from .render import Figure
from .spec import Row, Size, Table

OWN, PUBLISHED = "#1f6fb4", "#d1495b"
NARROWEST = 8  # inches, so that a title fits
LABEL = "last epoch's top-1, %"


def draw(table: Table, size: Size, figures: dict, folder: Path) -> None:
    """NAME.png into ``folder``, and of surfaces result_heatmap.png too. A reduced size is in the title."""
    table, title = table.run_part(size, figures), table.title + (f"\n{size.label}" if size.label else "")
    figures = {key: figure for key, figure in figures.items() if figure.n}
    if table.picture == "surfaces":
        _save(_heat_maps(table, figures), folder / f"{table.name}.png", title)
        _save(_surfaces(table, figures), folder / "result_heatmap.png", title)
    elif table.picture == "curves":
        _save(_curves(table, figures), folder / f"{table.name}.png", title)
    else:
        _save(_points(table, figures, not size.label), folder / f"{table.name}.png", title)


def _save(canvas: Canvas, path: Path, title: str, fontsize: int = 11) -> None:
    canvas.suptitle(title, fontsize=fontsize)
    picture = io.BytesIO()
    canvas.savefig(picture, format="png", dpi=110)
    save_bytes(picture.getbuffer(), path)


def _panels(number: int, most: int, width: float, height: float, **more) -> tuple[Canvas, list]:
    """A canvas with ``number`` panels, at most ``most`` side by side, of this size in inches; rows of panels share what
    ``more`` names."""
    wide = min(number, most)
    high = -(-number // wide)
    canvas = Canvas(figsize=(max(NARROWEST, width * wide), height * high), layout="constrained")
    axes = canvas.subplots(high, wide, squeeze=False, **more).ravel()
    for axis in axes[number:]:
        axis.set_axis_off()
    return canvas, [*axes[:number]]


def _points(table: Table, figures: dict, show_published: bool) -> Canvas:
    """One panel per column: our mean with its deviation, and the published figure. A column in which none of the
    table's students has been distilled is left out: it would show published figures and a network trained alone."""
    distilled = {cell.column for cell in table.cells if cell.row.role == "distil" and cell.key in figures}
    columns = [column for column in table.columns if column in distilled] or table.columns
    names = [row.name for row in table.rows]
    canvas, axes = _panels(len(columns), 5, 2.8, 2.0 + 0.28 * len(names), sharey=True)
    for axis, column in zip(axes, columns, strict=True):
        for cell in table.cells:
            if cell.column != column:
                continue
            y, figure = names.index(cell.row.name), figures.get(cell.key)
            if show_published and cell.published is not None:
                axis.plot(cell.published, y, "D", mfc="none", color=PUBLISHED, ms=6, label="published")
            if figure:
                axis.errorbar(figure.mean, y, xerr=figure.std, fmt="o", color=OWN, ms=5, capsize=3, label="here")
        axis.set_title(column, fontsize=9)
        axis.grid(axis="x", alpha=0.3)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
    axes[0].set_ylim(len(names) - 0.5, -0.5)  # the first row on top
    _legend(canvas, axes)
    canvas.supxlabel(LABEL, fontsize=9)
    return canvas


def _curves(table: Table, figures: dict) -> Canvas:
    """One panel per column, one line per series over the rows' x."""
    canvas, axes = _panels(len(table.columns), len(table.columns), 4.6, 4.2)
    for axis, column in zip(axes, table.columns, strict=True):
        for series in dict.fromkeys(row.series for row in table.rows):
            _curve(axis, series, [(row.x, figures[row.name, column]) for row in table.rows
                                  if row.series == series and (row.name, column) in figures])
        axis.set(title=column, xlabel=table.x_label, ylabel=LABEL)
        axis.grid(alpha=0.3)
    _legend(canvas, axes)
    return canvas


def _curve(axis, name: str, points: list[tuple[float, Figure]]) -> None:
    points = sorted(points, key=lambda point: point[0])
    if points:
        axis.errorbar([x for x, _ in points], [f.mean for _, f in points], [f.std or 0.0 for _, f in points],
                      marker="o", capsize=3, label=name or None)


def _grid(table: Table, row: Row, figures: dict) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Teachers, students, means and standard deviations (teachers, students) of a row; NaN where there is none."""
    pairs = [column.split(" > ") for column in table.columns]
    teachers, students = (list(dict.fromkeys(pair[i] for pair in pairs)) for i in (0, 1))
    values = [[figures.get((row.name, f"{teacher} > {student}")) for student in students] for teacher in teachers]
    return teachers, students, *_arrays(values)


def _arrays(figures: list[list[Figure | None]]) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations; None becomes NaN."""
    return tuple(np.array([[getattr(figure, name, None) for figure in row] for row in figures], dtype=float)
                 for name in ("mean", "std"))


def _heat_maps(table: Table, figures: dict) -> Canvas:
    """One map per row of the table, teachers down, students across, all on one colour scale."""
    canvas, axes = _panels(len(table.rows), 2, 5.0, 3.8)
    grids = [_grid(table, row, figures) for row in table.rows]
    limits = _limits([means for _, _, means, _ in grids])
    for axis, row, (teachers, students, means, stds) in zip(axes, table.rows, grids, strict=True):
        image = _map(axis, means, stds, limits, [*map(_depth, students)], [*map(_depth, teachers)])
        axis.set(title=row.name, xlabel="student depth", ylabel="teacher depth")
    canvas.colorbar(image, ax=axes, label=LABEL, shrink=0.6)
    return canvas


def _surfaces(table: Table, figures: dict) -> Canvas:
    """The paper's two surfaces: accuracy over the depths of teacher and student."""
    rows = [row for row in table.rows if row.surface] or table.rows
    canvas, axes = _panels(len(rows), len(rows), 5.5, 5.2, subplot_kw={"projection": "3d"})
    grids = [_grid(table, row, figures) for row in rows]
    low, top = _limits([means for _, _, means, _ in grids])
    for axis, row, (teachers, students, means, _) in zip(axes, rows, grids, strict=True):
        x, y = np.meshgrid(range(len(students)), range(len(teachers)))
        there = np.isfinite(means)
        if there.all() and min(means.shape) > 1:
            axis.plot_surface(x, y, means, cmap="viridis", vmin=low, vmax=top, alpha=0.85, edgecolor="black", lw=0.3)
        axis.scatter(x[there], y[there], means[there], c=means[there], cmap="viridis", vmin=low, vmax=top,
                     edgecolor="black", s=25)
        axis.set_xticks(range(len(students)), map(_depth, students))
        axis.set_yticks(range(len(teachers)), map(_depth, teachers))
        axis.set(title=row.name, xlabel="student depth", ylabel="teacher depth", zlabel=LABEL, zlim=(low, top))
        axis.view_init(elev=25, azim=-125)
        axis.set_box_aspect(None, zoom=0.85)  # room for the labels
    return canvas


def draw_sweep(flags: list[tuple[str, list[str]]], figures: dict, path: Path) -> None:
    """A sweep: a heat map over two flags with numbers, else a curve with error bars over the last flag with numbers,
    else a point with an error bar per combination.

    flags: the varied flags and their values. figures: a Figure per combination of values.
    """
    canvas, (axis,) = _panels(1, 1, NARROWEST, max(3.5, 1.2 + 0.35 * len(figures)))
    numbers = [i for i, (_, values) in enumerate(flags) if len(values) > 1 and all(map(is_number, values))]
    if len(flags) == 2 and len(numbers) == 2:
        (row, down), (column, across) = flags
        means, stds = _arrays([[figures[a, b] for b in across] for a in down])
        image = _map(axis, means, stds, _limits([means]), across, down)
        axis.set(xlabel=column, ylabel=row)
        canvas.colorbar(image, ax=axis, label=LABEL)
    elif numbers:
        x = numbers[-1]
        series: dict[str, list] = {}
        for key, figure in figures.items():
            others = " ".join(f"{name}={value}" for (name, _), value in zip(flags, key, strict=True)
                              if name != flags[x][0])
            series.setdefault(others, []).extend([(float(key[x]), figure)] if figure.n else [])
        for name, points in series.items():
            _curve(axis, name, points)
        values = sorted(map(float, flags[x][1]))
        if values[0] > 0 and values[-1] >= 8 * values[0]:
            axis.set_xscale("log")
            axis.minorticks_off()
        axis.set_xticks(values, [f"{value:g}" for value in values])
        axis.set(xlabel=flags[x][0], ylabel=LABEL)
        axis.grid(alpha=0.3)
        _legend(canvas, [axis])
    else:
        for y, figure in enumerate(figures.values()):
            if figure.n:
                axis.errorbar(figure.mean, y, xerr=figure.std, fmt="o", color=OWN, capsize=3)
        axis.set_yticks(range(len(figures)), [", ".join(key) or "all trials" for key in figures])
        axis.set_ylim(len(figures) - 0.5, -0.5)
        axis.set(xlabel=LABEL, ylabel=", ".join(name for name, _ in flags))
        axis.grid(axis="x", alpha=0.3)
    trials = sorted({figure.n for figure in figures.values() if figure.n} or {1})
    several = f"mean ± standard deviation, n={' to '.join(map(str, dict.fromkeys((trials[0], trials[-1]))))}"
    _save(canvas, path, several if trials[-1] > 1 else "one trial", fontsize=9)


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


def _legend(canvas: Canvas, axes: list) -> None:
    handles = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if handles:
        canvas.legend(handles.values(), handles.keys(), loc="outside lower right", fontsize=8)
