"""A table on a real Ray cluster of this machine: it runs, outlives a lost worker, is stopped and goes on."""
import contextlib
import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from helper.errors import UserError
from scripts import run_table
from scripts.table import cluster
from tests.support import table_runs

pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
ROOT = Path(__file__).resolve().parent.parent
ROWS = [{"name": "KD", "flags": "--distill kd --mix none"}, {"name": "MIXSTD", "flags": "--distill mixstd"}]


@pytest.fixture
def table(tmp_path):
    """start(*flags) runs a table of the digits on Ray: (process, what it has said); what is left of it is killed."""
    recipe = {"dataset": "digits", "epochs": 3, "batch_size": 64, "lr_decay_epochs": [2]}
    file = table_runs.small_table(tmp_path, recipe=recipe, columns=["resnet8 > resnet8"], rows=ROWS, trial="1")
    words = [sys.executable, "-m", "scripts.run_table", file, "--executor", "ray", "--device", "cpu",
             "--save_dir", str(tmp_path / "save"), "--out", str(tmp_path / "result")]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python",
                   "RAY_TMPDIR": "/tmp", "TZ": "UTC"}
    started = []

    def start(*flags):
        said = tmp_path / f"said{len(started)}"
        with said.open("w") as output:
            started.append(subprocess.Popen([*words, *flags], cwd=ROOT, env=environment, start_new_session=True,
                                            stdout=output, stderr=output))
        return started[-1], said.read_text

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)


def trainings(tmp_path):
    """(pid, parent's pid, words) of every training process of this test."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_text().split("\0")
            if str(tmp_path) in " ".join(words) and any(word.endswith("train_student_mixstd.py") for word in words):
                parent = int(re.search(r"^PPid:\s+(\d+)", (folder / "status").read_text(), re.MULTILINE)[1])
                found.append((int(folder.name), parent, words))
    return found


def wait_for(condition, seconds=240):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("it never came")


def cells(tmp_path):
    file, = (tmp_path / "result").rglob("table.csv")
    with file.open(newline="") as lines:
        return {line["row"]: line["seeds"] for line in csv.DictReader(lines)}


@pytest.mark.slow
def test_a_table_outlives_a_lost_worker_and_a_stop(table, tmp_path):
    first, said = table()
    pid, worker, _ = wait_for(lambda: [t for t in trainings(tmp_path)
                                       if list((tmp_path / "save").glob("student_model/*/resume.pth"))])[0]
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: pid not in [training[0] for training in trainings(tmp_path)], 20)  # it dies with its worker
    wait_for(lambda: "machine lost" in said())
    assert "goes on from its last save elsewhere (1 of 3 times)" in said()
    wait_for(lambda: trainings(tmp_path))
    first.send_signal(signal.SIGTERM)
    assert first.wait(180) == 143, said()
    assert "stopped by signal 15" in said() and not trainings(tmp_path)
    second, said = table()
    assert second.wait(400) == 0, said()
    assert cells(tmp_path) == {"KD": "1", "MIXSTD": "1"}
    assert not list(tmp_path.rglob(".seen-*")) and not list((tmp_path / "save").rglob("*.partial"))


def test_what_can_not_be_is_one_line(tmp_path):
    words = [table_runs.small_table(tmp_path), "--executor", "ray", "--out", str(tmp_path / "result"),
             "--save_dir", str(tmp_path / "save"), "--device", "cpu"]
    for more, why in ((["--jobs", "2"], "--jobs does nothing with --executor ray"),
                      (["--address", "127.0.0.1:9"], "--address 127.0.0.1:9: no Ray cluster there"),
                      (["--address", "nonsense"], "--address nonsense: not HOST:PORT")):
        with pytest.raises(UserError, match=re.escape(why)) as caught:
            run_table.main([*words, *more])
        assert "\n" not in str(caught.value) and not (tmp_path / "result").exists()
    with pytest.raises(UserError, match="--cpus_per_run does nothing with --executor local"):
        run_table.main([words[0], "--cpus_per_run", "2", *words[3:]])


@pytest.mark.parametrize("gpus, cpus, fits", [(2.0, 4.0, True), (2.0, 8.0, False), (3.0, 1.0, False),
                                              (None, 1.0, True)])
def test_a_run_must_fit_one_machine(tmp_path, monkeypatch, gpus, cpus, fits):
    """GPUs and cores of different machines, or of several together, are no room for a run."""
    machines = [{"GPU": 2.0, "CPU": 4.0}, {"CPU": 8.0}]
    ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "Resources": machine} for machine in machines],
                          cluster_resources=lambda: {"GPU": 2.0, "CPU": 12.0})
    monkeypatch.setattr(cluster, "connect", lambda address: ray)
    if fits:
        pool = cluster.RayPool(None, gpus, cpus, tmp_path, [])
        assert [pool._room(machine) for machine in machines] == [1 if gpus else 2, 0]
        return
    with pytest.raises(UserError, match="no machine of the Ray cluster has so much"):
        cluster.RayPool(None, gpus, cpus, tmp_path, [])


def test_without_ray_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match="pip install"):
        run_table.main([table_runs.small_table(tmp_path), "--executor", "ray", "--out", str(tmp_path / "result"),
                        "--save_dir", str(tmp_path / "save"), "--device", "cpu"])
