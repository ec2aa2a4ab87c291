"""3x3 convolutions in fewer multiplications, for training on the CPU.

Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (CVPR 2016), F(2x2, 3x3): 2x2 outputs Y from a 4x4
patch d and a 3x3 filter g,

    Y = A' [ (G g G') * (B' d B) ] A      summed over the input channels, * elementwise,

    B' = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1],  G = [1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1],
    A' = [1 1 1 0; 0 1 -1 -1],

16 multiplications where the definition has 36; where the sides are whole multiples of 4 (and the channels at most
256), F(4x4, 3x3), 36 where it has 144, through the points 0, +-1/sqrt(2), +-sqrt(2) and infinity, whose matrices have
smaller numbers than the paper's (0, +-1, +-2): with a^2 = 1/2 and b^2 = 2

    B' = [1 0 -5/2 0 1 0; rows -+a b^2, -b^2, +-a, 1 from the second column on; the same with a and b exchanged;
          0 1 0 -5/2 0 1],
    A' = rows of powers 0 to 3 of the five points, and infinity's 1 in the last.

The gradient of the input is the same convolution with filters turned by 180 degrees and channels exchanged; that of the
filters is G' [ sum over tiles (B' d B) * (A dY A') ] G, in 36 multiplications a tile of 4x4 too.
In single precision the outputs and input gradients of 2x2 tiles are nearer the exact ones than the direct method's (a
quarter of the products to sum up), those of 4x4 tiles up to twice as far off, 1e-6 to 2e-6 of the largest value; the
filters' gradient is off by a few 1e-6 of its largest entry. Images may be held in bfloat16: inputs, outputs and their
gradients are rounded to it; filters, their gradient and all sums are not, though torch's autocast rounds them too. A
sum with a residual is rounded once without autograd, twice with it. What is not finite spreads over the tiles that
read it, infinity as NaN, within its image and filter: one NaN over up to 64 pixels where the definition has 9. No
second derivatives, no torch.func: use ``--kernels torch`` for those.
"""
from __future__ import annotations

import ctypes
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..replace import replaced
from . import native
from .native import Unavailable

__all__ = ["Unavailable", "WinogradConv2d", "kernels", "replace_convolutions"]

WIDTH = 16  # channels come in whole multiples of it
POINTER, INT = ctypes.c_void_p, ctypes.c_int64
CONVOLVE = [POINTER] * 5 + [ctypes.c_bool, POINTER] + [INT] * 5 + [ctypes.c_int]
GRADIENT = [POINTER] * 4 + [INT] * 5 + [ctypes.c_int]


@cache
def kernels() -> dict:
    """The kernels, with tiles of 2x2 and of 4x4, by name and type. Raises :class:`Unavailable`."""
    return native.declare({"convolve_2": CONVOLVE, "convolve_4": CONVOLVE, "weight_gradient_2": GRADIENT,
                           "weight_gradient_4": GRADIENT})


def _sizes(x: Tensor, filters: int) -> tuple[int, ...]:
    n, c, h, w = x.shape
    return n, h, w, c, filters, torch.get_num_threads()


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, relu: bool,
              transposed: bool) -> Tensor:
    """(B, C, H, W) with (K, C, 3, 3) to (B, K, H, W); ``transposed``: (B, K, H, W) back to (B, C, H, W)."""
    x, weight = _last(x), weight.float()
    y = torch.empty(x.shape[0], weight.shape[int(transposed)], *x.shape[2:], dtype=x.dtype,
                    memory_format=torch.channels_last)
    by_filter, by_channel, row, column = weight.stride()
    strides, start = (by_filter, by_channel, row, column), weight.data_ptr()
    if transposed:  # channels exchanged, walked from the last tap to the first
        strides = (by_channel, by_filter, -row, -column)
        start += 2 * (row + column) * weight.element_size()
    bias = None if bias is None else bias.float().contiguous()
    residual = None if residual is None else _last(residual)
    kernel = kernels()["convolve_4" if _large(x, weight) else "convolve_2", x.dtype]
    kernel(x.data_ptr(), start, (INT * 4)(*strides), *(None if t is None else t.data_ptr()
           for t in (bias, residual)), relu, y.data_ptr(), *_sizes(x, y.shape[1]))
    return y


def _large(x: Tensor, weight: Tensor) -> bool:
    """Whether tiles of 4x4 fit and pay: with more channels their filters outgrow a second-level cache of 1 MB."""
    return x.shape[2] % 4 == x.shape[3] % 4 == 0 and max(weight.shape[:2]) <= 256


def _weight_gradient(x: Tensor, dy: Tensor, weight: Tensor) -> Tensor:
    """dL/dweight for the inputs (B, C, H, W) and dL/doutput (B, K, H, W), in the memory layout of the weight."""
    x, dy, gradient = _last(x), _last(dy), torch.empty_like(weight, dtype=torch.float32)
    kernel = kernels()["weight_gradient_4" if _large(x, weight) else "weight_gradient_2", x.dtype]
    kernel(x.data_ptr(), dy.data_ptr(), gradient.data_ptr(), (INT * 4)(*gradient.stride()), *_sizes(x, dy.shape[1]))
    return gradient.to(weight.dtype)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight, bias, None, False, False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, dy):
        x, weight, dy = *ctx.saved_tensors, dy.resolve_neg()
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (_convolve(dy, weight, None, None, False, True) if needs_x else None,
                _weight_gradient(x, dy, weight) if needs_weight else None,
                dy.sum((0, 2, 3), dtype=torch.float32) if needs_bias else None)


class WinogradConv2d(nn.Conv2d):
    """A 3x3 convolution of stride 1 that takes the kernel where it is faster, and torch's own path elsewhere."""

    def forward(self, x: Tensor, residual: Tensor | None = None, relu: bool = False) -> Tensor:
        """(B, C, H, W) to (B, K, H, W), plus ``residual``, through a ReLU if ``relu``; with the kernel channels_last,
        whatever ``x`` is."""
        suits = self._suits(x)
        if suits:
            x = x.to(_wanted(x))
        if suits and not torch.is_grad_enabled() and (residual is None or self._takes(residual, x)):
            return _convolve(x, self.weight, self.bias, residual, relu, False)
        y = _Convolution.apply(x, self.weight, self.bias) if suits else super().forward(x)
        y = y if residual is None else y + residual
        return F.relu(y, inplace=True) if relu else y

    def _takes(self, residual: Tensor, x: Tensor) -> bool:
        return (residual.shape == (x.shape[0], self.out_channels, *x.shape[2:]) and residual.dtype == x.dtype
                and native.plain(residual))

    def _suits(self, x: Tensor) -> bool:
        """Whether the kernel applies: supported numbers on the CPU, even height and width, enough tiles to pay for
        transforming the filters."""
        if not _serves(self) or x.dim() != 4 or x.shape[1] != self.in_channels or _wanted(x) not in native.NUMBERS:
            return False
        given = [t for t in (x, self.weight, self.bias) if t is not None]
        if not all(map(native.plain, given)):
            return False
        if not torch.is_autocast_enabled("cpu") and len({t.dtype for t in given}) > 1:
            return False
        if x.shape[2] % 2 or x.shape[3] % 2:
            return False
        tiles = x.shape[0] * x.shape[2] * x.shape[3] // 4
        return 64 * tiles >= self.in_channels * self.out_channels  # measured from 16 to 512 channels


def _wanted(x: Tensor) -> torch.dtype:
    """What a convolution of ``x`` computes in."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _serves(conv: nn.Conv2d) -> bool:
    return (conv.kernel_size == (3, 3) and conv.stride == conv.padding == conv.dilation == (1, 1) and conv.groups == 1
            and conv.padding_mode == "zeros" and conv.in_channels % WIDTH == conv.out_channels % WIDTH == 0)


def replace_convolutions(net: nn.Module) -> nn.Module:
    """Replace every convolution of ``net`` that can use the kernel by one that does."""
    return replaced(net, lambda layer: type(layer) is nn.Conv2d and _serves(layer),
                    lambda conv: WinogradConv2d(conv.in_channels, conv.out_channels, 3, padding=1,
                                                bias=conv.bias is not None, device="meta"))
