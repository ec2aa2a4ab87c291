"""A loss weight that grows over the first epochs."""
import torch
from torch import Tensor, nn

from .ranges import number


def warmup_flag(epochs: int) -> dict:
    """Keyword arguments of a ``--..._warmup`` flag."""
    return {"type": number(int, low=0, high=10**6), "default": epochs,
            "help": "epochs over which the method's own term grows linearly to full weight; 0: at once"}


class Warmup(nn.Module):
    """Scales a loss by min(epoch / epochs, 1), epochs counted from 1.

    The factor is a buffer, written in place between epochs: a captured step reads it, a checkpoint holds it.
    """

    def __init__(self, epochs: int):
        super().__init__()
        self.epochs = epochs
        self.register_buffer("factor", torch.ones(()))
        self.begin_epoch(1)

    def begin_epoch(self, epoch: int) -> None:
        self.factor.fill_(min(epoch / self.epochs, 1.0) if self.epochs else 1.0)

    def forward(self, loss: Tensor) -> Tensor:
        return self.factor * loss
