"""The CPU's compiled kernels, put into a network by :func:`accelerate`. Networks do not depend on them."""
from __future__ import annotations

from torch import fx, nn

from ..fusing import fuse
from . import native, norm, winograd
from .native import Unavailable

__all__ = ["Unavailable", "accelerate", "fused", "load"]


def load() -> None:
    """Compile what isn't yet. Raises :class:`Unavailable` with the reason."""
    native.library()


def accelerate(net: nn.Module) -> nn.Module:
    """Replace every layer of ``net`` that can use a kernel by one that does; returns ``net`` (or what replaces it).

    The same parameters, buffers and names; a layer shared by several parents stays shared. Hooks are not carried over.
    """
    return norm.replace_norms(winograd.replace_convolutions(net))


def fused(net: nn.Module, is_feat: bool, preact: bool) -> fx.GraphModule:
    """``net``, accelerated, for calls with these two arguments: see :func:`models.fusing.fuse`."""
    return fuse(net, winograd.WinogradConv2d, is_feat, preact)
