"""Two networks, a method and the data: whether they fit each other, and what the method is given about them."""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

import torch
from torch import nn

from distiller_zoo import Distiller, Pair
from models import model_dict

from .errors import UserError


def pair_of(model_s: nn.Module, model_t: nn.Module, data, method: type[Distiller]) -> Pair:
    """What a method is given about its two networks and its data."""
    shape = data.image_shape
    return Pair(shapes_of(model_s, shape, method.preact), shapes_of(model_t, shape, method.teacher_preact()),
                len(data.train), data.num_classes, labels=data.train.labels)


def check_batches(opt: Namespace, n: int, method: type[Distiller]) -> None:
    """A method that compares the samples of a batch needs several, in the short last batch too."""
    smallest = min(n % opt.batch_size or opt.batch_size, n)
    if smallest < method.min_batch:
        raise UserError(f"--batch_size {opt.batch_size}: the last of {n} images come as a batch of {smallest}, but "
                        f"--distill {opt.distill} needs at least {method.min_batch}; choose another size")


def warn_of_size(opt: Namespace, data, networks: Sequence[str]) -> None:
    """A network works on images of any size, but was made for 32x32 or for 224x224."""
    large = data.image_shape[1] > 64
    for name in networks:
        if (name in model_dict) == large:
            made, better = ("32x32", "a network of torchvision's") if large else ("224x224", "one of RepDistiller's")
            size = f"{data.image_shape[1]}x{data.image_shape[2]}"
            opt.warnings.append(f"{name} was made for {made} images and gets {size}; {better} suits them")


def shapes_of(model: nn.Module, image_shape: Sequence[int], preact: bool) -> list[torch.Size]:
    """Shapes (2, ...) of a network's features for images (C, H, W)."""
    model.eval()
    with torch.no_grad():
        return [f.shape for f in model(torch.zeros(2, *image_shape), is_feat=True, preact=preact)[0]]
