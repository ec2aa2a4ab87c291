"""Batches cut from images that lie on the device: no worker, no copy a step, no wait for the device.

The images are padded once and stay uint8. All crops of an image are windows of one strided view, so crops of many
batches are one indexing of that view. Same batches as torch_loader.TorchLoader, on the CPU bit for bit.
"""
import numpy as np
import torch
import torch.nn.functional as F

from .data import DataError
from .loader import Loader
from .mixing import Batch, PlanTensors, blend, mix_labels, split_batches

# Images cut at a time. On the CPU a chunk should stay in the cache; a GPU wants few, large kernels.
CHUNK_IMAGES = {"cpu": 256, "cuda": 4096}


class Normalise:
    """uint8 (B, ...) to (pixel / 255 - mean) / std in float32, bit for bit torchvision's ToTensor and Normalize.

    One flat vector of means for a whole image keeps the arithmetic contiguous in either memory layout. 255 is a tensor
    because CUDA multiplies by the reciprocal of a plain number, which rounds differently.
    """

    def __init__(self, data, device, channels_last=False):
        c, h, w = data.train.images.shape[1:]
        shape, spread = ((1, 1, c), (h, w, c)) if channels_last else ((c, 1, 1), (c, h, w))
        self.scale = torch.tensor(255.0, device=device)
        self.mean, self.std = (torch.tensor(v).view(shape).expand(spread).reshape(-1).to(device)
                               for v in (data.mean, data.std))

    def __call__(self, pixels):
        flat = pixels.reshape(len(pixels), -1).to(torch.float32)
        return flat.div_(self.scale).sub_(self.mean).div_(self.std).view(pixels.shape)


def crop_windows(images, pad, channels_last):
    """All crops of `images` uint8 (N, C, H, W) padded with `pad` black pixels, as one view.

    Result (N, 2 pad + 1, 2 pad + 1, C, H, W), or (..., H, W, C) with channels_last; index it by (image, top, left).
    """
    h, w = images.shape[2:]
    padded = F.pad(images, (pad,) * 4)  # black before normalising, as RandomCrop(padding=4) has it
    if channels_last:
        return padded.permute(0, 2, 3, 1).contiguous().unfold(1, h, 1).unfold(2, w, 1).permute(0, 1, 2, 4, 5, 3)
    return padded.unfold(2, h, 1).unfold(3, w, 1).permute(0, 2, 3, 1, 4, 5)


def cut_on_host(windows, plan, positions, width_axis):
    """uint8 crops of the epoch positions; numpy arrays in, tensor out. Each library does what it is fast at on a CPU:
    numpy's indexing copies whole rows where torch's goes pixel by pixel (5x), torch mirrors faster than numpy (3x)."""
    crops = windows[plan.order[positions], plan.top[positions], plan.left[positions]]
    turned = np.flatnonzero(plan.flip[positions])
    if len(turned):
        crops[turned] = torch.from_numpy(crops[turned]).flip(width_axis).numpy()
    return torch.from_numpy(crops)


def cut_on_device(windows, plan, positions, width_axis):
    """The same from tensors, without any branch that depends on their contents."""
    crops = windows[plan.order[positions], plan.top[positions], plan.left[positions]]
    turned = plan.flip[positions].view(-1, *(1,) * (crops.dim() - 1))
    return torch.where(turned, crops.flip(width_axis), crops)


class DeviceLoader(Loader):
    """Batches of `data.train`, resident on `device`. See Loader for the interface.

    chunk: batches made at a time; None takes the measured best for the device. Memory: N * C * (H + 2 pad) *
    (W + 2 pad) bytes, 240 MB for CIFAR. memory_format: channels_last costs nothing extra, the images are stored so.
    Batches are views of their chunk; each chunk has memory of its own, so batches may be kept.
    """

    def __init__(self, data, batch_size, mix, device="cpu", memory_format=torch.contiguous_format, chunk=None,
                 dtype=torch.float32):
        super().__init__(data, batch_size, mix, device, memory_format, dtype)
        if chunk is not None and chunk < 1:
            raise DataError(f"chunk {chunk}: give at least 1 batch")
        self.chunk = chunk or max(1, CHUNK_IMAGES.get(self.device.type, 4096) // batch_size)
        last = memory_format == torch.channels_last
        self._normalise = Normalise(data, self.device, last)
        self._width_axis = -2 if last else -1
        self._permute = (0, 3, 1, 2) if last else (0, 1, 2, 3)
        self._labels = data.train.labels.to(self.device)
        self._on_host = self.device.type == "cpu"
        windows = crop_windows(data.train.images.to(self.device), data.pad, last)
        self._windows = windows.numpy() if self._on_host else windows

    def _images(self, plan, positions):
        cut = cut_on_host if self._on_host else cut_on_device
        return self._normalise(cut(self._windows, plan, positions, self._width_axis)).permute(self._permute)

    def _batches(self, plan, start):
        tensors = PlanTensors(plan, self.device)
        source = plan if self._on_host else tensors
        n, length = len(plan.order), self.chunk * self.batch_size
        for lo in range(start * self.batch_size, n, length):
            hi = min(lo + length, n)
            slots = tensors.slots(lo, hi)
            index = tensors.order[lo:hi]
            images = self._chunk(source, slots, lo, hi)
            labels = mix_labels(self._labels[index], index, slots, self.data.num_classes)
            yield from split_batches(Batch(images.to(self.dtype), *labels), self.batch_size)

    def _chunk(self, plan, slots, lo, hi):
        """Mixed images of the epoch positions lo..hi-1: partners are cut straight into the slots where they meet, so
        no batch is permuted as floats, and second partners are cut only where they count."""
        if slots is None:
            return self._images(plan, slice(lo, hi))
        rows = slots.rows.numpy() if self._on_host else slots.rows
        join = np.concatenate if self._on_host else torch.cat
        images = self._images(plan, join([plan.first[lo:hi], plan.second[lo:hi][rows]]))
        return blend(images[: hi - lo], images[hi - lo :], slots)


def eval_batches(split, data, device, batch_size, memory_format=torch.contiguous_format, dtype=torch.float32):
    """Iterator of (images (B, C, H, W) normalised as `data` says, labels (B,)) over `split` in its order, on `device`;
    the last batch may be short. split.to(device), kept, saves the copy of the images at each call."""
    split, normalise = split.to(device), Normalise(data, device)
    for pixels, labels in zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True):
        yield normalise(pixels).to(dtype=dtype, memory_format=memory_format), labels
