"""Races between streams, found without a device: memory that is read without a wait, or reused while it is still read.
tests/test_waits.py drops every single wait."""
import copy

import pytest
import torch

from helper import teacher as teachers
from helper import together
from models import model_dict
from models.side_gradients import SideConv2d, SideStream, gradients_beside
from tests.support.graph_emulator import Emulated
from tests.support.method_runs import MethodRun


@pytest.fixture
def emulated(monkeypatch):
    return Emulated().patch(monkeypatch)


def trained(emulated, name, **changes):
    run = MethodRun(name, step="graph", epochs=2, **changes)
    emulated.state = run.state
    with emulated.checker:
        run.train()
    return emulated.races


@pytest.mark.parametrize("name", ["hint", "crd", *(pytest.param(name, marks=pytest.mark.slow)
                                                  for name in ("mixstd", "abound"))])
def test_a_graph_beside_its_teacher_has_no_race(name, emulated):
    assert not trained(emulated, name)
    assert emulated.captures >= 2


def test_memory_freed_before_the_join_is_detected(emulated):
    main, side = emulated.checker.current, torch.cuda.Stream()
    for held in (True, False):
        x = torch.empty(8)
        with emulated.checker:
            x = torch.ones(8)
            side.wait_stream(main)
            with torch.cuda.stream(side):
                y = x * 2
            kept = x if held else None
            del x
            torch.ones(8)  # reuses memory that is free by now
            main.wait_stream(side)
            del y, kept
            torch.ones(8)
        assert bool(emulated.races) is not held


# Several runs on streams of their own -------------------------------------------------------------------------------

def side_by_side(emulated, monkeypatch, name):
    """Two runs that share batches and teacher, each on its stream, alternating; two epochs of three steps."""
    monkeypatch.setattr(together, "on_streams", lambda tensor: True)
    monkeypatch.setitem(teachers.IMAGES_AHEAD, "cpu", 32)
    run = MethodRun(name, step="graph", seeds=(1, 2), epochs=2)
    emulated.state = run.state
    lanes = [(fit, torch.cuda.Stream()) for fit in run.fits]
    with emulated.checker:
        for epoch in range(2):
            feeds = []
            for fit, stream in lanes:
                stream.wait_stream(emulated.checker.current)
                fit.seed, fit.epoch = 1, epoch
                with torch.cuda.stream(stream):
                    fit.begin_epoch()
                feeds.append(together.batches(fit))
            for _ in range(fit.loader.steps):
                for (fit, stream), feed in zip(lanes, feeds, strict=True):
                    with torch.cuda.stream(stream):
                        fit.engine.step(next(feed))
            del feeds, feed
    return emulated.races


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixstd", "hint"])
def test_runs_that_share_batches_and_teacher_have_no_race(name, emulated, monkeypatch):
    assert not side_by_side(emulated, monkeypatch, name)


@pytest.mark.slow
def test_runs_whose_graphs_share_a_pool_are_detected(emulated, monkeypatch):
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    assert any("a replay in its pool" in race for race in side_by_side(emulated, monkeypatch, "mixstd"))


# Weight gradients on a side stream ------------------------------------------------------------------------------------

def gradients(net, x):
    net.zero_grad(set_to_none=True)
    net(x).logsumexp(1).sum().backward()
    return [p.grad for p in net.parameters()]


@pytest.mark.parametrize("name", ["resnet8", "ShuffleV1"])
def test_gradients_on_a_side_stream_equal_the_plain_ones(name):
    torch.manual_seed(0)
    plain, x = model_dict[name](num_classes=5).train(), torch.randn(4, 3, 32, 32)
    beside = gradients_beside(copy.deepcopy(plain), None)
    assert sum(isinstance(m, SideConv2d) for m in beside.modules()) > 8
    for _ in range(2):
        for found, expected in zip(gradients(beside, x), gradients(plain, x), strict=True):
            assert torch.equal(found, expected)


@pytest.mark.parametrize("held", [True, False])
def test_the_side_stream_holds_the_tensors_it_reads(held, emulated, monkeypatch):
    net = gradients_beside(model_dict["resnet8"](num_classes=5).train(), torch.cuda.Stream())
    x = torch.randn(4, 3, 8, 8)
    if not held:
        real = SideStream.hold

        def forget(self, *tensors):
            real(self, *tensors)
            self.held[:] = [None]
        monkeypatch.setattr(SideStream, "hold", forget)
    with emulated.checker:
        torch._foreach_mul_(gradients(net, x), 2)
    assert bool(emulated.races) is not held
