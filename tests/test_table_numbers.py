"""What tables come to: means of seeds, files that never mix sizes, the README, and a real table that is killed."""
import csv
import fcntl
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from helper import checkpoint
from helper.errors import UserError
from helper.known_teachers import KnownTeacher, known_teachers
from helper.teacher import read_teacher
from models import model_dict
from scripts import report, run_table
from scripts.table import plots, render, spec
from scripts.table.results import Record, Result, digests
from tests.support import table_runs

ROOT = Path(__file__).resolve().parent.parent


def test_mean_and_deviation_by_hand():
    results = [Result(str(i), last, last + 1, 3, 1.0, "", "", "") for i, last in enumerate((70.0, 71.0, 73.0))]
    figure = render.Figure.of(results)
    mean = (70 + 71 + 73) / 3
    std = (((70 - mean) ** 2 + (71 - mean) ** 2 + (73 - mean) ** 2) / 2) ** 0.5
    assert figure.n == 3 and figure.mean == pytest.approx(mean) and figure.std == pytest.approx(std)
    assert figure.best == pytest.approx(mean + 1) and figure.text == "71.33 ± 1.53 (n=3)"
    assert render.Figure.of(results[:1]).text == "70.00 (n=1)" and render.Figure.of([]).text == ""


def filled(tmp_path, *more):
    """A small table, its KD row finished three times at full and twice at reduced size."""
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--out", tmp_path / "result"]
    full, reduced = table_runs.make_plan(argv), table_runs.make_plan([*argv, "--epochs", 24, "--train_fraction", 0.5])
    for trial, accuracy in (("1", 41.0), ("2", 42.0), ("3", 44.5)):
        table_runs.finish(full, table_runs.run_of(full, "KD"), trial, accuracy, accuracy + 0.5)
    for trial, accuracy in (("1", 11.0), ("2", 13.0)):
        table_runs.finish(reduced, table_runs.run_of(reduced, "KD"), trial, accuracy)
    return table_runs.make_plan(argv), table_runs.make_plan([*argv, "--epochs", 24, "--train_fraction", 0.5])


def read_csv(path):
    with path.open(newline="") as file:
        return {line["row"]: line for line in csv.DictReader(file)}


def test_difference_is_set_beside_its_standard_error(tmp_path):
    """Of 1, 2, 3 and 4, 6, 8: the variances are 1 and 4, so the difference 4 has the error sqrt(1/3 + 4/3) = 1.291."""
    figures = [render.Figure(3, 2.0, 1.0), render.Figure(3, 6.0, 2.0), render.Figure(1, 2.0)]
    assert render.standard_error(*figures[:2]) == pytest.approx(1.2909944)
    assert render.standard_error(figures[0], figures[2]) is None
    rows = [dict(row) for row in table_runs.SMALL["rows"]]
    rows[2]["compare"] = "KD"
    table = spec.load(table_runs.small_table(tmp_path, rows=rows))
    for kd, mixstd, verdict in ((0, 1, "+4.00 | 2.58 | 3, 3 | yes"), (0, 2, "+0.00 |  | 1, 3 | can't be told")):
        found = render._comparisons(table, {cell.key: {"KD": figures[kd], "MIXSTD": figures[mixstd]}.get(
            cell.row.name, render.Figure(0)) for cell in table.cells})
        assert len(found) == 4 and verdict in found[2]


def test_reduced_and_full_never_meet(tmp_path):
    full, reduced = filled(tmp_path)
    result = tmp_path / "result" / "small"
    for plan in (full, reduced):
        folder = result / plan.size.folder
        figures = render.write(plan, folder)
        plots.draw(plan.table, plan.size, figures, folder)
        assert (folder / "small.png").stat().st_size > 5000
    mean = statistics.fmean([41, 42, 44.5])
    line = read_csv(result / "table.csv")["KD"]
    assert (line["size"], line["seeds"], line["last_top1_mean"]) == ("full recipe", "3", f"{mean:.2f}")
    assert (line["published"], line["difference"], line["source"]) == ("40.00", f"{mean - 40:+.2f}", "a test")
    assert line["best_top1_mean"] == f"{mean + 0.5:.2f}" and "train_student_mixstd.py" in line["command"]
    with (result / "runs.csv").open(newline="") as file:
        assert ("KD", "a zoo") in {(row["row"], row["teacher_origin"]) for row in csv.DictReader(file)}
    text = (result / "table.md").read_text() + (result / "table.csv").read_text()
    assert "| a zoo | none | 9 s | aaaaaaaa |" in text
    assert "A run's training steps took 9 s (none). Teachers: resnet14: a zoo." in text
    assert "reduced" not in text.replace(str(tmp_path), "")

    folder = result / "reduced-epochs=24-train_fraction=0.5"
    line = read_csv(folder / "table.csv")["KD"]
    assert (line["reduced_last_top1_mean"], line["seeds"]) == ("12.00", "2") and "last_top1_mean" not in line
    assert "published" not in line and line["size"] == "reduced: 24 of 240 epochs, 50 % of the training images"
    text = (folder / "table.md").read_text()
    assert text.startswith("# Small table (reduced: 24 of 240 epochs, 50 % of the training images)\n")
    assert "resnet14 > resnet8 (reduced)" in text and "same shares of the epochs" in text and "40.00" not in text


def test_a_reduced_table_leaves_out_what_was_not_run(tmp_path):
    rows, columns = ["a", "b", "c"], ["x", "y"]
    assert spec.filled(rows, columns, lambda key: key in [("a", "y"), ("c", "y")]) == (["a", "c"], ["y"])
    assert spec.filled(rows, columns, lambda key: False) == (rows, columns)
    _, reduced = filled(tmp_path)
    render.write(reduced, tmp_path)
    above = (tmp_path / "table.md").read_text().split(render.DETAILS)[0]
    assert "| KD | 12.00 ± 1.41 (n=2) |" in above and "MIXSTD" not in above and "Columns without" in above


def test_a_full_table_shows_published_rows_in_the_columns_that_were_run(tmp_path):
    rows, columns = ["a", "b", "c"], ["x", "y"]
    published = {("a", "x"), ("b", "y"), ("c", "x")}
    assert spec.filled(rows, columns, lambda key: key == ("a", "y"), published) == (["a", "b"], ["y"])
    assert spec.filled(rows, columns, lambda key: False, published) == (rows, columns)
    changes = {"columns": ["resnet14 > resnet8", "wrn_16_1 > resnet8"],
               "rows": [{**row, **({"published": [50.0, 60.0]} if "published" in row else {})}
                        for row in table_runs.SMALL["rows"]]}
    argv = [table_runs.small_table(tmp_path, **changes), "--save_dir", tmp_path / "save"]
    plan = table_runs.make_plan(argv)
    table_runs.finish(plan, table_runs.run_of(plan, "KD"), "1", 41.0)
    figures = render.write(table_runs.make_plan(argv), tmp_path)
    above, cells = (tmp_path / "table.md").read_text().split(render.DETAILS)
    assert "| Teacher | –<br>50.00 |" in above and "| KD | 41.00 (n=1)<br>50.00 (-9.00) |" in above
    assert "wrn_16_1" not in above and "MIXSTD" not in above
    lines = [line for line in cells.partition("## Commands")[0].splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| KD"]  # below the head
    shown = plan.table.shown(plan.size, figures)
    assert ([row.name for row in shown.rows], shown.columns) == (["Teacher", "KD"], ["resnet14 > resnet8"])
    table = report.matrix(tmp_path / "table.csv")
    assert "wrn_16_1" not in str(table) and "Teacher" in str(table) and "MIXSTD" not in str(table)


def test_a_fetched_teachers_accuracy_is_what_its_students_measured(tmp_path, monkeypatch):
    """Runs from before origin and accuracy were stored take the one from the weights, the other from the rest."""
    path = tmp_path / "zoo" / "resnet14_vanilla" / "ckpt_epoch_240.pth"
    path.parent.mkdir(parents=True)
    weights = model_dict["resnet14"](num_classes=100).state_dict()
    torch.save(weights, path)
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--teacher_dir", tmp_path / "zoo"]
    plan, digest = table_runs.make_plan(argv), checkpoint.digest(weights)
    known = KnownTeacher("resnet14", "someone", path.name, 55.5, 90.0, "example.org/zoo", "MIT", "cifar100",
                         "https://example.org/")
    monkeypatch.setitem(known_teachers(), digest, known)
    for row, more in (("KD", {}), ("MIXSTD", {"teacher_top1": 55.25})):
        args = table_runs.finish(plan, table_runs.run_of(plan, row), "1", 41.0, **more) / "args.json"
        content = json.loads(args.read_text())
        content["config"]["teacher_sha256"] = digest
        del content["config"]["teacher_origin"]
        args.write_text(json.dumps(content))
    for save in ("save", "emptied"):  # the second time from runs.csv alone
        argv[2] = tmp_path / save
        render.write(table_runs.make_plan(argv), tmp_path)
        above = (tmp_path / "table.md").read_text().split(render.DETAILS)[0]
        assert "| Teacher | 55.25 (n=1)<br>50.00 (+5.25) |" in above and "| KD | 41.00 (n=1)" in above
        assert "Teachers: resnet14: someone (example.org/zoo), 55.25 %." in above


def test_failed_runs_stand_in_the_table_and_in_the_report(tmp_path):
    full, _ = filled(tmp_path)
    folder = tmp_path / "result" / "small"
    render.write(full, folder, {"MIXSTD, resnet14 > resnet8": "the disk | is full"})
    assert render.failures(folder / "table.md") == {"MIXSTD, resnet14 > resnet8": "the disk | is full"}
    report.main(["--out", str(folder.parent), "--save_dir", str(tmp_path / "save")])
    assert "Failed in the last attempt" in (folder.parent / "report.html").read_text()
    render.write(full, folder)
    assert render.failures(folder / "table.md") == {}


def test_a_run_whose_summary_belies_its_flags_is_not_counted(tmp_path):
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--trial", "1"]
    plan = table_runs.make_plan(argv)
    table_runs.finish(plan, table_runs.run_of(plan, "KD"), "1", 99.0, epochs=24)  # --epochs has grown since
    assert table_runs.run_of(table_runs.make_plan(argv), "KD").missing == ["1"]


def test_recorded_runs_stay_when_the_run_folders_are_gone(tmp_path):
    full, _ = filled(tmp_path)
    folder = tmp_path / "result" / "small"
    render.write(full, folder)
    before = (folder / "table.csv").read_text()
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "empty"]
    elsewhere = table_runs.make_plan(argv)
    render.write(elsewhere, folder)
    assert read_csv(folder / "table.csv")["KD"]["last_top1_mean"] == "42.50"
    table_runs.finish(elsewhere, table_runs.run_of(elsewhere, "KD"), "3", 50.0)
    render.write(table_runs.make_plan(argv), folder)
    assert read_csv(folder / "table.csv")["KD"]["last_top1_mean"] == f"{(41 + 42 + 50) / 3:.2f}"
    changed = [{**row, "flags": "--distill kd --mix none --kd_T 2"} if row["name"] == "KD" else row
               for row in table_runs.SMALL["rows"]]
    other = table_runs.make_plan([table_runs.small_table(tmp_path, rows=changed), "--save_dir", tmp_path / "empty"])
    render.write(other, folder)
    assert read_csv(folder / "table.csv")["KD"]["seeds"] == "0"  # recorded under other flags
    assert before.count("\n") == 4


def test_runs_of_another_recipe_stay_in_the_record_and_out_of_the_table(tmp_path):
    """A table's file that was edited for a while leaves nothing in the table of the old recipe, and loses nothing."""
    words, folder = ["--save_dir", tmp_path / "save", "--trial", "1"], tmp_path / "result"
    edited = {"dataset": "digits", "epochs": 1, "batch_size": 64, "lr_decay_epochs": []}
    plan = table_runs.make_plan([table_runs.small_table(tmp_path, recipe=edited), *words])
    table_runs.finish(plan, table_runs.run_of(plan, "KD"), "1", 12.0)
    render.write(table_runs.make_plan([table_runs.small_table(tmp_path, recipe=edited), *words]), folder)
    assert read_csv(folder / "table.csv")["KD"]["seeds"] == "1"
    render.write(table_runs.make_plan([table_runs.small_table(tmp_path), *words]), folder)
    assert read_csv(folder / "table.csv")["KD"]["seeds"] == "0"
    again = table_runs.make_plan([table_runs.small_table(tmp_path, recipe=edited), "--save_dir", tmp_path / "none"])
    render.write(again, folder)
    assert read_csv(folder / "table.csv")["KD"]["last_top1_mean"] == "12.00"
    whole = (folder / "runs.csv").read_text()
    assert ",12.0," in whole
    for damaged in ("row,column\nKD,x\n", whole.replace(",12.0,", ",nan,", 1), whole.replace(",12.0,", ",1500,", 1),
                    whole + "1" * 200_000):
        (folder / "runs.csv").write_text(damaged)
        with pytest.raises(UserError, match="runs.csv: damaged"):
            render.write(plan, folder)


def test_seeds_of_two_teachers_are_never_averaged(tmp_path):
    plan = table_runs.make_plan([table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--trial", "1,2,3"])
    cell = next(cell for cell in plan.table.cells if cell.row.name == "KD")
    place, path = plan.place(cell), plan.source_of(cell).path
    record = Record(tmp_path / "runs.csv")
    for trial, last, teacher in (("1", 60.0, "a" * 12), ("2", 61.0, "a" * 12), ("3", 10.0, "b" * 12)):
        record.add(place, [Result(trial, last, last, 1, 1.0, "", "", "", teacher)])
    assert [result.trial for result in record.at(place, path)] == ["1", "2"]  # no teacher is there: the most seeds
    record.write([place])
    assert len(Record(tmp_path / "runs.csv").lines) == 3
    teacher = model_dict["resnet14"](num_classes=100).state_dict()
    path.parent.mkdir(parents=True)
    checkpoint.save({"model": teacher, "arch": "resnet14"}, path)
    record.add(place, [Result("2", 70.0, 70.0, 1, 1.0, "", "", "", checkpoint.digest(teacher)[:12])])
    assert [result.last_top1 for result in record.at(place, path)] == [70.0]  # the plan's own teacher
    checkpoint.save({"model": {name: weight + 1 for name, weight in teacher.items()}, "arch": "resnet14"}, path)
    assert record.at(place, path) == []  # another one: none of these seeds is its student
    index = {path.stem: {"sha256": digests(path)[0], "sha256_full": "a" * 12}}
    path.with_name("index.json").write_text(json.dumps(index))
    assert record.at(place, path) == []  # an index that doesn't fit
    index[path.stem]["sha256"] = read_teacher(str(path)).sha256
    path.with_name("index.json").write_text(json.dumps(index))
    assert [result.trial for result in record.at(place, path)] == ["1", "2"]  # a half-precision copy of theirs


def test_every_table_in_result_is_the_mean_of_its_runs():
    tables = [path.with_name("runs.csv") for path in ROOT.glob("result/**/table.csv")]  # a sweep has no table.csv
    for path in filter(Path.exists, tables):
        runs = {}
        with path.open(newline="") as file:
            for line in csv.DictReader(file):
                runs.setdefault((line["row"], line["column"]), []).append(float(line["last_top1"]))
        with path.with_name("table.csv").open(newline="") as file:
            for line in csv.DictReader(file):
                found, mean = runs.get((line["row"], line["column"]), []), line.get("last_top1_mean")
                mean = line["reduced_last_top1_mean"] if mean is None else mean
                assert int(line["seeds"]) == len(found) and mean == (f"{statistics.fmean(found):.2f}" if found else "")


# A real table, killed and gone on with --------------------------------------------------------------------------------

@pytest.mark.slow
def test_a_killed_table_goes_on_where_it_was(tmp_path):
    """Two rows on real digits. SIGKILL to the table while its first student trains; a second run does the rest."""
    table = table_runs.small_table(tmp_path, columns=["resnet8 > resnet8"])
    argv = [str(word) for word in (
        table, "--dataset", "digits", "--train_fraction", 0.05, "--epochs", 12, "--trial", "1", "--device", "cpu",
        "--save_dir", tmp_path / "save", "--out", tmp_path / "result")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    killed = subprocess.Popen([sys.executable, "-m", "scripts.run_table", *argv], cwd=tmp_path, env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        students = tmp_path / "save" / "student_model"
        deadline = time.monotonic() + 400
        while not list(students.glob("*/resume.pth")) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        killed.kill()
        killed.communicate(timeout=240)
    assert list(students.glob("*/resume.pth")) and not list(students.glob("*/summary.json"))
    deadline = time.monotonic() + 240
    while not all(unlocked(folder) for folder in students.glob("*/")) and time.monotonic() < deadline:
        time.sleep(0.05)  # the student outlives the kill by the step it is in

    done = table_runs.make_plan(argv)
    assert not done.teachers["resnet8", ""].run.missing
    run_table.main(argv)
    folder = next((tmp_path / "result" / "small").glob("reduced-*"))
    lines = read_csv(folder / "table.csv")
    assert [lines[row]["seeds"] for row in ("Teacher", "KD", "MIXSTD")] == ["1", "1", "1"]
    logs = {path.stem: path.read_text() for path in (folder / "logs").glob("*.log")}
    assert logs["teacher_resnet8"].count("$ python") == 1, "the finished teacher was trained again"
    assert logs["KD_resnet8_resnet8"].count("$ python") == 2
    assert "resumed after" in logs["KD_resnet8_resnet8"]


def unlocked(folder):
    with open(folder / ".lock", "a+") as handle:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True
