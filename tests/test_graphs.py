"""The graph path on a machine without CUDA, by an emulator: capture, replay, several seeds, for every method."""
import contextlib

import pytest
import torch

from distiller_zoo import distiller_dict
from helper.graphs import WARM_UP
from helper.learner import Learner
from tests.support.graph_emulator import Device, Emulated
from tests.support.method_runs import CAPTURABLE, MethodRun


def compared(monkeypatch, *args, **changes):
    """The emulated graph run against the eager one."""
    eager = MethodRun(*args, step="eager", **changes).train()
    run = MethodRun(*args, step="graph", **changes)
    emulated = Emulated(run.state).patch(monkeypatch)
    for (weights, sums), (others, other_sums) in zip(run.train(Device()), eager, strict=True):
        torch.testing.assert_close(weights, others, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(sums, other_sums, rtol=1e-5, atol=1e-6)
    assert not emulated.forbidden
    return emulated


@pytest.mark.parametrize("name", CAPTURABLE)
def test_a_replayed_step_is_the_eager_one(name, monkeypatch):
    emulated = compared(monkeypatch, name)
    assert emulated.captures == 4 + 2 * distiller_dict[name].two_stage  # full and short batch; once more for the drop


@pytest.mark.parametrize("name", ["kd", "mixstd", "crd", "abound"])
def test_two_seeds_in_one_graph_are_each_what_it_is_alone(name, monkeypatch):
    compared(monkeypatch, name, seeds=(1, 2), epochs=3)


@pytest.mark.parametrize("changes", [{"mode": "relax"}, {"momentum": 0.0}], ids=str)
def test_other_flags(changes, monkeypatch):
    compared(monkeypatch, "crd", epochs=3, **changes)


def test_the_emulator_sees_what_a_capture_gets_wrong(monkeypatch):
    """A number that is read by the host is baked in and noted."""
    kind, real = distiller_dict["kd"], distiller_dict["kd"].forward

    def forward(self, *args, **kwargs):
        return {name: term * min(2.0, 1.0 + term.item()) for name, term in real(self, *args, **kwargs).items()}
    monkeypatch.setattr(kind, "forward", forward)
    run = MethodRun("kd", step="graph", epochs=2)
    emulated = Emulated(run.state).patch(monkeypatch)
    run.train(Device())
    assert emulated.forbidden == {"aten::_local_scalar_dense"}


def test_a_capture_that_runs_out_of_memory_says_so(monkeypatch):
    """Several seeds' streams are not joined then, so the end of the capture raises an error of its own."""
    run = MethodRun("kd", step="graph", seeds=(1, 2), epochs=2)
    emulated = Emulated(run.state)
    capture = emulated.capture

    @contextlib.contextmanager
    def capture_that_ends_badly(*args, **kwargs):
        try:
            with capture(*args, **kwargs):
                yield
        except torch.cuda.OutOfMemoryError:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture") from None

    emulated.capture = capture_that_ends_badly
    emulated.patch(monkeypatch)
    calls, update = [], Learner.update

    def update_without_memory(self, batch, out_t):
        calls.append(self)
        if len(calls) > 2 * WARM_UP:  # both seeds' eager steps are done, this is a capture
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return update(self, batch, out_t)

    monkeypatch.setattr(Learner, "update", update_without_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="Tried to allocate"):
        run.train(Device())
