"""The engine's step on CUDA: the teacher on a stream of its own, and the whole step as a CUDA graph.

Both surround :class:`helper.engine.Engine` and change nothing in it. Streams, graphs and their memory pool belong to
one run: runs that train side by side share none of them.
"""
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace

import torch
from torch import Tensor, nn

from .engine import Engine
from .teacher import TeacherBatch

WARM_UP = 3  # eager steps before the first capture: momentum buffers, cuDNN's search, CRD's constants


class CudaEngine(Engine):
    """The teacher's forward pass beside the student's; they join before the loss."""

    def __init__(self, *args):
        self.beside = torch.cuda.Stream()
        self.pending = False  # whether the teacher's stream is yet to be joined
        super().__init__(*args)

    def teacher_output(self, batch):
        """Computed on a stream of its own, unless the batch carries it; joined in :meth:`student`."""
        if isinstance(batch, TeacherBatch):
            return super().teacher_output(batch)
        self.pending = True
        self.beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.beside):
            return super().teacher_output(batch)

    def student(self, images):
        """What a stream allocates it takes anew in the next step only, after this join, so nothing is recorded."""
        with norms_counted_at_once(self.model):
            out_s = super().student(images)
        if self.pending:
            torch.cuda.current_stream().wait_stream(self.beside)
            self.pending = False
        return out_s


class GraphEngine(CudaEngine):
    """The step captured once per stage and batch size, and replayed. The learning rate is a tensor, which a captured
    step reads anew, so that its drops need no capture."""

    def __init__(self, *args):
        self.side = torch.cuda.Stream()
        super().__init__(*args)

    def initial_rate(self) -> Tensor:
        self.rate = torch.tensor(self.opt.learning_rate, device=self.device)
        return self.rate

    def set_rate(self, rate: float) -> None:
        self.rate.fill_(rate)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate  # a loaded state has replaced it

    def enter(self, stage: str) -> None:
        super().enter(stage)
        self.seen: dict[tuple, int] = {}
        self.captured: dict[tuple, tuple] = {}  # empty: what was captured trains the stage before
        self.pool = torch.cuda.graph_pool_handle()  # one whose graphs are all gone can't be captured into

    def step(self, batch) -> None:
        """The first steps of each key run eagerly, as real training; then the step is captured and replayed."""
        key = self.stage, type(batch), len(batch.labels)
        count = self.seen[key] = self.seen.get(key, 0) + 1
        if count <= (WARM_UP if len(self.seen) == 1 else 1):
            self.eager(batch)
            return
        if key not in self.captured:
            self.captured[key] = self.capture(batch)
        graph, static = self.captured[key]
        copy_batch(static, batch)
        graph.replay()

    def eager(self, batch) -> None:
        current = torch.cuda.current_stream()
        self.side.wait_stream(current)
        with torch.cuda.stream(self.side):
            super().step(batch)
        current.wait_stream(self.side)

    def capture(self, batch) -> tuple:
        """(graph, the batch that it reads)."""
        static = replace(batch, **{f.name: copied(getattr(batch, f.name)) for f in fields(batch)})
        graph, out_of_memory = torch.cuda.CUDAGraph(), None
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=self.side, capture_error_mode="thread_local"):
                try:
                    super().step(static)
                except torch.cuda.OutOfMemoryError as error:
                    out_of_memory = error
                    raise
        except RuntimeError:  # ending a capture whose streams were not joined raises too, and would hide the reason
            if out_of_memory is not None:
                raise out_of_memory from None
            raise
        return graph, static


def copied(value):
    if isinstance(value, Tensor):
        return value.clone()
    return value if isinstance(value, int) else [part.clone() for part in value]


def tensors_of(batch) -> Iterator[Tensor]:
    """Every tensor of a batch, in the order of its fields."""
    assert is_dataclass(batch)
    for field in fields(batch):
        value = getattr(batch, field.name)
        if not isinstance(value, int):
            yield from [value] if isinstance(value, Tensor) else value


def copy_batch(buffer, batch) -> None:
    """Copy every tensor of a batch into the buffer's: one operation per type of numbers."""
    pairs: dict[torch.dtype, tuple[list, list]] = {}
    for to, of in zip(tensors_of(buffer), tensors_of(batch), strict=True):
        targets, sources = pairs.setdefault(of.dtype, ([], []))
        targets.append(to)
        sources.append(of)
    for targets, sources in pairs.values():
        torch._foreach_copy_(targets, sources, non_blocking=True)


@contextlib.contextmanager
def norms_counted_at_once(model: nn.Module) -> Iterator[None]:
    """Within it the batch norms of ``model`` leave their ``num_batches_tracked`` alone; at its end all are counted up,
    in one operation in place of one each; a norm that is called twice in a step counts once. Only for norms with a
    momentum: without one they need the count."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.training and m.momentum is not None]
    counts = [norm.num_batches_tracked for norm in norms]
    for norm in norms:
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, count in zip(norms, counts, strict=True):
            norm.num_batches_tracked = count
    if counts:
        torch._foreach_add_(counts, 1)
