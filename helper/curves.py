"""The picture of a run's learning curves."""
from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from . import files


def write(history: Sequence[dict], title: str, path: Path) -> None:
    """Loss and accuracy by epoch of the main stage; nothing before its first epoch."""
    rows = [row for row in history if row["stage"] == "main"]
    if not rows:
        return
    from matplotlib.figure import Figure  # slow to import, so only where it is used
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    for axis, names, label in ((left, ("train_loss", "test_loss"), "loss"),
                               (right, ("train_acc", "test_acc", "test_acc_top5"), "accuracy, %")):
        for name in names:
            axis.plot(epochs, [row[name] for row in rows], label=name, marker="." if len(rows) < 30 else None)
        axis.set(xlabel="epoch", ylabel=label)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle(title, fontsize=10)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=100)
    files.save_bytes(picture.getbuffer(), path)
