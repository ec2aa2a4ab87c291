"""Tables as data: the project's tables compared with the papers and the methods; errors in a user's table."""
import shlex
from pathlib import Path

import pytest

from distiller_zoo import distiller_dict
from helper.errors import UserError
from helper.options import parse_student
from scripts import support
from scripts.table import spec
from tests.support import table_runs

SAME = ["wrn_40_2 > wrn_16_2", "wrn_40_2 > wrn_40_1", "resnet56 > resnet20", "resnet110 > resnet20",
        "resnet110 > resnet32", "resnet32x4 > resnet8x4", "vgg13 > vgg8"]
CROSS = ["vgg13 > MobileNetV2", "ResNet50 > MobileNetV2", "ResNet50 > vgg8", "resnet32x4 > ShuffleV1",
         "resnet32x4 > ShuffleV2", "wrn_40_2 > ShuffleV1"]
PAIRS = [*SAME, *CROSS]
ALONE = {"wrn_40_2": 75.61, "resnet56": 72.34, "resnet110": 74.31, "resnet32x4": 79.42, "vgg13": 74.64,
         "ResNet50": 79.34, "wrn_16_2": 73.26, "wrn_40_1": 71.98, "resnet20": 69.06, "resnet32": 71.14,
         "resnet8x4": 72.50, "vgg8": 70.36, "MobileNetV2": 64.60, "ShuffleV1": 70.50, "ShuffleV2": 71.82}
# In the order of PAIRS, copied from the papers independently of dataset/published.json.
KD = [74.92, 73.54, 70.66, 70.67, 73.08, 73.33, 72.98, 67.37, 67.35, 73.81, 74.07, 74.45, 74.83]
CRD = [75.48, 74.14, 71.16, 71.46, 73.48, 75.51, 73.94, 69.73, 69.11, 74.30, 75.11, 75.65, 76.05]
LSKD = [76.11, 74.37, 71.43, 71.48, 74.17, 76.62, 74.36]
SLOW = ("MobileNetV2", "ShuffleV1", "ShuffleV2")


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    save = tmp_path_factory.mktemp("save")
    return {name: table_runs.make_plan([name, "--save_dir", save]) for name in spec.names()}


@pytest.mark.parametrize("name", spec.names())
def test_every_command_parses_without_a_warning_and_follows_the_recipe(plans, name):
    defaults = {"dataset": "cifar100", "epochs": 240, "batch_size": 64, "lr_decay_epochs": [150, 180, 210],
                "weight_decay": 5e-4, "momentum": 0.9, "train_fraction": 1.0, "holdout": 0, "lr_decay_rate": 0.1}
    if plans[name].table.reduced:  # the same shares of the epochs, as nearly as whole epochs allow
        defaults |= {"epochs": 60, "lr_decay_epochs": [37, 45, 52]}
    if name == "imagenet":  # He et al., CVPR 2016, at the length of distillation
        defaults |= {"dataset": "imagenet", "epochs": 100, "batch_size": 256, "lr_decay_epochs": [30, 60, 90],
                     "weight_decay": 1e-4}
    labels = [run.label for run in plans[name].runs.values()]
    assert len(set(labels)) == len(labels)  # failures and logs are kept by label
    for run in plans[name].runs.values():
        assert run.opt.warnings == [], (run.label, run.opt.warnings)
        assert {key: getattr(run.opt, key) for key in defaults} == defaults
        student = getattr(run.opt, "model_s", getattr(run.opt, "model", None))
        assert run.opt.learning_rate == (0.1 if name == "imagenet" else 0.01 if student in SLOW else 0.05)


def test_only_skipped_cells_are_refused(plans):
    skipped = 0
    for plan in plans.values():
        for row in plan.table.rows if plan.table.name not in ("augmentation", "imagenet") else []:
            for column in plan.table.columns if row.role == "distil" else []:
                cell = spec.Cell(row, column, None)
                flags = shlex.split(row.flags)
                opt = parse_student(["--model_s", cell.student, "--model_t", cell.teacher, *flags])
                refused = support.why_not(opt.distill, cell.teacher, cell.student, flags)
                assert bool(refused) == (column in row.skip), cell.label
                skipped += column in row.skip
    assert skipped == 3


def test_published_numbers_match_the_papers():
    found = {}
    for name in ("repdistiller_same", "repdistiller_cross"):
        for cell in spec.load(name).cells:
            found.setdefault(cell.row.name, {})[cell.column] = cell.published
    assert list(found["KD"].items()) == list(zip(PAIRS, KD, strict=True))
    assert list(found["CRD"].items()) == list(zip(PAIRS, CRD, strict=True))
    assert [found["LSKD"][pair] for pair in SAME] == LSKD
    for name in set(spec.names()) - {"imagenet"}:
        for cell in spec.load(name).cells:
            if cell.published is not None and cell.row.role != "distil":
                assert cell.published == ALONE[cell.published_as], cell.label
            elif cell.published is not None and cell.row.name in ("KD, T=4", "KD"):
                assert cell.published == KD[PAIRS.index(cell.column)], cell.label


def test_grid_and_zoo_are_complete(plans):
    depths = [f"resnet{depth}" for depth in (20, 32, 44, 56, 110)]
    grid = plans["augmentation"].table
    assert grid.columns == [f"{t} > {s}" for t in depths for s in depths] and len(grid.rows) == 8
    zoo = plans["zoo_mixup"].runs.values()
    assert {run.opt.distill for run in zoo if run.kind == "student_model"} == set(distiller_dict)


def test_stages_and_warm_ups_scale_with_epochs_and_negatives_with_images(tmp_path):
    for method in distiller_dict.values():
        assert {flag for flag in method.flags if flag.endswith("warmup")} == set(method.per_epoch)
    plan = table_runs.make_plan(["zoo_mixup", "--save_dir", tmp_path, "--epochs", 24, "--train_fraction", 0.25])
    parsed = {run.opt.distill: run.opt for run in plan.runs.values() if run.kind == "student_model"}
    assert parsed["kd"].lr_decay_epochs == [15, 18, 21]
    assert parsed["factor"].init_epochs == 3 and parsed["dkd"].dkd_warmup == 2 and parsed["crd"].nce_k == 4096


# Errors ---------------------------------------------------------------------------------------------------------------

RECIPE = table_runs.SMALL["recipe"]
ERRORS = [
    ({"recipe": {**RECIPE, "dataset": "mnist"}}, "dataset 'mnist' is none of"), ({"recipe": []}, "recipe: .*object"),
    ({"recipe": {"dataset": "digits"}}, "recipe epochs: Field required"), ({"picture": "pie"}, "picture: .*'points'"),
    ({"recipe": {**RECIPE, "lr_decay_epochs": "3"}}, "recipe lr_decay_epochs: .*array"), ({"trial": "1,01"}, "trial"),
    ({"recipe": {**RECIPE, "train_fraction": 0.5}}, "train_fraction is decided"), ({"rows": {"a": 1}}, "rows: .*array"),
    ({"recipe": {**RECIPE, "lr_decay_epochs": [10**400]}}, "recipe lr_decay_epochs"),
    ({"recipe": {**RECIPE, "lr_decay_epochs": [-3, 5]}}, "recipe lr_decay_epochs: .*greater"),
    ({"name": "x"}, "unknown key 'name'"), ({"titel": "x"}, "titel: unknown key; did you mean title"),
    ({"rows": [{"name": "A"}, {"flag": ""}]}, "row 2: name: Field required"), ({"a\nb": 1}, "a b: unknown key"),
    ({"rows": [{"name": "A"}, "B"]}, "row 2: .*object"), ({"rows": [{"name": "a\nb", "x": ""}]}, "row a b: x: "),
    ({"about": "x"}, "about"), ({"rows": []}, "no rows"), ({"columns": ["resnet8"]}, "TEACHER > STUDENT"),
    ({"columns": ["resnet8>resnet8"]}, "column 'resnet8>resnet8'"),
    ({"columns": ["resnet8 > resnet9"]}, "'resnet9' is no network; did you mean resnet"),
    ({"picture": "curves"}, "'curves' needs x_label, and x"), ({"rows": [{"name": "A"}] * 2}, "same name"),
    *(({"rows": [{"name": "a", **row}]}, words) for row, words in (
        ({"flags": "--mix 'none"}, "No closing quotation"), ({"flag": ""}, "row a: flag: .* did you mean flags"),
        ({"published": 70}, "row a: published: .*array, or "), ({"published": [1, 2], "source": "x"}, "2 published"),
        ({"published": [1]}, "without a source"), ({"published": []}, "published: .*at least 1"),
        ({"published": "nobody: KD"}, "no entry of dataset/published.json"),
        ({"role": "judge"}, "role"), ({"skip": ["nowhere"]}, "'nowhere' is no column"), ({"skip": [[1]]}, "skip"),
        ({"skip": None}, "skip"), ({"x": "a"}, "x: .*number"), ({"x": float("nan")}, "x: .*finite"),
        ({"flags": "--train_fraction 0.5"}, "--train_fraction is decided"), ({"flags": "--holdout=9"}, "--holdout is"),
        ({"teacher": "--epochs 9"}, "--epochs is decided"), ({"compare": ["a"]}, "compare 'a' is no other row"),
        ({"role": "teacher", "flags": "--mix mixup"}, "are under 'teacher'"), ({"x": 10**400}, "x: .*finite"),
        ({"role": "student", "teacher": "--mix mixup"}, "'teacher' has no effect"),
        ({"flags": "--distil kd"}, "a, resnet14 > resnet8: .*--distil"), ({"surface": 1}, "surface: .*boolean"),
        ({"flags": "--path_t x"}, "--path_t is")))]


def test_an_error_in_a_file_is_reported_in_one_line(tmp_path):
    for changes, words in ERRORS:
        path = table_runs.small_table(tmp_path, **changes)
        with pytest.raises(UserError, match=words) as caught:
            table_runs.make_plan([path, "--save_dir", tmp_path])
        assert "\n" not in str(caught.value)
    path = tmp_path / "other.json"
    for content, words in (("[1]", "should be an object"), ("{", "Invalid JSON"), ("[" * 10_000, "Invalid JSON"),
                           (b"\xff", "Invalid JSON"), ("", "Invalid JSON")):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UserError, match=words) as caught:
            spec.load(str(path))
        assert "\n" not in str(caught.value)


def test_errors_on_the_command_line_are_refused(tmp_path):
    small = table_runs.small_table(tmp_path)
    main = Path(table_runs.small_table(tmp_path)).rename(tmp_path / "main.json")
    table_runs.small_table(tmp_path)
    for argv, words in ((["mian"], "did you mean main"), ([main], "main is a table of the project"),
                        (["main", "--only", "KD", "--only", "nothing like it"], "no cell of table main"),
                        (["main", "--epochs", 300], "the recipe of table main has 240"),
                        ([small, "--teacher_dir", tmp_path / "none"], "--teacher_dir .*no such folder")):
        with pytest.raises(UserError, match=words):
            table_runs.make_plan([*argv, "--save_dir", tmp_path])
