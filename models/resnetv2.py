"""ResNet-50 for 32x32 images: Deep Residual Learning for Image Recognition (He et al., CVPR 2016), table 1.

The ImageNet network with a 3x3 stem of stride 1 and no max pooling, and the stride on a block's 3x3 convolution.
"""
from functools import partial

from torch import nn

from .layers import (
    BatchNorm2d,
    FeatureNet,
    Stage,
    conv1x1,
    conv3x3,
    global_pool,
    init_convolutions,
    projection,
    run_stages,
)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the last four times as wide, and a shortcut; the sum goes through a ReLU if
    ``relu``."""

    expansion = 4

    def __init__(self, c_in, width, stride):
        super().__init__()
        c_out = width * self.expansion
        self.conv1 = conv1x1(c_in, width)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = conv1x1(width, c_out)
        self.bn3 = BatchNorm2d(c_out)
        self.shortcut = projection(c_in, c_out, stride) if stride != 1 or c_in != c_out else nn.Sequential()

    def forward(self, x, relu=True):
        out = self.bn1(self.conv1(x), relu=True)
        out = self.bn2(self.conv2(out), relu=True)
        return self.bn3(self.conv3(out), residual=self.shortcut(x), relu=relu)


class BottleneckResNet(FeatureNet):
    """Features f0 (B, 64, 32, 32), f1 (B, 256, 32, 32), f2 (B, 512, 16, 16), f3 (B, 1024, 8, 8), f4 (B, 2048, 4, 4),
    f5 (B, 2048): one stage more than the CIFAR networks have.

    RepDistiller gives a list in place of the tuple ``(features, logits)`` when ``preact`` is set; here it is a tuple
    always.
    """

    feat_modules = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")

    def __init__(self, blocks, num_classes=100):
        super().__init__()
        self.conv1 = conv3x3(3, 64)
        self.bn1 = BatchNorm2d(64)
        c_in = 64
        for i, count in enumerate(blocks):
            width, stride = 64 * 2**i, min(i + 1, 2)
            c_out = width * Bottleneck.expansion
            stage = Stage(Bottleneck(c_in, width, stride), *(Bottleneck(c_out, width, 1) for _ in range(count - 1)))
            setattr(self, f"layer{i + 1}", stage)
            c_in = c_out
        self.linear = nn.Linear(c_in, num_classes)
        init_convolutions(self)

    def forward(self, x, is_feat=False, preact=False):
        x = self.bn1(self.conv1(x), relu=True)
        features, x = run_stages(x, (self.layer1, self.layer2, self.layer3, self.layer4), preact)
        pooled = global_pool(x)
        logits = self.linear(pooled)
        return ([*features, pooled], logits) if is_feat else logits


ResNet50 = partial(BottleneckResNet, (3, 4, 6, 3))
