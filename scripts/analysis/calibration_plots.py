"""The pictures of scripts/calibration.py, from the rows of its tables. A colour is a network, a dashed line is
std-scaled logits."""
from __future__ import annotations

from itertools import product

from . import common, drawing

LINES = {"plain": {"linestyle": "-"}, "std-scaled": {"linestyle": "--", "markerfacecolor": "white"}}


def plot_lines(axis, study: common.Study, rows: list[dict], x: str, y: str, names=tuple(LINES)) -> None:
    """y against x, a line for each network and scaling."""
    for network, name in product(study.networks, names):
        points = [(row[x], row[y]) for row in rows if row["network"] == network.label and row["logits"] == name]
        axis.plot(*zip(*points, strict=True), linewidth=1.5, markersize=4, **network.style, **LINES[name])


def add_legend(figure, study: common.Study, *more: tuple[str, dict]) -> None:
    scalings = [(f"{name} logits", {"color": "0.35", **style}) for name, style in LINES.items()]
    drawing.add_legend(figure, [(n.label, n.style) for n in study.networks] + scalings + list(more))


def by_temperature(axis, label: str, logarithmic: bool = False) -> None:
    """Temperature along x, logarithmic as T acts by ratios. Ticks at 1, 2, 5, 10, ..."""
    ticker = drawing.need("matplotlib.ticker", "matplotlib")
    axis.set_xscale("log")
    axis.set(xlabel="temperature T", ylabel=label)
    if logarithmic:
        axis.set_yscale("log")
    for side in (axis.xaxis, axis.yaxis) if logarithmic else (axis.xaxis,):
        side.set_major_locator(ticker.LogLocator(subs=(1, 2, 5), numticks=30))
        side.set_major_formatter("{x:g}")
        side.set_minor_formatter(ticker.NullFormatter())


def draw_errors(study: common.Study, rows: list[dict]):
    """Negative log likelihood, expected calibration error and overconfidence against temperature."""
    figure, axes = drawing.make_figure(f"Calibration\n{study.scope}", 1, 3, (3.7, 3.6))
    for axis, (column, label) in zip(axes[0], {"nll": "negative log likelihood, nats",
                                               "ece": "expected calibration error",
                                               "overconfidence": "overconfidence"}.items(), strict=True):
        plot_lines(axis, study, rows, "temperature", column)
        by_temperature(axis, label, logarithmic=column == "nll")
        if column != "nll":
            axis.set_ylim(bottom=0)
    add_legend(figure, study)
    return figure


def draw_reliability(study: common.Study, rows: list[dict], bins: list[dict]):
    """Accuracy of every bin of confidence: a row for each network, a column for each scaling and temperature.

    Above each are its expected calibration error and overconfidence.
    """
    columns = list(product(LINES, study.opt.diagrams))
    figure, axes = drawing.make_figure(f"Reliability\n{study.scope}", len(study.networks), len(columns), (2.7, 2.6),
                                        sharex=True, sharey=True)
    for i, network in enumerate(study.networks):
        for axis, key in zip(axes[i], columns, strict=True):
            own = [row for row in (*rows, *bins) if row["network"] == network.label
                   and (row["logits"], row["temperature"]) == key]
            draw_diagram(axis, [row for row in own[1:] if row["count"]], network.style["color"])
            figures = f"ECE {own[0]['ece']:.3f}, over {own[0]['overconfidence']:.3f}"
            axis.set_title(f"{key[0]}, T = {key[1]:g}\n{figures}" if i == 0 else figures, fontsize=9)
            if i == len(study.networks) - 1:
                axis.set_xlabel("confidence")
        axes[i, 0].set_ylabel(drawing.wrapped(network.label, 26) + "\n\naccuracy", fontsize=9)
    drawing.add_legend(figure, [("accuracy of the bin", {"color": "0.35", "linewidth": 7}),
                                 ("its mean confidence", {"color": "black", "marker": "_", "linestyle": ""}),
                                 ("perfect calibration", {"color": "0.5", "linestyle": ":"})])
    return figure


def draw_diagram(axis, bins: list[dict], colour: str) -> None:
    """Bars of the bins that hold an image."""
    width = bins[0]["high"] - bins[0]["low"]
    middle = [(b["low"] + b["high"]) / 2 for b in bins]
    axis.bar(middle, [b["accuracy"] for b in bins], width=0.9 * width, color=colour, alpha=0.75)
    axis.plot(middle, [b["confidence"] for b in bins], linestyle="", marker="_", markersize=6, color="black")
    axis.plot([0, 1], [0, 1], color="0.5", linestyle=":", linewidth=1)
    axis.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 0.5, 1))


def draw_smoothing(study: common.Study, rows: list[dict], uniform: float):
    """Entropy and standard deviation, against lambda at one temperature and against temperature of clean images.

    uniform: the entropy of equal probabilities, the most there can be.
    """
    figure, axes = drawing.make_figure(f"Entropy and spread of the outputs\n{study.scope}", 2, 2, (4.2, 3.1))
    T, clean = study.opt.diagrams[0], max(study.opt.lambdas)
    mixed = [row for row in rows if row["temperature"] == T]
    warm = [row for row in rows if row["lambda"] == clean]
    plot_lines(axes[0, 0], study, mixed, "lambda", "entropy")
    axes[0, 0].set(xlabel="lambda", ylabel=f"entropy at T = {T:g}, nats")
    plot_lines(axes[0, 1], study, warm, "temperature", "entropy")
    by_temperature(axes[0, 1], f"entropy at lambda = {clean:g}, nats")
    plot_lines(axes[1, 0], study, mixed, "lambda", "logit_std")
    axes[1, 0].set(xlabel="lambda", ylabel=f"standard deviation of logits, T = {T:g}", ylim=(0, None))
    plot_lines(axes[1, 1], study, warm, "temperature", "logit_std")
    by_temperature(axes[1, 1], "standard deviation of logits / T", logarithmic=True)
    limit = {"color": "0.5", "linestyle": ":", "linewidth": 1.2}
    for axis in axes[0]:
        axis.axhline(uniform, **limit)
        axis.set_ylim(bottom=0)
    add_legend(figure, study, ("equal probabilities", limit))
    return figure
