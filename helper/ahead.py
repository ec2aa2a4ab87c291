"""The teacher's answers to many batches at once, before the steps that read them.

A method that reads logits alone doesn't need its teacher within the step: it may see a chunk of mixed batches as one,
which a GPU does in about as many kernels as one batch, and each step takes its slice. Chunks begin at fixed places of
an epoch, so that a run that is resumed in the middle of one gets the answers that it would have got without a pause.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import islice

import torch
from torch import Tensor

from dataset import Batch

# Images the teacher sees at once. A GPU is busy with 1024, more would only take more memory; a CPU is busy with one
# batch, and larger ones leave its cache.
IMAGES = {"cpu": 0, "cuda": 1024}


@dataclass(frozen=True)
class AnsweredBatch(Batch):
    """A batch and the teacher's logits (B, K) for it."""

    logits_t: Tensor


def chunk_steps(device: torch.device, batch_size: int) -> int:
    """Steps for which the teacher answers at once on a device."""
    return max(1, IMAGES[device.type] // batch_size)


def answered(teacher: Callable, steps: int, epoch: Callable[[int], Iterator[Batch]],
             start: int) -> Iterator[AnsweredBatch]:
    """The batches of an epoch from step ``start`` on, answered ``steps`` at a time.

    teacher: from images to (features, logits). epoch: from a step to the epoch's batches from there on.
    """
    first = start - start % steps
    batches = epoch(first)
    while chunk := list(islice(batches, steps)):
        logits = teacher(torch.cat([batch.images for batch in chunk]))[1]
        parts = logits.split([len(batch.labels) for batch in chunk])
        for step, (batch, logits_t) in enumerate(zip(chunk, parts, strict=True), first):
            if step >= start:
                mixed_batch = {field.name: getattr(batch, field.name) for field in fields(Batch)}
                yield AnsweredBatch(**mixed_batch, logits_t=logits_t)
        first += len(chunk)
