"""The processes of a table: order, failures, signals, several runs per process, and a table killed and continued."""
import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from helper.errors import Interrupted, UserError
from helper.files import lock_folder
from scripts import run_table
from scripts.table import jobs, plots, several
from scripts.table.jobs import Job, Local
from tests.support import table_runs
from tests.support.small_runs import assert_refused, call, no_pictures  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ["--dataset", "digits", "--train_fraction", 0.05, "--trial", "1", "--device", "cpu", "--threads", 1]


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


RECORD = "(here / 'order').open('a').write(pathlib.Path(sys.argv[0]).stem + ' ')"


def test_a_failed_run_is_reported_and_the_others_continue(tmp_path, capsys):
    bad = job(tmp_path, "bad", "print('first'); print('bad luck'); sys.exit(2)")
    child = job(tmp_path, "child", RECORD, bad)
    good = job(tmp_path, "good", RECORD)
    after = job(tmp_path, "after", RECORD, good)
    killed = job(tmp_path, "killed", "print('no error'); os.kill(os.getpid(), signal.SIGKILL)")
    calls = []
    jobs.train([bad, child, good, after, killed], Local(1), tmp_path / "logs", lambda: calls.append(1))
    assert (tmp_path / "order").read_text().split() == ["good", "after"] and len(calls) == 4
    reason = "killed by SIGKILL, often because the machine ran out of memory"
    assert [j.problem for j in (bad, child, good, killed)] == ["bad luck", "bad failed", "", reason]
    out = capsys.readouterr().out
    log = tmp_path / "logs" / "killed.log"
    assert "FAILED: bad: bad luck" in out and f"FAILED: killed: {reason}  (log {log})" in out


def test_a_run_in_training_elsewhere_is_tried_again(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(jobs, "AGAIN", 0.2)
    busy = ("print('train.py: error: x: process 7 is training in this folder; wait for it')\n"
            "mark = here / 'tries'\nmark.open('a').write('x')\nsys.exit(2 * (len(mark.read_text()) < 3))")
    teacher = job(tmp_path, "teacher", busy)
    jobs.train([teacher, job(tmp_path, "student", RECORD, teacher)], Local(1), tmp_path / "logs", lambda: None)
    out = capsys.readouterr().out
    assert (tmp_path / "tries").read_text() == "xxx" and (tmp_path / "order").read_text() == "student "
    assert out.count("waiting: teacher: another process trains it") == 1 and "FAILED" not in out

    other = job(tmp_path, "other", "print('error: x: process 7 is training in this folder'); sys.exit(2)")
    jobs.train([other], Local(1), tmp_path / "logs", lambda: other.runs[0].missing.clear())  # done elsewhere
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


def test_ctrl_c_lets_every_run_save_and_stops_all(tmp_path):
    code = ("signal.signal(signal.SIGTERM, lambda *a: ((here / (sys.argv[0][-4] + '.saved')).touch(), sys.exit(143)))\n"
            "(here / (sys.argv[0][-4] + '.started')).touch()\ntime.sleep(240)")
    runs = [job(tmp_path, f"run{i}", code) for i in range(3)]

    def interrupt():
        wait_for(lambda: len(list(tmp_path.glob("*.started"))) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(Interrupted, match="the same command continues") as caught:
        jobs.train(runs, Local(2), tmp_path / "logs", lambda: None)
    thread.join(240)
    assert caught.value.signum == signal.SIGINT and len(list(tmp_path.glob("*.saved"))) == 2
    assert [run.process.poll() for run in runs[:2]] == [143, 143] and runs[2].process is None


def test_two_tables_keep_the_runs_of_their_processes_apart(tmp_path):
    """Each starts a 'group 1' under the same logs/, and the process reads its runs seconds later."""
    groups = [Job("students, group 1", [Fake(tmp_path, label, "")], at_once=1) for label in ("one", "two")]
    files = [group.argv(tmp_path)[1] for group in groups]
    assert [list(json.loads(Path(file).read_text())) for file in files] == [["one, trial 1"], ["two, trial 1"]]


def test_a_group_with_a_run_in_training_elsewhere_is_tried_again(tmp_path, monkeypatch):
    (tmp_path / "runs.json").write_text("{}")
    monkeypatch.setattr(several, "train", lambda *_: {"a": f"process 7 {jobs.BUSY}", "b": "the loss is not finite"})
    with pytest.raises(UserError, match=jobs.BUSY):
        several.main([str(tmp_path / "runs.json")])


# Real tables ----------------------------------------------------------------------------------------------------------

def seeds(folder):
    table, = folder.rglob("table.csv")
    return {line["row"]: line["seeds"] for line in csv.DictReader(table.read_text().splitlines())}


@pytest.mark.slow
def test_a_killed_table_continues_where_it_was(tmp_path, monkeypatch):
    """SIGKILL to the table while its student trains, with the teacher finished."""
    argv = [table_runs.small_table(tmp_path, columns=["resnet8 > resnet8"]), *DIGITS, "--epochs", 8, "--save_dir",
            tmp_path / "save", "--out", tmp_path / "result", "--only", "Teacher", "--only", "KD"]
    with monkeypatch.context() as patch:
        table_runs.train_in_process(patch)
        patch.setattr(plots, "draw", lambda *_: None)
        assert call(run_table.main, argv[:-2]).status == 0
        students = tmp_path / "save" / "student_model"
        killed = subprocess.Popen([sys.executable, "-m", "scripts.run_table", *map(str, argv)], cwd=tmp_path,
                                  env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: list(students.glob("*/resume.pth")))
        finally:
            killed.kill()
            killed.wait(60)
        assert not list(students.glob("*/summary.json"))
        folder, = students.glob("*/")
        wait_for(lambda: is_unlocked(folder))  # the student still finishes its step
        assert call(run_table.main, argv).status == 0
    assert seeds(tmp_path) == {"Teacher": "1", "KD": "1", "MIXSTD": "0"}
    logs = {path.stem: path.read_text() for path in tmp_path.rglob("*.log")}
    assert logs["teacher_resnet8"].count("$ python") == 1, "the finished teacher was trained again"
    assert logs["KD_resnet8_resnet8"].count("$ python") == 2 and "resumed after" in logs["KD_resnet8_resnet8"]


def wait_for(condition, timeout=240):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_unlocked(folder):
    try:
        lock_folder(folder).close()
    except BlockingIOError:
        return False
    return True


@pytest.mark.slow
def test_a_table_trains_several_runs_per_process(tmp_path):
    """One process for the teacher and one for the students; a failed run is listed by itself."""
    rows = [{"name": "KD", "flags": "--distill kd --mix none"}, {"name": "NaN", "flags": "--learning_rate 1e30"}]
    argv = [table_runs.small_table(tmp_path, rows=rows, columns=["resnet8 > resnet8"]), *DIGITS, "--epochs", 1,
            "--save_dir", tmp_path / "save", "--out", tmp_path / "out", "--at_once", 2]
    assert_refused(call(run_table.main, argv), "1 of 3 runs failed: NaN, resnet8 > resnet8; their logs")
    text = next((tmp_path / "out").rglob("table.md")).read_text()
    assert len(list((tmp_path / "out").rglob("*.log"))) == 2 and seeds(tmp_path / "out") == {"KD": "1", "NaN": "0"}
    failed, = (line for line in text.splitlines() if line.startswith("- "))
    assert failed.startswith("- NaN, resnet8 > resnet8: ") and "the loss or the weights are not finite" in failed


def test_a_failed_run_is_in_the_table_until_it_is_finished(tmp_path, monkeypatch):
    argv = [table_runs.small_table(tmp_path, columns=["resnet8 > resnet8"]), *DIGITS, "--epochs", 1, "--save_dir",
            tmp_path / "save", "--out", tmp_path / "out", "--only", "KD"]
    table_runs.train_in_process(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setitem(table_runs.SCRIPTS, "train_student_mixstd.py", raise_disk_full)
        assert_refused(call(run_table.main, argv), "1 of 2 runs failed: KD, resnet8 > resnet8")
    table = next((tmp_path / "out").rglob("table.md"))
    failed, = (line for line in table.read_text().splitlines() if line.startswith("- "))
    assert failed.startswith("- KD, resnet8 > resnet8: ") and failed.endswith("error: the disk | is full")
    assert call(run_table.main, argv).status == 0 and "## Failed" not in table.read_text()


def test_results_that_cannot_be_written_stop_no_run(tmp_path, monkeypatch):
    argv = [table_runs.small_table(tmp_path, columns=["resnet8 > resnet8"]), *DIGITS, "--epochs", 1, "--save_dir",
            tmp_path / "save", "--out", tmp_path / "out"]
    table_runs.train_in_process(monkeypatch)
    records = table_runs.make_plan(argv).folder / "models"
    records.parent.mkdir(parents=True)
    records.write_text("a file in the way")
    done = call(run_table.main, argv)
    assert_refused(done, f"{records}/", "make room, or move it away; all runs are in")
    assert done.out.count("==> finished: ") == 3 and f"WARNING {records}" in done.out
    records.unlink()
    assert call(run_table.main, argv).status == 0 and seeds(tmp_path) == {"Teacher": "1", "KD": "1", "MIXSTD": "1"}


def test_a_process_that_leaves_runs_untrained_is_no_success(tmp_path, monkeypatch):
    argv = [table_runs.small_table(tmp_path, columns=["resnet8 > resnet8"]), *DIGITS, "--epochs", 1, "--save_dir",
            tmp_path / "save", "--out", tmp_path / "out", "--only", "Teacher"]
    monkeypatch.setattr(Local, "start", lambda self, argv, log: SimpleNamespace(returncode=0, poll=lambda: 0))
    assert_refused(call(run_table.main, argv), "1 of 1 runs failed: teacher resnet8")


def raise_disk_full(argv):
    raise UserError("the disk | is full")
