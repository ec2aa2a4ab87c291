"""Gradients of convolution weights on a second CUDA stream, beside the rest of the backward pass.

Nothing in a backward pass reads a weight's gradient, so only that of the input is on the critical path. A variant of
scripts/bench/device.py, which no command trains with until a device has measured it.
"""
from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Variable

from .replace import conv_as, is_plain_conv, replaced


class SideStream:
    """The second stream of one network's backward pass.

    What its kernels read is held until the pass has ended and the stream has joined the current one: memory that is
    freed earlier could be allocated and written again on the main stream while they still read it.
    """

    def __init__(self, stream: torch.cuda.Stream | None):
        self.stream = stream  # None: everything in line
        self.held: list[Tensor] = []

    def hold(self, *tensors: Tensor) -> None:
        if not self.held:  # the first convolution of this backward pass
            Variable._execution_engine.queue_callback(self.join)
        self.held += tensors

    def fork(self, *read: Tensor) -> None:
        """What comes in :meth:`context` from here on may begin now."""
        self.hold(*read)
        if self.stream is not None:
            self.stream.wait_stream(torch.cuda.current_stream())

    def context(self):
        return contextlib.nullcontext() if self.stream is None else torch.cuda.stream(self.stream)

    def join(self) -> None:
        if self.stream is not None:
            torch.cuda.current_stream().wait_stream(self.stream)
        self.held.clear()


class _Convolution(torch.autograd.Function):
    """A convolution whose backward pass returns the input's gradient and sets ``weight.grad`` itself.

    A returned gradient would be stored, or copied, by autograd on the main stream without waiting for the second one.
    """

    @staticmethod
    def forward(ctx, x, weight, layer):
        ctx.layer, ctx.weight = layer, weight
        dtype = torch.get_autocast_dtype(x.device.type) if torch.is_autocast_enabled(x.device.type) else weight.dtype
        x, used = x.to(dtype), weight.detach().to(dtype)
        ctx.save_for_backward(x, used)
        with torch.autocast(x.device.type, enabled=False):
            return F.conv2d(x, used, None, layer.stride, layer.padding, layer.dilation, layer.groups)

    @staticmethod
    def backward(ctx, dy):
        (x, used), layer, weight, side = ctx.saved_tensors, ctx.layer, ctx.weight, ctx.layer.side
        sizes = (layer.stride, layer.padding, layer.dilation, False, [0, 0], layer.groups)

        def gradient(*mask):
            return torch.ops.aten.convolution_backward(dy, x, used, None, *sizes, mask)

        side.fork(x, dy, used)  # before the input's gradient, not after it
        dx = gradient(True, False, False)[0] if ctx.needs_input_grad[0] else None
        with side.context():
            dw = gradient(False, True, False)[1].to(weight.dtype)
            weight.grad = dw if weight.grad is None else weight.grad + dw
        return dx, None, None


class SideConv2d(nn.Conv2d):
    """A convolution without a bias that trains by :class:`_Convolution`; its weight's gradient is complete when
    ``backward()`` returns. ``torch.autograd.grad`` for the weight, hooks on it, and DDP don't work."""

    side: SideStream

    def forward(self, x: Tensor) -> Tensor:
        if not (torch.is_grad_enabled() and self.weight.requires_grad):
            return super().forward(x)
        return _Convolution.apply(x, self.weight, self)


def gradients_beside(net: nn.Module, stream: torch.cuda.Stream | None) -> nn.Module:
    """``net`` with :class:`SideConv2d` in place of each convolution without a bias; the parameters stay the same.

    stream: of its device, and of this network alone; None computes in line, as on the CPU.
    """
    side = SideStream(stream)

    def make(conv: nn.Conv2d) -> nn.Conv2d:
        new = conv_as(SideConv2d, conv)
        new.side = side
        return new
    return replaced(net, lambda layer: is_plain_conv(layer, bias=False), make)
