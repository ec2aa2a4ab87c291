"""The processes of a table, the shell scripts, and the report page."""
import html
import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from helper.errors import Interrupted, UserError
from helper.known_teachers import vanilla
from models import model_dict
from scripts import report, run_table
from scripts.table import jobs, plots, render
from scripts.table.jobs import Job, Local
from tests.support import table_runs

ROOT = Path(__file__).resolve().parent.parent


# Processes ------------------------------------------------------------------------------------------------------------

class Fake:
    """A run whose command is a small script."""

    def __init__(self, folder, label, code):
        self.label, self.missing = label, ["1"]
        self.script = folder / f"{label}.py"
        self.script.write_text(f"import os, pathlib, signal, sys, time\nhere = pathlib.Path({str(folder)!r})\n{code}\n")

    def argv(self, trials):
        return [str(self.script), "--trial", *trials]


def job(folder, label, code, needs=None):
    return Job(label, [Fake(folder, label, code)], needs)


NOTE = "(here / 'order').open('a').write(pathlib.Path(sys.argv[0]).stem + ' ')"


def test_a_failed_run_is_reported_and_the_others_continue(tmp_path, capsys):
    bad = job(tmp_path, "bad", "print('first'); print('bad luck'); sys.exit(2)")
    child = job(tmp_path, "child", NOTE, bad)
    good = job(tmp_path, "good", NOTE)
    after = job(tmp_path, "after", NOTE, good)
    killed = job(tmp_path, "killed", "print('no error'); os.kill(os.getpid(), signal.SIGKILL)")
    calls = []
    jobs.train([bad, child, good, after, killed], Local(1), tmp_path / "logs", lambda: calls.append(1))
    assert (tmp_path / "order").read_text().split() == ["good", "after"] and len(calls) == 4
    reason = "killed by SIGKILL, often because the machine ran out of memory"
    assert [j.problem for j in (bad, child, good, killed)] == ["bad luck", "bad failed", "", reason]
    out = capsys.readouterr().out
    log = tmp_path / "logs" / "killed.log"
    assert "FAILED: bad: bad luck" in out and f"FAILED: killed: {reason}  (log {log})" in out


def test_a_run_that_another_process_trains_is_tried_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jobs, "AGAIN", 0.2)
    busy = ("print('train.py: error: x: process 7 is training in this folder; wait for it')\n"
            "mark = here / 'tries'\nmark.open('a').write('x')\nsys.exit(2 * (len(mark.read_text()) < 3))")
    teacher = job(tmp_path, "teacher", busy)
    jobs.train([teacher, job(tmp_path, "student", NOTE, teacher)], Local(1), tmp_path / "logs", lambda: None)
    out = capsys.readouterr().out
    assert (tmp_path / "tries").read_text() == "xxx" and (tmp_path / "order").read_text() == "student "
    assert out.count("waiting: teacher: another process trains it") == 1 and "FAILED" not in out

    other = job(tmp_path, "other", "print('error: x: process 7 is training in this folder'); sys.exit(2)")
    jobs.train([other], Local(1), tmp_path / "logs", lambda: other.runs[0].missing.clear())  # the other has trained it
    assert not other.problem


def test_devices_are_counted_among_those_that_are_visible(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-7")
    assert Local(2, ["1", "0"]).slots == ["GPU-7", "GPU-7", "5", "5"] and Local(2).slots == ["", ""]
    with pytest.raises(UserError, match="--gpus 2"):
        Local(1, ["2"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert Local(1, ["1"]).slots == ["1"]


def test_several_jobs_run_at_once_each_on_its_device(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    code = ("(here / os.environ['CUDA_VISIBLE_DEVICES'] / pathlib.Path(sys.argv[0]).stem).touch()\n"
            "end = time.time() + 99\nwhile len(list(here.glob('[01]/*'))) < 4 and time.time() < end: time.sleep(0.02)\n"
            "sys.exit(len(list(here.glob('[01]/*'))) < 4)")
    for gpu in "01":
        (tmp_path / gpu).mkdir()
    runs = [job(tmp_path, f"run{i}", code) for i in range(4)]
    jobs.train(runs, Local(2, ["0", "1"]), tmp_path / "logs", lambda: None)
    assert not any(run.problem for run in runs)
    assert [len(list((tmp_path / gpu).iterdir())) for gpu in "01"] == [2, 2]


def test_ctrl_c_lets_every_run_save_and_leaves_none(tmp_path, capsys):
    code = ("signal.signal(signal.SIGTERM, lambda *a: ((here / (sys.argv[0][-4] + '.saved')).touch(), sys.exit(143)))\n"
            "(here / (sys.argv[0][-4] + '.started')).touch()\ntime.sleep(240)")
    runs = [job(tmp_path, f"run{i}", code) for i in range(3)]

    def interrupt():
        while len(list(tmp_path.glob("*.started"))) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted, match="the same command continues") as caught:
        jobs.train(runs, Local(2), tmp_path / "logs", lambda: None)
    thread.join(240)
    assert caught.value.signum == signal.SIGINT and len(list(tmp_path.glob("*.saved"))) == 2
    assert [run.process.poll() for run in runs[:2]] == [143, 143] and runs[2].process is None


def test_a_shared_log_gives_a_run_its_own_reason(tmp_path):
    """Two tables that train one run at once write to one log."""
    run = job(tmp_path, "run", "")
    run.log = tmp_path / "log"
    run.log.write_text("train.py: error: of an earlier day\n$ python x\n")
    run.log_start = run.log.stat().st_size
    assert run.last_error() == ""
    with run.log.open("a") as file:
        file.write("train.py: error: process 7 is training in this folder\n$ python x\nEpoch 1/2\n\n")
    assert run.last_error() == "train.py: error: process 7 is training in this folder"


# Pictures and report --------------------------------------------------------------------------------------------------

@pytest.mark.slow
@pytest.mark.parametrize("name", ["augmentation", "beta_a"])
def test_surfaces_and_curves_are_drawn_with_gaps(tmp_path, name):
    plan = table_runs.make_plan([name, "--save_dir", tmp_path])
    figures = {cell.key: render.Figure(2, 60.0 + i / 7, 0.2, 61.0)
               for i, cell in enumerate(plan.table.cells) if i % 3}
    plots.draw(plan.table, plan.size, figures, tmp_path)
    plots.draw(plan.table, plan.size, {}, tmp_path)
    expected = {f"{name}.png"} | ({"result_heatmap.png"} if name == "augmentation" else set())
    assert {path.name for path in tmp_path.glob("*.png")} == expected


def test_only_columns_with_a_distilled_run_have_a_panel(tmp_path):
    plan = table_runs.make_plan(["main", "--save_dir", tmp_path])
    figures = {("Student", "resnet56 > resnet20"): render.Figure(3, 69.0, 0.2),
               ("Student", "resnet110 > resnet20"): render.Figure(3, 69.0, 0.2),
               ("KD, T=4", "resnet56 > resnet20"): render.Figure(3, 70.5, 0.3)}
    canvas = plots._points(plan.table.shown(plan.size, figures), figures, True, "")
    panel, = (axis for axis in canvas.axes if axis.get_title())
    assert panel.get_title() == "resnet56 > resnet20"
    assert [len(bars.get_children()) for bars in panel.containers] == [4, 4]  # a point, its bar and two caps


EVIL = "<img src=x onerror=alert(1)>&\"'"


def test_the_report_escapes_every_name_and_needs_no_network(tmp_path):
    rows = [{"name": EVIL, "flags": "--distill kd --mix none"}]
    argv = [table_runs.small_table(tmp_path, title=EVIL, rows=rows), "--save_dir", tmp_path / "save"]
    for more in ([], ["--epochs", "24"]):
        plan = table_runs.make_plan([*argv, *more])
        folder = table_runs.finish(plan, table_runs.run_of(plan, EVIL), "1", 41.25 if more else 77.5)
        evil = folder.rename(folder.with_name(f"{folder.name}{EVIL}"))
        (evil / "curves.png").write_bytes(b"png")
        plan = table_runs.make_plan([*argv, *more])
        target = tmp_path / "result" / "small" / plan.size.folder
        figures = render.write(plan, target)
        plots.draw(plan.table, plan.size, figures, target)
    (tmp_path / "result" / f"tsne {EVIL}").mkdir()
    (tmp_path / "result" / f"tsne {EVIL}" / "points.csv").write_text(f"x,{EVIL}\n1,2\n")
    report.main(["--out", str(tmp_path / "result"), "--save_dir", str(tmp_path / "save")])
    page = (tmp_path / "result" / "report.html").read_text()
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;&amp;&#34;&#39;" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page) and "<script" not in page and "@import" not in page
    for reference in re.findall(r'(?:src|href)="([^"#][^"]*)"', page):
        if not reference.startswith("data:image/png;base64,"):
            from urllib.parse import unquote
            assert (tmp_path / "result" / unquote(html.unescape(reference))).exists(), reference
    full, reduced = (page.index(f"Runs: distilled students{end}") for end in (" (1)</h2>", ", reduced (1)</summary>"))
    assert page.count(">kd, resnet14 &gt; resnet8, no mixing, seed 1</figcaption>") == 2  # not the folder's name
    assert full < page.index("<td class=\"number\">77.50", full) < reduced < page.index(">41.25<", reduced)


@pytest.mark.slow
def test_finished_runs_of_other_code_are_told(tmp_path, monkeypatch, capsys):
    words = [table_runs.small_table(tmp_path), "--save_dir", str(tmp_path / "save"), "--trial", "1", "--dry_run"]
    plan = table_runs.make_plan(words)
    folder = table_runs.finish(plan, table_runs.run_of(plan, "KD"), "1", 12.0)
    args = json.loads((folder / "args.json").read_text())
    args["environment"]["git_commit"] = "a" * 40
    (folder / "args.json").write_text(json.dumps(args))
    for here, warned in (("a" * 40, False), ("b" * 40, True), ("a" * 40 + "+1", True), ("", False)):
        monkeypatch.setattr(run_table, "git_commit", lambda here=here: here)
        run_table.main(words)
        assert ("1 finished runs were trained by the code of aaaaaaaa, here" in capsys.readouterr().out) == warned


def test_a_printed_table_of_other_data_trains_its_own_teachers(tmp_path, capsys):
    recipe = {**table_runs.SMALL["recipe"], "dataset": "digits"}
    run_table.main([table_runs.small_table(tmp_path, recipe=recipe), "--print"])
    out = capsys.readouterr().out
    assert '"$PYTHON" train_teacher.py --model resnet14 --dataset digits --resume auto' in out
    assert "resnet14=save/models/resnet14_digits_lr_0.05_decay_0.0005_trial_0/resnet14_last.pth" in out
    assert "$(teacher" not in out and "run_cifar_vanilla" not in out


@pytest.mark.parametrize("stated, index", [
    (float("nan"), None), (726.0, None), ("x", None), (torch.zeros(2), None), (None, {"top1": "good"})])
def test_a_teacher_whose_accuracy_can_t_be_true_is_refused(tmp_path, stated, index):
    path = tmp_path / vanilla("resnet14")
    path.parent.mkdir()
    state = {"model": model_dict["resnet14"](num_classes=100).state_dict()}
    torch.save(state if stated is None else {**state, "accuracy": stated}, path)
    if index:
        path.with_name("index.json").write_text(json.dumps({path.stem: index}))
    words = [table_runs.small_table(tmp_path), "--teacher_dir", str(tmp_path), "--save_dir", str(tmp_path / "save")]
    plan = table_runs.make_plan(words)
    with pytest.raises(UserError, match=f"{path.name}: states an impossible accuracy"):
        plan.results(plan.table.cells[0])


@pytest.mark.parametrize("flags, words", [
    (["--device", "foo"], "--device foo"), (["--save_dir", "/dev/null/x"], "--save_dir"),
    (["--gpus", "99"], "--gpus 99")])
def test_places_that_runs_could_not_use_are_refused_first(tmp_path, flags, words):
    with pytest.raises(UserError, match=words):
        run_table.main([table_runs.small_table(tmp_path), "--out", str(tmp_path / "out"), *flags])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name, text", [("x.csv", "a\n" + "1" * 200_000), ("table.csv", "a,b\n1,2\n")])
def test_a_damaged_table_is_named_by_the_report(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=f"{name}: .*move it away"):
        report.main(["--out", str(tmp_path), "--save_dir", str(tmp_path / "save")])


def test_the_command_line_lists_tables_and_plans(tmp_path, capsys):
    run_table.main([])
    assert "main" in capsys.readouterr().out
    run_table.main(["main", "--dry_run", "--save_dir", str(tmp_path), "--out", str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert "[to do] teacher resnet56" in out and "0 done" in out and not (tmp_path / "out").exists()
    assert "full run of resnet56 > resnet20: 424.1 in all, 32.8 in the longest chain" in out
    assert sys.executable not in out
