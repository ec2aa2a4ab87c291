"""A table of finished runs, and one picture of their learning curves.

    python -m scripts.summary                                   # every run under ./save
    python -m scripts.summary --save_dir save/quickstart --picture curves.png
    python -m scripts.summary --find resnet20_digits            # the folder of the one teacher of that name
"""
from __future__ import annotations

import shutil
import sys
from pathlib import Path

from helper.argtypes import Parser, file_path, path
from helper.errors import UserError, guard
from helper.stored_runs import FINISHED, FOLDERS, StoredRun, stored_runs


def finished_runs(save_dir: Path) -> list[StoredRun]:
    """All runs under ``save_dir`` with a summary, teachers and students alone first, in the order of their names."""
    found = [run for parent in FOLDERS for run in stored_runs(save_dir / parent) if run.status == FINISHED]
    for run in found:
        if not (run.config and run.summary and run.log):
            raise UserError(f"{run.folder}: its args.json, log.csv or summary.json is damaged; move the folder away")
    return found


def print_table(runs: list[StoredRun]) -> None:
    width = max(len(run.label) for run in runs)
    print(f"{'run':<{width}}  {'last top-1':>10}  {'best top-1':>10}  {'epochs':>6}  {'time':>7}")
    for run in runs:
        s = run.summary
        print(f"{run.label:<{width}}  {s['last_top1']:>10.2f}  {s['best_top1']:>10.2f}  {s['epochs']:>6}  "
              f"{s['wall_time_s']:>6.0f}s")
    print("\nrun folders")
    for run in runs:
        print(f"  {run.folder}")


def draw(runs: list[StoredRun], target: Path) -> None:
    """Held-out accuracy by epoch, all runs in one picture."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    for run in runs:
        try:
            points = [(int(row["epoch"]), float(row["test_acc"])) for row in run.log if row["stage"] == "main"]
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{run.folder / 'log.csv'}: damaged; put it back, or move the folder away") from None
        axis.plot(*zip(*points, strict=True), marker=".", label=f"{run.label} ({run.summary['last_top1']:.1f} %)")
    axis.set(xlabel="epoch", ylabel="held-out accuracy, %")
    axis.grid(alpha=0.3)
    axis.legend()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=120)
    except OSError as error:
        raise UserError(f"--picture {target}: can't be written ({error.strerror}); name another file") from None


def main(argv=None):
    parser = Parser(description=__doc__)
    parser.add_argument("--save_dir", type=path, default="save", help="where the runs lie (default ./save)")
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
