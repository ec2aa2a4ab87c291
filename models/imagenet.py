"""Networks for ImageNet's images (224x224; others work): torchvision's, and the MobileNet that distillation uses.

    Deep Residual Learning for Image Recognition (He et al., CVPR 2016), with the stride in the 3x3 convolution
    MobileNetV2 (Sandler et al., CVPR 2018)
    MobileNets (Howard et al., 2017), the usual student of resnet50 (Tian et al., ICLR 2020, and after)

Called as every network here (layers.FeatureNet). torchvision's state_dict keys, order, shapes and initial
distributions, so its pretrained weights load with strict=True. Names are torchvision's: resnet50 is for ImageNet,
ResNet50 RepDistiller's for 32x32.
"""
from functools import partial

import torch.nn.functional as F
from torch import nn

from .layers import FeatureNet, conv1x1, conv3x3, global_pool


class TorchvisionNet(FeatureNet):
    """The children of torchvision.models' `name`, under their own names."""

    def __init__(self, name, num_classes=1000):
        super().__init__()
        from torchvision import models  # seconds to import, which runs on small images need not wait for
        for child, module in models.get_model(name, weights=None, num_classes=num_classes).named_children():
            self.add_module(child, module)


class ImageNetResNet(TorchvisionNet):
    """Features at 224x224 f0 (B, 64, 56, 56) after the stem and its pooling, f1 (B, 64e, 56, 56), f2 (B, 128e, 28, 28),
    f3 (B, 256e, 14, 14), f4 (B, 512e, 7, 7), f5 (B, 512e); e is 1 for resnet18 and resnet34, 4 for resnet50."""

    feat_modules = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")

    @property
    def _stages(self):
        return self.layer1, self.layer2, self.layer3, self.layer4

    def forward(self, x, is_feat=False, preact=False):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        features = [x]
        for stage in self._stages:
            *blocks, last = stage
            for block in blocks:
                x = block(x)
            pre = _sum_before_relu(last, x)
            x = F.relu(pre)
            features.append(pre if preact else x)
        pooled = global_pool(x)
        logits = self.fc(pooled)
        return ([*features, pooled], logits) if is_feat else logits


def _sum_before_relu(block, x):
    """The input of the closing ReLU of a torchvision residual block."""
    out = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    if hasattr(block, "conv3"):
        out = block.bn3(block.conv3(block.relu(out)))
    return out + (x if block.downsample is None else block.downsample(x))


class ImageNetMobileNetV2(TorchvisionNet):
    """Features at 224x224 f0 (B, 32, 112, 112), f1 (B, 24, 56, 56), f2 (B, 32, 28, 28), f3 (B, 96, 14, 14),
    f4 (B, 320, 7, 7), f5 (B, 1280).

    Blocks end without a ReLU, so ``preact`` changes nothing.
    """

    feat_modules = ("features",)
    ends = (0, 3, 6, 13, 17)  # last block of the stem and of each size

    def forward(self, x, is_feat=False, preact=False):
        features = []
        for i, block in enumerate(self.features):
            x = block(x)
            if i in self.ends:
                features.append(x)
        pooled = global_pool(x)
        logits = self.classifier(pooled)
        return ([*features, pooled], logits) if is_feat else logits


class MobileNetV1(FeatureNet):
    """Features at 224x224 f0 (B, 32, 112, 112), f1 (B, 128, 56, 56), f2 (B, 256, 28, 28), f3 (B, 512, 14, 14),
    f4 (B, 1024, 7, 7), f5 (B, 1024).

    Keys ``model.I.J`` and ``fc`` are those of the file that distillation code shares; its average pooling over 7x7 has
    no weights and is global here. torch's own initial distributions, as there.
    """

    feat_modules = ("model",)
    # channels and stride of the depthwise separable convolutions after a stem of 32 channels
    blocks = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
    ends = (3, 5, 11, 13)  # last convolution of each size

    def __init__(self, num_classes=1000):
        super().__init__()
        layers, c_in = [_normed(conv3x3(3, 32, stride=2))], 32
        for c_out, stride in self.blocks:
            layers.append(_normed(conv3x3(c_in, c_in, stride, groups=c_in), conv1x1(c_in, c_out)))
            c_in = c_out
        self.model = nn.Sequential(*layers)
        self.fc = nn.Linear(c_in, num_classes)

    def forward(self, x, is_feat=False, preact=False):
        features = []
        for i, layer in enumerate(self.model):
            *modules, _relu = layer
            for module in modules:
                x = module(x)
            pre, x = x, F.relu(x)
            if i == 0 or i in self.ends:
                features.append(pre if preact and i else x)
        pooled = global_pool(x)
        logits = self.fc(pooled)
        return ([*features, pooled], logits) if is_feat else logits


def _normed(*convolutions):
    """Each convolution with its batch norm and ReLU."""
    layers = [(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True)) for conv in convolutions]
    return nn.Sequential(*(layer for three in layers for layer in three))


imagenet_dict = {
    "resnet18": partial(ImageNetResNet, "resnet18"),
    "resnet34": partial(ImageNetResNet, "resnet34"),
    "resnet50": partial(ImageNetResNet, "resnet50"),
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": partial(ImageNetMobileNetV2, "mobilenet_v2"),
}
