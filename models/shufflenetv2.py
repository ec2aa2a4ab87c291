"""ShuffleNet V2 (Ma et al., ECCV 2018), 1x, for 32x32 images."""
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from .layers import BatchNorm2d, FeatureNet, channel_shuffle, conv1x1, conv3x3, global_pool


class SplitUnit(nn.Module):
    """One half of the channels passes, the other goes through 1x1, depthwise 3x3, 1x1.

    Returns ``(the passed half, the other before its ReLU)``.
    """

    def __init__(self, channels):
        super().__init__()
        half = self.half = channels // 2
        self.conv1 = conv1x1(half, half)
        self.bn1 = BatchNorm2d(half)
        self.conv2 = conv3x3(half, half, groups=half)
        self.bn2 = BatchNorm2d(half)
        self.conv3 = conv1x1(half, half)
        self.bn3 = BatchNorm2d(half)

    def forward(self, x):
        out = self.bn1(self.conv1(x[:, self.half:]), relu=True)
        out = self.bn2(self.conv2(out))
        return x[:, :self.half], self.bn3(self.conv3(out))


class DownUnit(nn.Module):
    """Two strided branches, depthwise 3x3 and 1x1, the second after a 1x1; both are joined and shuffled."""

    def __init__(self, c_in, c_out):
        super().__init__()
        half = c_out // 2
        self.conv1 = conv3x3(c_in, c_in, stride=2, groups=c_in)
        self.bn1 = BatchNorm2d(c_in)
        self.conv2 = conv1x1(c_in, half)
        self.bn2 = BatchNorm2d(half)
        self.conv3 = conv1x1(c_in, half)
        self.bn3 = BatchNorm2d(half)
        self.conv4 = conv3x3(half, half, stride=2, groups=half)
        self.bn4 = BatchNorm2d(half)
        self.conv5 = conv1x1(half, half)
        self.bn5 = BatchNorm2d(half)

    def forward(self, x):
        left = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        right = self.bn3(self.conv3(x), relu=True)
        right = self.bn5(self.conv5(self.bn4(self.conv4(right))))
        return channel_shuffle(F.relu(torch.cat([left, right], 1), inplace=True), 2)


class SplitStage(nn.Sequential):
    """A DownUnit and SplitUnits; gives ``(output, the last unit's two halves before the ReLU)``."""

    def forward(self, x):
        down, *units = self
        x = down(x)
        for unit in units:
            passed, pre = unit(x)
            x = channel_shuffle(torch.cat([passed, F.relu(pre)], 1), 2)
        return x, (passed, pre)


class ShuffleNetV2(FeatureNet):
    """Features f0 (B, 24, 32, 32), f1 (B, 116, 16, 16), f2 (B, 232, 8, 8), f3 (B, 464, 4, 4), f4 (B, 1024).

    With ``preact`` a stage's channels come before the shuffle that f1 to f3 have behind them, as in RepDistiller, so
    the two differ by a permutation as well as by the ReLU. f4 is pooled after one more 1x1 convolution. The stem is a
    1x1 convolution of stride 1. All weights start from PyTorch's own distributions.
    """

    feat_modules = ("conv1", "bn1", "layer1", "layer2", "layer3")

    def __init__(self, widths, depths, last, num_classes=100):
        super().__init__()
        c_in = 24
        self.conv1 = conv1x1(3, c_in)
        self.bn1 = BatchNorm2d(c_in)
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            setattr(self, f"layer{i + 1}", SplitStage(DownUnit(c_in, width), *(SplitUnit(width) for _ in range(depth))))
            c_in = width
        self.conv2 = conv1x1(c_in, last)
        self.bn2 = BatchNorm2d(last)
        self.linear = nn.Linear(last, num_classes)

    def forward(self, x, is_feat=False, preact=False):
        x = self.bn1(self.conv1(x), relu=True)
        features = [x]
        for stage in (self.layer1, self.layer2, self.layer3):
            x, halves = stage(x)
            features.append(torch.cat(halves, 1) if preact else x)
        pooled = global_pool(self.bn2(self.conv2(x), relu=True))
        logits = self.linear(pooled)
        return ([*features, pooled], logits) if is_feat else logits


ShuffleV2 = partial(ShuffleNetV2, (116, 232, 464), (3, 7, 3), 1024)
