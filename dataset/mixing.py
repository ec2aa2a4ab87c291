"""mixup and CutMix of a batch, or of several batches at once, on whatever device they lie.

Pure functions of the samples and a slice of the epoch's plan. MIX-KD (Choi et al., WACV 2023, eq. 1) mixes inputs and
one-hot targets alike: x = lam * x[first] + (1 - lam) * x[second], one lam for each sample.
"""
from dataclasses import dataclass, fields

import numpy as np
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


@dataclass(frozen=True)
class Slots:
    """The mixing plan of B neighbouring slots as tensors: first, second int64 (B,), places within these B; lam float32
    (B,), the weight of first; box int64 (B, 4) or None; rows int64 (M,), the slots with lam < 1."""

    first: torch.Tensor
    second: torch.Tensor
    lam: torch.Tensor
    box: torch.Tensor | None
    rows: torch.Tensor


class PlanTensors:
    """An EpochPlan on a device: attributes of the same names, as tensors; `slots` cuts out a chunk's mixing."""

    def __init__(self, plan, device):
        self._rows = plan.rows  # stays on the host: it tells sizes without asking the device
        for field in fields(plan):
            value = getattr(plan, field.name)
            if isinstance(value, np.ndarray):
                value = torch.from_numpy(value)
                if device.type == "cuda":
                    value = value.pin_memory()  # from there the copy runs behind the host's back
                value = value.to(device, non_blocking=True)
            setattr(self, field.name, value)

    def slots(self, lo, hi):
        """Slots of the epoch positions lo..hi-1 (whole batches), or None where nothing is mixed."""
        if self.first is None:
            return None
        a, b = np.searchsorted(self._rows, (lo, hi))
        box = None if self.box is None else self.box[lo:hi]
        return Slots(self.first[lo:hi] - lo, self.second[lo:hi] - lo, self.lam[lo:hi], box, self.rows[a:b] - lo)


def blend(first, second, slots):
    """`first` (B, C, H, W) mixed with the partners `second` (M, C, H, W) of the M slots in slots.rows.

    Both lie dense in memory, both contiguous or both channels_last; `first` is overwritten or left, the result is what
    counts. Clean slots are not touched, so their pixels stay bit for bit.
    """
    rows, whole = slots.rows, len(slots.rows) == len(first)
    if not len(rows):
        return first
    order, back = ((0, 1, 2, 3), (0, 1, 2, 3)) if first.is_contiguous() else ((0, 2, 3, 1), (0, 3, 1, 2))
    target, other = first.permute(order), second.permute(order)  # as they lie in memory: several times faster
    own = target if whole else target.index_select(0, rows)
    if slots.box is None:
        mixed = torch.lerp(other, own, slots.lam[rows].view(-1, 1, 1, 1).to(own.dtype))
    else:
        mixed = torch.where(_inside(slots.box[rows], first.shape).permute(order), other, own)
    if whole:
        return mixed.permute(back)
    if target.device.type == "cpu" and target.dtype == torch.float32:
        target.numpy()[rows.numpy()] = mixed.numpy()  # index_copy_ takes five times as long on the CPU
    else:
        target.index_copy_(0, rows, mixed)
    return first


def _inside(box, shape):
    """bool (M, 1, H, W): the pixels within each box (M, 4)."""
    top, bottom, left, right = box[:, :, None].unbind(1)
    y, x = (torch.arange(length, device=box.device) for length in shape[2:])
    return ((top <= y) & (y < bottom))[:, None, :, None] & ((left <= x) & (x < right))[:, None, None, :]


def mix_images(images, slots):
    """images (B, C, H, W) as `slots` mixes them; the input is left as it is. None for slots: the input itself."""
    if slots is None:
        return images
    return blend(images.index_select(0, slots.first), images.index_select(0, slots.second[slots.rows]), slots)


def mix_labels(labels, index, slots, num_classes):
    """(targets, labels, index, mixed) as Batch has them, from labels and places (B,) before mixing."""
    targets = torch.zeros(len(labels), num_classes, device=labels.device)
    if slots is None:
        targets.scatter_(1, labels[:, None], 1.0)
        return targets, labels, index, torch.zeros_like(labels, dtype=torch.bool)
    lam, first = slots.lam, slots.lam >= 0.5
    one, other = labels[slots.first], labels[slots.second]
    targets.scatter_(1, one[:, None], lam[:, None]).scatter_add_(1, other[:, None], 1 - lam[:, None])
    index = torch.where(first, index[slots.first], index[slots.second])
    return targets, torch.where(first, one, other), index, lam < 1


def mix_batch(images, labels, index, slots, num_classes):
    """Batch of the samples (images (B, C, H, W), labels (B,), index (B,)) as `slots` mixes them."""
    return Batch(mix_images(images, slots), *mix_labels(labels, index, slots, num_classes))


def split_batches(chunk, batch_size):
    """The batches of a chunk, one after the other, as views."""
    parts = (getattr(chunk, field.name).split(batch_size) for field in fields(chunk))
    return (Batch(*part) for part in zip(*parts, strict=True))
