"""Every method of ``--distill`` in the training script, for an epoch on a few digits; kd with every mixing."""
import csv
import json
import math
from argparse import Namespace
from functools import cache

import pytest
import torch

import dataset
import train_student_mixstd
from distiller_zoo import distiller_dict
from helper import checkpoint
from helper.options import parse_student
from helper.run import Run
from models import model_dict
from tests.support.zoo_cases import CLASSES, SHAPES_S, advised_flags, pair_of_shapes, stages_of

pytestmark = pytest.mark.slow

METHODS = list(distiller_dict)
MIXINGS = {"none": ["--mix", "none"], "partial": ["--mix", "mixup"], "full": ["--mix", "mixup", "--no-pmixup"],
           "cutmix": ["--mix", "cutmix"]}


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("teacher") / "resnet8.pth"
    torch.manual_seed(0)
    checkpoint.save({"model": model_dict["resnet8"](num_classes=CLASSES).state_dict(), "arch": "resnet8"}, file)
    return file


@pytest.fixture
def command(teacher_file, tmp_path, monkeypatch):
    """Function that runs the training script on a few digits, without its picture; returns the run's folder."""
    monkeypatch.setattr(dataset, "load", load_once)
    monkeypatch.setattr(Run, "write_curves", lambda run, history: None)

    def run(name, *flags):
        data = load_once("digits", "data", 40, 0.05)
        labels = data.train.labels
        pair = Namespace(**{**vars(pair_of_shapes(SHAPES_S, SHAPES_S)), "n_data": len(labels), "labels": labels})
        words = advised_flags(name, pair, "--path_t", str(teacher_file), "--model_s", "resnet8", "--dataset", "digits",
                              "--train_fraction", "0.05", "--holdout", "40", "--batch_size", "32", "--epochs", "1",
                              "--init_epochs", "1", "--device", "cpu", "--save_dir", str(tmp_path), *flags)
        train_student_mixstd.main(words)
        return next((tmp_path / "student_model").iterdir())
    return run


@cache
def load_once(*args):
    return dataset.reduced(digits(), *args[2:])


@cache
def digits():
    return dataset.digits.load()


@pytest.mark.parametrize("name, mix", [*((name, "partial") for name in METHODS),
                                       *(("kd", mix) for mix in MIXINGS if mix != "partial")])
def test_an_epoch_from_the_command_line(name, mix, command, capsys):
    folder = command(name, *MIXINGS[mix])
    rows = list(csv.DictReader((folder / "log.csv").read_text().splitlines()))
    assert [row["stage"] for row in rows] == stages_of(name)
    mixed = float(rows[-1]["mixed_fraction"])
    assert {"none": mixed == 0, "full": mixed == 1}.get(mix, 0 < mixed < 1)
    opt = parse_student(["--distill", name])
    kept = [term for term, weight in (("cls", opt.gamma), ("div", opt.alpha), ("kd", opt.beta)) if weight]
    assert [c for c in rows[-1] if c.startswith("train_loss_")] == [f"train_loss_{term}" for term in kept]
    terms = [float(rows[-1][f"train_loss_{term}"]) for term in kept]
    assert all(map(math.isfinite, terms)) and sum(terms) == pytest.approx(float(rows[-1]["train_loss"]), rel=1e-5)
    assert json.loads((folder / "summary.json").read_text())["epochs"] == 1
    capsys.readouterr()
