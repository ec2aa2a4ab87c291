"""Train every method briefly on one pair and compare them in a table.

    python -m scripts.zoo_table --path_t save/models/NAME/resnet20_last.pth --model_s resnet8
    python -m scripts.zoo_table --path_t ... --train_fraction 0.05 --epochs 1 --mixes none,partial,full,cutmix

The table and its CSV go to result/zoo, the logs to zoo_logs under --save_dir. A method that fails is reported and the
others continue. It may be interrupted at any time; the same command continues where it stopped. So short a run shows
that a method works, what it costs and which terms its loss has, not how accurate it is; table.md has a note on it.
"""
from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from dataset import FOLDERS, MIXES, SIZES
from distiller_zoo import distiller_dict
from helper.argtypes import Parser, folder_path, name_from, number, path
from helper.errors import UserError, guard
from helper.files import save_csv, save_text
from helper.options import parse_student
from helper.stored_runs import StoredRun
from helper.teacher import read_teacher
from models import model_dict

from .analysis.common import list_of
from .table import jobs
from .table.jobs import Job, Local
from .table.markdown import markdown_table
from .table.plan import Training
from .table.results import Store, is_finished
from .table.spec import Size

MIXINGS = {"none": ["--mix", "none"], "partial": ["--mix", "mixup"], "full": ["--mix", "mixup", "--no-pmixup"],
         **{kind: ["--mix", kind] for kind in MIXES if kind not in ("none", "mixup")}}
SMALL = [name for name in SIZES if name not in FOLDERS]
TRIAL = "1"
TOP1 = "reduced_last_top1_mean"


@dataclass
class Line:
    """One method with one kind of mixing: its run, or why it is refused."""

    method: str
    mix: str
    run: Training | None
    refused: str = ""


def parse(argv=None) -> argparse.Namespace:
    parser = Parser(description=__doc__)
    parser.add_argument("--path_t", type=path, default=None, help="the teacher's checkpoint")
    parser.add_argument("--model_s", type=name_from(model_dict, "model"), default="resnet8", help="(default resnet8)")
    parser.add_argument("--methods", type=list_of(name_from(distiller_dict, "method")), default=list(distiller_dict),
                        metavar="LIST", help="as kd,crd (default all)")
    parser.add_argument("--mixes", type=list_of(name_from(MIXINGS, "mixing")), default=["partial"], metavar="LIST",
                        help=f"of {', '.join(MIXINGS)} (default partial)")
    parser.add_argument("--epochs", type=number(int, low=1, high=10**6), default=1, help="(default 1)")
    parser.add_argument("--init_epochs", type=number(int, low=1, high=10**6), default=1,
                        help="of two-stage methods (default 1)")
    parser.add_argument("--train_fraction", type=number(float, above=0, high=1), default=0.05,
                        help="share of the training images (default 0.05)")
    parser.add_argument("--dataset", type=name_from(SMALL, "data set of small images"), default=None,
                        help="(default: the training script's)")
    parser.add_argument("--jobs", type=number(int, low=1, high=64), default=1, help="runs at once; blurs images/s")
    parser.add_argument("--save_dir", type=path, default="save", help="where run folders go (default ./save)")
    parser.add_argument("--data_dir", type=path, default="data", help="where the data is (default ./data)")
    parser.add_argument("--out", type=folder_path, default="result/zoo",
                        help="where the table goes (default result/zoo)")
    parser.add_argument("--note", default="", metavar="TEXT", help="a note for the readers of table.md")
    opt = parser.parse(argv)
    if opt.path_t is None:
        raise UserError("--path_t: name the teacher's checkpoint")
    return opt


def main(argv=None) -> None:
    opt = parse(argv)
    table, logs = ZooTable(opt), Path(opt.save_dir, "zoo_logs")
    runs = [line.run for line in table.lines if line.run is not None]
    table.jobs = [Job(run.label, [run]) for run in runs if table.found(run) is None]
    table.write()
    jobs.train(table.jobs, Local(opt.jobs), logs, table.write)
    table.write()
    print(table.text())
    if failed := [job.label for job in table.jobs if job.problem]:
        raise UserError(f"{len(failed)} of {len(runs)} runs failed: {'; '.join(failed)}; their logs are in {logs}")


class ZooTable:
    """The lines of the table and the results of their runs."""

    def __init__(self, opt: argparse.Namespace):
        self.opt = opt
        self.arch = read_teacher(opt.path_t).arch
        recipe = parse_student([])
        if opt.epochs == recipe.epochs and opt.train_fraction == 1:
            raise UserError("--epochs, --train_fraction: that is the full recipe; take scripts.run_table")
        self.size = Size(recipe.epochs, recipe.dataset, opt.epochs, opt.train_fraction, 0,
                         opt.dataset or recipe.dataset)
        self.lines = [self._line(name, mix) for mix in opt.mixes for name in opt.methods]
        self.store = Store(opt.save_dir)
        self.jobs: list[Job] = []

    def _line(self, name: str, mix: str) -> Line:
        flags = ["--path_t", self.opt.path_t, "--model_t", self.arch, "--model_s", self.opt.model_s, "--distill", name,
                 *MIXINGS[mix], "--train_fraction", str(self.opt.train_fraction),
                 "--epochs", str(self.opt.epochs), "--lr_decay_epochs", ""]
        for place in ("dataset", "save_dir", "data_dir"):
            if getattr(self.opt, place) != self.opt.defaults[place]:
                flags += [f"--{place}", getattr(self.opt, place)]
        method = distiller_dict[name]
        if method.two_stage:
            flags += ["--init_epochs", str(self.opt.init_epochs)]
        label = f"{name}, {mix}"
        try:
            full = Training("student_model", tuple(flags), label).opt
        except UserError as why:
            return Line(name, mix, None, str(why).removeprefix(f"{label}: "))
        flags += self.size.scaled(full, method.per_epoch, method.per_image)
        return Line(name, mix, Training("student_model", tuple(flags), label, [TRIAL], wanted={TRIAL}))

    def found(self, run: Training) -> StoredRun | None:
        """The finished run, if it is finished."""
        stored = self.store.find(run.opt, TRIAL, [Path(self.opt.path_t)])
        return stored if stored and is_finished(stored) else None

    # Output -------------------------------------------------------------------------------------------------------

    def write(self) -> None:
        self.store.refresh()
        folder = Path(self.opt.out)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [self._row(line) for line in self.lines]
        save_csv(rows, list(rows[0]), folder / "table.csv")
        save_text(self._markdown(rows), folder / "table.md")

    def text(self) -> str:
        rows = [self._cells(self._row(line)) for line in self.lines]
        rows.insert(0, HEAD)
        widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                         for row in rows)

    def _row(self, line: Line) -> dict[str, str]:
        row = {"row": line.method, "column": line.mix, "size": self.size.label, "seeds": 0,
               TOP1: "", "reduced_last_top1_std": "", "images_per_s": "", "loss_terms": "",
               "state": "not run yet", "hardware": "", "command": ""}
        if line.run is None:
            return {**row, "state": f"refused: {line.refused}"}
        row["command"] = self._shown(line.run.command())
        if (run := self.found(line.run)) is not None:
            return {**row, **measured(run), "seeds": 1, "state": "", "hardware": run.environment["hardware"]}
        reason = next((job.problem for job in self.jobs if line.run in job.runs), "")
        return {**row, "state": f"failed: {self._shown(reason)}"} if reason else row

    def _cells(self, row: dict[str, str]) -> list[str]:
        return [row["row"], row["column"], row["state"] or row["loss_terms"], row["images_per_s"],
                row[TOP1]]

    def _markdown(self, rows: list[dict]) -> str:
        title = f"# Every method for a short while, {self.arch} > {self.opt.model_s} ({self.size.label})"
        note = ("**Reduced: it shows that a method runs, its loss terms and its cost. The accuracies are of barely "
                "trained networks and rank nothing.** Loss terms are weighted means over the last epoch, init that of "
                "the first stage. Images/s is that of the main stage, data included, the median over its epochs. "
                "Flags that count epochs or images of the full recipe are scaled with it.")
        hardware = "; ".join(sorted({row["hardware"] for row in rows if row["hardware"]}))
        commands = [f"    {row['command']}" for row in rows if row["command"]]
        where = f"Hardware: {hardware or '-'}. {self.opt.note}".rstrip()
        table = "\n".join(markdown_table(HEAD, map(self._cells, rows)))
        return "\n\n".join([title, note, table, self._teacher(), where,
                            "<!-- cells -->", f"The table:\n\n    {self.command()}",
                            "Its runs:\n\n" + "\n".join(commands)]) + "\n"

    def _teacher(self) -> str:
        file = Path(self.opt.path_t)
        summary = StoredRun(file.parent).summary
        accuracy = f"{summary['last_top1']:.2f} %" if summary else "of unknown accuracy"
        return f"Teacher: {self.arch}, {accuracy}, {self._shown(str(file))}."

    def command(self) -> str:
        given = {name: value for name, value in vars(self.opt).items()
                 if name in self.opt.given - {"save_dir", "data_dir", "out", "jobs", "note"}}
        words = [word for name, value in given.items()
                 for word in (f"--{name}", ",".join(value) if isinstance(value, list) else str(value))]
        return self._shown("python -m scripts.zoo_table " + shlex.join(words))

    def _shown(self, text: str) -> str:
        """Without this machine's folders: the data is in ./data and the runs are in ./save."""
        for place in ("save_dir", "data_dir"):
            folder = getattr(self.opt, place)
            text = text.replace(f" --{place} {shlex.quote(folder)}", "").replace(folder, f"./{place[:4]}")
        return text


HEAD = ["method", "mix", "loss terms", "images/s", "top-1, %"]


def measured(run: StoredRun) -> dict[str, str]:
    """Accuracy, throughput and loss terms of a finished run."""
    terms = [("init", row["train_loss"]) for row in run.log if row["stage"] == "init"][-1:]
    terms += [(name.removeprefix("train_loss_"), value) for name, value in run.log[-1].items()
              if name.startswith("train_loss_")]
    return {TOP1: f"{run.summary['last_top1']:.2f}",
            "images_per_s": f"{run.images_per_s:.0f}",
            "loss_terms": ", ".join(f"{name} {float(value):.4g}" for name, value in terms)}


if __name__ == "__main__":
    sys.exit(guard(main))
