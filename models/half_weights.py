"""Convolutions under bf16 autocast whose weights are cast by one copy for all, in place of one cast each.

A variant of scripts/bench/device.py, which no command trains with until a device has measured it.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .replace import conv_as, is_plain_conv, replaced


class _Weight(torch.autograd.Function):
    """``half``, with the gradient handed to ``weight`` in its type."""

    @staticmethod
    def forward(ctx, weight, half):
        ctx.dtype = weight.dtype
        return half.view_as(half)

    @staticmethod
    def backward(ctx, dy):
        return dy.to(ctx.dtype), None


class HalfConv2d(nn.Conv2d):
    """A convolution without a bias that reads ``half`` where autocast would cast its weight."""

    half: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        return F.conv2d(x, _Weight.apply(self.weight, self.half), None, self.stride, self.padding, self.dilation,
                        self.groups)


def weights_cast_at_once(net: nn.Module) -> nn.Module:
    """``net`` with :class:`HalfConv2d` in place of each convolution without a bias; the parameters stay the same."""
    made: list[HalfConv2d] = []

    def make(conv: nn.Conv2d) -> nn.Conv2d:
        made.append(conv_as(HalfConv2d, conv))
        made[-1].half = conv.weight.detach().bfloat16()
        return made[-1]

    @torch.no_grad()
    def cast(*_) -> None:
        torch._foreach_copy_([conv.half for conv in made], [conv.weight for conv in made])

    net = replaced(net, lambda layer: is_plain_conv(layer, bias=False), make)
    if made:
        net.register_forward_pre_hook(cast)
    return net
