"""What the network families share: the calling convention, residual stages, initialisation."""
import math

import torch.nn.functional as F
from torch import nn


class FeatureNet(nn.Module):
    """A classifier that can return its features.

    ``net(x)`` maps images (B, 3, H, W) to logits (B, K). ``net(x, is_feat=True)`` returns ``(features, logits)``:
    a list of the stem's output, each stage's output and, last, the pooled vector (B, D) that the linear layer reads.
    With ``preact=True`` too, the stage entries are what enters the stage's closing ReLU, in tensors that nothing
    overwrites. ``preact`` without ``is_feat`` changes nothing. Features follow the input's memory format, so flatten
    them with ``flatten`` or ``reshape``, not ``view``.

    Names, order and shapes in ``state_dict``, the feature lists and the initial distributions are those of
    RepDistiller (Tian et al., ICLR 2020). Pooling is global here: equal at 32x32, and other sizes work.
    """

    feat_modules: tuple[str, ...]

    def get_feat_modules(self):
        """Modules that make the features, without the classifier: what a method's first stage trains."""
        return nn.ModuleList([getattr(self, name) for name in self.feat_modules])


class Stage(nn.Sequential):
    """Residual blocks, called with ``relu``: whether the ReLU that closes a block is part of it.

    Gives ``(output, feature)``, the feature before the last ReLU if ``preact``.
    """

    def forward(self, x, preact):
        *blocks, last = self
        for block in blocks:
            x = block(x, relu=True)
        feature = last(x, relu=not preact)
        return F.relu(feature) if preact else feature, feature


def run_stages(x, stages, preact):
    """Put the stem's output through stages; return ``([stem, f1, f2, ...], last output)``."""
    features = [x]
    for stage in stages:
        x, feature = stage(x, preact)
        features.append(feature)
    return features, x


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm with what follows it in a residual block: a sum with ``residual`` (the same shape), then a ReLU."""

    def forward(self, x, residual=None, relu=False):
        return sum_and_relu(super().forward(x), residual, relu)


class FoldedBatchNorm2d(nn.Module):
    """What is left of a batch norm that is folded into the convolution before it: the sum and the ReLU.

    Overwrites ``x``, which nothing else may read.
    """

    def forward(self, x, residual=None, relu=False):
        return sum_and_relu(x, residual, relu)


def sum_and_relu(x, residual, relu):
    """What follows a norm in a residual block; overwrites ``x``."""
    if residual is not None:
        x += residual
    return F.relu(x, inplace=True) if relu else x


def conv3x3(c_in, c_out, stride=1, groups=1):
    return nn.Conv2d(c_in, c_out, 3, stride, padding=1, groups=groups, bias=False)


def conv1x1(c_in, c_out, stride=1, groups=1):
    return nn.Conv2d(c_in, c_out, 1, stride, groups=groups, bias=False)


def projection(c_in, c_out, stride):
    """Convolution and batch norm on a residual shortcut that changes the shape."""
    return nn.Sequential(conv1x1(c_in, c_out, stride), BatchNorm2d(c_out))


def global_pool(x):
    """Mean over height and width: (B, C, H, W) -> (B, C)."""
    return x.mean((2, 3))


def channel_shuffle(x, groups):
    """Interleave the channels of ``groups`` equal parts: (B, g*n, H, W), channel i*n+j moves to j*g+i."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def init_convolutions(net):
    """He et al. (ICCV 2015) on every convolution: normal, variance 2 / (kernel area * output channels), bias zero.

    The fan is not divided by the groups of a grouped convolution, as in RepDistiller.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def init_classifier(linear):
    """Normal weights of standard deviation 0.01, bias zero."""
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
