"""What a training step gets, and how two samples become one: mixup, CutMix and their soft targets.

Pure functions on any device; what is random in them (partners, lambda, boxes, clean samples) is drawn by plan.py.
"""
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Batch:
    """images: (B, C, H, W) normalised, mixed. targets: float32 (B, K) class probabilities. labels, index: int64 (B,),
    class and place in the training set of the sample with the larger weight (at equal weights the first); the place
    counts within the training set as loaded, that is after hold-out and train_fraction. mixed: bool (B,), whether a
    second sample has any weight. total: samples of the batch in all processes of torchrun, B where there is one."""

    images: torch.Tensor
    targets: torch.Tensor
    labels: torch.Tensor
    index: torch.Tensor
    mixed: torch.Tensor
    total: int


def mixup(images, partners, lam, drawn=None):
    """lam * images + (1 - lam) * partners, one lam per sample.

    Zhang et al., ICLR 2018; Choi et al., WACV 2023, eq. 1. images, partners (B, C, H, W); lam (B,). Where lam is 1 the
    image is returned as it is, to the bit.
    """
    return torch.lerp(partners, images, lam.view(-1, 1, 1, 1).to(images.dtype))


def cutmix(images, partners, lam, box):
    """`images` with a box of each replaced by the same box of its partner (Yun et al., ICCV 2019).

    images, partners (B, C, H, W); box int64 (B, 4) as top, bottom, left, right in pixels, ends excluded; lam (B,), the
    share of the image outside the box, is not read.
    """
    height, width = images.shape[2:]
    top, bottom, left, right = box.view(-1, 4, 1, 1, 1).unbind(1)
    y = torch.arange(height, device=box.device).view(height, 1)
    x = torch.arange(width, device=box.device)
    rows, columns = (top <= y) & (y < bottom), (left <= x) & (x < right)  # (B, 1, H, 1) and (B, 1, 1, W)
    return torch.where(rows & columns, partners, images)


# By their names in plan.MIXES: from samples, their partners, the samples' weights and what else the plan drew for each
# (its field `drawn`) to the mixed samples.
MIXERS = {"mixup": mixup, "cutmix": cutmix}


def soft_targets(labels, partner_labels, lam, num_classes):
    """lam * one_hot(labels) + (1 - lam) * one_hot(partner_labels), float32 (B, num_classes)."""
    targets = torch.zeros(len(lam), num_classes, device=lam.device)
    targets.scatter_(1, labels[:, None], lam[:, None])
    return targets.scatter_add_(1, partner_labels[:, None], 1 - lam[:, None])


def mix_batch(images, labels, part, num_classes):
    """The fields of a Batch, but for the last, of the B slots that `part` (plan.Part) makes of P samples.

    images: (2 B, C, H, W), the first samples of all slots and then the second ones; without mixing (B, C, H, W).
    labels: (P,), of the samples in their order before mixing.
    """
    one, other = labels[part.first], labels[part.second]
    heavier = part.lam >= 0.5
    if part.mix != "none":
        images = MIXERS[part.mix](*images.chunk(2), part.lam, part.drawn)
    targets = soft_targets(one, other, part.lam, num_classes)
    index = torch.where(heavier, part.index[part.first], part.index[part.second])
    return images, targets, torch.where(heavier, one, other), index, part.lam < 1
