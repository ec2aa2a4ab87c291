"""MobileNetV2: Inverted Residuals and Linear Bottlenecks (Sandler et al., CVPR 2018), table 2, for 32x32 images."""
from functools import partial

from torch import nn

from .layers import FeatureNet, conv1x1, conv3x3, global_pool, init_classifier, init_convolutions

# Expansion (None: the network's own), channels at width 1, blocks, stride of the first block.
STAGES = ((1, 16, 1, 1), (None, 24, 2, 1), (None, 32, 3, 2), (None, 64, 4, 2), (None, 96, 3, 1), (None, 160, 3, 2),
          (None, 320, 1, 1))


def _normed(conv):
    return [conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True)]


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depthwise, linear 1x1 projection; the input is added where the shape stays.

    The expansion is there even at ratio 1, where the paper leaves it out.
    """

    def __init__(self, c_in, c_out, stride, expansion):
        super().__init__()
        hidden = c_in * expansion
        self.conv = nn.Sequential(
            *_normed(conv1x1(c_in, hidden)),
            *_normed(conv3x3(hidden, hidden, stride, groups=hidden)),
            conv1x1(hidden, c_out),
            nn.BatchNorm2d(c_out),
        )
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x):
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(FeatureNet):
    """At half width: features f0 (B, 16, 16, 16), f1 (B, 12, 16, 16), f2 (B, 16, 8, 8), f3 (B, 48, 4, 4),
    f4 (B, 160, 2, 2), f5 (B, 1280), after stem, stages 2, 3, 5, 7 and pooling.

    Blocks end without a ReLU, so ``preact`` changes nothing. The width is truncated, not rounded to eights, and the
    ReLU is not capped at 6.
    """

    feat_modules = ("conv1", "blocks")

    def __init__(self, expansion=6, width=0.5, num_classes=100):
        super().__init__()
        c_in = int(32 * width)
        self.conv1 = nn.Sequential(*_normed(conv3x3(3, c_in, stride=2)))
        self.blocks = nn.ModuleList()
        for ratio, channels, count, stride in STAGES:
            stage = nn.Sequential()
            for i in range(count):
                c_out = int(channels * width)
                stage.append(InvertedResidual(c_in, c_out, stride if i == 0 else 1, ratio or expansion))
                c_in = c_out
            self.blocks.append(stage)
        last = int(1280 * max(width, 1))
        self.conv2 = nn.Sequential(*_normed(conv1x1(c_in, last)))
        self.classifier = nn.Sequential(nn.Linear(last, num_classes))
        init_convolutions(self)
        init_classifier(self.classifier[0])

    def forward(self, x, is_feat=False, preact=False):
        x = self.conv1(x)
        features = [x]
        for i, stage in enumerate(self.blocks):
            x = stage(x)
            if i in (1, 2, 4, 6):
                features.append(x)
        pooled = global_pool(self.conv2(x))
        logits = self.classifier(pooled)
        return ([*features, pooled], logits) if is_feat else logits


mobile_half = partial(MobileNetV2, 6, 0.5)
