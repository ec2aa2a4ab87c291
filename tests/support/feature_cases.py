"""The published pairs of networks, their features' shapes, random features, a method's default flags."""
from argparse import Namespace
from functools import cache

import torch

from distiller_zoo import distiller_dict
from models import any_model, imagenet_dict
from tests.support.draws import draw

PAIRS = [("wrn_40_2", "wrn_16_2"), ("wrn_40_2", "wrn_40_1"), ("resnet56", "resnet20"), ("resnet110", "resnet20"),
         ("resnet110", "resnet32"), ("resnet32x4", "resnet8x4"), ("vgg13", "vgg8"), ("vgg13", "MobileNetV2"),
         ("ResNet50", "MobileNetV2"), ("ResNet50", "vgg8"), ("resnet32x4", "ShuffleV1"), ("resnet32x4", "ShuffleV2"),
         ("wrn_40_2", "ShuffleV1")]
IMAGENET_PAIRS = [("resnet34", "resnet18"), ("resnet50", "mobilenet_v1")]
EQUAL_CHANNELS = {("wrn_40_2", "wrn_16_2"), ("resnet56", "resnet20"), ("resnet110", "resnet20"),
                  ("resnet110", "resnet32"), ("resnet32x4", "resnet8x4"), ("vgg13", "vgg8")}


@cache
def shapes(name):
    size = 64 if name in imagenet_dict else 32
    with torch.device("meta"):
        features, _ = any_model[name](num_classes=10).eval()(torch.empty(2, 3, size, size), is_feat=True)
    return [f.shape for f in features]


def options(name, **changes):
    cls = distiller_dict[name]
    gamma, alpha, beta = cls.weights
    own = {flag: kwargs["default"] for flag, kwargs in cls.flags.items()}
    defaults = {"gamma": gamma, "alpha": alpha, "beta": beta, "kd_T": 4.0, "rescale": "none", "step": "eager"}
    return Namespace(**{**own, **defaults, **changes})


def outputs(feature_shapes, seed):
    features = [draw(*shape, seed=seed + i, dtype=torch.float32).relu() for i, shape in enumerate(feature_shapes)]
    return features, draw(len(features[0]), 10, seed=seed + 9, dtype=torch.float32)
