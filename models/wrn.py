"""Wide Residual Networks (Zagoruyko and Komodakis, BMVC 2016): pre-activation blocks, depth 6n+4, k times as wide."""
from collections import OrderedDict
from functools import partial

from torch import nn

from .layers import BatchNorm2d, FeatureNet, conv1x1, conv3x3, global_pool, init_convolutions


class PreactBlock(nn.Module):
    """Batch norm, ReLU, convolution, twice, and a shortcut.

    Where the width changes, the shortcut's 1x1 convolution reads the activated input; elsewhere the raw input passes.
    """

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        self.bn1 = BatchNorm2d(c_in)
        self.conv1 = conv3x3(c_in, c_out, stride)
        self.bn2 = BatchNorm2d(c_out)
        self.conv2 = conv3x3(c_out, c_out)
        self.convShortcut = conv1x1(c_in, c_out, stride) if c_in != c_out else None

    def forward(self, x):
        active = self.bn1(x, relu=True)
        out = self.bn2(self.conv1(active), relu=True)
        return self.conv2(out) + (x if self.convShortcut is None else self.convShortcut(active))


class WideResNet(FeatureNet):
    """Features f0 (B, 16, 32, 32), f1 (B, 16k, 32, 32), f2 (B, 32k, 16, 16), f3 (B, 64k, 8, 8), f4 (B, 64k).

    f0 to f3 are raw sums, neither normalised nor activated. With ``preact`` f1 to f3 are put through the batch norm
    that follows them. As in RepDistiller that norm is applied again, so in training mode such a pass updates the
    running statistics of these three layers twice. The shape-changing shortcut has no batch norm.

    Raises ValueError if ``depth`` is not 6n+4, n >= 1.
    """

    feat_modules = ("conv1", "block1", "block2", "block3")

    def __init__(self, depth, widen_factor, num_classes=100):
        super().__init__()
        blocks, rest = divmod(depth - 4, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth of a wide ResNet must be 6n+4 (10, 16, 22, ...), got {depth}")
        widths = [16, 16 * widen_factor, 32 * widen_factor, 64 * widen_factor]
        self.conv1 = conv3x3(3, widths[0])
        self.block1 = self._stage(widths[0], widths[1], blocks, stride=1)
        self.block2 = self._stage(widths[1], widths[2], blocks, stride=2)
        self.block3 = self._stage(widths[2], widths[3], blocks, stride=2)
        self.bn1 = BatchNorm2d(widths[3])
        self.fc = nn.Linear(widths[3], num_classes)
        init_convolutions(self)
        nn.init.zeros_(self.fc.bias)

    @staticmethod
    def _stage(c_in, c_out, blocks, stride):
        layer = nn.Sequential(
            PreactBlock(c_in, c_out, stride), *(PreactBlock(c_out, c_out, 1) for _ in range(blocks - 1))
        )
        return nn.Sequential(OrderedDict(layer=layer))

    def forward(self, x, is_feat=False, preact=False):
        features = [self.conv1(x)]
        for block in (self.block1, self.block2, self.block3):
            features.append(block(features[-1]))
        pooled = global_pool(self.bn1(features[-1], relu=True))
        if preact:
            norms = [self.block2.layer[0].bn1, self.block3.layer[0].bn1, self.bn1]
            features[1:] = [bn(f) for bn, f in zip(norms, features[1:], strict=True)]
        logits = self.fc(pooled)
        return ([*features, pooled], logits) if is_feat else logits


wrn_16_1 = partial(WideResNet, 16, 1)
wrn_16_2 = partial(WideResNet, 16, 2)
wrn_40_1 = partial(WideResNet, 40, 1)
wrn_40_2 = partial(WideResNet, 40, 2)
