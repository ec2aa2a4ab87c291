"""ResNets for 32x32 images: Deep Residual Learning for Image Recognition (He et al., CVPR 2016), section 4.2.

Depth 6n+2: a stem and three stages of n basic blocks. The shape-changing shortcut is a 1x1 convolution with batch
norm; the paper's CIFAR networks pad with zeros instead.
"""
from functools import partial

from torch import nn

from .layers import (
    BatchNorm2d,
    FeatureNet,
    Stage,
    conv3x3,
    global_pool,
    init_convolutions,
    projection,
    run_stages,
)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, whose sum goes through a ReLU if ``relu``."""

    def __init__(self, c_in, c_out, stride):
        super().__init__()
        # Made first and registered last, so that a seed draws weights in RepDistiller's order.
        downsample = projection(c_in, c_out, stride) if stride != 1 or c_in != c_out else None
        self.conv1 = conv3x3(c_in, c_out, stride)
        self.bn1 = BatchNorm2d(c_out)
        self.conv2 = conv3x3(c_out, c_out)
        self.bn2 = BatchNorm2d(c_out)
        self.downsample = downsample

    def forward(self, x, relu=True):
        out = self.bn1(self.conv1(x), relu=True)
        return self.bn2(self.conv2(out), residual=x if self.downsample is None else self.downsample(x), relu=relu)


class ResNet(FeatureNet):
    """Features f0 (B, w0, 32, 32), f1 (B, w1, 32, 32), f2 (B, w2, 16, 16), f3 (B, w3, 8, 8), f4 (B, w3).

    ``widths`` are w0 (stem) to w3. Raises ValueError if ``depth`` is not 6n+2, n >= 1.
    """

    feat_modules = ("conv1", "bn1", "relu", "layer1", "layer2", "layer3")

    def __init__(self, depth, widths=(16, 16, 32, 64), num_classes=100):
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(f"depth of a ResNet must be 6n+2 (8, 14, 20, ...), got {depth}")
        self.conv1 = conv3x3(3, widths[0])
        self.bn1 = BatchNorm2d(widths[0])
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(widths[0], widths[1], blocks, stride=1)
        self.layer2 = self._stage(widths[1], widths[2], blocks, stride=2)
        self.layer3 = self._stage(widths[2], widths[3], blocks, stride=2)
        self.fc = nn.Linear(widths[3], num_classes)
        init_convolutions(self)

    @staticmethod
    def _stage(c_in, c_out, blocks, stride):
        return Stage(BasicBlock(c_in, c_out, stride), *(BasicBlock(c_out, c_out, 1) for _ in range(blocks - 1)))

    def forward(self, x, is_feat=False, preact=False):
        x = self.bn1(self.conv1(x), relu=True)  # self.relu is a module for get_feat_modules only
        features, x = run_stages(x, (self.layer1, self.layer2, self.layer3), preact)
        pooled = global_pool(x)
        logits = self.fc(pooled)
        return ([*features, pooled], logits) if is_feat else logits


resnet8 = partial(ResNet, 8)
resnet14 = partial(ResNet, 14)
resnet20 = partial(ResNet, 20)
resnet32 = partial(ResNet, 32)
resnet44 = partial(ResNet, 44)
resnet56 = partial(ResNet, 56)
resnet110 = partial(ResNet, 110)
resnet8x4 = partial(ResNet, 8, (32, 64, 128, 256))
resnet32x4 = partial(ResNet, 32, (32, 64, 128, 256))
