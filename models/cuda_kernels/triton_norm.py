"""The launches of :mod:`.norm`. A program has a tile of rows and channels; each value is computed in single precision.

Reading: a row of channels_last images is contiguous, so a tile is too, up to the channels that it leaves out.
"""
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .norm import needs_cut

ROWS, CHANNELS = 256, 16  # of a tile where there are several
FEW = 4  # channels of a tile that has all rows
BLOCKS = tl.constexpr(256)  # sums of blocks that are read at once


@triton.jit
def _tile(rows, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    """(offsets, which of them are inside, of channels: offsets and which are inside)."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    inside = (row < rows)[:, None] & (channel < channels)[None, :]
    return row[:, None] * channels + channel[None, :], inside, channel, channel < channels


@triton.jit
def _moments(x, inside, count):
    """Mean of the rows of a tile, which is zero outside, and the sum of the squares around it."""
    mean = tl.sum(x, 0) / count
    off = tl.where(inside, x - mean[None, :], 0.0)
    return mean, tl.sum(off * off, 0)


@triton.jit
def _statistics(x_at, partial_at, rows, channels, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    at, inside, channel, real = _tile(rows, channels, ROWS, CHANNELS)
    x = tl.load(x_at + at, inside, 0.0).to(tl.float32)
    block = tl.program_id(0)
    mean, squares = _moments(x, inside, tl.minimum(ROWS, rows - block * ROWS).to(tl.float32))
    tl.store(partial_at + 2 * block * channels + channel, mean, real)
    tl.store(partial_at + (2 * block + 1) * channels + channel, squares, real)


@triton.jit
def _of_blocks(partial_at, first, blocks, which, channels, channel, real):
    """Numbers of some blocks, from ``first`` on, zero after the last."""
    block = first + tl.arange(0, BLOCKS)
    inside = (block < blocks)[:, None] & real[None, :]
    return tl.load(partial_at + ((2 * block + which) * channels)[:, None] + channel[None, :], inside, 0.0), block


@triton.jit
def _apply(x_at, partial_at, weight_at, bias_at, residual_at, running_mean_at, running_var_at, y_at, mean_at,
           inverse_at, momentum, eps, rows, channels, blocks, PART: tl.constexpr, RELU: tl.constexpr,
           ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    at, inside, channel, real = _tile(rows, channels, ROWS, CHANNELS)
    x = tl.load(x_at + at, inside, 0.0).to(tl.float32)
    if partial_at is None:
        mean, squares = _moments(x, inside, rows.to(tl.float32))
    else:
        mean, squares = tl.zeros([CHANNELS], tl.float32), tl.zeros([CHANNELS], tl.float32)
        for first in range(0, blocks, BLOCKS):
            means, block = _of_blocks(partial_at, first, blocks, 0, channels, channel, real)
            count = tl.minimum(PART, tl.maximum(rows - block * PART, 0)).to(tl.float32)
            mean += tl.sum(count[:, None] * means, 0) / rows
        for first in range(0, blocks, BLOCKS):
            means, block = _of_blocks(partial_at, first, blocks, 0, channels, channel, real)
            count = tl.minimum(PART, tl.maximum(rows - block * PART, 0)).to(tl.float32)
            own, _ = _of_blocks(partial_at, first, blocks, 1, channels, channel, real)
            squares += tl.sum(own + count[:, None] * (means - mean[None, :]) * (means - mean[None, :]), 0)
    inverse = 1 / tl.sqrt(squares / rows + eps)
    weight = tl.load(weight_at + channel, real, 0.0)
    bias = tl.load(bias_at + channel, real, 0.0)
    y = (x - mean[None, :]) * inverse[None, :] * weight[None, :] + bias[None, :]
    if residual_at is not None:
        y += tl.load(residual_at + at, inside, 0.0).to(tl.float32)
    if RELU:
        y = tl.where(y < 0, 0.0, y)  # a NaN stays one
    tl.store(y_at + at, y, inside)
    if tl.program_id(0) == 0:
        tl.store(mean_at + channel, mean, real)
        tl.store(inverse_at + channel, inverse, real)
        running_mean = tl.load(running_mean_at + channel, real, 0.0)
        running_var = tl.load(running_var_at + channel, real, 0.0)
        tl.store(running_mean_at + channel, running_mean + momentum * (mean - running_mean), real)
        tl.store(running_var_at + channel, running_var + momentum * (squares / (rows - 1) - running_var), real)


@triton.jit
def _cut(dy_at, more_at, y_at, bias_at, at, inside, channel, real, off, inverse, weight, RELU: tl.constexpr):
    """The gradient of the norm in a tile."""
    g = tl.load(dy_at + at, inside, 0.0).to(tl.float32)
    if more_at is not None:
        g += tl.load(more_at + at, inside, 0.0).to(tl.float32)
    if RELU:
        if y_at is not None:
            y = tl.load(y_at + at, inside, 0.0).to(tl.float32)
        else:
            y = off * inverse[None, :] * weight[None, :] + tl.load(bias_at + channel, real, 0.0)[None, :]
        g = tl.where(y <= 0, 0.0, g)
    return g


@triton.jit
def _sums(dy_at, more_at, x_at, y_at, mean_at, inverse_at, weight_at, bias_at, cut_at, partial_at, rows, channels,
          RELU: tl.constexpr, ROWS: tl.constexpr, CHANNELS: tl.constexpr):
    at, inside, channel, real = _tile(rows, channels, ROWS, CHANNELS)
    inverse = tl.load(inverse_at + channel, real, 0.0)
    weight = tl.load(weight_at + channel, real, 0.0)
    off = tl.load(x_at + at, inside, 0.0).to(tl.float32) - tl.load(mean_at + channel, real, 0.0)[None, :]
    g = _cut(dy_at, more_at, y_at, bias_at, at, inside, channel, real, off, inverse, weight, RELU)
    if cut_at is not None:
        tl.store(cut_at + at, g, inside)
    block = tl.program_id(0)
    tl.store(partial_at + 2 * block * channels + channel, tl.sum(g, 0), real)
    tl.store(partial_at + (2 * block + 1) * channels + channel, tl.sum(g * off, 0), real)


@triton.jit
def _gradient(dy_at, more_at, x_at, y_at, partial_at, mean_at, inverse_at, weight_at, bias_at, cut_at, dx_at,
              dweight_at, dbias_at, rows, channels, blocks, RELU: tl.constexpr, ROWS: tl.constexpr,
              CHANNELS: tl.constexpr):
    at, inside, channel, real = _tile(rows, channels, ROWS, CHANNELS)
    inverse = tl.load(inverse_at + channel, real, 0.0)
    weight = tl.load(weight_at + channel, real, 0.0)
    off = tl.load(x_at + at, inside, 0.0).to(tl.float32) - tl.load(mean_at + channel, real, 0.0)[None, :]
    g = _cut(dy_at, more_at, y_at, bias_at, at, inside, channel, real, off, inverse, weight, RELU)
    if partial_at is None:
        total, product = tl.sum(g, 0), tl.sum(g * off, 0)
    else:
        total, product = tl.zeros([CHANNELS], tl.float32), tl.zeros([CHANNELS], tl.float32)
        for first in range(0, blocks, BLOCKS):
            part, _ = _of_blocks(partial_at, first, blocks, 0, channels, channel, real)
            total += tl.sum(part, 0)
            part, _ = _of_blocks(partial_at, first, blocks, 1, channels, channel, real)
            product += tl.sum(part, 0)
    if cut_at is not None:
        tl.store(cut_at + at, g, inside)
    slope = product * inverse * inverse / rows
    dx = (inverse * weight)[None, :] * (g - (total / rows)[None, :] - off * slope[None, :])
    tl.store(dx_at + at, dx, inside)
    if tl.program_id(0) == 0:
        tl.store(dweight_at + channel, product * inverse, real)
        tl.store(dbias_at + channel, total, real)


# What norm.py's operators call --------------------------------------------------------------------------------------

def _grid(x: Tensor, at_once: bool = False) -> tuple[tuple[int, int], dict]:
    """Programs, and what each of a kernel's launches is given beside tensors."""
    channels = x.shape[1]
    rows = x.numel() // channels
    tall, wide = (triton.next_power_of_2(rows), FEW) if at_once else (ROWS, CHANNELS)
    words = {"rows": rows, "channels": channels, "ROWS": tall, "CHANNELS": wide,
             "num_warps": max(4, min(32, tall * wide // 512))}
    return (triton.cdiv(rows, tall), triton.cdiv(channels, wide)), words


def statistics(x: Tensor) -> Tensor:
    grid, words = _grid(x)
    partial = x.new_empty(grid[0], 2, x.shape[1], dtype=torch.float32)
    _statistics[grid](x, partial, **words)
    return partial


def apply(x, partial, weight, bias, residual, relu, running_mean, running_var, momentum, eps):
    grid, words = _grid(x, partial is None)
    y, mean, inverse = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
    blocks = 0 if partial is None else len(partial)
    _apply[grid](x, partial, weight, bias, residual, running_mean, running_var, y, mean, inverse, momentum, eps,
                 blocks=blocks, PART=ROWS, RELU=relu, **words)
    return y, mean, inverse


def sums(dy, more, x, y, mean, inverse, weight, bias, relu):
    grid, words = _grid(x)
    partial = x.new_empty(grid[0], 2, x.shape[1], dtype=torch.float32)
    cut = torch.empty_like(dy) if needs_cut(more, y) else None
    _sums[grid](dy, more, x, y, mean, inverse, weight, bias, cut, partial, RELU=relu, **words)
    return dy.new_empty(0) if cut is None else cut, partial


def gradient(dy, more, x, y, partial, mean, inverse, weight, bias, relu):
    grid, words = _grid(x, partial is None)
    dx, dweight, dbias = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)
    cut = torch.empty_like(dy) if needs_cut(more, y) else None
    _gradient[grid](dy, more, x, y, partial, mean, inverse, weight, bias, cut, dx, dweight, dbias,
                    blocks=0 if partial is None else len(partial), RELU=relu, **words)
    return dx, dweight, dbias, dy.new_empty(0) if cut is None else cut
