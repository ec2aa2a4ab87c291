"""From a table to its runs: which are to do, finished, unfinished or files; costs; refusals."""
import json
from argparse import Namespace

import pytest
import torch

from helper.errors import UserError
from helper.known_teachers import vanilla
from models import model_dict
from scripts import run_table
from scripts.table import costs
from tests.support import table_runs
from tests.support.small_runs import assert_refused, call


@pytest.fixture
def argv(tmp_path):
    return [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--device", "cpu", "--trial", "1,2"]


def kd(argv):
    return table_runs.run_of(table_runs.make_plan(argv), "KD")


def test_a_plan_has_the_selected_runs_with_their_teachers_first(tmp_path):
    argv = ["main", "--trial", "4,5", "--save_dir", tmp_path]
    plan = table_runs.make_plan([*argv, "--only", "mixstd*resnet110"])
    labels = ["teacher resnet110", "MIXSTD + FMU, resnet110 > resnet32", "MIXSTD + FMU, resnet110 > resnet20",
              "MIXSTD + PMU, resnet110 > resnet32", "MIXSTD + PMU, resnet110 > resnet20"]
    both = table_runs.make_plan([*argv, "--only", "mixstd + fmu*resnet110", "--only", "mixstd + pmu*resnet110"])
    assert [run.label for run in plan.waiting] == [run.label for run in both.waiting] == labels
    teacher, student = plan.waiting[:2]
    assert teacher.missing == ["0"] and student.missing == ["4", "5"] and student.teacher is teacher
    assert student.opt.path_t == str(plan.teachers["resnet110", ""].path) and student.opt.model_t == "resnet110"
    assert student.argv(student.missing)[-4:] == ["--trial", "4,5", "--resume", "auto"]


def test_an_unfinished_run_is_shown_and_only_its_rest_is_estimated(argv, capsys):
    plan = table_runs.make_plan(argv)
    run = table_runs.run_of(plan, "KD")
    whole = plan.cost(run) / 2
    table_runs.finish(plan, run, "1", 40.0)
    folder = table_runs.finish(plan, run, "2", 40.0)
    (folder / "summary.json").rename(folder / "resume.pth")
    rows = "".join(f"main,{epoch},1.0\n" for epoch in range(1, 181))
    (folder / "log.csv").write_text(f"stage,epoch,train_loss\n{rows}")
    plan = table_runs.make_plan(argv)
    assert plan.cost(table_runs.run_of(plan, "KD")) == whole * 60 / 240
    run_table.main([*map(str, argv), "--dry_run"])
    assert "[1/2 done, 180 epochs trained] KD, resnet14 > resnet8" in capsys.readouterr().out
    table_runs.save_teacher(plan.teachers["resnet14", ""].path)
    assert kd(argv).unfinished == {}  # distilled from another teacher


def test_finished_runs_are_found_by_configuration_and_only_missing_trials_run(argv):
    plan = table_runs.make_plan(argv)
    folder = table_runs.finish(plan, table_runs.run_of(plan, "KD"), "1", 41.0)
    assert kd(argv).missing == ["2"] and kd(argv).done["1"].last_top1 == 41.0
    assert kd([*argv, "--epochs", 239]).missing == ["1", "2"]
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "epochs": 24}))  # --epochs has grown since
    assert kd(argv).missing == ["1", "2"]
    table_runs.finish(plan, table_runs.run_of(plan, "KD"), "1", 41.0)
    table_runs.save_teacher(plan.teachers["resnet14", ""].path)  # not the one of the finished student
    assert kd(argv).missing == ["1", "2"]


def test_a_finished_run_without_args_json_causes_a_warning(argv, capsys):
    plan = table_runs.make_plan(argv)
    folder = table_runs.finish(plan, table_runs.run_of(plan, "KD"), "1", 41.0)
    (folder / "args.json").unlink()
    assert kd(argv).missing == ["1", "2"] and f"WARNING {folder}" in capsys.readouterr().out


def test_a_teacher_file_is_used_if_its_images_are_those_of_the_table(argv, tmp_path):
    path = tmp_path / "mine" / vanilla("resnet14")
    argv += ["--teacher_dir", tmp_path / "mine"]
    table_runs.save_teacher(path)
    plan = table_runs.make_plan(argv)
    assert table_runs.run_of(plan, "KD").opt.path_t == str(path) and all(r.kind != "models" for r in plan.waiting)
    assert table_runs.make_plan([*argv, "--epochs", 9]).teachers["resnet14", ""].path == path
    other = table_runs.make_plan([*argv, "--dataset", "cifar10"])
    assert other.teachers["resnet14", ""].path != path


@pytest.mark.parametrize("state", [{"epoch": 1, "accuracy": 1.0}, {"opt": {"epochs": 3}}, {"opt": {"holdout": 100}},
                                   {"opt": Namespace(epochs=240, dataset="digits")}], ids=str)
def test_a_teacher_of_less_than_the_recipe_is_refused(argv, tmp_path, state):
    path = tmp_path / "mine" / vanilla("resnet14")
    path.parent.mkdir(parents=True)
    torch.save({**state, "model": model_dict["resnet14"](num_classes=100).state_dict()}, path)
    with pytest.raises(UserError, match="not of the recipe of table"):
        table_runs.make_plan([*argv, "--teacher_dir", tmp_path / "mine"])


def test_a_stored_network_of_another_recipe_is_skipped(tmp_path, capsys):
    """models/pretrained/resnet20.pth, of CIFAR-100, in a table of CIFAR-10."""
    table = {"title": "mine", "recipe": {"dataset": "cifar10", "epochs": 240, "lr_decay_epochs": [150]},
             "columns": ["resnet20 > resnet8"], "rows": [{"name": "KD", "flags": "--distill kd"}]}
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(table))
    run_table.main([str(file), "--dry_run", "--save_dir", str(tmp_path / "save")])
    assert "[to do] teacher resnet20" in capsys.readouterr().out


def test_a_table_of_a_reduced_recipe_trains_its_own_teachers(tmp_path):
    """models/pretrained/resnet20.pth is of 240 epochs, the table claims of 60; a user's --teacher_dir is honoured."""
    argv = ["claims", "--save_dir", tmp_path / "save", "--trial", "1"]
    teachers = table_runs.make_plan(argv).teachers
    assert [source.run.epochs_left for source in teachers.values()] == [60, 60]
    path = tmp_path / "zoo" / vanilla("resnet20")
    table_runs.save_teacher(path, arch="resnet20")
    assert table_runs.make_plan([*argv, "--teacher_dir", tmp_path / "zoo"]).teachers["resnet20", ""].path == path


def test_students_use_the_teacher_in_the_folder_of_its_run(argv):
    """Though the folder has another name."""
    plan = table_runs.make_plan(argv)
    folder = table_runs.finish(plan, table_runs.run_of(plan, "Teacher"), "0", 50.0)
    (folder / "summary.json").rename(folder / "resume.pth")
    other = folder.rename(folder.with_name("another_name"))
    assert kd(argv).opt.path_t == str(other / "resnet14_last.pth")


# Costs ----------------------------------------------------------------------------------------------------------------

def resnet_by_hand(depth, classes=100):
    """RepDistiller's CIFAR ResNet of basic blocks: 16, 32, 64 channels on 32, 16, 8 pixels; 1x1 shortcuts."""
    blocks = (depth - 2) // 6
    total = 3 * 16 * 9 * 32**2 + 64 * classes
    for before, width, side in ((16, 16, 32), (16, 32, 16), (32, 64, 8)):
        total += (2 * blocks - 1) * width * width * 9 * side**2 + before * width * 9 * side**2
        total += before * width * side**2 if before != width else 0
    return total


def test_costs_are_multiply_adds_at_the_rate_of_finished_runs(argv, capsys):
    t, s = resnet_by_hand(14), resnet_by_hand(8)
    plan = table_runs.make_plan(argv)
    run, cost = table_runs.run_of(plan, "KD"), 240 * 2 * (50_000 * (t + 3 * s) + 10_000 * s)
    assert plan.cost(run) == cost and costs.epoch_cost("resnet8", None, 0, 10) == 10 * s
    other = table_runs.finish(plan, table_runs.run_of(plan, "MIXSTD"), "8", 30.0) / "args.json"
    other.write_text(other.read_text().replace('"resnet8"', '"a network of another version"'))
    table_runs.finish(plan, table_runs.run_of(plan, "MIXSTD"), "7", 30.0)
    moved = table_runs.finish(plan, table_runs.run_of(plan, "MIXSTD"), "9", 30.0)  # from a GPU to this CPU
    (moved / "timing.csv").write_text("stage,epoch,seconds,images_per_s\nmain,1,1.0,90000\nmain,2,1.0,90000\n")
    args = moved / "args.json"
    args.write_text(args.read_text().replace('"none"', '"a GPU; a CPU"'))
    run_table.main([*map(str, argv), "--dry_run"])
    units, hours = cost / costs.unit(), cost / (t + 3 * s) / 2000 / 3600  # the median of 1000 and 3000 images/s
    assert f"] KD, resnet14 > resnet8  {units:.2g} units, about {hours:.1f} h\n" in capsys.readouterr().out


# The command line -----------------------------------------------------------------------------------------------------

def test_the_command_line_lists_tables_and_plans(tmp_path):
    assert "main" in call(run_table.main, []).out
    done = call(run_table.main, ["main", "--dry_run", "--save_dir", tmp_path, "--out", tmp_path / "out"])
    assert "[to do] teacher resnet56" in done.out and "0 done" in done.out and not (tmp_path / "out").exists()
    assert "full run of resnet56 > resnet20: 424.1 in all, 32.8 in the longest chain" in done.out
    assert_refused(call(run_table.main, ["main", "--readme", "--dry_run"]), "not allowed with argument")
    assert_refused(call(run_table.main, ["main", "--readme"]), "--readme trains nothing: leave out table")
    assert_refused(call(run_table.main, ["--jobs", "2"]), "name a table before the flags: augmentation,")
    assert_refused(call(run_table.main, ["main", "--print"]), "--print was removed; --dry_run")


def test_finished_runs_of_other_code_cause_a_warning(argv, monkeypatch, capsys):
    plan = table_runs.make_plan(argv)
    table_runs.finish(plan, table_runs.run_of(plan, "KD"), "1", 12.0)
    plan = table_runs.make_plan(argv)
    for here, warned in (("a" * 40, False), ("b" * 40, True), ("a" * 40 + "+1", True), ("", False)):
        monkeypatch.setattr(run_table, "git_commit", lambda here=here: here)
        run_table.warn_of_code(plan)
        assert ("1 finished runs were trained by the code of aaaaaaaa, here" in capsys.readouterr().out) == warned


@pytest.mark.parametrize("flags, words", [
    (["--device", "foo"], "--device foo"), (["--save_dir", "/dev/null/x"], "--save_dir"),
    (["--gpus", "99"], "--gpus 99")])
def test_unusable_devices_and_folders_are_refused_first(tmp_path, flags, words):
    assert_refused(call(run_table.main, [table_runs.small_table(tmp_path), "--out", tmp_path / "out", *flags]), words)
    assert not (tmp_path / "out").exists()
