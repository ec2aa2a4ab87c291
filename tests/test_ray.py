"""A table on a local Ray cluster: signals, a killed worker, machines without the shared folders, bad flags."""
import contextlib
import csv
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from helper.errors import UserError
from scripts import run_table
from scripts.table import cluster
from tests.support import table_runs

SLEEPER = """import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("saved"), sys.exit(143)))
print("begun")
time.sleep(200)
"""


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    """An executor on a cluster that all tests of this module share; run_table uses it too."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", "/tmp")
        patch.setenv("TZ", "UTC")
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in what a shell script starts in the background
        try:
            made = cluster.RayExecutor(None, None, 1.0, [tmp_path_factory.getbasetemp()])
        finally:
            signal.signal(signal.SIGINT, before)
        yield made
        ray.shutdown()


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"the condition did not hold within {seconds} s")


def workers(text):
    """Ray's workers: the parents of the processes whose command contains ``text``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.name != str(os.getpid()) and text in (folder / "cmdline").read_text():
                found.append(int(re.search(r"^PPid:\s+(\d+)", (folder / "status").read_text(), re.MULTILINE)[1]))
    return found


def test_a_stopped_process_saves_and_a_waiting_one_does_not_start(executor, tmp_path):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    log, started = tmp_path / "log", []
    log.touch()
    for count in range(1, executor.room + 1):
        started.append(executor.start([str(tmp_path / "sleeper.py")], log))
        wait_for(lambda count=count: log.read_text().count("begun") == count)
    started.append(executor.start([str(tmp_path / "sleeper.py")], log))
    for process in started:
        process.send_signal(signal.SIGTERM)
    assert [process.wait(60) for process in started] == [143] * executor.room + [1]
    assert log.read_text().count("saved") == log.read_text().count("begun") == executor.room
    assert not workers(str(tmp_path / "sleeper.py"))


def test_a_machine_without_a_shared_folder_reports_it(executor, tmp_path, monkeypatch):
    log = tmp_path / "log"
    log.touch()
    monkeypatch.setattr(executor, "shared", [str(tmp_path / "elsewhere")])
    assert executor.start(["train_teacher.py"], log).wait(60) == 2
    assert re.search(r"does not see .*elsewhere; code, --save_dir", log.read_text())


@pytest.mark.slow
def test_a_table_finishes_after_a_worker_was_killed(executor, tmp_path, capsys):
    recipe = {"dataset": "digits", "epochs": 3, "batch_size": 64, "lr_decay_epochs": [2]}
    file = table_runs.small_table(tmp_path, recipe=recipe, columns=["resnet8"], rows=[
        {"name": "Student", "role": "student"}], trial="1")
    save, killed = tmp_path / "save", []

    def kill():
        wait_for(lambda: list(save.glob("models/*/resume.pth")))
        killed.extend(workers(str(save)))
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    run_table.main([file, "--executor", "ray", "--device", "cpu", "--threads", "1", "--save_dir", str(save),
                    "--train_fraction", "0.2",
                    "--out", str(tmp_path / "out")])
    thread.join()
    assert len(killed) == 1 and "==> finished: Student, resnet8 alone" in capsys.readouterr().out
    table, = (tmp_path / "out").rglob("table.csv")
    assert [line["seeds"] for line in csv.DictReader(table.read_text().splitlines())] == ["1"]
    log = next((tmp_path / "out").rglob("*.log")).read_text()
    assert log.count("==> on ") == 2 and "resumed after" in log


def test_invalid_flags_are_refused_in_one_line(tmp_path, monkeypatch):
    words = [table_runs.small_table(tmp_path), "--executor", "ray", "--out", str(tmp_path / "result"),
             "--save_dir", str(tmp_path / "save"), "--device", "cpu"]
    for more, why in ((["--jobs", "2"], "--jobs does nothing with --executor ray"),
                      (["--address", "127.0.0.1:9"], "--address 127.0.0.1:9: no Ray cluster there"),
                      (["--gpus_per_run", "1.5"], "--gpus_per_run 1.5: Ray takes whole numbers"),
                      (["--address", "nonsense"], "--address nonsense: not HOST:PORT")):
        with pytest.raises(UserError, match=re.escape(why)) as caught:
            run_table.main([*words, *more])
        assert "\n" not in str(caught.value) and not (tmp_path / "result").exists()
    with pytest.raises(UserError, match="--cpus_per_run does nothing with --executor local"):
        run_table.main([words[0], "--cpus_per_run", "2", *words[3:]])
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="pip install"):
        run_table.main(words)


@pytest.mark.parametrize("gpus, cpus, room", [(2.0, 4.0, 1), (2.0, 8.0, 0), (3.0, 1.0, 0), (None, 1.0, 2)])
def test_a_run_must_fit_one_machine(monkeypatch, gpus, cpus, room):
    """GPUs and cores of different machines can't be added up for a run."""
    machines = [{"GPU": 2.0, "CPU": 4.0}, {"CPU": 8.0}]
    ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": machine} for machine in machines],
                          remote=lambda **needs: lambda function: function)
    monkeypatch.setattr(cluster, "connect", lambda address: ray)
    if room:
        assert cluster.RayExecutor(None, gpus, cpus, []).room == room
    else:
        with pytest.raises(UserError, match="no machine of the Ray cluster has so much"):
            cluster.RayExecutor(None, gpus, cpus, [])
