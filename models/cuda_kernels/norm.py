"""Batch norm with the sum and the ReLU that follow it, for training on CUDA: at most two launches each way.

The formulas are those of models/cpu_kernels/norm.py; statistics, sums and parameters are in single precision, images in
float32 or bfloat16, channels_last. The first launch leaves sums of blocks of rows (B H W positions, all channels), the
second adds them up in a fixed order, without atomics, and writes the images. Up to :data:`AT_ONCE` rows one launch does
both. Running statistics are torch's: momentum, unbiased variance.

Each launch is an operator, so that it can be counted, captured and tested without a device. On the CPU it is torch's
own operations, or under TRITON_INTERPRET=1 the kernel itself.
"""
from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from ..layers import BatchNorm2d
from ..replace import replaced

AT_ONCE = 4096  # rows of which four channels, read once, stay in the registers of a multiprocessor

_operators = torch.library.Library("mixkd", "FRAGMENT")
_operators.define("norm_statistics(Tensor x) -> Tensor")
_operators.define("norm_apply(Tensor x, Tensor? partial, Tensor weight, Tensor bias, Tensor? residual, bool relu, "
                  "Tensor(a!) running_mean, Tensor(b!) running_var, float momentum, float eps) "
                  "-> (Tensor, Tensor, Tensor)")
_operators.define("norm_sums(Tensor dy, Tensor? more, Tensor x, Tensor? y, Tensor mean, Tensor inverse, Tensor weight, "
                  "Tensor bias, bool relu) -> (Tensor, Tensor)")
_operators.define("norm_gradient(Tensor dy, Tensor? more, Tensor x, Tensor? y, Tensor? partial, Tensor mean, "
                  "Tensor inverse, Tensor weight, Tensor bias, bool relu) -> (Tensor, Tensor, Tensor, Tensor)")


# The operators of torch -----------------------------------------------------------------------------------------------

def _columns(*vectors: Tensor) -> list[Tensor]:
    return [v[:, None, None] for v in vectors]


def _statistics(x: Tensor) -> Tensor:
    """(blocks, 2, C): means, and sums of the squares around them; here of one block."""
    mean = x.float().mean((0, 2, 3))
    return torch.stack([mean, (x - mean[:, None, None]).square().sum((0, 2, 3))])[None]


def _apply(x, partial, weight, bias, residual, relu, running_mean, running_var, momentum, eps):
    """(y, mean, 1 / deviation)."""
    (mean, squares), = _statistics(x) if partial is None else partial
    n = x.numel() // x.shape[1]
    running_mean.lerp_(mean, momentum)
    running_var.lerp_(squares / (n - 1), momentum)
    inverse = (squares / n + eps).rsqrt()
    m, r, w, b = _columns(mean, inverse, weight, bias)
    y = (x - m) * r * w + b
    y = y if residual is None else y + residual
    return (y.relu() if relu else y).to(x.dtype), mean, inverse


def _cut(dy, more, x, y, mean, inverse, weight, bias, relu) -> Tensor:
    """The gradient of the norm: both gradients of its output, zero where the ReLU cut."""
    g = dy.float() if more is None else dy.float() + more
    if not relu:
        return g
    m, r, w, b = _columns(mean, inverse, weight, bias)
    return torch.where((y if y is not None else (x - m) * r * w + b) <= 0, 0, g)


def _sums(dy, more, x, y, mean, inverse, weight, bias, relu):
    """(the gradient of the norm, empty where ``dy`` and ``x`` give it; its sums, as (blocks, 2, C))."""
    g = _cut(dy, more, x, y, mean, inverse, weight, bias, relu)
    partial = torch.stack([g.sum((0, 2, 3)), (g * (x - mean[:, None, None])).sum((0, 2, 3))])[None]
    return g.to(dy.dtype) if needs_cut(more, y) else dy.new_empty(0), partial


def _gradient(dy, more, x, y, partial, mean, inverse, weight, bias, relu):
    """(dx, dweight, dbias, the gradient of the norm as above)."""
    g = _cut(dy, more, x, y, mean, inverse, weight, bias, relu)
    cut = g.to(dy.dtype) if needs_cut(more, y) else dy.new_empty(0)
    (total, product), = _sums(dy, more, x, y, mean, inverse, weight, bias, relu)[1] if partial is None else partial
    n = x.numel() // x.shape[1]
    m, r, w, s, p = _columns(mean, inverse, weight, total / n, product * inverse**2 / n)
    return (r * w * (g - s - (x - m) * p)).to(x.dtype), product * inverse, total, cut


def needs_cut(more: Tensor | None, y: Tensor | None) -> bool:
    """Whether the norm's own gradient is written: a shortcut takes it, or it is a sum that is not added twice."""
    return more is not None or y is not None


def _by_triton(name: str):
    def launch(*args):
        from . import triton_norm  # not every torch comes with it
        return getattr(triton_norm, name)(*args)
    return launch


for _plain in (_statistics, _apply, _sums, _gradient):
    _launch = _by_triton(_plain.__name__[1:])
    _operators.impl(f"norm{_plain.__name__}", _launch, "CUDA")
    _operators.impl(f"norm{_plain.__name__}", _launch if os.environ.get("TRITON_INTERPRET") == "1" else _plain, "CPU")


# The layer ------------------------------------------------------------------------------------------------------------

class _Norm(torch.autograd.Function):
    """Returns its output twice, in the same memory: what a shortcut reads apart from what a convolution reads, so that
    their gradients arrive apart and are added within the backward pass's own launches."""

    @staticmethod
    def forward(ctx, x, weight, bias, residual, norm, relu):
        partial = None if x.numel() <= AT_ONCE * x.shape[1] else torch.ops.mixkd.norm_statistics(x)
        y, mean, inverse = torch.ops.mixkd.norm_apply(x, partial, weight, bias, residual, relu, norm.running_mean,
                                                      norm.running_var, norm.momentum, norm.eps)
        ctx.relu, ctx.summed = relu, residual is not None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, y if relu and ctx.summed else None, mean, inverse, weight, bias)
        return y, y.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy, more):
        x, y, *vectors = ctx.saved_tensors
        dy, more = (dy, more) if dy is not None else (more, None)
        if dy is None:
            return (None,) * 6
        dy, more = (g if g is None else g.contiguous(memory_format=torch.channels_last) for g in (dy, more))
        cut, partial, relu = dy, None, ctx.relu
        if x.numel() > AT_ONCE * x.shape[1]:
            cut, partial = torch.ops.mixkd.norm_sums(dy, more, x, y, *vectors, relu)
            if needs_cut(more, y):
                dy, more, y, relu = cut, None, None, False
        dx, dweight, dbias, found = torch.ops.mixkd.norm_gradient(dy, more, x, y, partial, *vectors, relu)
        cut = found if len(found) else dy
        return dx, dweight, dbias, cut if ctx.summed else None, None, None


class TritonBatchNorm2d(BatchNorm2d):
    """A batch norm that trains by the kernels where they fit, and by torch's own path elsewhere."""

    def forward(self, x: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        """The norm of ``x`` (B, C, H, W), plus ``residual`` (the same shape), through a ReLU if ``relu``."""
        if not self._suits(x, residual):
            return super().forward(x, residual, relu)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        y, y.shortcut = _Norm.apply(x, self.weight, self.bias, shortcut_of(residual), self, relu)
        return y

    def _suits(self, x: Tensor, residual: Tensor | None) -> bool:
        if not self.training or x.dim() != 4 or x.shape[1] != self.num_features or x.numel() <= x.shape[1]:
            return False
        return _lies_ready(x) and (residual is None or ((residual.shape, residual.dtype) == (x.shape, x.dtype)
                                                        and _lies_ready(residual)))


def shortcut_of(x: Tensor | None) -> Tensor | None:
    """What a second reader of a norm's output takes in its place; ``x`` itself where that isn't one."""
    return getattr(x, "shortcut", x)


def _lies_ready(x: Tensor) -> bool:
    return (x.dtype in (torch.float32, torch.bfloat16) and x.is_contiguous(memory_format=torch.channels_last))


def norms_by_triton(net: nn.Module) -> nn.Module:
    """``net`` with :class:`TritonBatchNorm2d` in place of every batch norm with weights, running statistics and a
    momentum; parameters, buffers and names stay the same."""
    for layer in net.modules():
        if type(layer) is nn.Sequential:  # a projection on a shortcut is one; elsewhere it changes nothing
            layer.register_forward_pre_hook(lambda _, given: tuple(map(shortcut_of, given)))
    return replaced(net, lambda layer: type(layer) in (nn.BatchNorm2d, BatchNorm2d) and layer.affine
                    and layer.track_running_stats and layer.momentum is not None,
                    lambda norm: TritonBatchNorm2d(norm.num_features, norm.eps, norm.momentum, device="meta"))
