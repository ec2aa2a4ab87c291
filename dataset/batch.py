"""What a training step gets, and how two samples become one: mixup, CutMix and their soft targets.

Pure functions on any device; what is random in them (partners, lambda, boxes, clean samples) is drawn by plan.py.
"""
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Batch:
    """images: (B, C, H, W) normalised, mixed. targets: float32 (B, K) class probabilities. labels, index: int64 (B,),
    class and position of the sample with the larger weight (at equal weights the first); positions count in the
    training set after hold-out and train_fraction. mixed: bool (B,), whether a second sample has any weight. total:
    samples of the batch in all processes of torchrun, B where there is one."""

    images: torch.Tensor
    targets: torch.Tensor
    labels: torch.Tensor
    index: torch.Tensor
    mixed: torch.Tensor
    total: int


@dataclass(frozen=True)
class Part:
    """Some neighbouring batches of a plan (plan.EpochPlan), as tensors on a device: P samples for B slots; P = B,
    except in one process's share under torchrun.

    By sample, before mixing: index, int64 (P,), its place in the training set; crop, int64 (P, 2); flip, bool (P,).
    By slot: first, second, int64 (B,), the samples that meet there, counted from the part's first; lam, float32 (B,);
    extra, (B, ...) or None. mix: the kind. sizes, totals: slots of each batch here, and samples in all processes.
    """

    index: torch.Tensor
    crop: torch.Tensor
    flip: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    lam: torch.Tensor
    extra: torch.Tensor | None
    mix: str
    sizes: list
    totals: list

    @property
    def samples(self):
        """The samples to cut, in the order of mix_batch: the first samples of all slots, then the second ones;
        without mixing the first ones alone."""
        return self.first if self.mix == "none" else torch.cat([self.first, self.second])


def parts(plan, device, start, length):
    """Iterator of Part: `length` batches of an EpochPlan at a time from step `start` on, the last part may be shorter.
    The whole plan is copied to `device` at once."""
    columns = [plan.order, plan.crop, plan.flip, plan.first, plan.second, plan.lam, plan.extra]
    order, crop, flip, first, second, lam, extra = (None if c is None else on_device(c, device) for c in columns)
    samples, slots, totals = plan.samples.tolist(), plan.slots.tolist(), plan.totals.tolist()
    steps = plan.steps
    for step in range(start, steps, length):
        stop = min(step + length, steps)
        sample, slot = slice(samples[step], samples[stop]), slice(slots[step], slots[stop])
        yield Part(index=order[sample], crop=crop[sample], flip=flip[sample], first=first[slot] - sample.start,
                   second=second[slot] - sample.start, lam=lam[slot], extra=None if extra is None else extra[slot],
                   mix=plan.mix, sizes=np.diff(slots[step : stop + 1]).tolist(), totals=totals[step:stop])


def on_device(column, device):
    """numpy array -> tensor on `device`; to CUDA through pinned memory, so that the host does not wait for the copy."""
    tensor = torch.from_numpy(column)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def mixup(images, partners, lam, extra=None):
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


# Name in plan.MIXES -> function(images, partners, lam, extra) -> mixed images. extra: what else the plan drew per slot.
MIXERS = {"mixup": mixup, "cutmix": cutmix}


def soft_targets(labels, partner_labels, lam, num_classes):
    """lam * one_hot(labels) + (1 - lam) * one_hot(partner_labels), float32 (B, num_classes)."""
    targets = torch.zeros(len(lam), num_classes, device=lam.device)
    targets.scatter_(1, labels[:, None], lam[:, None])
    return targets.scatter_add_(1, partner_labels[:, None], 1 - lam[:, None])


def mix_batch(images, labels, part, num_classes):
    """All fields of a Batch but `total`, for the B slots of `part`.

    images: (2 B, C, H, W), the first samples of all slots and then the second ones; without mixing (B, C, H, W).
    labels: (P,), of the samples in their order before mixing.
    """
    one, other = labels[part.first], labels[part.second]
    heavier = part.lam >= 0.5
    if part.mix != "none":
        images = MIXERS[part.mix](*images.chunk(2), part.lam, part.extra)
    targets = soft_targets(one, other, part.lam, num_classes)
    index = torch.where(heavier, part.index[part.first], part.index[part.second])
    return images, targets, torch.where(heavier, one, other), index, part.lam < 1
