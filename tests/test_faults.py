"""Faults simulated within this process: disks, files, locks; then those of real processes, python -m tests.faults."""
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from helper import checkpoint
from helper.engine import Engine
from helper.fit import Fit
from helper.run import Run
from tests.conftest import ROOT
from tests.support.bombs import Bomb
from tests.support.small_runs import (  # noqa: F401 - a fixture
    MAINS,
    SOME,
    assert_refused,
    call,
    no_pictures,
    only_run,
    results_of,
    train,
    train_and_kill,
    train_ok,
)

STEPS = 3
WHOLE = ["--epochs", 3]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    save = tmp_path_factory.mktemp("whole")
    train_ok(save, *WHOLE)
    return save


@pytest.fixture(scope="module")
def halfway(tmp_path_factory):
    """A run killed after two epochs of three. Read only: tests copy it."""
    save = tmp_path_factory.mktemp("halfway")
    train_and_kill(save, *WHOLE, at=2 * STEPS + 1)
    return save


def copy_run(halfway, tmp_path):
    shutil.copytree(halfway, tmp_path / "run")
    return tmp_path / "run", only_run(tmp_path / "run")


def test_copied_weights_are_not_replaced(whole, tmp_path):
    """A run's folder with its weights and args.json alone, as one copies a teacher: training again there is refused,
    and --overwrite leaves files that no run writes."""
    save, folder = copy_run(whole, tmp_path)
    (folder / "mine.pth").write_bytes(b"mine")
    for file in folder.iterdir():
        if file.suffix not in (".pth", ".json") or file.name.startswith(("resume", "summary")):
            file.unlink()
    before = {file.name: file.read_bytes() for file in folder.glob("[!.]*")}
    assert {"args.json", "mine.pth", "resnet8_last.pth"} <= before.keys()
    for more in ([], ["--resume", "auto"]):
        assert_refused(train(save, *WHOLE, *more), "holds weights without the record of a run", "--overwrite")
        assert {file.name: file.read_bytes() for file in folder.glob("[!.]*")} == before
    train_ok(save, *WHOLE, "--overwrite")
    assert (folder / "mine.pth").read_bytes() == b"mine"
    (folder / "mine.pth").unlink()
    assert results_of(save) == results_of(whole)


def full_disk(monkeypatch, seen):
    """Every fsync fails as on a full disk while ``seen`` is empty."""
    real = os.fsync

    def fsync(handle):
        if not seen:
            raise OSError(28, "No space left on device")
        real(handle)
    monkeypatch.setattr(os, "fsync", fsync)


def test_training_continues_on_a_full_disk_and_saves_later(whole, halfway, tmp_path, monkeypatch):
    """With a warning per failed save; best weights that could not be saved are written later."""
    save, freed = tmp_path / "run", []
    real = Fit.close_epoch

    def close(self, *args):
        if self.epoch == 2:
            freed.append(1)
        if self.epoch == 0:
            full_disk(monkeypatch, freed)
        real(self, *args)
    monkeypatch.setattr(Fit, "close_epoch", close)
    done = train_ok(save, *WHOLE)
    assert done.err.count("could not save to") == 2 and "No space left" in done.err and done.err.count("WARNING") == 2
    assert results_of(save) == results_of(whole)


@pytest.mark.parametrize("freed", [False, True])
def test_full_disk_at_the_end_keeps_the_last_good_checkpoint(whole, halfway, tmp_path, monkeypatch, freed):
    """Also where there is room again after the last save has failed: the run isn't finished without its state."""
    save, folder = copy_run(halfway, tmp_path)
    before = (folder / "resume.pth").read_bytes()
    with monkeypatch.context() as patch:
        seen, real = [], Fit.finish
        full_disk(patch, seen)
        if freed:
            patch.setattr(Fit, "finish", lambda self: (seen.append(1), real(self)))
        assert_refused(train(save, *WHOLE, "--resume", "auto"), "No space left on device", folder)
    assert (folder / "resume.pth").read_bytes() == before and not list(folder.glob(".*.partial"))
    train_ok(save, *WHOLE, "--resume", "auto")
    assert results_of(save) == results_of(whole)


def test_no_space_at_the_start_leaves_no_folder(tmp_path, monkeypatch):
    full_disk(monkeypatch, [])
    assert_refused(train(tmp_path / "save", *WHOLE), "No space left")
    assert not (tmp_path / "save").exists()


def alter(**changes):
    return lambda f: checkpoint.save({**checkpoint.load(f), **changes}, f)


@pytest.mark.parametrize("harm, words", [
    (lambda f: f.write_bytes(f.read_bytes()[:5000]), "not a readable checkpoint"),
    (lambda f: torch.save({"model": 1}, f), "no sha256"),
    (lambda f: torch.save({"config": Bomb(f.with_name("crater")), "sha256": ""}, f), "nothing in it was run"),
    (alter(trial="7"), "not a state of this run"), (alter(config={}), "another configuration"),
    (alter(epoch=10**9), "don't agree"), (alter(step=-1), "don't agree"), (alter(best={}), "don't agree"),
    (alter(model={"a": torch.ones(1)}), "damaged, or"), (alter(sums={}), "damaged, or")])
def test_a_bad_newest_checkpoint_is_skipped(whole, halfway, tmp_path, harm, words):
    save, folder = copy_run(halfway, tmp_path)
    harm(folder / "resume.pth")
    done = train_ok(save, *WHOLE, "--resume", "auto")
    assert words in done.out and "resume.pth: " in done.out and "resuming from resume.prev.pth" in done.out
    assert results_of(save) == results_of(whole) and not (folder / "crater").exists()


def test_two_bad_checkpoints_are_refused_and_kept(halfway, tmp_path):
    save, folder = copy_run(halfway, tmp_path)
    for name in ("resume.pth", "resume.prev.pth"):
        os.truncate(folder / name, 3000)
    before = {f: f.read_bytes() for f in folder.glob("*.*")}
    assert_refused(train(save, *WHOLE, "--resume", "auto"), "resume.pth", "resume.prev.pth", "--overwrite")
    assert {f: f.read_bytes() for f in folder.glob("*.*")} == before


def test_weights_are_kept_when_the_resume_file_is_missing(whole, halfway, tmp_path):
    save, folder = copy_run(whole, tmp_path)
    for file in folder.glob("resume*.pth"):
        file.unlink()
    train_ok(save, *WHOLE, "--resume", "auto")  # finished: nothing to do
    good = (folder / "args.json").read_text()
    (folder / "args.json").write_text("{")
    assert_refused(train(save, *WHOLE, "--resume", "auto"), "holds a finished run, but its args.json", "--overwrite")
    (folder / "args.json").write_text(good)
    (folder / "summary.json").unlink()
    done = train(save, *WHOLE, "--resume", "auto")
    assert_refused(done, "holds an unfinished run, but resume.pth is gone", "--overwrite")
    assert (folder / "resnet8_last.pth").exists()


def test_a_run_with_a_damaged_args_json_is_resumed(whole, halfway, tmp_path):
    save, folder = copy_run(halfway, tmp_path)
    (folder / "args.json").write_text("{")
    assert_refused(train(save, *WHOLE), "holds an unfinished run")
    train_ok(save, *WHOLE, "--resume", "auto")
    assert results_of(save) == results_of(whole)


HOLDER = """
import fcntl, sys, time
file = open(sys.argv[1], "a+"); fcntl.lockf(file, fcntl.LOCK_EX); print("held", flush=True); time.sleep(240)
"""


def test_a_folder_in_use_is_refused_and_a_stale_lock_is_not(whole, halfway, tmp_path):
    save, folder = copy_run(halfway, tmp_path)
    other = subprocess.Popen([sys.executable, "-c", HOLDER, folder / ".lock"], stdout=subprocess.PIPE, text=True)
    other.stdout.readline()
    (folder / ".lock").write_text(str(other.pid))
    try:
        assert_refused(train(save, *WHOLE, "--resume", "auto"), f"process {other.pid} is training in this folder")
        assert_refused(train(save, *WHOLE, "--trial", "5,0", "--resume", "auto"), "is training in this folder")
        assert_refused(train(save, *WHOLE, "--overwrite"), "is training in this folder")
        assert only_run(save) == folder
    finally:
        other.kill()
        other.wait(60)
    train_ok(save, *WHOLE, "--resume", "auto")
    assert results_of(save) == results_of(whole)


def test_clearing_a_folder_keeps_the_lock(tmp_path):
    run = Run(tmp_path / "models" / "a", tmp_path / "tensorboard" / "a", {})
    run.lock()
    run.clear()
    probe = subprocess.run([sys.executable, "-c", "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), "
                            "fcntl.LOCK_EX | fcntl.LOCK_NB)", run.folder / ".lock"],
                           capture_output=True, timeout=240)
    assert b"BlockingIOError" in probe.stderr
    run.unlock()


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(37, "No locks available")
    monkeypatch.setattr(fcntl, "lockf", no_locks)
    assert_refused(train(tmp_path, *WHOLE), "No locks available")


def test_cuda_out_of_memory_names_the_batch_size(tmp_path, monkeypatch):
    def no_memory(*_):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")
    monkeypatch.setattr(Engine, "step", no_memory)
    assert_refused(train(tmp_path, *WHOLE, "--trial", "1,2"), "--batch_size 16", "fewer runs at once")


def test_no_step_is_lost_when_a_worker_dies(whole, tmp_path, monkeypatch):
    from dataset import DataError, DeviceLoader
    real = DeviceLoader._batches

    def die(self, plan, start):
        for i, batch in enumerate(real(self, plan, start), start):
            if i == 1 and self.died < 2:
                raise DataError("a data worker died")
            yield batch
        self.died += 1
    monkeypatch.setattr(DeviceLoader, "died", 0, raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(DeviceLoader, "_batches", die)
        assert_refused(train(tmp_path, *WHOLE), "a data worker died")
    assert checkpoint.load(only_run(tmp_path) / "resume.pth")["step"] == 1
    train_ok(tmp_path, *WHOLE, "--resume", "auto")
    assert results_of(tmp_path) == results_of(whole)


HOSTILE = [{"a": 1}, [[]], ["../x"], "../../x", float("inf"), "$(touch crater)", "a\nb", None, True, -1, 10**400,
           "\udcff"]


def test_a_hostile_args_json_is_checked_like_a_command_line(whole, tmp_path, monkeypatch):
    """Every stored value that --resume FOLDER would use is replaced by an invalid one, which is refused in one line
    unless its flag accepts it."""
    save, folder = copy_run(whole, tmp_path)
    monkeypatch.chdir(tmp_path)
    args = json.loads((folder / "args.json").read_text())
    before = sorted(p for p in tmp_path.rglob("*"))
    for name in [*args["config"], "given", "defaults", "warnings", "__class__"]:
        for value in HOSTILE:
            text = json.dumps({**args, "config": {**args["config"], name: value}})
            (folder / "args.json").write_text(text)
            done = call(MAINS["teacher"], ["--resume", folder])
            assert done.status in (0, 2) and "Traceback" not in done.err, (name, value, done.err)
            if done.status:
                assert "configuration" in done.err or "--device" in done.err or "args.json" in done.err, done.err
                assert_refused(done)
    (folder / "args.json").write_text(json.dumps(args))
    assert sorted(p for p in tmp_path.rglob("*")) == before
    for text in ("[]", "{}", '{"config": 3}', "[" * 100000, "\ud800".encode("utf-8", "surrogatepass").decode("latin1")):
        (folder / "args.json").write_text(text, encoding="latin1")
        assert_refused(call(MAINS["teacher"], ["--resume", folder]), "holds no readable args.json of a run")


def test_auto_ignores_folders_with_invalid_contents(whole, tmp_path):
    save, folder = copy_run(whole, tmp_path)
    for i, config in enumerate(({"epochs": "x"}, {"epochs": None}, [], {"a": {"b": 1}}, {"epochs": True})):
        strange = save / "models" / f"strange{i}"
        strange.mkdir()
        (strange / "args.json").write_text(json.dumps({"config": config}))
        (strange / "summary.json").write_text("{")
    train_ok(save, *WHOLE, "--trial", 3, "--resume", "auto")


@pytest.mark.parametrize("kind", ["bomb", "folder", "missing", "no name"])
def test_a_bad_teacher_is_refused_in_one_line(whole, tmp_path, kind):
    file, good = tmp_path / "resnet8_x" / "t.pth", only_run(whole) / "resnet8_last.pth"
    file.parent.mkdir()
    weights = checkpoint.load(good)["model"]
    if kind == "bomb":
        torch.save({"model": Bomb(tmp_path / "crater")}, file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "no name":
        file = shutil.copy(good, tmp_path / "t.pth")
        torch.save({"model": weights}, file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = call(MAINS["student"], [*SOME, "--path_t", file, "--save_dir", tmp_path / "save"])
    assert_refused(done, Path(file).name)
    assert not (tmp_path / "save").exists() and not (tmp_path / "crater").exists()


@pytest.mark.slow
def test_quick_drill_loses_nothing():
    done = subprocess.run([sys.executable, "-m", "tests.faults", "--quick"], cwd=ROOT, text=True, capture_output=True,
                          timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    tried, survived, lost = map(int, re.search(r"^all +(\d+) +(\d+) +(\d+)$", done.stdout, re.M).groups())
    assert tried == survived >= 28 and lost == 0
    assert int(re.search(r"^(\d+) kills", done.stdout, re.M).group(1)) >= 12
