"""The training step of one or several seeds: eager, compiled, or as one CUDA graph.

What is in a step: the students, their losses, backward, SGD and the sums of the metrics; the teacher too, where a
method reads its features or the device does not gain from asking it ahead (see ahead). The batches are mixed before it,
many steps in one gather (see dataset), which costs less than mixing inside every step would.
"""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from .ahead import AnsweredBatch, answered, chunk_steps
from .distributed import own
from .graphs import Graphs
from .learner import Learner


class Trainer:
    """Steps for a group of learners on one device, the teacher shared.

    teacher: callable from images to (features, logits), or None. On the CPU each learner is stepped just as it would
    be alone, bit for bit. On CUDA the teacher sees the batches of all as one, on a stream beside those of the learners,
    which wait for it before their losses; with ``--step graph`` all of it is one graph launch.
    """

    def __init__(self, opt: Namespace, teacher: Callable | None, learners: Sequence[Learner], device: torch.device):
        self.opt, self.teacher, self.device = opt, teacher, device
        self.streams = {}
        if device.type == "cuda":
            self.streams = {learner.trial: torch.cuda.Stream(device) for learner in learners}
            self.beside = torch.cuda.Stream(device)  # the teacher's
        self.graphs = Graphs(device) if opt.step == "graph" else None
        self.ahead = chunk_steps(device, own(opt.batch_size))  # steps for which the teacher answers at once

    def batches(self, loader, learner: Learner, phase: int, start: int) -> Iterator:
        """The batches of the learner's epoch from step ``start`` on, with the teacher's answer where it comes ahead."""
        def epoch(first: int) -> Iterator:
            return loader.epoch(learner.seed, learner.epoch + 1, phase, start=first)

        method = learner.method
        if self.ahead == 1 or method.needs_features or not method.asks_teacher(learner.stage):
            return epoch(start)
        return answered(self.teacher, self.ahead, epoch, start)

    def step(self, group: Sequence[Learner], batches: Sequence) -> None:
        """One step of every learner of ``group`` on its own batch."""
        if self.graphs is None:
            self._update(group, batches)
        else:
            key = tuple((learner.trial, learner.stage, len(batch.labels))
                        for learner, batch in zip(group, batches, strict=True))
            rates = tuple(learner.learning_rate() for learner in group)
            self.graphs.run(key, rates, batches, lambda static: self._update(group, static))

    def _update(self, group: Sequence[Learner], batches: Sequence) -> None:
        outs_t = self._answers_at_hand(group, batches)
        if self.device.type != "cuda" or (len(group) == 1 and outs_t):  # nothing to run side by side
            for learner, batch, out_t in zip(group, batches, outs_t or self._ask_teacher(batches), strict=True):
                learner.update(batch, partial(self._joined, None, out_t))
            return
        # What a stream allocates it takes anew in the next step only, after all have joined the current one.
        current = torch.cuda.current_stream(self.device)
        self.beside.wait_stream(current)
        with torch.cuda.stream(self.beside):
            outs_t = outs_t or self._ask_teacher(batches)
        for learner, batch, out_t in zip(group, batches, outs_t, strict=True):
            stream = self.streams[learner.trial]
            stream.wait_stream(current)
            with torch.cuda.stream(stream):
                learner.update(batch, partial(self._joined, stream, out_t))
        for stream in (self.beside, *(self.streams[learner.trial] for learner in group)):
            current.wait_stream(stream)

    def _joined(self, stream, out_t):
        """The teacher's answer; on CUDA ``stream`` waits for it first."""
        if stream is not None:
            stream.wait_stream(self.beside)
        return out_t

    def _answers_at_hand(self, group: Sequence[Learner], batches: Sequence) -> list:
        """A teacher's answer for each batch where none has to be asked now: it came ahead, or nobody reads it (None).
        Empty where the teacher is to be asked."""
        if not any(learner.method.asks_teacher(learner.stage) for learner in group):
            return [None] * len(batches)
        if all(isinstance(batch, AnsweredBatch) for batch in batches):
            return [([], batch.logits_t) for batch in batches]
        return []

    def _ask_teacher(self, batches: Sequence) -> list:
        if len(batches) == 1 or self.device.type != "cuda":
            return [self.teacher(batch.images) for batch in batches]
        features, logits = self.teacher(torch.cat([batch.images for batch in batches]))
        sizes = [len(batch.labels) for batch in batches]
        parts = [f.split(sizes) for f in features]
        return [([part[i] for part in parts], part_logits) for i, part_logits in enumerate(logits.split(sizes))]
