"""The recipe: the defaults of a full run, and which flags make a run less than full."""
import pytest

from helper import recipe
from helper.options import parse_student, parse_teacher


@pytest.mark.parametrize("parse", [parse_teacher, parse_student])
def test_the_scripts_defaults_are_the_full_recipe(parse):
    opt = parse([])
    assert {name: getattr(opt, name) for name in recipe.FULL} == recipe.FULL
    assert recipe.FULL["epochs"] == 240 and recipe.less_than(vars(opt)) == []


def test_each_flag_below_the_recipe_is_listed():
    values = {"dataset": "digits", "epochs": 3, "train_fraction": 0.5, "holdout": 100, "momentum": 0.1}
    assert recipe.less_than(values) == ["--dataset digits", "--epochs 3", "--train_fraction 0.5", "--holdout 100"]
    assert recipe.less_than({"epochs": 300}) == [] and recipe.less_than({}) == []
