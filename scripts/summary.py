"""A table of finished runs, mean and deviation over seeds, and one picture of their learning curves.

    python -m scripts.summary                                   # every run under ./save
    python -m scripts.summary --save_dir save/quickstart --picture curves.png
    python -m scripts.summary --find resnet20_digits            # the folder of the one teacher of that name
"""
from __future__ import annotations

import shutil
import statistics
import sys
from pathlib import Path

import numpy as np

from helper.argtypes import Parser, file_path, path
from helper.errors import UserError, guard
from helper.run import identity
from helper.stored_runs import FINISHED, FOLDERS, StoredRun, stored_runs


def finished_runs(save_dir: Path) -> list[StoredRun]:
    """All runs under ``save_dir`` with a summary, teachers and students alone first, in the order of their names."""
    found = [run for parent in FOLDERS for run in stored_runs(save_dir / parent) if run.status == FINISHED]
    for run in found:
        if not (run.config and run.summary and run.log):
            raise UserError(f"{run.folder}: its args.json, log.csv or summary.json is damaged; move the folder away")
    return found


def by_seed(runs: list[StoredRun]) -> dict[str, list[StoredRun]]:
    """Runs that differ in nothing but their seed, by their name: label, and share of the images."""
    groups: dict[tuple, list[StoredRun]] = {}
    for run in runs:
        config = identity({**run.config, "trial": ""})
        groups.setdefault((run.folder.parent.name, run.summary["epochs"], repr(sorted(config.items()))), []).append(run)
    named: dict[str, list[StoredRun]] = {}
    for group in groups.values():
        share = group[0].config.get("train_fraction", 1)
        name = group[0].label + ("" if share == 1 else f", {100 * share:g} % of the images")
        named[name if name not in named else f"{name}, {group[0].folder.name}"] = group
    return named


def mean_and_std(values: list[float]) -> str:
    """93.24 ± 0.90, with the unbiased deviation; a single value without one."""
    std = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{std}"


def print_table(runs: list[StoredRun]) -> None:
    """Mean and standard deviation over the seeds, one line per group of runs; then the folders."""
    groups = by_seed(runs)
    width = max(map(len, groups))
    print(f"{'run':<{width}}  seeds  {'last top-1, %':<14}  {'best top-1, %':<14}  epochs    time")
    for name, group in groups.items():
        last, best, seconds = ([run.summary[key] for run in group] for key in ("last_top1", "best_top1", "wall_time_s"))
        print(f"{name:<{width}}  {len(group):>5}  {mean_and_std(last):<14}  {mean_and_std(best):<14}  "
              f"{group[0].summary['epochs']:>6}  {statistics.fmean(seconds):>5.0f}s")
    print("\nrun folders")
    for run in runs:
        print(f"  {run.folder}")


def draw(runs: list[StoredRun], target: Path) -> None:
    """Validation accuracy by epoch: the mean over the seeds, with a band of one standard deviation."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axis = figure.subplots()
    for name, group in by_seed(runs).items():
        epochs, rows = None, []
        for run in group:
            try:
                points = [(int(row["epoch"]), float(row["test_acc"])) for row in run.log if row["stage"] == "main"]
                epochs, accuracies = zip(*points, strict=True)
            except (KeyError, TypeError, ValueError):
                raise UserError(f"{run.folder / 'log.csv'}: damaged; put it back, or move the folder away") from None
            rows.append(accuracies)
        if len({*map(len, rows)}) > 1:
            raise UserError(f"{group[0].folder / 'log.csv'}: its epochs are not those of the other seeds; put it back, "
                            "or move the folder away")
        mean = np.mean(rows, axis=0)
        line, = axis.plot(epochs, mean, marker=".", label=f"{name} ({mean_and_std([row[-1] for row in rows])} %)")
        if len(rows) > 1:
            std = np.std(rows, axis=0, ddof=1)
            axis.fill_between(epochs, mean - std, mean + std, color=line.get_color(), alpha=0.2, linewidth=0)
    axis.set(xlabel="epoch", ylabel="validation accuracy, %")
    axis.grid(alpha=0.3)
    axis.set_ylim(0, 101)
    figure.legend(loc="outside lower center", fontsize=9)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=120)
    except OSError as error:
        raise UserError(f"--picture {target}: can't be written ({error.strerror}); name another file") from None


def main(argv=None):
    parser = Parser(description=__doc__)
    parser.add_argument("--save_dir", type=path, default="save", help="where the runs are (default ./save)")
    parser.add_argument("--picture", type=file_path(".png", ".pdf", ".svg", ".jpg"), default=None,
                        help="write the learning curves here")
    parser.add_argument("--find", default=None, metavar="START", help="print the one run folder whose name starts so")
    opt = parser.parse(argv)
    runs = finished_runs(Path(opt.save_dir))
    if opt.find is not None:
        runs = [run for run in runs if run.folder.name.startswith(opt.find)]
        if len(runs) != 1:
            raise UserError(f"--find {opt.find}: {len(runs)} finished runs under {opt.save_dir}, not one")
        print(runs[0].folder)
        return
    if not runs:
        raise UserError(f"--save_dir {opt.save_dir}: no finished run there")
    print_table(runs)
    if opt.picture:
        draw(runs, Path(opt.picture))
        print(f"\nlearning curves\n  {opt.picture}")
    tensorboard = Path(sys.executable).with_name("tensorboard")
    tool = tensorboard if tensorboard.exists() else shutil.which("tensorboard") or "tensorboard"
    print(f"\nTensorBoard\n  {tool} --logdir {opt.save_dir}")


if __name__ == "__main__":
    sys.exit(guard(main))
