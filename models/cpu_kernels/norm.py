"""Batch norm in fewer passes over memory, for training on the CPU.

Ioffe and Szegedy, Batch Normalization (ICML 2015), over images x (B, C, H, W) in channels_last, for each channel with
mean m and variance v over its N = B H W values,

    y = (x - m) r w + b,    r = 1 / sqrt(v + eps),

and in the same pass the sum with a shortcut and the ReLU that follow. With g the gradient of y, zero where a ReLU cut,

    dw = r sum(g (x - m)),    db = sum(g),    dx = r w (g - db / N - (x - m) r dw / N).

Means and sums are gathered in double precision from sums of 64 values, the variance around each block's own mean, so
that a large mean costs no digits. The running variance takes v N / (N - 1), as torch has it. Images may be held in
bfloat16; the rest is in single precision. A channel that holds an infinity has NaN for its mean, where torch has
infinity.
"""
from __future__ import annotations

import ctypes
from functools import cache

import torch
from torch import Tensor, nn

from ..layers import BatchNorm2d
from ..replace import replaced
from . import native

WIDTH = 16  # channels come in whole multiples of it
POINTER, INT, REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double


@cache
def kernels() -> dict:
    """The kernels, by name and type. Raises :class:`native.Unavailable` with the reason."""
    sizes = [INT, INT, ctypes.c_int]
    return native.declare({
        "statistics": [POINTER] * 5 + [REAL] * 2 + sizes,
        "normalize": [POINTER] * 6 + [ctypes.c_bool, POINTER] + sizes,
        "norm_gradient": [POINTER] * 6 + [ctypes.c_bool] + [POINTER] * 5 + sizes,
    })


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return x.numel() // x.shape[1], x.shape[1], torch.get_num_threads()


def _normalize(x, mean, inverse, weight, bias, residual, relu) -> Tensor:
    y = torch.empty_like(x)  # channels_last, as x
    given = (t.data_ptr() for t in (x, mean, inverse, weight, bias))
    kernels()["normalize", x.dtype](*given, None if residual is None else residual.data_ptr(), relu, y.data_ptr(),
                                    *_sizes(x))
    return y


class _Norm(torch.autograd.Function):
    """In training. What a ReLU cuts is computed from ``x`` alone, after a sum with ``residual`` from the output."""

    @staticmethod
    def forward(ctx, x, weight, bias, residual, norm, relu):
        mean, inverse = torch.empty_like(weight), torch.empty_like(weight)
        filled = (t.data_ptr() for t in (x, mean, inverse, norm.running_mean, norm.running_var))
        kernels()["statistics", x.dtype](*filled, norm.momentum, norm.eps, *_sizes(x))
        y = _normalize(x, mean, inverse, weight, bias, residual, relu)
        ctx.relu, ctx.summed = relu, residual is not None
        ctx.save_for_backward(x, mean, inverse, weight, bias, *([y] if relu and ctx.summed else []))
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        given, outputs = ctx.saved_tensors[:5], ctx.saved_tensors[5:]
        dy = dy.resolve_neg().contiguous(memory_format=torch.channels_last)
        dx, dweight, dbias = (torch.empty_like(given[i]) for i in (0, 3, 4))
        cut = torch.empty_like(dx) if outputs else dy  # the gradient of the sum
        kernels()["norm_gradient", dy.dtype](
            *(t.data_ptr() for t in (dy, *given)), ctx.relu, outputs[0].data_ptr() if outputs else None,
            *(t.data_ptr() for t in (cut, dx, dweight, dbias)), *_sizes(dy))
        return dx, dweight, dbias, cut if ctx.summed else None, None, None


class NativeBatchNorm2d(BatchNorm2d):
    """A batch norm that takes the kernel where it fits, and torch's own path elsewhere."""

    def forward(self, x: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        """The norm of ``x`` (B, C, H, W), plus ``residual`` (the same shape), through a ReLU if ``relu``."""
        if self._suits(x, residual):
            if not self.training:
                inverse = torch.rsqrt(self.running_var + self.eps)
                return _normalize(x, self.running_mean, inverse, self.weight, self.bias, residual, relu)
            self.num_batches_tracked.add_(1)
            return _Norm.apply(x, self.weight, self.bias, residual, self, relu)
        return super().forward(x, residual, relu)

    def _suits(self, x: Tensor, residual: Tensor | None) -> bool:
        """Whether the kernel applies: supported numbers on the CPU, channels_last, more than one value per channel; in
        evaluation without autograd."""
        if x.dim() != 4 or x.shape[1] != self.num_features:
            return False
        if not _serves(self) or not _lies_ready(x) or x.numel() <= x.shape[1]:
            return False
        if residual is not None and ((residual.shape, residual.dtype) != (x.shape, x.dtype)
                                     or not _lies_ready(residual)):
            return False
        own = (self.weight, self.bias, self.running_mean, self.running_var)
        wanted = torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, residual, *own))
        if wanted and not self.training:
            return False
        return all(native.plain(t) and t.dtype == torch.float32 and t.is_contiguous() for t in own)


def _lies_ready(x: Tensor) -> bool:
    return native.plain(x) and x.is_contiguous(memory_format=torch.channels_last)


def _serves(norm: nn.BatchNorm2d) -> bool:
    return (norm.affine and norm.track_running_stats and norm.momentum is not None and norm.running_mean is not None
            and norm.num_features % WIDTH == 0)


def replace_norms(net: nn.Module) -> nn.Module:
    """Replace every batch norm of ``net`` that can use the kernel by one that does."""
    return replaced(net, lambda layer: type(layer) in (nn.BatchNorm2d, BatchNorm2d) and _serves(layer),
                    lambda norm: NativeBatchNorm2d(norm.num_features, norm.eps, norm.momentum, device="meta"))
