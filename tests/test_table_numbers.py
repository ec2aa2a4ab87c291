"""Contents of a table: means over seeds, published figures, full and reduced sizes, stored runs, pictures."""
import csv
import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from helper.known_teachers import KnownTeacher, known_teachers, vanilla
from scripts import run_table
from scripts.table import plots, render, spec
from scripts.table.render import Figure
from tests.support import table_runs

ROOT = Path(__file__).resolve().parent.parent


def test_mean_and_deviation_by_hand():
    figure, mean = Figure([70.0, 71.0, 73.0]), (70 + 71 + 73) / 3
    std = (((70 - mean) ** 2 + (71 - mean) ** 2 + (73 - mean) ** 2) / 2) ** 0.5
    assert figure.n == 3 and figure.mean == pytest.approx(mean) and figure.std == pytest.approx(std)
    assert figure.text == "71.33 ± 1.53 (n=3)" and Figure([70.0]).text == "70.00 (n=1)" and Figure().text == ""


def plans_with_runs(tmp_path):
    """Plans of a small table at full and reduced size, with three and two finished runs of KD."""
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--out", tmp_path / "result"]
    plans = []
    for more, accuracies in (([], (41.0, 42.0, 44.5)), (["--epochs", 24, "--train_fraction", 0.5], (11.0, 13.0))):
        plan = table_runs.make_plan([*argv, *more])
        for trial, accuracy in enumerate(accuracies, 1):
            table_runs.finish(plan, table_runs.run_of(plan, "KD"), str(trial), accuracy, accuracy + 0.5)
        plans.append(table_runs.make_plan([*argv, *more]))
    return plans


def read_csv(path):
    with path.open(newline="") as file:
        return {line["row"]: line for line in csv.DictReader(file)}


def test_significance_of_a_comparison(tmp_path):
    """Of 1, 2, 3 and 4, 6, 8 the variances are 1 and 4, together 2.5, so the difference 4 has the error
    sqrt(2.5 / 3 + 2.5 / 3) = 1.291; 4, 6, 8 against 1 alone has sqrt(4 / 3 + 4) = 2.309."""
    rows = [*table_runs.SMALL["rows"][:2], {**table_runs.SMALL["rows"][2], "compare": ["KD"]}]
    table = table_runs.small_table(tmp_path, rows=rows)
    for seeds, expected in (((3, 3), "+4.00 | 3, 3 | 1.58 | 2.58 | yes"), ((1, 3), "+5.00 | 3, 1 | 2.00 | 4.62 | yes"),
                            ((1, 1), "+3.00 | 1, 1 |  |  | needs more seeds")):
        argv = [table, "--save_dir", tmp_path / f"save{seeds}", "--out", tmp_path / f"{seeds}"]
        plan = table_runs.make_plan(argv)
        for row, n, accuracies in zip(("KD", "MIXSTD"), seeds, ((1.0, 2.0, 3.0), (4.0, 6.0, 8.0)), strict=True):
            for trial, accuracy in enumerate(accuracies[:n], 1):
                table_runs.finish(plan, table_runs.run_of(plan, row), str(trial), accuracy)
        plan = table_runs.make_plan(argv)
        render.write(plan)
        assert f"| MIXSTD | KD | resnet14 > resnet8 | {expected}" in (plan.folder / "table.md").read_text()


def test_full_and_reduced_runs_are_kept_apart(tmp_path):
    full, reduced = plans_with_runs(tmp_path)
    result = tmp_path / "result" / "small"
    for plan in (full, reduced):
        plots.draw(plan.table, plan.size, render.write(plan), plan.folder)
        assert (plan.folder / "small.png").stat().st_size > 5000
    mean = statistics.fmean([41, 42, 44.5])
    line = read_csv(result / "table.csv")["KD"]
    assert (line["size"], line["seeds"], line["last_top1_mean"]) == ("full recipe", "3", f"{mean:.2f}")
    assert (line["published"], line["difference"], line["source"]) == ("40.00", f"{mean - 40:+.2f}", "a test")
    assert line["last_top1"] == "41.00 42.00 44.50"
    assert line["best_top1_mean"] == f"{mean + 0.5:.2f}" and "train_student_mixstd.py" in line["command"]
    assert [line[name] for name in ("teacher", "hardware", "time", "code")] == ["a zoo", "none", "9 s", "aaaaaaaa"]
    text = (result / "table.md").read_text() + (result / "table.csv").read_text()
    assert "reduced" not in text.replace(str(tmp_path), "")
    assert "A run's training steps took 9 s (none). Teachers: resnet14: a zoo." in text

    folder = result / "reduced-epochs=24-train_fraction=0.5"
    line = read_csv(folder / "table.csv")["KD"]
    assert (line["reduced_last_top1_mean"], line["seeds"]) == ("12.00", "2") and "last_top1_mean" not in line
    assert "published" not in line and line["size"] == "reduced: 24 of 240 epochs, 50 % of the training images"
    above = (folder / "table.md").read_text().split(render.DETAILS)[0]
    assert above.startswith("# Small table (reduced: 24 of 240 epochs, 50 % of the training images)\n")
    assert "resnet14 > resnet8 (reduced)" in above and "drops after epochs 15, 18, 21" in above and "40.00" not in above
    assert "| KD | 12.00 ± 1.41 (n=2) |" in above and "MIXSTD" not in above  # only what was run


def test_a_full_table_shows_published_rows_in_the_columns_that_were_run(tmp_path):
    changes = {"columns": ["resnet14 > resnet8", "wrn_16_1 > resnet8"],
               "rows": [{**row, **({"published": [50.0, 60.0]} if "published" in row else {})}
                        for row in table_runs.SMALL["rows"]]}
    argv = [table_runs.small_table(tmp_path, **changes), "--save_dir", tmp_path / "save", "--out", tmp_path]
    plan = table_runs.make_plan(argv)
    render.write(plan)  # all where nothing was run
    assert all(text in (plan.folder / "table.md").read_text() for text in ("| MIXSTD |", "wrn_16_1 > resnet8 |"))
    table_runs.finish(plan, table_runs.run_of(plan, "KD"), "1", 41.0)
    render.write(table_runs.make_plan(argv))
    above = (plan.folder / "table.md").read_text().split(render.DETAILS)[0]
    assert "| Teacher | –<br>50.00 |" in above and "| KD | 41.00 (n=1)<br>50.00 (-9.00) |" in above
    assert "wrn_16_1" not in above and "MIXSTD" not in above


def test_a_fetched_teacher_has_the_accuracy_measured_by_its_students(tmp_path, monkeypatch):
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--teacher_dir", tmp_path / "zoo",
            "--out", tmp_path / "result"]
    path = tmp_path / "zoo" / vanilla("resnet14")
    digest = table_runs.save_teacher(path)
    plan = table_runs.make_plan(argv)
    known = KnownTeacher("resnet14", "someone", path.name, 55.5, 90.0, "example.org/zoo", "MIT", "cifar100",
                         "https://example.org/")
    monkeypatch.setitem(known_teachers(), digest, known)
    args = table_runs.finish(plan, table_runs.run_of(plan, "KD"), "1", 41.0, teacher_top1=55.25) / "args.json"
    content = json.loads(args.read_text())
    content["config"] |= {"teacher_sha256": digest, "teacher_origin": known.origin}
    args.write_text(json.dumps(content))
    for save in ("save", "emptied"):  # the second time from the records alone
        argv[2] = tmp_path / save
        render.write(table_runs.make_plan(argv))
        above = (plan.folder / "table.md").read_text().split(render.DETAILS)[0]
        assert "| Teacher | 55.25 (n=1)<br>50.00 (+5.25) |" in above and "| KD | 41.00 (n=1)" in above
        assert "Teachers: resnet14: someone (example.org/zoo), 55.25 %." in above


def test_records_stay_without_the_runs_folders_until_the_recipe_changes(tmp_path, capsys):
    full, _ = plans_with_runs(tmp_path)
    source = table_runs.finish(full, table_runs.run_of(full, "KD"), "2", 42.0)
    (source / "log.csv").write_text("stage,epoch,test_acc\nmain,240,42.0\n")
    render.write(full)
    record = full.folder / "student_model" / source.name
    for name in ("args.json", "log.csv", "timing.csv", "summary.json"):
        assert (record / name).read_text() == (source / name).read_text()

    def mean(trained=None, **changes):
        argv = [table_runs.small_table(tmp_path, **changes), "--save_dir", tmp_path / "other", "--out",
                tmp_path / "result"]
        plan = table_runs.make_plan(argv)
        if trained:
            table_runs.finish(plan, table_runs.run_of(plan, "KD"), "3", trained)
        plan = table_runs.make_plan(argv)
        missing = table_runs.run_of(plan, "KD").missing
        assert missing == (["1", "2"] if trained else ["1", "2", "3"])  # a record is no run: it is trained again
        render.write(plan)
        return read_csv(full.folder / "table.csv")["KD"]["last_top1_mean"]

    assert mean() == "42.50"
    assert mean(recipe={**table_runs.SMALL["recipe"], "dataset": "digits"}) == ""
    rows = [{**row, "flags": "--distill kd --mix none --kd_T 2"} if row["name"] == "KD" else row
            for row in table_runs.SMALL["rows"]]
    assert mean(rows=rows) == ""
    for damaged in ("{", '{"last_top1": NaN}'):
        (record / "summary.json").write_text(damaged)
        assert mean() == f"{(41 + 44.5) / 2:.2f}"
        assert f"WARNING {record}: holds a finished run, but no readable summary.json" in capsys.readouterr().out
    assert mean(50.0) == f"{(41 + 50) / 2:.2f}"


def test_seeds_of_two_teachers_are_never_averaged(tmp_path, capsys):
    argv = [table_runs.small_table(tmp_path), "--save_dir", tmp_path / "save", "--out", tmp_path / "result"]
    plan = table_runs.make_plan(argv)
    path = plan.teachers["resnet14", ""].path

    def seeds():
        render.write(table_runs.make_plan(argv))
        return read_csv(plan.folder / "table.csv")["KD"]["seeds"]

    digest = table_runs.save_teacher(path)
    for trial, last, teacher in (("1", 60.0, digest), ("2", 61.0, digest), ("3", 10.0, "b" * 64)):
        args = table_runs.finish(plan, table_runs.run_of(plan, "KD"), trial, last) / "args.json"
        args.write_text(args.read_text().replace('"teacher_sha256": "0"', f'"teacher_sha256": "{teacher}"'))
    assert seeds() == "2"
    path.unlink()
    assert seeds() == "2"  # no teacher file: the teacher with the most seeds
    half = table_runs.save_teacher(path, seed=1)
    assert seeds() == "0"  # another teacher
    run_table.warn_of_records(table_runs.make_plan(argv))
    assert f"WARNING 3 finished runs in {plan.folder} have teachers of other weights" in capsys.readouterr().out
    path.with_name("index.json").write_text(json.dumps({path.stem: {"sha256": half, "sha256_full": digest}}))
    assert seeds() == "2"  # a half-precision copy of their teacher


def test_rows_that_differ_in_their_teacher_alone_cause_no_warning(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    plan = table_runs.make_plan(["claims", "--save_dir", tmp_path])
    run_table.warn_of_records(plan)
    records = len(list(plan.folder.glob("*/*/summary.json")))
    out = capsys.readouterr().out
    assert f"{records} of these have records in {plan.folder}; to count them as done: mkdir -p {tmp_path} && cp" in out
    assert out.count("\n") == 1


def test_a_network_that_is_teacher_and_student_has_two_rows_that_share_no_seed(tmp_path):
    rows = [{"name": "Teacher", "role": "teacher"}, {"name": "Student", "role": "student"}]
    argv = [table_runs.small_table(tmp_path, rows=rows, columns=["resnet8 > resnet8"]), "--save_dir", tmp_path / "save",
            "--out", tmp_path / "result"]
    plan = table_runs.make_plan(argv)
    run = next(iter(plan.runs.values()))
    for trial, accuracy in (("0", 60.0), ("1", 70.0), ("2", 71.0)):
        table_runs.finish(plan, run, trial, accuracy)
    for more in ((), (), ("--trial", "1")):  # from the second time on there are records
        plan = table_runs.make_plan([*argv, *more])
        render.write(plan)
        assert {name: line["last_top1"] for name, line in read_csv(plan.folder / "table.csv").items()} == {
            "Teacher": "60.00", "Student": "70.00 71.00"}


def test_every_table_in_result_has_the_means_of_its_records(tmp_path, monkeypatch):
    """As a clone without runs and teachers writes it, but for the accuracy of a teacher that came as a file."""
    monkeypatch.chdir(ROOT)
    for argv in (["claims"], ["main"], ["augmentation", "--epochs", "4", "--dataset", "digits"]):
        plan = table_runs.make_plan([*argv, "--save_dir", tmp_path])
        stored = csv.DictReader((plan.folder / "table.csv").read_text().splitlines())
        for cell, line in zip(plan.table.cells, stored, strict=True):
            found = [] if (argv[0], cell.row.role) == ("main", "teacher") else plan.results(cell)
            mean = line.get("last_top1_mean", line.get("reduced_last_top1_mean"))
            if found or cell.row.role != "teacher":
                figure = Figure([result.last_top1 for result in found])
                assert (int(line["seeds"]), mean) == (figure.n, figure.text.split(" ")[0])


# Pictures -------------------------------------------------------------------------------------------------------------

def test_any_name_of_a_table_and_its_rows_is_drawn(tmp_path):
    names = ["$\\frac$ KD", "学生 | <b>", "x" * 300]
    rows = [{"name": name, "flags": f"--distill kd --kd_T {i}"} for i, name in enumerate(names, 1)]
    file = Path(table_runs.small_table(tmp_path, rows=rows, title="An odd\n# title")).rename(tmp_path / "my table.json")
    plan = table_runs.make_plan([file, "--save_dir", tmp_path, "--out", tmp_path])
    figures = {cell.key: Figure([60.0, 61.0]) for cell in plan.table.cells}
    plan.folder.mkdir()
    plots.draw(plan.table, plan.size, figures, plan.folder)
    render.write(plan)
    assert (plan.folder / "my table.png").exists() and "# An odd # title\n" in (plan.folder / "table.md").read_text()
    assert "](my%20table.png)" in (plan.folder / "table.md").read_text()
    slugs = [spec.slug(run.label) for run in plan.runs.values()]
    assert len(set(slugs)) == len(slugs) and all(len(slug.encode()) < 200 for slug in slugs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["augmentation", "beta_a"])
def test_surfaces_and_curves_are_drawn_with_gaps(tmp_path, name):
    plan = table_runs.make_plan([name, "--save_dir", tmp_path])
    figures = {cell.key: Figure([60.0 + i / 7, 60.2]) for i, cell in enumerate(plan.table.cells) if i % 3}
    for drawn in (figures, {}):
        plots.draw(plan.table, plan.size, drawn, tmp_path)
        names = {f"{name}.png"} | ({"result_heatmap.png"} if name == "augmentation" else set())
        assert {path.name for path in tmp_path.glob("*.png")} == names


def test_only_columns_with_a_distilled_run_have_a_panel_with_bars_over_seeds(tmp_path, monkeypatch):
    plan = table_runs.make_plan(["main", "--save_dir", tmp_path])
    figures = {("Student", "resnet56 > resnet20"): Figure([69.0]), ("Student", "resnet110 > resnet20"): Figure([69.0]),
               ("KD, T=4", "resnet56 > resnet20"): Figure([70.0, 70.5, 72.5])}
    drawn = []
    monkeypatch.setattr(plots, "save", lambda figure, title, path: drawn.append(figure))
    plots.draw(plan.table, plan.size, figures, tmp_path)
    panel, = (axis for axis in drawn[0].axes if axis.get_title())
    assert panel.get_title() == "resnet56 > resnet20"
    std = statistics.stdev([70, 70.5, 72.5])
    assert any(np.isclose(line.get_xdata(), 71 - std).any() and np.isclose(line.get_xdata(), 71 + std).any()
               for line in panel.lines)
