"""CUDA graphs on a machine without CUDA, by an emulator: capture, replay, several seeds, for every method."""
import contextlib

import pytest
import torch

from distiller_zoo import distiller_dict
from helper import teacher as teachers
from helper.engine import Engine
from helper.graphs import WARM_UP
from tests.support.graph_emulator import Emulated
from tests.support.method_runs import CAPTURABLE, MethodRun


def graph_run(monkeypatch, *args, **changes):
    """(a run with --step graph, the emulator in place of CUDA)."""
    monkeypatch.setitem(teachers.IMAGES_AHEAD, "cpu", 1024)
    runs = []
    emulated = Emulated(lambda: runs[0].state()).patch(monkeypatch)
    runs.append(MethodRun(*args, step="graph", **changes))
    return runs[0], emulated


def assert_graph_equals_eager(monkeypatch, *args, **changes):
    """Assert that the emulated graph run equals the eager one; returns the emulator."""
    eager = MethodRun(*args, step="eager", **changes).train()
    run, emulated = graph_run(monkeypatch, *args, **changes)
    for (weights, sums), (others, other_sums) in zip(run.train(), eager, strict=True):
        torch.testing.assert_close(weights, others, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(sums, other_sums, rtol=1e-5, atol=1e-6)
    assert not emulated.forbidden
    return emulated


# One method per state that a capture could miss: none, a memory, a first stage, a warm-up.
QUICK = ("mixstd", "crd", "abound", "reviewkd")


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
                                  for name in CAPTURABLE])
def test_a_replayed_step_equals_the_eager_one(name, monkeypatch):
    emulated = assert_graph_equals_eager(monkeypatch, name)
    assert emulated.captures == 2 + 2 * distiller_dict[name].two_stage  # full and short batch; none for the drop


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixstd", "crd", "abound"])
def test_two_alternating_captured_runs_equal_the_eager_ones(name, monkeypatch):
    assert_graph_equals_eager(monkeypatch, name, seeds=(1, 2), epochs=3)


def test_a_replayed_step_without_momentum_and_with_relaxed_positives(monkeypatch):
    assert_graph_equals_eager(monkeypatch, "crd", epochs=3, mode="relax", momentum=0.0)


def test_the_emulator_detects_a_number_fixed_at_capture(monkeypatch):
    kind, real = distiller_dict["kd"], distiller_dict["kd"].forward

    def forward(self, *args, **kwargs):
        return {name: term * min(2.0, 1.0 + term.item()) for name, term in real(self, *args, **kwargs).items()}
    monkeypatch.setattr(kind, "forward", forward)
    run, emulated = graph_run(monkeypatch, "kd", epochs=2)
    run.train()
    assert emulated.forbidden == {"aten::_local_scalar_dense"}


def test_a_capture_out_of_memory_reports_the_memory(monkeypatch):
    """The streams are then not joined, so the end of the capture raises a second error."""
    real = Emulated.capture

    @contextlib.contextmanager
    def capture_with_second_error(self, *args, **kwargs):
        try:
            with real(self, *args, **kwargs):
                yield
        except torch.cuda.OutOfMemoryError:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture") from None

    monkeypatch.setattr(Emulated, "capture", capture_with_second_error)
    run, _ = graph_run(monkeypatch, "kd", epochs=2)
    calls, step = [], Engine.step

    def step_without_memory(self, batch):
        calls.append(self)
        if len(calls) > WARM_UP + 1:  # the eager steps of both sizes are done, this is a capture
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return step(self, batch)

    monkeypatch.setattr(Engine, "step", step_without_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="Tried to allocate"):
        run.train()
