"""VGG with batch norm for 32x32 images: Very Deep Convolutional Networks (Simonyan and Zisserman, ICLR 2015).

The paper's configurations A, B, D, E without hidden linear layers, and vgg8 with one convolution a block.
"""
from functools import partial

import torch.nn.functional as F
from torch import fx, nn

from .layers import FeatureNet, global_pool, init_classifier, init_convolutions

WIDTHS = (64, 128, 256, 512, 512)


@fx.wrap
def _halve_at_64(x, height):
    """Max pooling before the last block, for images 64 pixels high alone; one node in a traced graph."""
    return F.max_pool2d(x, 2) if height == 64 else x


class VGG(FeatureNet):
    """Features f0 (B, 64, 32, 32), f1 (B, 128, 16, 16), f2 (B, 256, 8, 8), f3 (B, 512, 4, 4), f4 (B, 512, 4, 4),
    f5 (B, 512).

    The last block is not halved, except for images of exactly 64 pixels, as in RepDistiller. ``preact`` leaves f0
    activated. Convolutions have a bias although batch norm follows. ``depths`` are the convolutions in each of the five
    blocks.
    """

    feat_modules = tuple(f"{part}{i}" for i in range(5) for part in ("block", "pool"))

    def __init__(self, depths, num_classes=100):
        super().__init__()
        c_in = 3
        for i, (depth, width) in enumerate(zip(depths, WIDTHS, strict=True)):
            setattr(self, f"block{i}", self._block(c_in, width, depth))
            setattr(self, f"pool{i}", nn.MaxPool2d(2) if i < 4 else nn.AdaptiveAvgPool2d(1))
            c_in = width
        self.classifier = nn.Linear(c_in, num_classes)
        init_convolutions(self)
        init_classifier(self.classifier)

    @staticmethod
    def _block(c_in, width, depth):
        layers = []
        for i in range(depth):
            conv = nn.Conv2d(c_in if i == 0 else width, width, 3, padding=1)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers[:-1])

    def forward(self, x, is_feat=False, preact=False):
        height = x.shape[2]
        x = F.relu(self.block0(x))
        features = [x]
        for i in range(1, 5):
            x = getattr(self, f"pool{i - 1}")(x) if i < 4 else _halve_at_64(x, height)
            pre = getattr(self, f"block{i}")(x)
            x = F.relu(pre)
            features.append(pre if preact else x)
        pooled = global_pool(x)
        logits = self.classifier(pooled)
        return ([*features, pooled], logits) if is_feat else logits


vgg8 = partial(VGG, (1, 1, 1, 1, 1))
vgg11 = partial(VGG, (1, 1, 2, 2, 2))
vgg13 = partial(VGG, (2, 2, 2, 2, 2))
vgg16 = partial(VGG, (2, 2, 3, 3, 3))
vgg19 = partial(VGG, (2, 2, 4, 4, 4))
