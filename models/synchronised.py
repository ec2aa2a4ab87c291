"""Batch norms over the samples of all processes of torch.distributed, for networks and methods alike."""
import torch
from torch import nn

from .layers import sum_and_relu
from .replace import replaced


class SyncBatchNorm2d(nn.SyncBatchNorm):
    """torch's SyncBatchNorm, on CUDA, with what layers.BatchNorm2d does in a residual block: torch's own conversion
    would drop that."""

    def forward(self, x, residual=None, relu=False):
        return sum_and_relu(super().forward(x), residual, relu)


def synchronised(net):
    """Replace every 2d batch norm of ``net`` by one over all processes, with the same parameters, buffers and names;
    returns ``net`` (or what replaces it)."""
    return replaced(net, lambda layer: isinstance(layer, nn.BatchNorm2d), _synchronised)


def _synchronised(norm):
    with torch.device("meta"):  # it takes over the norm's own
        return SyncBatchNorm2d(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
