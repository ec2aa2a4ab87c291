"""A small table, the files of finished runs without training, and training processes replaced by calls."""
import json
from pathlib import Path
from types import SimpleNamespace

import torch

import train_student_mixstd
import train_teacher
from helper import checkpoint
from helper.run import config_of, student_name, teacher_name
from models import model_dict
from scripts import run_table
from scripts.table import jobs, spec
from scripts.table.plan import Plan
from tests.support.small_runs import call

SMALL = {
    "title": "Small table",
    "recipe": {"dataset": "cifar100", "epochs": 240, "batch_size": 64, "lr_decay_epochs": [150, 180, 210]},
    "columns": ["resnet14 > resnet8"],
    "rows": [
        {"name": "Teacher", "role": "teacher", "published": [50.0], "source": "a test"},
        {"name": "KD", "flags": "--distill kd --mix none", "published": [40.0], "source": "a test"},
        {"name": "MIXSTD", "flags": "--distill mixstd"},
    ],
}
SCRIPTS = {"train_teacher.py": train_teacher.main, "train_student_mixstd.py": train_student_mixstd.main}


def small_table(folder, **changes):
    """A file with a table of two rows and their teacher."""
    path = Path(folder) / "small.json"
    path.write_text(json.dumps({**SMALL, **changes}))
    return str(path)


def make_plan(argv):
    """The plan of run_table for these flags."""
    opt = run_table.parse([str(word) for word in argv])
    table = spec.load(opt.table)
    size = table.size(opt.epochs, opt.train_fraction, opt.dataset, opt.data_dir)
    return Plan(table, size, opt, run_table.chooser(table, opt.only))


def finish(plan, run, trial, last, best=None, **summary):
    """Write the files of one finished trial of ``run``; ``summary`` overrides fields of summary.json; returns the
    folder."""
    opt = run.opt
    name = (teacher_name if run.kind == "models" else student_name)(opt, trial)
    folder = Path(plan.opt.save_dir, run.kind, name)
    folder.mkdir(parents=True, exist_ok=True)
    config = {**config_of(opt, trial), "precision": "fp32", "step": "eager", "device": "cpu", "teacher_sha256": "0",
              "teacher_origin": "a zoo"}
    if run.kind == "models":
        del config["teacher_sha256"], config["teacher_origin"]
    environment = {"hardware": "none", "git_commit": "a" * 40}
    (folder / "args.json").write_text(json.dumps({"config": config, "environment": environment}))
    facts = {"epochs": opt.epochs, "last_top1": last, "best_top1": best or last, "best_epoch": 1, "wall_time_s": 9.0,
             **summary}
    (folder / "summary.json").write_text(json.dumps(facts))
    (folder / "timing.csv").write_text("stage,epoch,seconds,images_per_s\nmain,1,2.0,1000\nmain,2,1.0,3000\n")
    return folder


def run_of(plan, row):
    """The run of a row of a one-column table."""
    return plan.cell_runs[row, plan.table.columns[0]][0]


def save_teacher(path, seed=0, arch="resnet14", **state):
    """Save a network with seed ``seed`` as ``path``; returns the digest of its weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    weights = model_dict[arch](num_classes=100).state_dict()
    checkpoint.save({"model": weights, "arch": arch, **state}, path)
    return checkpoint.digest(weights)


def train_in_process(monkeypatch, *more):
    """Run the training scripts of a table within this process, one after another, with their output in their logs.
    more: additional flags for all of them."""
    def start(self, argv, log):
        done = call(SCRIPTS[argv[0]], [*argv[1:], *more])
        with log.open("a") as file:
            file.write(done.out + done.err)
        return SimpleNamespace(returncode=done.status, poll=lambda: done.status)
    monkeypatch.setattr(jobs.Local, "start", start)
