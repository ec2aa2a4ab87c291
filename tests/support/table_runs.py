"""Finished runs that nobody trained: the files a run leaves, for tests of what reads them."""
import json
from pathlib import Path

from helper.options import parse_student
from helper.run import config_of, student_name, teacher_name
from scripts import run_table
from scripts.table import spec
from scripts.table.plan import Plan
from scripts.table.results import Store

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


def small_table(folder, **changes):
    """A file with a table of two rows and their teacher."""
    path = Path(folder) / "small.json"
    path.write_text(json.dumps({**SMALL, **changes}))
    return str(path)


def make_plan(argv):
    """The plan that run_table makes of these flags."""
    opt = run_table.parse([str(word) for word in argv])
    table = spec.load(opt.table)
    size = table.size(opt.epochs, opt.train_fraction, opt.holdout, opt.dataset, opt.data_dir)
    return Plan(table, size, opt, Store(opt.save_dir), run_table.chooser(table, opt.only))


def finish(plan, run, trial, last, best=None, **summary):
    """Leave what one finished trial of ``run`` leaves; ``summary`` overrides fields of summary.json."""
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
             "validated_on": "holdout" if opt.holdout else "test", "train_fraction": opt.train_fraction, **summary}
    (folder / "summary.json").write_text(json.dumps(facts))
    (folder / "timing.csv").write_text("stage,epoch,seconds,images_per_s\nmain,1,2.0,1000\nmain,2,1.0,3000\n")
    return folder


def run_of(plan, row):
    """The run behind the cell of a row of a one-column table."""
    return plan.of[row, plan.table.columns[0]][0]


def parse_student_flags(cell):
    """The options of a cell's own flags."""
    return parse_student(["--model_s", cell.student, "--model_t", cell.teacher, *cell.flags])
