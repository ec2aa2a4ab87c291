"""Several runs in one process: each equals the run alone bit for bit, also if others fail or are stopped."""
import signal
from functools import cache

import pytest
import torch

import train_student_mixstd as student
from helper import checkpoint, together
from helper import teacher as teachers
from helper.engine import Engine
from helper.errors import Interrupted
from models import model_dict, resnet
from tests.support.small_runs import (  # noqa: F401 - no_pictures is a fixture
    DATA,
    no_pictures,
    results_of,
    signal_at,
    train,
    train_ok,
)

RUNS = {  # of one teacher, with different methods, seeds, mixing, schedules and lengths
    "kd": ["--distill", "kd", "--epochs", 2], "kd at 1": ["--distill", "kd", "--kd_T", 1, "--epochs", 3],
    "mixstd": ["--epochs", 2, "--lr_decay_epochs", 1], "seed 2": ["--epochs", 1, "--trial", 2],
    "similarity": ["--distill", "similarity", "--epochs", 2, "--mix", "mixup"],
    "hint": ["--distill", "hint", "--epochs", 1, "--mix", "none"],
    "abound": ["--distill", "abound", "--init_epochs", 1, "--epochs", 1, "--mix", "mixup"],
    "batch 8": ["--epochs", 1, "--batch_size", 8],
}


@pytest.fixture(scope="module")
def alone(teacher, tmp_path_factory):
    """Results of the runs of these names, each alone."""
    @cache
    def run(name):
        save = tmp_path_factory.mktemp("alone")
        train_ok(save, "--path_t", teacher, *RUNS[name], role="student")
        return results_of(save, "student")

    return lambda names=tuple(RUNS): {folder: found for name in names for folder, found in run(name).items()}


def side_by_side(save, teacher, at_once=0, names=tuple(RUNS), more=(), **kwargs):
    words = [[*DATA["student"], "--device", "cpu", "--threads", 1, "--save_dir", save, "--path_t", teacher,
              "--resume", "auto", *RUNS[name], *more] for name in names]
    opts = [student.parse(list(map(str, line))) for line in words]
    torch.manual_seed(0)  # as in a new process
    return together.train([lambda cache, opt=opt: student.prepare(opt, cache) for opt in opts], at_once, **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 3])
def test_each_run_equals_the_run_alone(at_once, teacher, alone, tmp_path):
    reported = []
    outcomes = side_by_side(tmp_path, teacher, at_once, report=lambda place, outcome: reported.append(place))
    assert [outcome.status for outcome in outcomes] == ["done"] * len(RUNS) and sorted(reported) == [*range(len(RUNS))]
    assert results_of(tmp_path, "student") == alone()
    assert [outcome.status for outcome in side_by_side(tmp_path, teacher, at_once)] == ["finished"] * len(RUNS)


class Drops(resnet.ResNet):
    """A student that draws from torch's generator in every step."""

    def forward(self, x, **kwargs):
        return super().forward(torch.nn.functional.dropout(x, 0.5, self.training), **kwargs)


def test_dropout_draws_the_same_beside_other_runs_and_after_a_pause(teacher, tmp_path, monkeypatch):
    monkeypatch.setitem(model_dict, "resnet14", lambda **kwargs: Drops(8, **kwargs))
    flags = ["--path_t", teacher, "--model_s", "resnet14", "--epochs", 2]
    found = []
    for name, trials in (("both", "1,2"), ("first", "1"), ("second", "2")):
        if name == "second":
            with monkeypatch.context() as patch:
                signal_at(patch, 4)
                assert train(tmp_path / name, *flags, "--trial", trials, role="student").status == 128 + signal.SIGTERM
        train_ok(tmp_path / name, *flags, "--trial", trials, "--resume", "auto", role="student")
        found.append(results_of(tmp_path / name, "student"))
    assert found[0] == found[1] | found[2] and len(found[0]) == 2


def test_runs_with_the_same_batches_share_the_teachers_outputs(teacher, tmp_path, monkeypatch):
    calls, real = [], teachers.Teacher.__call__
    monkeypatch.setattr(teachers.Teacher, "__call__", lambda self, x: calls.append(len(x)) or real(self, x))
    side_by_side(tmp_path, teacher, names=["kd", "kd at 1", "mixstd"])
    assert len(calls) == 1 + 3 * 3  # its accuracy; three epochs of three steps, of which two are shared


def test_each_step_uses_the_precision_of_its_run(teacher, tmp_path, monkeypatch):
    """TF32 is switched per process, so each step has to set it."""
    real, now, seen = Engine.step, [], []
    monkeypatch.setattr(together, "set_precision", lambda precision, device: now.append(precision))
    monkeypatch.setattr(Engine, "step", lambda self, batch: seen.append((self.opt.precision, now[-1]))
                        or real(self, batch))
    names = {"kd": "bf16", "kd at 1": "fp32"}
    monkeypatch.setattr(f"{__name__}.RUNS", {name: [*RUNS[name], "--precision", p] for name, p in names.items()})
    assert [outcome.status for outcome in side_by_side(tmp_path, teacher, names=names)] == ["done", "done"]
    assert set(seen) == {("bf16", "bf16"), ("fp32", "fp32")} and len(seen) == 3 * (2 + 3)


def test_a_failed_run_does_not_stop_the_others(teacher, alone, tmp_path, monkeypatch):
    real = Engine.step

    def spoil(self, batch):
        real(self, batch)
        if self.opt.distill == "similarity":
            next(self.model.parameters()).data.fill_(float("nan"))
    monkeypatch.setattr(Engine, "step", spoil)
    names = ["similarity", "kd", "mixstd"]
    outcomes = side_by_side(tmp_path, teacher, at_once=2, names=names)
    assert [outcome.status for outcome in outcomes] == ["failed", "done", "done"]
    assert "not finite" in outcomes[0].problem
    monkeypatch.undo()
    assert side_by_side(tmp_path, teacher, names=names, more=["--on_nan", "stop"])[0].status == "done"
    found = results_of(tmp_path, "student")
    assert {name: found[name] for name in alone(names)} == alone(names)


def test_a_signal_saves_every_run(teacher, alone, tmp_path, monkeypatch):
    names = ["kd", "mixstd", "abound"]
    with monkeypatch.context() as patch:
        signal_at(patch, 11)
        with pytest.raises(Interrupted, match="saved.*saved.*saved"):
            side_by_side(tmp_path, teacher, names=names)
    states = [checkpoint.load(path) for path in tmp_path.glob("student_model/*/resume.pth")]
    assert sum(state["step"] + 3 * len(state["history"]) for state in states) == 11
    for run in tmp_path.glob("student_model/*/.lock"):
        run.unlink()  # this process still holds the locks
    side_by_side(tmp_path, teacher, names=names)
    assert results_of(tmp_path, "student") == alone(names)
