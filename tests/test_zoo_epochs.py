"""Every method of ``--distill`` in the training script, for an epoch on a few digits; kd with every mixing."""
import csv
import json
import math

import pytest

from distiller_zoo import distiller_dict
from helper.options import parse_student
from tests.support.small_runs import no_pictures, only_run, train_ok  # noqa: F401 - a fixture
from tests.support.zoo_cases import stages_of

pytestmark = pytest.mark.slow

METHODS = list(distiller_dict)
MIXINGS = {"none": ["--mix", "none"], "partial": ["--mix", "mixup"], "full": ["--mix", "mixup", "--no-pmixup"],
           "cutmix": ["--mix", "cutmix"]}
OWN = {"crd": ["--nce_k", 20]}  # flags that a method needs for so few images


@pytest.mark.parametrize("name, mix", [*((name, "partial") for name in METHODS),
                                       *(("kd", mix) for mix in MIXINGS if mix != "partial")])
def test_an_epoch_from_the_command_line(name, mix, teacher, tmp_path):
    train_ok(tmp_path, "--path_t", teacher, "--distill", name, "--epochs", 1, "--init_epochs", 1, *MIXINGS[mix],
             *OWN.get(name, []), role="student")
    folder = only_run(tmp_path, "student")
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
