"""Mistakes in a table's file, and teachers that a table must not take."""
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from helper.errors import UserError
from models import model_dict
from tests.support import table_runs

RECIPE = table_runs.SMALL["recipe"]
MISTAKES = [
    ({"recipe": {**RECIPE, "dataset": "mnist"}}, "dataset 'mnist' is none of"), ({"recipe": []}, "recipe must be like"),
    ({"recipe": {"dataset": "digits"}}, "(epochs|lr_decay_epochs) is missing"),
    ({"recipe": {**RECIPE, "lr_decay_epochs": "3"}}, "lr_decay_epochs must be like"),
    ({"recipe": {**RECIPE, "train_fraction": 0.5}}, "train_fraction is decided"), ({"trial": "1,01"}, "trial"),
    ({"name": "x"}, "unknown key 'name'"), ({"picture": "pie"}, "pie"), ({"rows": {"a": 1}}, "rows must be like"),
    ({"about": "x"}, "about"), ({"rows": []}, "no rows"), ({"columns": ["resnet8"]}, "TEACHER > STUDENT"),
    ({"columns": ["resnet8>resnet8"]}, "column 'resnet8>resnet8'"), ({"rows": [{"name": "A"}] * 2}, "same name"),
    *(({"rows": [{"name": "a", **row}]}, words) for row, words in (
        ({"flags": "--mix 'none"}, "No closing quotation"), ({"flag": ""}, "unknown key 'flag'; did you mean flags"),
        ({"published": 70}, "published must be like"), ({"published": [1, 2], "source": "x"}, "2 published numbers"),
        ({"published": [1]}, "without a source"), ({"published": "nobody: KD"}, "no entry of dataset/published.json"),
        ({"role": "judge"}, "role"), ({"skip": ["nowhere"]}, "'nowhere' is no column"), ({"skip": [[1]]}, "skip"),
        ({"column_flags": None}, "column_flags"), ({"x": "a"}, "x must be"), ({"x": float("nan")}, "x must be"),
        ({"flags": "--train_fraction 0.5"}, "--train_fraction is decided"), ({"flags": "--holdout=9"}, "--holdout is"),
        ({"teacher": "--epochs 9"}, "--epochs is decided"), ({"compare": "a"}, "compare 'a' is no other row"),
        ({"column_flags": {"resnet14 > resnet8": "--path_t x"}}, "--path_t is")))]


def test_a_mistake_in_a_file_is_one_line(tmp_path):
    for changes, words in MISTAKES:
        path = table_runs.small_table(tmp_path, **changes)
        with pytest.raises(UserError, match=words) as caught:
            table_runs.make_plan([path, "--save_dir", tmp_path])
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_mistakes_that_only_a_plan_shows(tmp_path):
    rows = [{"name": "KD", "flags": "--distil kd"}]
    with pytest.raises(UserError, match="table small, KD, resnet14 > resnet8: .*--distil"):
        table_runs.make_plan([table_runs.small_table(tmp_path, rows=rows), "--save_dir", tmp_path])
    path = Path(table_runs.small_table(tmp_path))
    with pytest.raises(UserError, match="main is a table of the project"):
        table_runs.make_plan([path.rename(tmp_path / "main.json"), "--save_dir", tmp_path])
    for flags, words in ((["--teacher_dir", tmp_path / "none"], "--teacher_dir .*no such folder"),
                         (["--holdout", "50000"], "--holdout 50000")):
        with pytest.raises(UserError, match=words):
            table_runs.make_plan([table_runs.small_table(tmp_path), "--save_dir", tmp_path, *flags])


@pytest.mark.parametrize("state", [{"epoch": 1, "accuracy": 1.0}, {"opt": {"epochs": 3}}, {"opt": {"holdout": 100}},
                                   {"opt": Namespace(epochs=240, dataset="digits")}], ids=str)
def test_a_teacher_of_less_than_the_recipe_is_refused(tmp_path, state):
    path = tmp_path / "mine" / "resnet14_vanilla" / "ckpt_epoch_240.pth"
    path.parent.mkdir(parents=True)
    torch.save({**state, "model": model_dict["resnet14"](num_classes=100).state_dict()}, path)
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--teacher_dir", tmp_path / "mine"]
    with pytest.raises(UserError, match="trained on less than the recipe"):
        table_runs.make_plan(argv)


def test_students_wait_for_the_teacher_where_it_has_begun(tmp_path):
    """A run that goes on in a folder of another name: the students must look there."""
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save"]
    plan = table_runs.make_plan(argv)
    folder = table_runs.finish(plan, table_runs.run_of(plan, "Teacher"), "0", 50.0)
    (folder / "summary.json").rename(folder / "resume.pth")
    other = folder.rename(folder.with_name("another_name"))
    plan = table_runs.make_plan(argv)
    assert plan.teachers["resnet14", ""].path == other / "resnet14_last.pth"
    assert str(other / "resnet14_last.pth") in table_runs.run_of(plan, "KD").flags
