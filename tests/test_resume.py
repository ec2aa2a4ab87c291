"""Resumed runs end with the results of uninterrupted ones; folders of runs are never overwritten by mistake."""
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

from helper import checkpoint, commits
from helper import run as run_module
from helper.engine import Engine
from helper.fit import Fit
from helper.options import parse_teacher
from helper.run import Run
from helper.stored_runs import StoredRun
from tests.support.small_runs import (
    MAINS,
    Killed,
    assert_refused,
    call,
    kill_at,
    no_pictures,  # noqa: F401 - a fixture
    only_run,
    results_of,
    scalars,
    signal_at,
    train,
    train_and_kill,
    train_ok,
)

STEPS = 3  # per epoch: 42 or 43 images in batches of 16


WHOLE = ["--epochs", 2, "--lr_decay_epochs", 1, "--mix", "mixup", "--tb_freq", 2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of two epochs."""
    save = tmp_path_factory.mktemp("whole")
    train_ok(save, *WHOLE)
    return save


@pytest.mark.parametrize("step", [STEPS, 2 * STEPS - 1])
def test_a_run_killed_in_any_epoch_is_resumed_bit_for_bit(whole, tmp_path, step):
    train_and_kill(tmp_path, *WHOLE, at=step)
    train_ok(tmp_path, *WHOLE, "--resume", "auto")
    assert results_of(tmp_path) == results_of(whole)


@pytest.mark.parametrize("name", ["save_resume", "write_summary", pytest.param("log_epochs", marks=pytest.mark.slow),
                                  pytest.param("start", marks=pytest.mark.slow)])
def test_a_run_killed_around_a_write_is_resumed_bit_for_bit(whole, tmp_path, monkeypatch, name):
    """Killed before and after each write."""
    for after in (False, True):
        save, real = tmp_path / str(after), getattr(Run, name)

        def die(self, *args, real=real, after=after):
            if after:
                real(self, *args)
            raise SystemError("killed")
        with monkeypatch.context() as patch, pytest.raises(SystemError):
            patch.setattr(Run, name, die)
            train(save, *WHOLE)
        train_ok(save, *WHOLE, "--resume", "auto")
        assert results_of(save) == results_of(whole)


def test_a_run_killed_between_the_two_renames_of_a_save_is_resumed(whole, tmp_path, monkeypatch):
    """After resume.pth was renamed to resume.prev.pth, before the new file is renamed to resume.pth."""
    real, calls = os.replace, []

    def replace(source, target):
        if str(target).endswith("resume.pth"):
            calls.append(target)
            if len(calls) == 2:
                raise SystemError("killed")
        real(source, target)
    with monkeypatch.context() as patch, pytest.raises(SystemError):
        patch.setattr(os, "replace", replace)
        train(tmp_path, *WHOLE)
    assert not (only_run(tmp_path) / "resume.pth").exists()
    train_ok(tmp_path, *WHOLE, "--resume", "auto")
    assert results_of(tmp_path) == results_of(whole)


def test_trials_at_different_epochs_end_as_each_alone(whole, tmp_path):
    """Trial 0 is finished, 2 was killed in its second epoch, 3 has not begun."""
    alone = {}
    for trial in ("0", "2", "3"):
        train_ok(tmp_path / trial, *WHOLE, "--trial", trial)
        alone |= results_of(tmp_path / trial)
    save = tmp_path / "together"
    shutil.copytree(whole, save)
    train_and_kill(save, *WHOLE, "--trial", 2, at=STEPS + 2)
    before = (only_run(whole) / "summary.json").read_text()
    done = train_ok(save, *WHOLE, "--trial", "0,2,3", "--resume", "auto")
    assert results_of(save) == alone
    assert "is finished" in done.out and "mean" in done.out
    assert (save / "models" / only_run(whole).name / "summary.json").read_text() == before


@pytest.mark.parametrize("signum, status, step", [(signal.SIGTERM, 143, 1), (signal.SIGINT, 130, STEPS),
                                                 (signal.SIGHUP, 129, STEPS + 2)])
def test_a_signal_saves_within_an_epoch(whole, tmp_path, monkeypatch, signum, status, step):
    with monkeypatch.context() as patch:
        made = signal_at(patch, step, signum)
        done = train(tmp_path, *WHOLE)
    assert done.status == status and "saved, continue with --resume auto" in done.err and done.err.count("\n") == 1
    assert len(made) == step
    state = checkpoint.load(only_run(tmp_path) / "resume.pth", digest_needed=True)
    assert state["epoch"] * STEPS + state["step"] == step
    train_ok(tmp_path, *WHOLE, "--resume", "auto")
    assert results_of(tmp_path) == results_of(whole)


def test_a_signal_in_the_last_evaluation_finds_the_run_saved(whole, tmp_path, monkeypatch):
    def signalled(fit, real=Fit.evaluate):
        if fit.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(fit)
    monkeypatch.setattr(Fit, "evaluate", signalled)
    done = train(tmp_path, *WHOLE)
    assert done.status == 143 and "at the end of a run; saved, continue with --resume auto" in done.err
    assert results_of(tmp_path) == results_of(whole)


RARE = [*WHOLE, "--resume_every", 1000]


def test_a_run_killed_before_its_first_save_is_trained_from_the_start(whole, tmp_path):
    train_and_kill(tmp_path, *RARE, at=STEPS + 2)
    assert not list(only_run(tmp_path).glob("*.pth"))
    train_ok(tmp_path, *RARE, "--resume", "auto")
    assert results_of(tmp_path) == results_of(whole)


def test_a_signal_saves_the_epochs_left_unsaved_by_resume_every(whole, tmp_path, monkeypatch):
    """The best weights of those epochs are saved with the state."""
    with monkeypatch.context() as patch:
        signal_at(patch, STEPS + 2)
        assert train(tmp_path, *RARE).status == 143
    folder = only_run(tmp_path)
    assert (folder / "resnet8_best.pth").exists() and len((folder / "log.csv").read_text().splitlines()) == 2
    assert checkpoint.load(folder / "resnet8_best.pth")["epoch"] == 1
    train_ok(tmp_path, *WHOLE, "--resume", "auto")  # with another interval
    assert results_of(tmp_path) == results_of(whole)


def test_resume_of_a_folder_needs_no_other_flag(whole, tmp_path):
    train_and_kill(tmp_path, *WHOLE, at=STEPS + 2)
    torch.manual_seed(0)
    done = call(MAINS["teacher"], ["--resume", only_run(tmp_path)])
    assert done.status == 0, done.err
    assert results_of(tmp_path) == results_of(whole)
    args = json.loads((only_run(tmp_path) / "args.json").read_text())["config"]
    assert args["tb_freq"] == 2 and args["device"] == "cpu"  # flags without effect on results too


def test_a_finished_run_is_reported_and_not_changed(whole, monkeypatch):
    kill_at(monkeypatch, 1)
    before = {f.name: f.stat().st_mtime_ns for f in only_run(whole).iterdir()}
    done = train_ok(whole, *WHOLE, "--resume", "auto")
    assert "is finished: last accuracy" in done.out
    assert {f.name: f.stat().st_mtime_ns for f in only_run(whole).iterdir()} == before
    assert_refused(train(whole, *WHOLE), "holds a finished run", "--resume auto", "--overwrite")


@pytest.mark.parametrize("name", ["args.json", "summary.json", "resnet8_last.pth"])
def test_a_damaged_or_missing_file_of_a_finished_run_is_rewritten(whole, tmp_path, name):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    file = only_run(tmp_path) / name
    if name == "args.json":
        file.write_text('{"config": {')
    elif name == "summary.json":
        file.write_text(file.read_text().replace(str(json.loads(file.read_text())["last_top1"]), "NaN"))
    else:
        file.unlink()
    train_ok(tmp_path, *WHOLE, "--resume", "auto")
    assert results_of(tmp_path) == results_of(whole)
    assert StoredRun(only_run(tmp_path)).config and StoredRun(only_run(tmp_path)).summary


@pytest.mark.parametrize("more", [[], ["--resume", "auto"]])
def test_a_run_created_between_look_up_and_lock_is_kept(whole, tmp_path, monkeypatch, more):
    lock = Run.lock

    def late(run):
        shutil.copytree(only_run(whole), run.folder)
        lock(run)

    monkeypatch.setattr(Run, "lock", late)
    done = train(tmp_path, *WHOLE, *more)
    if more:
        assert done.status == 0, done.err
    else:
        assert_refused(done, "holds a finished run", "--resume auto", "--overwrite")
    monkeypatch.undo()
    assert results_of(tmp_path) == results_of(whole)


def test_a_resume_by_other_code_is_reported_and_recorded(tmp_path, monkeypatch):
    """Every commit that trained a run stays recorded, also when args.json is lost."""
    def train_by(commit, *flags):
        monkeypatch.setattr(commits, "git_commit", lambda: commit)
        return train(tmp_path, "--epochs", 2, "--resume", "auto", *flags)

    def recorded():
        return StoredRun(only_run(tmp_path)).commits

    monkeypatch.setattr(commits, "git_commit", lambda: "aaa")
    train_and_kill(tmp_path, "--epochs", 2, at=STEPS + 1)
    assert recorded() == ["aaa"]
    assert "was trained by the code of commit aaa, here is bbb" in train_by("bbb").out and recorded() == ["aaa", "bbb"]
    assert "is finished" in (done := train_by("bbb")).out and "aaa and bbb, here is bbb" in done.out
    (only_run(tmp_path) / "args.json").unlink()
    done = train_by("ccc")  # no step of it is left to train
    assert "aaa and bbb, here is ccc" in done.out and "args.json was missing or damaged" in done.out
    assert recorded() == ["aaa", "bbb"] and "WARNING" not in train_by("").out


def test_the_first_command_and_all_hardware_are_recorded(tmp_path, monkeypatch):
    """A resumed run keeps its first command; a longer run records its own."""
    def begin(command, hardware):
        monkeypatch.setattr(sys, "argv", ["train_teacher.py", command])
        monkeypatch.setattr(run_module, "describe", lambda device: hardware)

    def recorded(folder):
        run = StoredRun(folder)
        return [*run.command[2:], *run.hardware]

    begin("--first", "one core")
    train_and_kill(tmp_path, "--epochs", 2, at=STEPS + 1)
    first = only_run(tmp_path)
    begin("--second", "a GPU")
    train_ok(tmp_path, "--epochs", 2, "--resume", first)
    begin("--longer", "another GPU")
    train_ok(tmp_path, "--epochs", 3, "--resume", "auto")
    longer, = (run for run in first.parent.iterdir() if run != first)
    assert recorded(longer) == ["--longer", "one core", "a GPU", "another GPU"]
    assert recorded(first) == ["--first", "one core", "a GPU"]


def test_the_commit_differs_with_every_change_of_the_code(tmp_path, monkeypatch):
    def git(*words):
        subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a", *words], check=True,
                       capture_output=True, timeout=240)

    def commit():
        commits.git_commit.cache_clear()
        return commits.git_commit()

    file = tmp_path / "helper" / "commits.py"
    file.parent.mkdir()
    monkeypatch.setattr(commits, "__file__", str(file))
    assert commit() == ""
    file.write_text("1")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "x")
    (tmp_path / "README.md").write_text("not code")
    found = [commit()]
    assert len(found[0]) == 40
    for name, text in (("commits.py", "2"), ("commits.py", "3"), ("new.py", "1")):
        file.with_name(name).write_text(text)
        found.append(commit())
    assert len(set(found)) == 4 and all(name.startswith(found[0]) for name in found)
    commits.git_commit.cache_clear()


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run of one epoch. Read only: tests copy it."""
    save = tmp_path_factory.mktemp("short")
    train_ok(save, "--epochs", 1)
    return save


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """The results of two epochs."""
    save = tmp_path_factory.mktemp("long")
    train_ok(save, "--epochs", 2)
    return results_of(save)


LONGER = ["--epochs", 2, "--resume", "auto"]


def test_epochs_of_a_folder_may_grow_but_not_shrink(short, long, tmp_path):
    shutil.copytree(short, tmp_path, dirs_exist_ok=True)
    folder = only_run(tmp_path)
    train_ok(tmp_path, "--epochs", 2, "--resume", folder)
    (name, grown), = results_of(tmp_path).items()
    expected, = long.values()
    assert name == folder.name and grown["resnet8_last.pth"] == expected["resnet8_last.pth"]
    assert grown["log.csv"] == expected["log.csv"]
    assert_refused(train(tmp_path, "--epochs", 1, "--resume", folder), "--epochs 1, there 2", "shrink")


def test_auto_continues_a_shorter_run_and_keeps_it(short, long, tmp_path):
    shutil.copytree(short, tmp_path, dirs_exist_ok=True)
    folder = only_run(tmp_path)
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    done = train_ok(tmp_path, *LONGER)
    assert f"beginning with {folder}" in done.out and "resumed after main epoch 1" in done.out
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()} == before
    assert results_of(tmp_path) == results_of(short) | long
    assert "is finished" in train_ok(tmp_path, "--epochs", 1, "--resume", "auto").out


def test_a_longer_run_killed_before_its_first_save_is_resumed(teacher, tmp_path):
    flags = ["--path_t", teacher, "--distill", "crd", "--nce_k", 20]
    train_ok(tmp_path / "long", *flags, "--epochs", 2, role="student")
    train_ok(tmp_path / "grown", *flags, "--epochs", 1, role="student")
    train_and_kill(tmp_path / "grown", *flags, *LONGER, at=1, role="student")
    train_ok(tmp_path / "grown", *flags, *LONGER, role="student")
    found, expected = (results_of(tmp_path / name, "student") for name in ("grown", "long"))
    assert {name: found[name] for name in expected} == expected and len(found) == 2


@pytest.mark.parametrize("at", ["_load", "save_resume"])
def test_a_longer_run_killed_while_it_copies_the_shorter_one_is_resumed(short, long, tmp_path, monkeypatch, at):
    """After the best weights were copied, before the state was."""
    shutil.copytree(short, tmp_path, dirs_exist_ok=True)

    def kill(*args):
        raise Killed
    with monkeypatch.context() as patch:
        patch.setattr(Run, at, kill)
        patch.setattr(Run, "undo", Run.unlock)  # a kill runs no clean-up
        with pytest.raises(Killed):
            train(tmp_path, *LONGER)
    assert len(list(tmp_path.glob("models/*/*_best.pth"))) == 2
    assert "beginning with" in train_ok(tmp_path, *LONGER).out
    assert results_of(tmp_path) == results_of(short) | long


def test_a_trial_that_waits_for_another_keeps_its_initial_state(tmp_path, monkeypatch):
    """Stopped in the first step of trial 1, which goes on from a shorter run; trial 2 waits for its first."""
    flags = ["--epochs", 2, "--trial", "1,2", "--resume", "auto"]
    train_ok(tmp_path, "--epochs", 1, "--trial", 1)
    with monkeypatch.context() as patch:
        real = Engine.step

        def interrupted(self, batch):
            os.kill(os.getpid(), signal.SIGTERM)
            real(self, batch)
        patch.setattr(Engine, "step", interrupted)
        assert train(tmp_path, *flags).status == 128 + signal.SIGTERM
    out = train_ok(tmp_path, *flags).out
    assert "resumed after main epoch 1, step 1" in out and "resumed after main epoch 0, step 0" in out


def test_kernels_and_saves_of_the_first_device_are_not_resumed(whole):
    opt = parse_teacher(["--resume", str(only_run(whole))])
    assert (opt.kernels, opt.resume_every) == ("auto", None) and opt.stored


@pytest.mark.parametrize("harmed", ["resume.pth", "resnet8_best.pth"])
def test_an_unusable_shorter_run_is_ignored(short, long, tmp_path, harmed):
    """With a wrong entry in its state, or damaged best weights, the longer run is trained from the start."""
    shutil.copytree(short, tmp_path, dirs_exist_ok=True)
    file = only_run(tmp_path) / harmed
    if harmed == "resume.pth":
        checkpoint.save({**checkpoint.load(file), "sums": {}}, file)
    else:
        file.write_bytes(b"no weights")
    assert "WARNING not beginning with the shorter run" in train_ok(tmp_path, *LONGER).out
    shutil.rmtree(file.parent)
    assert results_of(tmp_path) == long


def test_a_different_configuration_is_refused_with_its_flags(whole, tmp_path):
    folder = only_run(whole)
    done = train(whole, "--resume", folder, "--batch_size", 8, "--mix", "none")
    assert_refused(done, "--batch_size 8, there 16", "--mix 'none', there 'mixup'")
    assert_refused(train(whole, "--resume", folder, "--trial", 5), "--trial '5', there '0'")
    assert_refused(train(whole, "--resume", tmp_path), "holds no readable args.json")
    assert_refused(train(tmp_path, "--resume", folder), "--save_dir", "leave --save_dir out")
    assert_refused(train(whole, "--resume", folder, "--trial", "1,2"), "--resume auto for several")
    assert_refused(train(whole, "--resume", folder, "--overwrite"), "exclude each other")
    assert_refused(call(MAINS["student"], ["--resume", folder]), "runs of this script are in SAVE_DIR/student_model/")


def test_tensorboard_of_a_resumed_run_has_every_point_once(whole, tmp_path):
    train_and_kill(tmp_path, *WHOLE, at=STEPS + 3)
    train_ok(tmp_path, *WHOLE, "--resume", "auto")
    steps = [{tag: [step for step, _ in points] for tag, points in scalars(next(save.glob("tensorboard/*"))).items()}
             for save in (tmp_path, whole)]
    assert steps[0] == steps[1] and steps[1]["train_loss_step"] == [2, 5]
