"""Non-finite losses and weights: refused or skipped, and good checkpoints are kept."""
import csv

import pytest
import torch

from helper import checkpoint
from helper.engine import Engine
from helper.errors import UserError
from helper.fit import Fit
from tests.support.small_runs import assert_refused, no_pictures, only_run, train, train_ok  # noqa: F401 - a fixture

WHOLE = ["--epochs", 3]


@pytest.mark.parametrize("reaction", ["stop", "skip"])
def test_not_finite_in_the_first_epoch(tmp_path, reaction):
    done = train(tmp_path, *WHOLE, "--learning_rate", "1e30", "--on_nan", reaction)
    assert_refused(done, "not finite", "epoch 1" if reaction == "stop" else "epoch", "--learning_rate 1e+30")
    if reaction == "stop":
        assert "--on_nan skip" in done.err and "no checkpoint was written yet" in done.err
        assert not list(only_run(tmp_path).glob("*.pth"))


def test_not_finite_features_of_a_method_that_decomposes_them(teacher, tmp_path):
    """torch.linalg.eigh raises on such a matrix; the run must end with the usual error."""
    method = ["--path_t", teacher, "--distill", "kdsvd"]
    done = train(tmp_path, "--epochs", 1, *method, "--learning_rate", "1e12", role="student")
    assert_refused(done, "epoch 1: the loss or the weights are not finite", "--learning_rate 1000000000000.0")


def test_not_finite_in_a_later_epoch_keeps_the_last_good_checkpoint(tmp_path):
    flags = [*WHOLE, "--lr_decay_epochs", 1, "--lr_decay_rate", "1e30"]
    assert_refused(train(tmp_path, *flags), "epoch 2", "resume.pth, is kept")
    state = checkpoint.load(only_run(tmp_path) / "resume.pth", digest_needed=True)
    assert state["epoch"] == 1 and all(w.isfinite().all() for w in state["model"].values())
    done = train(tmp_path, *flags, "--resume", "auto", "--on_nan", "skip")
    assert "resumed after main epoch 1" in done.out


def test_weights_that_blow_up_in_the_last_step_are_not_saved(tmp_path, monkeypatch):
    """All losses are finite but the weights are not."""
    real = Fit.check_finite

    def poison(self, averages):
        if self.epoch == 1:
            next(self.engine.model.parameters()).data[0, 0, 0, 0] = float("nan")
        real(self, averages)
    monkeypatch.setattr(Fit, "check_finite", poison)
    assert_refused(train(tmp_path, *WHOLE), "epoch 2", "the weights are not finite")
    assert checkpoint.load(only_run(tmp_path) / "resume.pth")["epoch"] == 1


def test_a_skipped_step_changes_no_weight_buffer_or_memory(teacher, tmp_path, monkeypatch):
    real, seen = Engine.step, []

    def spoil(self, batch):
        seen.append({k: v.clone() for k, v in (self.model.state_dict() | self.method.state_dict()).items()})
        if len(seen) == 5:
            batch.images.fill_(float("nan"))
        real(self, batch)
    monkeypatch.setattr(Engine, "step", spoil)
    method = ["--path_t", teacher, "--distill", "crd", "--nce_k", 20]
    train_ok(tmp_path, "--epochs", 2, *method, "--on_nan", "skip", role="student")
    assert all(torch.equal(seen[4][name], seen[5][name]) for name in seen[4]) and "memory" in " ".join(seen[4])
    with open(only_run(tmp_path, "student") / "log.csv", newline="") as log:
        assert [row["skipped_steps"] for row in csv.DictReader(log)] == ["0", "1"]


def test_a_failed_trial_does_not_discard_the_epoch_of_the_others(tmp_path, monkeypatch):
    real = Fit.check_finite

    def fail(self, averages):
        if self.trial == "1" and self.epoch == 1:
            raise UserError("trial 1: not finite")
        real(self, averages)
    monkeypatch.setattr(Fit, "check_finite", fail)
    assert_refused(train(tmp_path, "--epochs", 2, "--trial", "1,2"), "trial 1: not finite")
    epochs = {f.name: checkpoint.load(f / "resume.pth")["epoch"] for f in (tmp_path / "models").iterdir()}
    assert sorted(epochs.values()) == [1, 2]
