"""What a training step gets, and how two samples become one: mixup, CutMix and their soft targets.

Pure functions, on whatever device the images lie; what is random in them (who meets whom, lambda, boxes, which samples
stay clean) was drawn before by plan.py.
"""
from dataclasses import dataclass, fields

import torch


@dataclass(frozen=True)
class Batch:
    """images: (B, C, H, W) normalised, mixed. targets: float32 (B, K) class probabilities. labels, index: int64 (B,),
    class and place in the training set of the sample with the larger weight (at equal weights the first); the place
    counts within the training set as loaded, that is after hold-out and train_fraction. mixed: bool (B,), whether a
    second sample has any weight."""

    images: torch.Tensor
    targets: torch.Tensor
    labels: torch.Tensor
    index: torch.Tensor
    mixed: torch.Tensor

    def split(self, sizes):
        """Batches of so many samples each, one after the other; views of this one."""
        columns = (getattr(self, field.name).split(sizes) for field in fields(self))
        return [Batch(*column) for column in zip(*columns, strict=True)]


def mixup(images, partners, lam):
    """lam * images + (1 - lam) * partners, one lam for each sample.

    Zhang et al., ICLR 2018; Choi et al., WACV 2023, eq. 1. images, partners (B, C, H, W); lam (B,).
    """
    return torch.lerp(partners, images, lam.view(-1, 1, 1, 1).to(images.dtype))


def cutmix(images, partners, box):
    """`images` with a box of each replaced by the same box of its partner (Yun et al., ICCV 2019).

    images, partners (B, C, H, W); box int64 (B, 4) as top, bottom, left, right in pixels, ends excluded.
    """
    height, width = images.shape[2:]
    top, bottom, left, right = box.view(-1, 4, 1, 1, 1).unbind(1)
    y = torch.arange(height, device=box.device).view(height, 1)
    x = torch.arange(width, device=box.device)
    rows, columns = (top <= y) & (y < bottom), (left <= x) & (x < right)  # (B, 1, H, 1) and (B, 1, 1, W)
    return torch.where(rows & columns, partners, images)


# By their names in plan.MIXES: from samples, their partners, the samples' weights and what else the plan drew for each
# (its field `drawn`) to the mixed samples.
MIXERS = {"mixup": lambda images, partners, lam, _: mixup(images, partners, lam),
          "cutmix": lambda images, partners, _, box: cutmix(images, partners, box)}


def soft_targets(labels, partner_labels, lam, num_classes):
    """lam * one_hot(labels) + (1 - lam) * one_hot(partner_labels), float32 (B, num_classes)."""
    targets = torch.zeros(len(lam), num_classes, device=lam.device)
    targets.scatter_(1, labels[:, None], lam[:, None])
    return targets.scatter_add_(1, partner_labels[:, None], 1 - lam[:, None])


def mix_batch(images, partners, labels, part, num_classes):
    """The Batch of B slots that `part` (plan.Part) makes of P samples.

    images (B, C, H, W): the first sample of every slot; overwritten. partners (M, C, H, W): the second one, of the
    slots part.rows alone: elsewhere it has no weight. labels (P,): of the samples in their order before mixing.
    """
    one, other = labels[part.first], labels[part.second]
    heavier = part.lam >= 0.5
    return Batch(images=mix_images(images, partners, part),
                 targets=soft_targets(one, other, part.lam, num_classes),
                 labels=torch.where(heavier, one, other),
                 index=torch.where(heavier, part.index[part.first], part.index[part.second]),
                 mixed=part.lam < 1)


def mix_images(images, partners, part):
    """`images` (B, C, H, W) with the slots part.rows mixed; clean slots are not touched, their pixels stay as they are.

    Both are contiguous or both channels_last. `images` may be overwritten: the result is what counts.
    """
    rows = part.rows
    if not len(rows):
        return images
    every = len(rows) == len(images)
    own = images if every else _take(images, rows)
    mixed = MIXERS[part.mix](own, partners, part.lam[rows], None if part.drawn is None else part.drawn[rows])
    return mixed if every else _put(images, rows, mixed)


def _take(images, rows):
    """images[rows], read in the order in which they lie in memory: several times faster."""
    if images.is_contiguous():
        return images.index_select(0, rows)
    return images.permute(0, 2, 3, 1).index_select(0, rows).permute(0, 3, 1, 2)


def _put(images, rows, values):
    """`images` with images[rows] = values, written in the order of the memory."""
    if images.is_contiguous():
        target = images
    else:
        target, values = images.permute(0, 2, 3, 1), values.permute(0, 2, 3, 1)
    if target.device.type == "cpu" and target.dtype == torch.float32:
        target.numpy()[rows.numpy()] = values.numpy()  # index_copy_ takes five times as long on the CPU
    else:
        target.index_copy_(0, rows, values)
    return images
