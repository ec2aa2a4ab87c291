"""Top-1, top-5 and loss of a network on held-out images."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .ddp import total
from .engine import which_hit


@dataclass(frozen=True)
class Accuracy:
    """top1, top5: per cent. loss: mean cross-entropy in nats. images: how many."""

    top1: float
    top5: float
    loss: float
    images: int


def hits(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Number of rows whose label is the largest logit, and among the five largest."""
    top1, top5 = which_hit(logits, labels)
    return top1.sum(), top5.sum()


@torch.no_grad()
def evaluate(model: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]],
             scale: Callable[[Tensor], Tensor] = lambda logits: logits) -> Accuracy:
    """Run a network over (images, labels) batches. ``scale`` is applied to the logits before the loss (see --rescale).

    Sums stay on the device in float64; the one host sync is at the end. Under torchrun ``batches`` is this process's
    share of them and the sums are those of all. The network's mode is given back.
    """
    training = isinstance(model, nn.Module) and model.training
    if training:
        model.eval()
    sums = torch.zeros(4, dtype=torch.float64)  # of no batches at all: a process may have none
    for images, labels in batches:
        logits = model(images).float()
        top1, top5 = hits(logits, labels)
        loss = F.cross_entropy(scale(logits), labels, reduction="sum")
        count = torch.full_like(loss, len(labels))
        row = torch.stack([value.double() for value in (top1, top5, loss, count)])
        sums = sums.to(row.device) + row
    if training:
        model.train()
    top1, top5, loss, images = total(sums).tolist()
    return Accuracy(100 * top1 / images, 100 * top5 / images, loss / images, int(images))
