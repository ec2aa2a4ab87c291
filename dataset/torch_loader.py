"""The classic path: torchvision's transforms in a torch DataLoader with worker processes.

For data that does not fit on the device, and as the reference that DeviceLoader is tested against. What is random
comes from the plan, so both give the same batches.
"""
import signal
import threading
from dataclasses import replace

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import functional as TF

from .data import DataError
from .loader import Loader
from .mixing import PlanTensors, mix_batch


class PlannedImages(Dataset):
    """Item (place, top, left, flip) -> float32 (C, H, W): padded black, cropped, flipped, scaled and normalised by
    torchvision."""

    def __init__(self, data):
        self.images, self.pad, self.mean, self.std = data.train.images, data.pad, data.mean, data.std

    def __getitem__(self, item):
        place, top, left, flip = item
        height, width = self.images.shape[2:]
        image = TF.pad(TF.to_pil_image(self.images[place]), self.pad, fill=0)
        image = TF.crop(image, top, left, height, width)
        if flip:
            image = TF.hflip(image)
        return TF.normalize(TF.to_tensor(image), self.mean, self.std)


class PlanSampler:
    """Batch sampler that hands the workers their part of the plan along with the places."""

    plan, start = None, 0

    def __iter__(self):
        plan, b = self.plan, self.plan.batch_size
        columns = [column.tolist() for column in (plan.order, plan.top, plan.left, plan.flip)]
        for lo in range(self.start * b, len(plan.order), b):
            yield list(zip(*(column[lo : lo + b] for column in columns), strict=True))


class TorchLoader(Loader):
    """Batches of `data.train` through worker processes, mixed on `device`. See Loader.

    num_workers: processes in all (0: images are cut in this one). at_once: how many epochs are read side by side, as
    several seeds in one process do; each has a torch DataLoader of its own with its share of the workers, at least one.
    A DataLoader serves one epoch at a time and its workers live on for the next, so there are never more DataLoaders
    than epochs that were open together. Raises DataError when a worker dies.
    """

    def __init__(self, data, batch_size, mix, device="cpu", num_workers=2, memory_format=torch.contiguous_format,
                 dtype=torch.float32, at_once=1):
        super().__init__(data, batch_size, mix, device, memory_format, dtype)
        if num_workers < 0:
            raise DataError(f"--num_workers {num_workers}: give 0 or more")
        self.num_workers = min(num_workers, max(1, num_workers // at_once))  # of each DataLoader
        self._idle = []  # DataLoaders whose epoch is over

    def _batches(self, plan, start):
        tensors = PlanTensors(plan, self.device)
        labels = self.data.train.labels.to(self.device)
        for step, images in enumerate(self._images(plan, start), start):
            lo = step * self.batch_size
            images = images.to(self.device, non_blocking=True)
            index = tensors.order[lo : lo + len(images)]
            batch = mix_batch(images, labels[index], index, tensors.slots(lo, lo + len(images)), self.data.num_classes)
            yield replace(batch, images=batch.images.to(dtype=self.dtype, memory_format=self.memory_format))

    def _images(self, plan, start):
        """Cropped, flipped, normalised batches on the host; a worker's death as a DataError."""
        loader = self._idle.pop() if self._idle else self._new_loader()
        loader.batch_sampler.plan, loader.batch_sampler.start = plan, start
        try:
            yield from _quietly(loader)
        except GeneratorExit:  # the epoch is broken off; torch empties the queues before the next one
            self._idle.append(loader)
            raise
        except (RuntimeError, EOFError, OSError) as error:
            # torch reports a death as RuntimeError, or stumbles over the socket that the worker left behind; what
            # was raised inside a living worker starts with "Caught"
            if self.num_workers == 0 or str(error).startswith("Caught"):
                raise
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise DataError(f"a data worker died ({reason}); out of memory or of /dev/shm? Lower --num_workers; 0 "
                            "works without them") from None
        self._idle.append(loader)

    def _new_loader(self):
        return DataLoader(PlannedImages(self.data), batch_sampler=PlanSampler(), num_workers=self.num_workers,
                          persistent_workers=self.num_workers > 0, pin_memory=self.device.type == "cuda",
                          generator=torch.Generator())  # it draws at every start: not from the global one


def _quietly(loader):
    """iter(loader) without the signal handler it installs: that one throws a worker's death into whatever line the
    main program is at, out of our reach; without it the loader notices by itself, within seconds, as it waits."""
    before = signal.getsignal(signal.SIGCHLD)
    if before is None or threading.current_thread() is not threading.main_thread():
        return iter(loader)  # a handler that Python can't put back, or a thread in which torch installs none
    try:
        return iter(loader)
    finally:
        signal.signal(signal.SIGCHLD, before)
