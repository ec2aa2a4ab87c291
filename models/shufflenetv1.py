"""ShuffleNet (Zhang et al., CVPR 2018), 1x with three groups, for 32x32 images."""
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from .layers import BatchNorm2d, FeatureNet, Stage, channel_shuffle, conv1x1, conv3x3, global_pool, run_stages

STEM_WIDTH = 24


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1; a strided unit appends its pooled input, others add it.

    The result goes through a ReLU if ``relu``. There is one after the depthwise convolution too, not in the paper.
    """

    def __init__(self, c_in, c_out, groups, strided):
        super().__init__()
        width = c_out - c_in if strided else c_out
        mid = width // 4
        # The stem is too narrow to be grouped (paper, section 3.2); its shuffle of one group is the identity.
        self.groups = 1 if c_in == STEM_WIDTH else groups
        self.conv1 = conv1x1(c_in, mid, groups=self.groups)
        self.bn1 = BatchNorm2d(mid)
        self.conv2 = conv3x3(mid, mid, stride=2 if strided else 1, groups=mid)
        self.bn2 = BatchNorm2d(mid)
        self.conv3 = conv1x1(mid, width, groups=groups)
        self.bn3 = BatchNorm2d(width)
        self.strided = strided

    def forward(self, x, relu=True):
        out = self.bn1(self.conv1(x), relu=True)
        out = channel_shuffle(out, self.groups)
        out = self.bn2(self.conv2(out), relu=True)
        out = self.conv3(out)
        if self.strided:
            joined = torch.cat([self.bn3(out), F.avg_pool2d(x, 3, stride=2, padding=1)], 1)
            return F.relu(joined, inplace=True) if relu else joined
        return self.bn3(out, residual=x, relu=relu)


class ShuffleNetV1(FeatureNet):
    """Features f0 (B, 24, 32, 32), f1 (B, 240, 16, 16), f2 (B, 480, 8, 8), f3 (B, 960, 4, 4), f4 (B, 960).

    The stem is a 1x1 convolution of stride 1. All weights start from PyTorch's own distributions.
    """

    feat_modules = ("conv1", "bn1", "layer1", "layer2", "layer3")

    def __init__(self, widths, depths, groups, num_classes=100):
        super().__init__()
        self.conv1 = conv1x1(3, STEM_WIDTH)
        self.bn1 = BatchNorm2d(STEM_WIDTH)
        c_in = STEM_WIDTH
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            units = (ShuffleUnit(width if j else c_in, width, groups, strided=j == 0) for j in range(depth))
            setattr(self, f"layer{i + 1}", Stage(*units))
            c_in = width
        self.linear = nn.Linear(c_in, num_classes)

    def forward(self, x, is_feat=False, preact=False):
        x = self.bn1(self.conv1(x), relu=True)
        features, x = run_stages(x, (self.layer1, self.layer2, self.layer3), preact)
        pooled = global_pool(x)
        logits = self.linear(pooled)
        return ([*features, pooled], logits) if is_feat else logits


ShuffleV1 = partial(ShuffleNetV1, (240, 480, 960), (4, 8, 4), 3)
