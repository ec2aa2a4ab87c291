"""Tables as data, and the plans that are made of them."""

import pytest
import torch

from distiller_zoo import Pair, distiller_dict
from helper import checkpoint
from helper.errors import UserError
from helper.pair import shapes_of
from models import any_model, model_dict
from scripts import run_table
from scripts.table import costs, spec
from tests.support import table_runs

SAME = ["wrn_40_2 > wrn_16_2", "wrn_40_2 > wrn_40_1", "resnet56 > resnet20", "resnet110 > resnet20",
        "resnet110 > resnet32", "resnet32x4 > resnet8x4", "vgg13 > vgg8"]
CROSS = ["vgg13 > MobileNetV2", "ResNet50 > MobileNetV2", "ResNet50 > vgg8", "resnet32x4 > ShuffleV1",
         "resnet32x4 > ShuffleV2", "wrn_40_2 > ShuffleV1"]
PAIRS = [*SAME, *CROSS]
ALONE = {"wrn_40_2": 75.61, "resnet56": 72.34, "resnet110": 74.31, "resnet32x4": 79.42, "vgg13": 74.64,
         "ResNet50": 79.34, "wrn_16_2": 73.26, "wrn_40_1": 71.98, "resnet20": 69.06, "resnet32": 71.14,
         "resnet8x4": 72.50, "vgg8": 70.36, "MobileNetV2": 64.60, "ShuffleV1": 70.50, "ShuffleV2": 71.82}
# The thirteen pairs in one order, typed a second time from the papers.
KD = [74.92, 73.54, 70.66, 70.67, 73.08, 73.33, 72.98, 67.37, 67.35, 73.81, 74.07, 74.45, 74.83]
CRD = [75.48, 74.14, 71.16, 71.46, 73.48, 75.51, 73.94, 69.73, 69.11, 74.30, 75.11, 75.65, 76.05]
LSKD = [76.11, 74.37, 71.43, 71.48, 74.17, 76.62, 74.36]


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    save = tmp_path_factory.mktemp("save")
    return {name: table_runs.make_plan([name, "--save_dir", save]) for name in spec.names()}


# Tables ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", spec.names())
def test_every_command_parses_without_a_warning_and_is_the_recipe(plans, name):
    defaults = {"dataset": "cifar100", "epochs": 240, "batch_size": 64, "lr_decay_epochs": [150, 180, 210],
                "weight_decay": 5e-4, "momentum": 0.9, "train_fraction": 1.0, "holdout": 0, "lr_decay_rate": 0.1}
    if plans[name].table.reduced:  # the same shares of the epochs, as nearly as whole epochs allow
        defaults |= {"epochs": 60, "lr_decay_epochs": [37, 45, 52]}
    if name == "imagenet":  # He et al., CVPR 2016, at the length of distillation
        defaults |= {"dataset": "imagenet", "epochs": 100, "batch_size": 256, "lr_decay_epochs": [30, 60, 90],
                     "weight_decay": 1e-4}
    for run in plans[name].runs.values():
        opt = run.opt
        assert opt.warnings == [], (run.label, opt.warnings)
        assert {key: getattr(opt, key) for key in defaults} == defaults
        slow = getattr(opt, "model_s", getattr(opt, "model", None)) in ("MobileNetV2", "ShuffleV1", "ShuffleV2")
        assert opt.learning_rate == (0.1 if name == "imagenet" else 0.01 if slow else 0.05)


def test_methods_serve_their_pairs_and_only_skipped_cells_are_refused(plans):
    shapes = {}

    def named_shapes(name, preact):
        if (name, preact) not in shapes:
            size = 32 if name in model_dict else 224
            with torch.device("meta"):  # shapes without numbers
                shapes[name, preact] = shapes_of(any_model[name](num_classes=100), (3, size, size), preact)
        return shapes[name, preact]

    labels, skipped = torch.arange(50_000) % 100, 0
    for plan in plans.values():
        for row in plan.table.rows if plan.table.name != "augmentation" else []:
            for column in plan.table.columns if row.role == "distil" else []:
                cell = spec.Cell(row, column, None)
                opt = table_runs.parse_student_flags(cell)
                method = distiller_dict[opt.distill]
                both = [named_shapes(name, method.preact) for name in (cell.student, cell.teacher)]
                pair = Pair(*both, 50_000, 100, labels)
                assert bool(method.unsupported(opt, pair)) == (column in row.skip), cell.label
                skipped += column in row.skip
    assert skipped == 3


def test_published_numbers_are_those_of_the_papers():
    found = {}
    for name in ("repdistiller_same", "repdistiller_cross"):
        for cell in spec.load(name).cells:
            found.setdefault(cell.row.name, {})[cell.column] = cell.published
    assert list(found["KD"].items()) == list(zip(PAIRS, KD, strict=True))
    assert list(found["CRD"].items()) == list(zip(PAIRS, CRD, strict=True))
    assert [found["LSKD"][pair] for pair in SAME] == LSKD
    for name in set(spec.names()) - {"imagenet"}:
        for cell in spec.load(name).cells:
            if cell.published is None:
                continue
            assert 50 < cell.published < 80
            alone = {"teacher": cell.teacher, "student": cell.student}.get(cell.row.role)
            if alone:
                assert cell.published == ALONE[alone], cell.label
            elif cell.row.name in ("KD, T=4", "KD"):
                assert cell.published == KD[PAIRS.index(cell.column)], cell.label


def test_grid_zoo_and_amounts_are_complete(plans):
    depths = [f"resnet{depth}" for depth in (20, 32, 44, 56, 110)]
    grid = plans["augmentation"].table
    assert grid.columns == [f"{t} > {s}" for t in depths for s in depths] and len(grid.rows) == 8
    assert len(plans["augmentation"].teachers) == 10  # trained first, or taken where they lie
    zoo = {run.opt.distill for run in plans["zoo_mixup"].runs.values() if run.kind == "student_model"}
    assert zoo == set(distiller_dict)
    for run in plans["partial_amount"].runs.values():
        opt = run.opt
        if run.kind == "student_model" and opt.pmixup:
            amount = run.label.split(", ")[1].removesuffix(" %")
            assert opt.partmixup == pytest.approx(1 - int(amount) / 100)
            assert opt.pmu_sampling == run.label.split(",")[0]
    full = [plans["partial_amount"].of[f"{s}, 100 %", "resnet56 > resnet20"][0] for s in ("original", "exact")]
    assert full[0] is full[1] and not full[0].opt.pmixup


def test_stages_and_warm_ups_shrink_with_the_epochs_and_negatives_with_the_images(tmp_path):
    for method in distiller_dict.values():
        assert {flag for flag in method.flags if flag.endswith("warmup")} == set(method.per_epoch)
    plan = table_runs.make_plan(["zoo_mixup", "--save_dir", tmp_path, "--epochs", 24, "--train_fraction", 0.25])
    parsed = {opt.distill: opt for run in plan.runs.values() if run.kind == "student_model" for opt in [run.opt]}
    assert parsed["kd"].lr_decay_epochs == [15, 18, 21]
    assert parsed["factor"].init_epochs == 3 and parsed["dkd"].dkd_warmup == 2 and parsed["crd"].nce_k == 4096


def test_unknown_names_patterns_and_lengths_are_one_line(tmp_path):
    with pytest.raises(UserError, match="did you mean main"):
        spec.load("mian")
    with pytest.raises(UserError, match="no cell of table main"):
        table_runs.make_plan(["main", "--only", "KD", "--only", "nothing like it"])
    with pytest.raises(UserError, match="the recipe of table main has 240"):
        table_runs.make_plan(["main", "--epochs", 300])


# Plans ----------------------------------------------------------------------------------------------------------------

def test_a_plan_wants_what_was_asked_for_and_its_teachers_first(tmp_path):
    plan = table_runs.make_plan(["main", "--only", "mixstd*resnet110", "--trial", "4,5", "--save_dir", tmp_path])
    assert [run.label for run in plan.waiting] == [
        "teacher resnet110", "MIXSTD + FMU, resnet110 > resnet32", "MIXSTD + FMU, resnet110 > resnet20",
        "MIXSTD + PMU, resnet110 > resnet32", "MIXSTD + PMU, resnet110 > resnet20"]
    both = table_runs.make_plan(["main", "--only", "mixstd + fmu*resnet110", "--only", "mixstd + pmu*resnet110",
                                 "--trial", "4,5", "--save_dir", tmp_path])
    assert [run.label for run in both.waiting] == [run.label for run in plan.waiting]
    teacher, student = plan.waiting[:2]
    assert teacher.missing == ["0"] and student.missing == ["4", "5"] and student.teacher is teacher
    opt = student.opt
    assert opt.path_t == str(plan.teachers["resnet110", ""].path) and opt.model_t == "resnet110"
    assert student.argv(student.missing)[-4:] == ["--trial", "4,5", "--resume", "auto"]


def test_a_begun_run_is_shown_and_only_the_rest_is_estimated(tmp_path, capsys):
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--trial", "1,2", "--device", "cpu"]
    plan = table_runs.make_plan(argv)
    run = table_runs.run_of(plan, "KD")
    whole = plan.cost(run) / 2
    table_runs.finish(plan, run, "1", 40.0)
    folder = table_runs.finish(plan, run, "2", 40.0)
    (folder / "summary.json").rename(folder / "resume.pth")
    rows = "".join(f"main,{epoch},1.0\n" for epoch in range(1, 181))
    (folder / "log.csv").write_text(f"stage,epoch,train_loss\n{rows}")
    plan = table_runs.make_plan(argv)
    run = table_runs.run_of(plan, "KD")
    assert run.begun == {"2": 180} and run_table.state(run) == "1/2 done, 180 epochs trained"
    assert plan.cost(run) == whole * 60 / 240
    run_table.main([*map(str, argv), "--dry_run"])
    assert "[1/2 done, 180 epochs trained] KD, resnet14 > resnet8" in capsys.readouterr().out
    args = folder / "args.json"
    args.write_text(args.read_text().replace('"teacher_sha256": "0"', '"teacher_sha256": "1"'))
    teacher = plan.teachers["resnet14", ""].path
    teacher.parent.mkdir(parents=True)
    torch.save({"model": model_dict["resnet14"](num_classes=100).state_dict(), "arch": "resnet14"}, teacher)
    assert table_runs.run_of(table_runs.make_plan(argv), "KD").begun == {}  # distilled from another teacher


def test_finished_runs_are_found_by_configuration_and_only_missing_trials_run(tmp_path):
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--trial", "1,2"]
    plan = table_runs.make_plan(argv)
    kd = table_runs.run_of(plan, "KD")
    folder = table_runs.finish(plan, kd, "1", 41.0)
    again = table_runs.run_of(table_runs.make_plan(argv), "KD")
    assert again.missing == ["2"] and again.done["1"].last_top1 == 41.0
    other = table_runs.run_of(table_runs.make_plan([*argv, "--epochs", 239]), "KD")
    assert other.missing == ["1", "2"]
    (folder / "summary.json").unlink()
    assert table_runs.run_of(table_runs.make_plan(argv), "KD").missing == ["1", "2"]


def test_a_finished_student_of_another_teacher_does_not_count(tmp_path):
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--trial", "1"]
    plan = table_runs.make_plan(argv)
    table_runs.finish(plan, table_runs.run_of(plan, "KD"), "1", 41.0)
    path = plan.teachers["resnet14", ""].path
    path.parent.mkdir(parents=True)
    checkpoint.save({"model": model_dict["resnet14"](num_classes=100).state_dict(), "arch": "resnet14"}, path)
    assert table_runs.run_of(table_runs.make_plan(argv), "KD").missing == ["1"]


def test_a_teacher_file_is_taken_and_its_accuracy_stands_in_full_tables_only(tmp_path):
    path = tmp_path / "mine" / "resnet14_vanilla" / "ckpt_epoch_240.pth"
    path.parent.mkdir(parents=True)
    weights = model_dict["resnet14"](num_classes=100).state_dict()
    checkpoint.save({"model": weights, "accuracy": 51.5, "epoch": 240}, path)
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--teacher_dir", tmp_path / "mine"]
    plan = table_runs.make_plan(argv)
    cell = plan.table.cells[0]
    assert table_runs.run_of(plan, "KD").opt.path_t == str(path) and all(r.kind != "models" for r in plan.waiting)
    assert [result.last_top1 for result in plan.results(cell)] == [51.5]
    assert table_runs.make_plan([*argv, "--epochs", 9]).results(cell) == []
    checkpoint.save({"model": weights}, path)
    path.with_name("index.json").write_text('{"ckpt_epoch_240": {"top1": 52.5}}')
    assert [result.last_top1 for result in table_runs.make_plan(argv).results(cell)] == [52.5]
    held = table_runs.make_plan([*argv, "--holdout", 100])  # that teacher saw the images held out
    assert held.teachers["resnet14", ""].path != path


def test_estimates_are_multiply_adds_at_the_rate_of_finished_runs(tmp_path, capsys):
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--trial", "1,2", "--device", "cpu"]
    plan = table_runs.make_plan(argv)
    kd, mixstd = (table_runs.run_of(plan, row) for row in ("KD", "MIXSTD"))
    assert plan.cost(kd) == costs.epoch_cost("resnet8", "resnet14", 50_000, 10_000) * 240 * 2
    table_runs.finish(plan, mixstd, "7", 30.0)
    rate = 2000 * costs.image_cost("resnet8", "resnet14")  # the median of 1000 and 3000 images per second
    assert table_runs.make_plan(argv).store.rate(cuda=False) == rate and plan.store.rate(cuda=True) is None
    run_table.main([*map(str, argv), "--dry_run"])
    units, hours = plan.cost(kd) / costs.unit(), plan.cost(kd) / rate / 3600
    assert f"] KD, resnet14 > resnet8  {units:.2f} units, about {hours:.1f} h\n" in capsys.readouterr().out
