"""Every wait for a stream and every record_stream is needed: without it there is a race."""
import gc
import inspect
import sys
import weakref
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import pytest
import torch

from helper import graphs, together
from helper.errors import UserError
from models import model_dict, side_gradients
from scripts.bench import ahead
from tests.support.graph_emulator import Emulated
from tests.support.method_runs import MethodRun
from tests.support.training import make_batch

CALLS = ("wait_stream(", "wait_event(", "record_stream(", ".synchronize(")


@pytest.fixture
def emulated(monkeypatch):
    monkeypatch.setattr(together, "on_streams", lambda tensor: True)
    monkeypatch.setattr(together, "set_precision", lambda precision, device: None)
    return Emulated().patch(monkeypatch)


def find_waits(function):
    """(function name, line number, line) of each wait in a function or one nested in it."""
    lines, first = inspect.getsourcelines(function)
    return [(function.__name__, first + i, line.strip()) for i, line in enumerate(lines)
            if any(call in line for call in CALLS)]


def drop_call(monkeypatch, place):
    """Ignore the call at this place."""
    name, line, text = place
    owner, = {owner for owner in (torch.cuda.Stream, torch.Tensor) for call in CALLS
              if call in text and (owner is torch.Tensor) == (call == "record_stream(")}
    call = next(call.strip("(.") for call in CALLS if call in text)
    real = getattr(owner, call)

    def ignored(self, *args):
        frame = sys._getframe(1)
        if (frame.f_code.co_name, frame.f_lineno) != (name, line):
            return real(self, *args)
    monkeypatch.setattr(owner, call, ignored)


# Code that waits ------------------------------------------------------------------------------------------------------

def a_graph_beside_its_teacher(emulated):
    run = MethodRun("hint", step="graph", epochs=2)
    emulated.state = run.state
    with emulated.checker:
        run.train()


def gradients_on_a_side_stream(emulated):
    net = side_gradients.gradients_beside(model_dict["resnet8"](num_classes=5).train(), torch.cuda.Stream())
    x = torch.randn(4, 3, 8, 8)
    with emulated.checker:
        net(x * 2).logsumexp(1).sum().backward()
        torch._foreach_mul_([p.grad for p in net.parameters()], 2)


def cut(data):
    """Batches that share one tensor's memory, as in a chunk."""
    batch = make_batch(1, 2)
    for images in (data * 2).split(2):
        yield replace(batch, images=images)


def a_teacher_a_chunk_ahead(emulated):
    with emulated.checker:
        data = torch.ones(8, 2) * 1
        for batch in ahead.a_chunk_ahead((b for _ in range(3) for b in cut(data)), 4, torch.cuda.Stream()):
            batch.images.sum()
            del batch


def batches_that_two_share(emulated):
    """The second starts late, at a step not yet taken, then reads a chunk that the first one has prepared."""
    lanes = [torch.cuda.Stream(), torch.cuda.Stream()]
    with emulated.checker:
        data = torch.ones(8, 2) * 1
        shared = together.SharedEpoch(chain(cut(data), cut(data)), 0, 1)
        for stream in lanes:
            stream.wait_stream(emulated.checker.current)
        for step, place in ((0, 0), (1, 1), (2, 0), (3, 0), (4, 0), (4, 1)):
            with torch.cuda.stream(lanes[place]):
                shared.at(step).images.sum()
        shared = None
        for stream in lanes:
            with torch.cuda.stream(stream):
                torch.ones(16)


def runs_that_come_and_go(emulated):
    alive = []

    def make(cache):
        gc.collect()
        assert not any(weights() is not None for weights in alive)  # a finished run keeps no memory
        weights = torch.ones(4) * 1
        alive.append(weakref.ref(weights))

        def steps(weights=weights):
            for _ in range(2):
                weights.mul_(2)
                yield
            raise UserError("out of memory")
        engine = SimpleNamespace(device=torch.device("cuda"), weights=weights)
        return SimpleNamespace(engine=engine, opt=SimpleNamespace(precision="tf32"), train=steps, line=0,
                               run=SimpleNamespace(folder=None))
    with emulated.checker:
        outcomes = together.train([make] * 3, at_once=1)
    assert [outcome.problem for outcome in outcomes] == ["out of memory"] * 3


SCENES = {
    a_graph_beside_its_teacher: [graphs.CudaEngine.teacher_output, graphs.CudaEngine.student, graphs.GraphEngine.eager],
    gradients_on_a_side_stream: [side_gradients.SideStream.fork, side_gradients.SideStream.join],
    a_teacher_a_chunk_ahead: [ahead.a_chunk_ahead],
    batches_that_two_share: [together.SharedEpoch.at],
    runs_that_come_and_go: [together.Lane.__init__, together.Lane.close],
}
DROPS = [(scene, place) for scene, functions in SCENES.items() for function in functions
         for place in find_waits(function)]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_with_every_wait_there_is_no_race(scene, emulated):
    scene(emulated)
    assert not emulated.races


@pytest.mark.parametrize("scene, place", DROPS, ids=lambda value: value[2] if isinstance(value, tuple) else "")
def test_a_dropped_wait_is_a_race(scene, place, emulated, monkeypatch):
    drop_call(monkeypatch, place)
    scene(emulated)
    assert emulated.races, place


def test_every_wait_of_the_project_is_tested():
    counted = sum(call in line for module in (graphs, together, side_gradients, ahead)
                  for line in inspect.getsource(module).splitlines() for call in CALLS)
    assert counted == len(DROPS) + 1  # and Pace's torch.cuda.synchronize
