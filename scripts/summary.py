"""A table of finished runs, and one picture of their learning curves.

    python -m scripts.summary                                   # every run under ./save
    python -m scripts.summary --save_dir save/quickstart --picture curves.png
    python -m scripts.summary --find resnet20_digits            # the folder of the one teacher of that name
"""
from __future__ import annotations

import csv
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from helper.argtypes import Parser, path
from helper.errors import UserError, guard

ROLES = {"models": "alone", "student_model": "distilled"}


@dataclass
class Finished:
    """One finished run: its folder, what args.json and summary.json say, its log rows."""

    folder: Path
    config: dict
    summary: dict
    rows: list[dict]

    @property
    def role(self) -> str:
        return ROLES[self.folder.parent.name]

    @property
    def label(self) -> str:
        config = self.config
        if self.role == "alone":
            return f"{config['model']} alone, mix {config['mix']}"
        return f"{config['model_s']} from {config['model_t']}, {config['distill']}, mix {config['mix']}"


def finished_runs(save_dir: Path) -> list[Finished]:
    """All runs under ``save_dir`` with a summary, teachers and students alone first, in the order of their names."""
    found = []
    for parent in ROLES:
        for folder in sorted((save_dir / parent).glob("*/")):
            if (folder / "summary.json").is_file():
                try:
                    found.append(read(folder))
                except (ValueError, KeyError) as error:
                    raise UserError(f"{folder}: its args.json, log.csv or summary.json is damaged ({error!r}); "
                                    "move the folder away") from None
    return found


def read(folder: Path) -> Finished:
    config = json.loads((folder / "args.json").read_text())["config"]
    with open(folder / "log.csv", newline="") as log:
        rows = [row for row in csv.DictReader(log) if row["stage"] == "main"]
    return Finished(folder, config, json.loads((folder / "summary.json").read_text()), rows)


def print_table(runs: list[Finished]) -> None:
    width = max(len(run.label) for run in runs)
    print(f"{'run':<{width}}  {'last top-1':>10}  {'best top-1':>10}  {'epochs':>6}  {'time':>7}")
    for run in runs:
        s = run.summary
        print(f"{run.label:<{width}}  {s['last_top1']:>10.2f}  {s['best_top1']:>10.2f}  {s['epochs']:>6}  "
              f"{s['wall_time_s']:>6.0f}s")
    print("\nrun folders")
    for run in runs:
        print(f"  {run.folder}")


def draw(runs: list[Finished], target: Path) -> None:
    """Held-out accuracy by epoch, all runs in one picture."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    for run in runs:
        axis.plot([int(row["epoch"]) for row in run.rows], [float(row["test_acc"]) for row in run.rows], marker=".",
                  label=f"{run.label} ({run.summary['last_top1']:.1f} %)")
    axis.set(xlabel="epoch", ylabel="held-out accuracy, %")
    axis.grid(alpha=0.3)
    axis.legend()
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=120)


def main(argv=None):
    parser = Parser(prog="python -m scripts.summary", description=__doc__)
    parser.add_argument("--save_dir", type=path, default="save", help="where the runs lie (default ./save)")
    parser.add_argument("--picture", type=path, default=None, help="write the learning curves here")
    parser.add_argument("--find", default=None, metavar="START", help="print the one run folder whose name starts so")
    opt = parser.parse(argv)
    runs = finished_runs(Path(opt.save_dir))
    if opt.find:
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
