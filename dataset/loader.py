"""What both loaders share: their options, their plan and the way an epoch is asked for."""
from abc import ABC, abstractmethod

import torch

from .data import DataError
from .plan import plan_epoch


class Loader(ABC):
    """Training batches of `data`.

    batch_size: samples a step; the last, short batch is kept. mix: MixSpec. device: where the batches are wanted.
    memory_format, dtype: of Batch.images. `steps` is the number of batches in an epoch, `n_data` of training images.

    Raises DataError for a batch size below 1 or an empty training set.
    """

    def __init__(self, data, batch_size, mix, device, memory_format, dtype):
        if batch_size < 1:
            raise DataError(f"--batch_size {batch_size}: give at least 1")
        if not len(data.train):
            raise DataError(f"{data.name}: no training images")
        self.data, self.batch_size, self.mix = data, batch_size, mix
        self.device, self.memory_format, self.dtype = torch.device(device), memory_format, dtype
        self.n_data = len(data.train)
        self.steps = -(-self.n_data // batch_size)

    def plan(self, seed, epoch, phase=0):
        """The EpochPlan that `epoch` with the same arguments follows."""
        size = tuple(self.data.train.images.shape[2:])
        return plan_epoch(self.n_data, self.batch_size, size, self.data.pad, self.data.flip, self.mix, seed, epoch,
                          phase)

    def epoch(self, seed, epoch, phase=0, start=0):
        """Iterator of Batch over one epoch, from step `start` on (0: all of it, `steps`: none).

        The same (seed, epoch, phase) gives the same batches, whatever `start` is. phase tells apart stages of a run
        that count their epochs from the beginning again, such as a first stage of a distiller.

        Raises DataError for a start outside [0, steps].
        """
        if not 0 <= start <= self.steps:
            raise DataError(f"step {start}: an epoch has steps 0 to {self.steps}")
        return self._batches(self.plan(seed, epoch, phase), start)

    @abstractmethod
    def _batches(self, plan, start):
        """Iterator of the Batch of each step of `plan`, from `start` on."""
