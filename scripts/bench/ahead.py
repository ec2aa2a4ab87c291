"""The teacher a chunk ahead of the steps, on a stream of its own: a variant of device.py."""
from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch

from helper.graphs import tensors_of


def a_chunk_ahead(batches: Iterator, steps: int, stream: torch.cuda.Stream | None) -> Iterator:
    """``batches``, each chunk of ``steps`` made on ``stream`` (None: in line) before the chunk in front of it is used.
    """
    def make() -> tuple[list, torch.cuda.Event | None]:
        if stream is None:
            return list(islice(batches, steps)), None
        with torch.cuda.stream(stream):
            return list(islice(batches, steps)), stream.record_event()

    if stream is not None:  # the data and the teacher's weights were written on the current one
        stream.wait_stream(torch.cuda.current_stream())
    chunk, made = make()
    while chunk:
        if stream is not None:
            current = torch.cuda.current_stream()
            current.wait_event(made)
            for tensor in (tensor for batch in chunk for tensor in tensors_of(batch)):
                tensor.record_stream(current)
        following = make()
        while chunk:
            yield chunk.pop(0)
        chunk, made = following


def put_ahead(fit) -> None:
    """Make the batches of ``fit`` so, and give its captured step a higher priority."""
    stream, given = None, fit.batches
    if fit.engine.device.type == "cuda":
        stream, fit.engine.side = torch.cuda.Stream(priority=0), torch.cuda.Stream(priority=-1)
    fit.batches = lambda start: a_chunk_ahead(given(start), fit.ahead, stream)
