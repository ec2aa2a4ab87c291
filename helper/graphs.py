"""Capture of a training step as a CUDA graph, and its replay."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import torch

WARM_UP = 3  # eager steps before the first capture: momentum buffers, cuDNN's search, CRD's constants


class Graphs:
    """Captured steps, one for each (learners, stage, batch sizes). The learning rate is part of a capture, so a drop
    captures anew: three times in a run of the recipe."""

    def __init__(self, device: torch.device):
        self.device = device
        self.side = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()
        self.seen: dict[tuple, int] = {}
        self.captured: dict[tuple, tuple] = {}

    def run(self, key: tuple, rates: tuple, batches: Sequence, update: Callable) -> None:
        """The first steps of a key run eagerly, as real training; then the step is captured once and replayed."""
        count = self.seen.get(key, 0)
        self.seen[key] = count + 1
        if count < (WARM_UP if len(self.seen) == 1 else 1):
            self._on_side(lambda: update(batches))
            return
        entry = self.captured.get(key)
        if entry is None or entry[0] != rates:
            entry = self._capture(key, rates, batches, update)
        _, graph, static = entry
        copy_all(static, batches)
        graph.replay()

    def _on_side(self, work: Callable) -> None:
        current = torch.cuda.current_stream(self.device)
        self.side.wait_stream(current)
        with torch.cuda.stream(self.side):
            work()
        current.wait_stream(self.side)

    def _capture(self, key: tuple, rates: tuple, batches: Sequence, update: Callable) -> tuple:
        # An old graph of this key goes after the new one stands: a pool that no graph uses can't be captured into.
        static = [replace(b, **{f.name: getattr(b, f.name).clone() for f in fields(b)}) for b in batches]
        graph, out_of_memory = torch.cuda.CUDAGraph(), None
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=self.side, capture_error_mode="thread_local"):
                try:
                    update(static)
                except torch.cuda.OutOfMemoryError as error:
                    out_of_memory = error
                    raise
        except RuntimeError:  # ending a capture whose streams were not joined raises too, and would hide the reason
            if out_of_memory is not None:
                raise out_of_memory from None
            raise
        self.captured[key] = (rates, graph, static)
        return self.captured[key]


def copy_all(buffers: Sequence, batches: Sequence) -> None:
    """Copy every field of each batch into the buffer's: one operation a type of numbers."""
    pairs: dict[torch.dtype, tuple[list, list]] = {}
    for buffer, batch in zip(buffers, batches, strict=True):
        for field in fields(batch):
            to, of = pairs.setdefault(getattr(batch, field.name).dtype, ([], []))
            to.append(getattr(buffer, field.name))
            of.append(getattr(batch, field.name))
    for to, of in pairs.values():
        torch._foreach_copy_(to, of, non_blocking=True)
