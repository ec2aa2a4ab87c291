"""Training batches in two ways, and the test batches.

DeviceLoader cuts them from images resident on the device: no workers, no copy per step, no wait for the device.
TorchLoader lets the worker processes of a torch DataLoader do it, image by image with torchvision's transforms: for
data that does not fit on the device, and as the reference. Whatever is random comes from the epoch's plan, so both
give the same batches, on the CPU bit for bit.
"""
import contextlib
import multiprocessing.util
import os
import signal
import threading
from abc import ABC, abstractmethod
from itertools import islice, pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from .batch import Batch, mix_batch, parts
from .data import DataError
from .plan import PlanAhead, plan_epoch

# Images that DeviceLoader cuts at a time: on the CPU as many as fit in the cache, on a GPU many for few kernels.
CHUNK_IMAGES = {"cpu": 256, "cuda": 4096}
LOADERS = ("device", "torch")


class Loader(ABC):
    """Training batches of `data`.

    batch_size: samples per step; the last, short batch is kept. mix: MixSpec. device: of the batches.
    memory_format: of Batch.images. share: (rank, size), of the process whose share of every batch it makes (see
    EpochPlan.share). `steps` is the number of batches in an epoch, `n_data` of training images.

    Raises DataError for a batch size below 1 or an empty training set.
    """

    def __init__(self, data, batch_size, mix, device, memory_format, share=(0, 1)):
        if batch_size < 1:
            raise DataError(f"--batch_size {batch_size}: give at least 1")
        if not len(data.train):
            raise DataError(f"{data.name}: no training images")
        self.data, self.batch_size, self.mix = data, batch_size, mix
        self.device, self.memory_format, self.share = torch.device(device), memory_format, share
        self.n_data = len(data.train)
        self.steps = -(-self.n_data // batch_size)

    def plan(self, seed, epoch, phase=0):
        """The EpochPlan that `epoch` with the same arguments follows, the same for all processes."""
        data = self.data
        return plan_epoch(self.n_data, self.batch_size, data.image_shape[1:], data.pad, data.flip, self.mix, seed,
                          epoch, phase)

    def _next_plan(self, seed, epoch, phase):
        # Not an attribute: a bound method makes the loader part of a cycle, which delays the end of each worker by 5 s.
        return self.plan(seed, epoch, phase)

    def epoch(self, seed, epoch, phase=0, start=0):
        """Iterator of Batch over one epoch, from step `start` on (0: all of it, `steps`: none).

        The same (seed, epoch, phase) gives the same batches, whatever `start` is and whatever other epochs are read
        at the same time. phase tells apart stages of a run that count their epochs from the beginning again, such as
        a first stage of a distiller.

        Raises DataError for a start outside [0, steps].
        """
        if not 0 <= start <= self.steps:
            raise DataError(f"step {start}: an epoch has steps 0 to {self.steps}")
        plan = self._next_plan(seed, epoch, phase)
        return self._batches(plan.share(*self.share) if self.share[1] > 1 else plan, start)

    @abstractmethod
    def _batches(self, plan, start):
        """Iterator of the Batch of each step of `plan`, from `start` on."""


# Resident on the device ---------------------------------------------------------------------------------------------


class Normalise:
    """uint8 (B, ...) to (pixel / 255 - mean) / std in float32, bit for bit torchvision's ToTensor and Normalize.

    One flat vector of means for a whole image keeps the arithmetic contiguous in either memory layout. 255 is a tensor
    because CUDA multiplies by the reciprocal of a plain number, which rounds differently.
    """

    def __init__(self, data, device, channels_last=False):
        c, h, w = data.image_shape
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


def cut_on_host(windows, index, crop, flip, width_axis):
    """uint8 crops (P, ...) of the images index (P,) at crop (P, 2), mirrored where flip (P,). Each library does what
    it is fast at on a CPU: numpy's indexing copies whole rows where torch's goes pixel by pixel (5x), torch mirrors
    faster than numpy (3x)."""
    crops = windows.numpy()[index.numpy(), crop[:, 0].numpy(), crop[:, 1].numpy()]
    turned = np.flatnonzero(flip.numpy())
    if len(turned):
        crops[turned] = torch.from_numpy(crops[turned]).flip(width_axis).numpy()
    return torch.from_numpy(crops)


def cut_on_device(windows, index, crop, flip, width_axis):
    """The same without any branch that depends on the tensors' contents."""
    crops = windows[index, crop[:, 0], crop[:, 1]]
    return torch.where(flip.view(-1, *(1,) * (crops.dim() - 1)), crops.flip(width_axis), crops)


class DeviceLoader(Loader):
    """Batches of `data.train`, resident on `device`. See Loader for the interface.

    The images are padded once and stay uint8; all crops of an image are windows of one strided view, so crops of many
    batches are one indexing of that view. Memory: N * C * (H + 2 pad) * (W + 2 pad) bytes, 240 MB for CIFAR.
    memory_format: channels_last costs nothing extra, the images are stored so. Batches are views of a chunk of
    CHUNK_IMAGES; each chunk has memory of its own, so batches may be kept.
    """

    def __init__(self, data, batch_size, mix, device="cpu", memory_format=torch.contiguous_format, share=(0, 1)):
        super().__init__(data, batch_size, mix, device, memory_format, share)
        self._next_plan = PlanAhead(self.plan)
        last = memory_format == torch.channels_last
        self._labels = data.train.labels.to(self.device)
        if (self.device, last) not in data.windows:  # one for all loaders of the data
            data.windows[self.device, last] = crop_windows(data.train.images.to(self.device), data.pad, last)
        self._windows = data.windows[self.device, last]
        self._cut = cut_on_host if self.device.type == "cpu" else cut_on_device
        self._width_axis = -2 if last else -1
        self._normalise = Normalise(data, self.device, last)
        self._to_nchw = (0, 3, 1, 2) if last else (0, 1, 2, 3)

    def _batches(self, plan, start):
        length = max(1, CHUNK_IMAGES.get(self.device.type, 4096) * self.share[1] // self.batch_size)
        for part in parts(plan, self.device, start, length):
            # Both samples of a slot are cut straight into it, so no batch is permuted as floats.
            samples = part.samples
            pixels = self._cut(self._windows, part.index[samples], part.crop[samples], part.flip[samples],
                               self._width_axis)
            images = self._normalise(pixels).permute(self._to_nchw)
            images, targets, labels, index, mixed = mix_batch(images, self._labels[part.index], part,
                                                              self.data.num_classes)
            sizes = part.sizes
            yield from map(Batch, images.split(sizes), targets.split(sizes), labels.split(sizes), index.split(sizes),
                           mixed.split(sizes), part.totals)


# Through a torch DataLoader -----------------------------------------------------------------------------------------


class PlanSampler:
    """Batch sampler that hands the workers their part of the plan with the images' positions."""

    plan, start = None, 0

    def __iter__(self):
        plan = self.plan
        columns = [column.tolist() for column in (plan.order, plan.crop, plan.flip)]
        for lo, hi in pairwise(plan.samples[self.start :].tolist()):
            yield list(zip(*(column[lo:hi] for column in columns), strict=True))


class TorchLoader(Loader):
    """Batches of `data.train` through worker processes, mixed on `device`. See Loader.

    num_workers: processes in all (0: images are cut in this one). at_once: how many epochs are read side by side, as
    several seeds in one process do; each has a torch DataLoader of its own with its share of the workers, at least one.
    A DataLoader serves one epoch at a time and its workers live on for the next, so there are never more DataLoaders
    than epochs that were open together. Raises DataError when a worker dies.
    """

    def __init__(self, data, batch_size, mix, device="cpu", num_workers=2, memory_format=torch.contiguous_format,
                 at_once=1, share=(0, 1)):
        super().__init__(data, batch_size, mix, device, memory_format, share)
        if num_workers < 0:
            raise DataError(f"--num_workers {num_workers}: give 0 or more")
        self.num_workers = min(num_workers, max(1, num_workers // at_once))  # of each DataLoader
        self._labels = data.train.labels.to(self.device)
        self._images = data.training_images()
        self._normalise = Normalise(data, self.device)
        self._idle = []  # DataLoaders whose epoch is over

    def _batches(self, plan, start):
        # Closed here, not when it is collected: Python 3.12 keeps the locals of a generator that was broken off.
        with contextlib.closing(self._samples(plan, start)) as samples:
            for images, part in zip(samples, parts(plan, self.device, start, 1), strict=True):
                images = to_device(images, self.device, self._normalise, self.memory_format, part.flip)
                yield Batch(*mix_batch(images[part.samples], self._labels[part.index], part, self.data.num_classes),
                            *part.totals)

    def _samples(self, plan, start):
        """Cropped images (B, C, H, W) of each step, on the host; flipped unless uint8."""
        loader = self._idle.pop() if self._idle else self._new_loader()
        loader.batch_sampler.plan, loader.batch_sampler.start = plan, start
        try:
            yield from from_workers(loader)
        except GeneratorExit:  # the epoch is broken off; torch empties the queues before the next one
            self._idle.append(loader)
            raise
        self._idle.append(loader)

    def _new_loader(self):
        return DataLoader(self._images, batch_sampler=PlanSampler(), num_workers=self.num_workers,
                          persistent_workers=self.num_workers > 0, pin_memory=self.device.type == "cuda",
                          generator=torch.Generator(),  # it draws at every start: not from the global one
                          worker_init_fn=leave_group if self.share[1] > 1 else None)


def leave_group(_):
    """Called in a worker: torchrun signals process groups, and a process that saves at a signal needs its workers."""
    os.setpgid(0, 0)


def from_workers(loader):
    """The batches of a torch DataLoader. Raises DataError, one line, where a worker died or raised one itself."""
    if loader.num_workers:
        make_socket_folder()
    try:
        yield from _quietly(loader)
    except DataError as error:  # a bad file: its line comes last in the worker's traceback
        raise DataError(str(error).rsplit("DataError: ", 1)[-1].strip()) from None
    except (RuntimeError, EOFError, OSError) as error:
        # torch reports a death as RuntimeError, or as an error of the socket that the worker left behind; what was
        # raised inside a living worker starts with "Caught"
        if loader.num_workers == 0 or str(error).startswith("Caught"):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"a data worker died ({reason}); out of memory or of /dev/shm? Lower --num_workers; 0 works "
                        "without them") from None


def make_socket_folder():
    """The folder of the workers' sockets. They inherit it from this process, which removes it at its exit; a worker,
    which a signal ends, would leave one of its own. Raises DataError where its path is too long: a worker would find
    that out in a thread, and this process would wait for ever."""
    folder = multiprocessing.util.get_temp_dir()
    if len(os.fsencode(folder)) + len("/listener-12345678") > 107:  # a Unix socket's longest path
        raise DataError(f"TMPDIR: {os.path.dirname(folder)} is too long for the data workers' sockets; set a shorter "
                        "one, or give --num_workers 0")


def _quietly(loader):
    """iter(loader) without torch's signal handler, which raises a worker's death in whatever line the main program is
    executing, where nothing can catch it; without it the loader notices by itself, within seconds, as it waits."""
    before = signal.getsignal(signal.SIGCHLD)
    if before is None or threading.current_thread() is not threading.main_thread():
        return iter(loader)  # a handler that Python can't put back, or a thread in which torch installs none
    try:
        return iter(loader)
    finally:
        signal.signal(signal.SIGCHLD, before)


# Factory functions ---------------------------------------------------------------------------------------------------


def make_loader(data, batch_size, mix, device, kind="device", num_workers=2, at_once=1,
                memory_format=torch.channels_last, share=(0, 1)):
    """The Loader of `data.train`: kind one of LOADERS, as --loader has them; see DeviceLoader and TorchLoader.

    Data whose images don't fit on a device (data.resident is false) always comes through 'torch'.
    """
    if kind == "device" and data.resident:
        return DeviceLoader(data, batch_size, mix, device, memory_format, share)
    return TorchLoader(data, batch_size, mix, device, num_workers, memory_format, at_once, share)


def eval_batches(split, data, device, batch_size, memory_format=torch.contiguous_format, share=(0, 1)):
    """Iterator of (images (B, C, H, W) normalised by the mean and std of `data`, labels (B,)) over `split` in its
    order, on `device`; the last batch may be short. A split that is on the device already spares a copy at each call.
    share: (rank, size), only the batches rank, rank + size, ..."""
    split, normalise = split.to(device), Normalise(data, device)
    batches = zip(split.images.split(batch_size), split.labels.split(batch_size), strict=True)
    for pixels, labels in islice(batches, share[0], None, share[1]):
        yield normalise(pixels).to(memory_format=memory_format), labels


def make_test_batches(data, device, memory_format=torch.channels_last, num_workers=2, share=(0, 1)):
    """A callable that returns a new iterator over `data.test` each time, as eval_batches does.

    The images stay on the device; where they don't fit (data.resident is false) `num_workers` processes read them.
    """
    device = torch.device(device)
    size = 1000 if device.type == "cuda" else 250
    if data.resident:
        test = data.test.to(device)
        return lambda: eval_batches(test, data, device, size, memory_format, share)
    size = min(size, 256)  # large images
    places = torch.arange(len(data.test)).split(size)[share[0] :: share[1]]
    loader = DataLoader(data.test_images(), batch_sampler=[part.tolist() for part in places], num_workers=num_workers,
                        pin_memory=device.type == "cuda", generator=torch.Generator(),
                        worker_init_fn=leave_group if share[1] > 1 else None)
    labels, normalise = data.test.labels.to(device), Normalise(data, device)

    def batches():
        for images, part in zip(from_workers(loader), places, strict=True):
            yield to_device(images, device, normalise, memory_format), labels[part.to(device)]
    return batches


def to_device(images, device, normalise, memory_format, flip=None):
    """What a worker made of images: float32 as it is, uint8 mirrored where `flip` (B,) and normalised."""
    images = images.to(device, non_blocking=True)
    if images.dtype == torch.uint8:
        if flip is not None:
            images = torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)
        images = normalise(images)
    return images.contiguous(memory_format=memory_format)
