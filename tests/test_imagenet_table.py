"""The table of ImageNet: commands, teachers, and a run of the whole table on a small tree of images."""
import csv
import json

import pytest
from torchvision.models import ResNet34_Weights

from helper.errors import UserError
from helper.options import parse_student
from scripts import run_table
from scripts.table import spec
from tests.support import table_runs
from tests.support.images import make_tree
from tests.support.small_runs import call, no_pictures  # noqa: F401 - a fixture

R18, MV1 = "resnet34 > resnet18", "resnet50 > mobilenet_v1"
# Copied from their sources, independently of dataset/published.json.
PUBLISHED = {"Teacher": [73.31, 76.13], "Student": [69.76, 70.13], "KD": [71.03, 70.50], "AT": [70.70, None],
             "CRD": [71.17, None], "DKD": [71.70, 72.05], "ReviewKD": [71.61, None], "MIXSTD + FMU": [None, None],
             "MIXSTD + PMU": [None, None], "KD + CutMix": [None, None]}


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("weights were loaded")
    monkeypatch.setattr(ResNet34_Weights, "get_state_dict", refuse)


def test_published_figures():
    table = spec.load("imagenet")
    assert {row.name: list(row.published) or [None, None] for row in table.rows} == PUBLISHED
    assert all("github.com/" in row.source or row.name == "Teacher" for row in table.rows if row.source)


def test_the_plan_needs_no_network_and_no_images(tmp_path, no_network):
    argv = ["imagenet", "--data_dir", str(tmp_path / "none"), "--save_dir", str(tmp_path / "save")]
    printed = call(run_table.main, [*argv, "--dry_run"]).out
    assert "teacher resnet34: torchvision:resnet34\n" in printed and "18 runs, 0 done, 18 to do" in printed
    with pytest.raises(UserError, match="--data_dir .*none: has no train/CLASS"):
        run_table.main(argv)
    with pytest.raises(UserError, match="--dataset digits: the networks of table imagenet"):
        run_table.main(["imagenet", "--dataset", "digits", "--dry_run"])


def test_a_pairs_weights_are_those_of_its_setting(tmp_path):
    plan = table_runs.make_plan(["imagenet", "--save_dir", tmp_path])
    own = parse_student(["--dataset", "folder", "--distill", "dkd", "--model_t", "resnet34", "--model_s", "resnet18"])
    assert own.dkd_beta == 0.5  # images in folders that are not all of ImageNet
    assert plan.cell_runs["DKD", MV1][0].opt.dkd_beta == 2 and plan.cell_runs["KD", R18][0].opt.alpha == 0.5


def test_torchvisions_teachers_have_the_accuracy_measured_by_their_students(tmp_path, no_network):
    argv = ["imagenet", "--save_dir", tmp_path / "save", "--data_dir", tmp_path]
    plan = table_runs.make_plan(argv)
    for column, top1 in ((R18, 73.25), (MV1, 76.05)):
        table_runs.finish(plan, plan.cell_runs["KD", column][0], "1", 70.0, teacher_top1=top1)
    plan = table_runs.make_plan(argv)
    assert plan.cell_runs["KD", R18][0].missing == [] and plan.cell_runs["AT", R18][0].missing == ["1"]
    found = [plan.results(cell)[0].last_top1 for cell in plan.table.cells if cell.row.role == "teacher"]
    assert found == [73.25, 76.05]


@pytest.mark.slow
def test_the_table_end_to_end_on_a_small_tree(tmp_path, monkeypatch):
    """A student alone and one with its teacher, an epoch each; the same command then finds both finished."""
    table_runs.train_in_process(monkeypatch, "--num_workers", "0")
    tree, save, out = make_tree(tmp_path / "images", train=2, val=1), tmp_path / "save", tmp_path / "out"
    wanted = [("Student", R18), ("KD + CutMix", R18)]
    argv = ["imagenet", "--data_dir", tree, "--dataset", "folder", "--epochs", 1, "--save_dir", save, "--out", out,
            "--device", "cpu", "--threads", 1]
    argv += [word for name, column in wanted for word in ("--only", f"{name}, {column}")]
    done = call(run_table.main, argv)
    assert done.status == 0, done.err
    folder = out / "imagenet" / "reduced-epochs=1-dataset=folder"
    rows = [row for row in csv.DictReader((folder / "table.csv").read_text().splitlines()) if row["seeds"] == "1"]
    assert {(row["row"], row["column"]) for row in rows} == {*wanted, ("Teacher", R18)}
    assert all(0 <= float(row["reduced_last_top1_mean"]) <= 100 for row in rows)
    assert "data set folder" in (folder / "table.md").read_text().splitlines()[0]
    config = json.loads(next(save.glob("student_model/*/args.json")).read_text())["config"]
    assert config["mix"] == "cutmix" and config["alpha"] == 0.5
    assert "2 runs, 2 done, 0 to do" in call(run_table.main, [*argv, "--dry_run"]).out
