"""Sweeps: the table, runs equal to those run alone, refused values, failures, signals, continuing."""
import csv
import os
import re
import signal
import statistics
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helper import together
from helper.engine import Engine
from helper.files import lock_folder
from scripts import sweep
from tests.support.small_runs import DATA, assert_refused, call, no_pictures, only_run, results_of, train_ok  # noqa: F401

GRID = ["--vary", "distill=kd,mixstd", "--vary", "kd_T=1,4", "--vary", "trial=1,2"]


def run(folder, teacher, *vary, more=(), role="student", own=()):
    given = ["--path_t", teacher] if role == "student" else []
    return call(sweep.main, [*vary, "--out", folder / "out", *own, "--", *(["train_teacher.py"] if role == "teacher"
                             else []), *DATA[role], "--device", "cpu", "--threads", 1, "--save_dir", folder / "save",
                             "--epochs", 1, *given, *more])


def table(folder):
    """The lines of runs.csv, and the text of table.md; sweep.png must be a picture."""
    place, = (folder / "out").iterdir()
    assert (place / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    with (place / "runs.csv").open() as file:
        return list(csv.DictReader(file)), (place / "table.md").read_text()


@pytest.mark.slow
def test_the_runs_of_a_sweep_equal_those_run_alone(teacher, tmp_path, monkeypatch):
    done = run(tmp_path, teacher, *GRID)
    assert done.status == 0, done.err
    rows, text = table(tmp_path)
    assert len(rows) == 8 and {row["status"] for row in rows} == {"done"}
    alone = tmp_path / "alone"
    for flags in (["--distill", "kd", "--kd_T", 1], ["--distill", "kd"], []):
        for trial in (1, 2):
            train_ok(alone, "--path_t", teacher, "--epochs", 1, "--trial", trial, *flags, role="student")
    assert results_of(tmp_path / "save", "student") == results_of(alone, "student")  # six runs: mixstd reads no kd_T
    last = [float(row["last_top1"]) for row in rows if (row["distill"], row["kd_T"]) == ("kd", "4")]
    cells = re.search(r"\| kd \| (.*) \| (.*) \|", text)
    assert cells[2] == f"{statistics.fmean(last):.2f} ± {statistics.stdev(last):.2f} (n=2)"
    again = run(tmp_path, teacher, *GRID)
    assert again.status == 0 and "Epoch 1" not in again.out
    monkeypatch.setattr(sweep.several, "train", lambda *_: {})
    run(tmp_path, teacher, *GRID)  # what is finished is in the table before anything trains
    assert [{**row, "status": "done"} for row in table(tmp_path)[0]] == rows
    assert {row["status"] for row in table(tmp_path)[0]} == {"finished"}
    assert {row["status"] for row in table(tmp_path)[0]} == {"finished"}


def test_teachers_can_be_swept(tmp_path):
    done = run(tmp_path, None, "--vary", "learning_rate=0.01,0.1", role="teacher", own=["--at_once", 2])
    assert done.status == 0, done.err
    rows, text = table(tmp_path)
    assert [row["learning_rate"] for row in rows] == ["0.01", "0.1"] and rows[0]["last_top1"] in text


@pytest.mark.parametrize(("vary", "words"), [
    (["distill=kd,nonsense"], ["--distill", "nonsense"]), (["kd_T=4,x"], ["--kd_T", "x"]),
    (["temperature=1,4"], ["temperature"]), (["kd_T"], ["--vary", "kd_T=1,4"]), (["kd_T=1,1"], ["twice"]),
    (["kd_T=1", "kd_T=4"], ["--vary kd_T", "twice"]), (["epochs=1,2"], ["--epochs", "--vary"]),
    (["threads=1,2"], ["--threads"]), ([], ["--vary"]), (["trial=1,01"], ["one seed"]),
    (["resume=auto"], ["leave it out"]),
])
def test_invalid_values_are_refused_before_anything_starts(vary, words, teacher, tmp_path):
    assert_refused(run(tmp_path, teacher, *(word for text in vary for word in ("--vary", text))), *words)
    assert not any(tmp_path.iterdir())
    for line, problem in (("--vary kd_T=1,4 --dataset digits", "--dataset: flags of the training go after --"),
                          ("--vary gamma=0.2,0.3 -- -r 0.5", "-r: given after -- and with --vary"),
                          ("--vary kd_T=1,4 -- --at_once 2", "--at_once: a flag of the sweep; it goes before --"),
                          ("--vary kd_T=1,4 -- train_teachr.py", "train_teachr.py")):
        assert_refused(call(sweep.main, line.split()), problem)


def test_a_missing_teacher_or_an_unsupported_pair_is_refused_before_anything_starts(teacher, tmp_path):
    missing = f"path_t={teacher},{tmp_path / 'none.pth'}"
    assert_refused(run(tmp_path, teacher, "--vary", missing), "given after -- and with")
    command = ["--vary", missing, "--out", tmp_path / "out", "--", *DATA["student"]]
    assert_refused(call(sweep.main, command), "--path_t", "none.pth")
    done = run(tmp_path, teacher, "--vary", "distill=kd,fsp", more=("--model_s", "vgg8"))
    assert_refused(done, "distill=fsp", "channels")
    assert not any(tmp_path.iterdir())


def test_a_second_start_is_refused_while_the_first_trains(teacher, tmp_path):
    first = run(tmp_path, teacher, "--vary", "trial=1")
    assert first.status == 0, first.err
    folder, = (tmp_path / "out").iterdir()
    before = (folder / "table.md").read_text()
    other = os.fork()  # locks are held per process
    if not other:
        try:
            handle = lock_folder(folder)  # noqa: F841 - the lock is dropped with it
            (tmp_path / "locked").touch()
            time.sleep(240)
        finally:
            os._exit(0)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "locked").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert_refused(run(tmp_path, teacher, "--vary", "trial=1"), f"process {other} is training this sweep", "--out")
        assert (folder / "table.md").read_text() == before
    finally:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)
    assert run(tmp_path, teacher, "--vary", "trial=1").status == 0 and not (folder / ".lock").exists()


def test_dry_run_only_prints_commands(teacher, tmp_path):
    done = run(tmp_path, teacher, *GRID, own=["--dry_run"])
    lines = done.out.splitlines()
    assert lines[-1] == "8 combinations, 6 runs" and len(lines) == 7 and not any(tmp_path.iterdir())
    assert lines[0].startswith("python train_student_mixstd.py ") and "--distill=kd --kd_T=1 --trial=1" in lines[0]


def test_a_failed_run_does_not_stop_the_others(teacher, tmp_path):
    done = run(tmp_path, teacher, "--vary", "learning_rate=0.05,1e30", own=["--at_once", 2])
    assert_refused(done, "1 of 2 runs failed", "learning_rate=1e30")
    good, bad = table(tmp_path)[0]
    assert good["status"] == "done" and bad["status"] == "failed" and "not finite" in bad["problem"]


def test_a_signal_saves_all_and_the_same_command_continues(teacher, tmp_path, monkeypatch):
    original, steps = Engine.step, []

    def step(self, batch):
        original(self, batch)
        steps.append(self)
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    vary = ["--vary", "trial=1,2,3"]
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "step", step)
        done = run(tmp_path, teacher, *vary, own=["--at_once", 2])
    assert done.status == 128 + signal.SIGTERM and "the same command" in done.err and done.err.count("saved") == 2
    assert run(tmp_path, teacher, *vary, own=["--at_once", 2]).status == 0
    for trial in (1, 2, 3):
        train_ok(tmp_path / "alone", "--path_t", teacher, "--epochs", 1, "--trial", trial, role="student")
    assert results_of(tmp_path / "save", "student") == results_of(tmp_path / "alone", "student")


@pytest.mark.parametrize(("rates", "room", "expected"), [
    ([100, 150, 150], 16, 2), ([100, 105], 16, 1), ([100, 90], 16, 1), ([100, 160, 200, 210, 215], 16, 4),
    ([100, 200, 400, 800, 1600, 3200], 16, 16), ([100, 200, 400, 800, 1600], 4, 4)])
def test_at_once_auto_doubles_the_runs_while_the_rate_rises(rates, room, expected, monkeypatch):
    """On a device with ``rates`` steps per second for 1, 2, 4, ... runs and memory for ``room`` of them."""
    clock = [0.0]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(together, "time_on", lambda device: clock[0])
    monkeypatch.setattr(together, "has_room", lambda device: 2 * len(lanes) <= room)
    device = SimpleNamespace(type="cuda")
    lane = SimpleNamespace(fit=SimpleNamespace(engine=SimpleNamespace(device=device)))
    pace, lanes = together.Pace(), []
    for _ in range(1000):
        while pace.allows(lanes, waiting=1):
            lanes.append(lane)
        clock[0] += len(lanes) / float(np.interp(np.log2(len(lanes)), range(len(rates)), rates))
        if pace.settled and len(lanes) > pace.at_once:
            lanes.pop()  # a run has ended
    assert pace.settled and len(lanes) == pace.at_once == expected
