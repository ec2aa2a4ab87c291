"""Pictures of tables and sweeps: points with the published ones, curves over a flag, heat maps, surfaces over two
depths. Shown are means over the seeds; error bars are standard deviations."""
from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from helper.files import save_bytes

from .spec import Size, Table

matplotlib.use("Agg")
sns.set_theme(style="whitegrid", font_scale=0.8, rc={"text.parse_math": False})  # names may hold a $
TOP1 = "last epoch's top-1, %"
DEPTHS = ("teacher depth", "student depth")
POINTS = {"errorbar": "sd", "capsize": 0.25, "linestyle": "none", "markersize": 5, "err_kws": {"linewidth": 1.5}}


def draw(table: Table, size: Size, figures: dict, folder: Path) -> None:
    """NAME.png into ``folder``, and of surfaces result_heatmap.png too. A reduced size is in the title. figures: a
    Figure by row and column."""
    table, title = table.run_part(size, figures), table.title + (f"\n{size.label}" if size.label else "")
    runs = pd.DataFrame([(cell.row.name, cell.column, depth(cell.teacher), depth(cell.student), cell.row.series,
                          cell.row.x, value, "here")
                         for cell in table.cells if cell.key in figures for value in figures[cell.key].values],
                        columns=["row", "column", *DEPTHS, "series", "x", TOP1, "from"])
    for name, part in zip(DEPTHS, ("teacher", "student"), strict=True):
        runs[name] = in_order(runs[name], [depth(getattr(cell, part)) for cell in table.cells])
    picture = folder / f"{table.name}.png"
    if runs.empty:
        save(plt.figure(), title, picture)
    elif table.picture == "surfaces":
        save(heat_maps(table, runs), title, picture)
        save(surfaces(table, runs), title, folder / "result_heatmap.png")
    elif table.picture == "curves":
        save(curves(runs.rename(columns={"x": table.x_label}), table.x_label, "series", "column"), title, picture)
    else:
        save(points(table, runs, not size.label), title, picture)


def depth(network: str) -> str:
    return network.removeprefix("resnet")


def in_order(names: pd.Series, order: Sequence[str]) -> pd.Series:
    """Sorted as ``order`` is, not by the alphabet."""
    return names.astype(pd.CategoricalDtype([*dict.fromkeys(order)]))


def save(figure: plt.Figure, title: str, path: Path) -> None:
    figure.suptitle(title, y=1.0, va="bottom")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, bbox_inches="tight", pad_inches=0.2)
    plt.close(figure)
    save_bytes(picture.getbuffer(), path)


def points(table: Table, runs: pd.DataFrame, show_published: bool) -> plt.Figure:
    """One panel per column: our mean with its deviation, and the published figure. A column in which none of the
    table's students has been distilled is left out: it would show published figures and a network trained alone."""
    run = {*zip(runs["row"], runs["column"], strict=True)}
    distilled = {cell.column for cell in table.cells if cell.row.role == "distil" and cell.key in run}
    columns = [column for column in table.columns if column in distilled] or table.columns
    published = pd.DataFrame([(cell.row.name, cell.column, cell.published, "published") for cell in table.cells
                              if show_published and cell.published is not None],
                             columns=["row", "column", TOP1, "from"])
    names, shown = [row.name for row in table.rows], pd.concat([runs, published], ignore_index=True)
    sources = {} if published.empty else {"hue": "from", "markers": ["o", "D"]}
    grid = sns.catplot(shown, kind="point", x=TOP1, y="row", order=names, col="column", col_order=columns,
                       col_wrap=min(5, len(columns)), sharex=False, **sources,
                       **panel_size(names, min(5, len(columns))), **POINTS)
    for axis in grid.axes.flat:
        axis.margins(x=0.08)
    return grid.set_titles("{col_name}").set_axis_labels(TOP1, "").figure


def panel_size(labels: Sequence[str], wide: int = 1) -> dict[str, float]:
    """Of ``wide`` panels side by side, with room for a line per label, and for the labels left of the first panel."""
    height = 2.5 + 0.25 * len({*labels})
    return {"height": height, "aspect": max(1.0, (4.0 + 0.08 * max(map(len, labels))) / wide / height)}


def curves(runs: pd.DataFrame, x: str, series: str, panels: str | None = None) -> plt.Figure:
    """One line per series over ``x``, a panel for each of ``panels``."""
    several = series if runs[series].nunique() > 1 else None
    grid = sns.relplot(runs, kind="line", x=x, y=TOP1, hue=several, col=panels, height=4, aspect=1.2, errorbar="sd",
                       err_style="bars", err_kws={"capsize": 3}, marker="o")
    if panels:
        grid.set_titles("{col_name}")
    return grid.figure


def heat_map(axis: plt.Axes, runs: pd.DataFrame, down: str, across: str, **more) -> None:
    """Means with their deviations written in, one number per combination of ``down`` and ``across``."""
    cells = runs.groupby([down, across], observed=True)[TOP1]
    means, stds = cells.mean().unstack(), cells.std().unstack()
    texts = means.map("{:.1f}".format) + stds.map(lambda std: "" if np.isnan(std) else f"\n±{std:.1f}")
    sns.heatmap(means, annot=texts, fmt="", cmap="viridis", ax=axis, cbar_kws={"label": TOP1}, **more)
    axis.grid(False)
    axis.tick_params(axis="y", rotation=0)


def heat_maps(table: Table, runs: pd.DataFrame) -> plt.Figure:
    """One map per row of the table, teachers down, students across, all on one colour scale."""
    wide = min(2, len(table.rows))
    figure, axes = plt.subplots(-(-len(table.rows) // wide), wide, squeeze=False, layout="constrained",
                                figsize=(5.5 * wide, 4.2 * -(-len(table.rows) // wide)))
    for axis, row in zip(axes.flat, table.rows, strict=False):
        heat_map(axis, runs[runs["row"] == row.name], *DEPTHS, vmin=runs[TOP1].min(), vmax=runs[TOP1].max())
        axis.set_title(row.name)
    for axis in axes.flat[len(table.rows):]:
        axis.set_axis_off()
    return figure


def surfaces(table: Table, runs: pd.DataFrame) -> plt.Figure:
    """The paper's two surfaces: accuracy over the depths of teacher and student."""
    rows = [row for row in table.rows if row.surface] or table.rows
    low, high = runs[TOP1].min(), runs[TOP1].max()
    figure, axes = plt.subplots(1, len(rows), squeeze=False, layout="constrained", figsize=(5.5 * len(rows), 5.2),
                                subplot_kw={"projection": "3d"})
    for axis, row in zip(axes.flat, rows, strict=True):
        means = runs[runs["row"] == row.name].groupby([*DEPTHS], observed=True)[TOP1].mean().unstack()
        x, y = np.meshgrid(range(means.shape[1]), range(means.shape[0]))
        z = means.to_numpy()
        there = np.isfinite(z)
        if there.all() and min(z.shape) > 1:
            axis.plot_surface(x, y, z, cmap="viridis", vmin=low, vmax=high, alpha=0.85, edgecolor="black", lw=0.3)
        axis.scatter(x[there], y[there], z[there], c=z[there], cmap="viridis", vmin=low, vmax=high, edgecolor="black")
        axis.set_xticks(range(z.shape[1]), means.columns)
        axis.set_yticks(range(z.shape[0]), means.index)
        axis.set(title=row.name, xlabel="student depth", ylabel="teacher depth", zlabel=TOP1)
        axis.view_init(elev=25, azim=-125)
        axis.set_box_aspect(None, zoom=0.85)  # room for the labels
    return figure


def draw_sweep(flags: Sequence[tuple[str, list[str]]], figures: dict, path: Path) -> None:
    """A sweep: a heat map over two flags with numbers, else a curve over the last flag with numbers, else a point per
    combination. flags: the varied flags and their values. figures: a Figure per combination of values."""
    numbers = [name for name, values in flags if len(values) > 1 and all(map(is_number, values))]
    names = [name for name, _ in flags]
    runs = pd.DataFrame([(*key, value) for key, figure in figures.items() for value in figure.values],
                        columns=[*names, TOP1])
    if runs.empty:
        figure = plt.figure()
    elif len(flags) == len(numbers) == 2:
        figure = plt.figure(figsize=(8, 4.5), layout="constrained")
        ordered = {name: in_order(runs[name], values) for name, values in flags}
        heat_map(figure.subplots(), runs.assign(**ordered), *names)
    elif numbers:
        others = [name for name in names if name != numbers[-1]]
        series = [" ".join(f"{name}={value}" for name, value in zip(others, line, strict=True))
                  for line in runs[others].itertuples(index=False)]
        figure = curves(runs.assign(series=series).astype({numbers[-1]: float}), numbers[-1], "series")
        values = sorted(map(float, dict(flags)[numbers[-1]]))
        if values[0] > 0 and values[-1] >= 8 * values[0]:
            figure.axes[0].set_xscale("log")
            figure.axes[0].minorticks_off()
        figure.axes[0].set_xticks(values, [f"{value:g}" for value in values])
    else:
        combination = [", ".join(line) or "all trials" for line in runs[names].itertuples(index=False)]
        grid = sns.catplot(runs.assign(combination=combination), kind="point", x=TOP1, y="combination",
                           **panel_size(combination), **POINTS)
        figure = grid.set_axis_labels(TOP1, ", ".join(names)).figure
    n = sorted({figure.n for figure in figures.values() if figure.n} or {1})
    several = f"mean ± standard deviation, n={' to '.join(map(str, dict.fromkeys((n[0], n[-1]))))}"
    save(figure, several if n[-1] > 1 else "one trial", path)


def is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
