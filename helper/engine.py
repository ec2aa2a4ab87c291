"""The training step of one run, top to bottom: batch, teacher, student, loss, backward, SGD, sums.

:meth:`Engine.step` is all of it. What surrounds a step is elsewhere: epochs, evaluation and files in fit.py, CUDA
streams and graphs in graphs.py, several processes in ddp.py, several runs at once in together.py.
"""
from __future__ import annotations

import math
from argparse import Namespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from distiller_zoo import Distiller

from . import ddp
from .checkpoint import cpu_state_dict, optimizer_state
from .device import autocast
from .teacher import TeacherBatch

SUMS = ("top1", "top5", "mixed", "skipped", "images", "loss")  # over an epoch; the loss terms follow
OLDER_SUMS = ("images", "loss", "top1", "top5", "mixed", "skipped")  # their order in states of older versions
PER_IMAGE = SUMS.index("images")  # from here on: means of a batch, weighted by its number of images


class Engine:
    """Student, method and optimiser of one run, and the frozen teacher that they read.

    model, method: on their device; see :class:`distiller_zoo.Distiller`. teacher: callable from images to (features,
    logits), or None. stage: 'init', the first stage of a two-stage method, or 'main'.
    """

    def __init__(self, opt: Namespace, model: nn.Module, method: Distiller, teacher=None):
        self.opt, self.model, self.method, self.teacher = opt, model, method, teacher
        self.device = next(model.parameters()).device
        self.autocast = autocast(opt.precision, self.device)
        self.terms = method.terms
        self.sums = torch.zeros(len(SUMS) + len(self.terms), dtype=torch.float64, device=self.device)
        self.one = torch.ones((), device=self.device)  # made once: backward() alone would make one in each step
        self.enter("init" if method.two_stage and opt.init_epochs else "main")

    def enter(self, stage: str) -> None:
        """Begin a stage: which parameters are trained, and a new optimiser for them."""
        self.stage = stage
        self.needs_teacher = self.method.needs_teacher(stage)
        self.optimizer = torch.optim.SGD(self.method.enter(stage, self.model), lr=self.initial_rate(),
                                         momentum=self.opt.momentum, weight_decay=self.opt.weight_decay, fused=True)

    def initial_rate(self) -> float | Tensor:
        """A tensor on the device in graphs.py, where a captured step has to read it anew."""
        return self.opt.learning_rate

    def set_rate(self, rate: float) -> None:
        """The learning rate from here on."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    # The step -----------------------------------------------------------------------------------------------------

    def step(self, batch) -> None:
        """One step on one batch. Nothing here waits for the device, unless ``--on_nan skip`` has to read the loss."""
        skip_nan = self.opt.on_nan == "skip"
        before = [(b, b.clone()) for m in (self.model, self.method) for b in m.buffers()] if skip_nan else []

        out_t = self.teacher_output(batch) if self.needs_teacher else None
        with self.autocast:
            loss, logits, terms = self.losses(batch, out_t)
        self.backward(loss)
        if skip_nan and not self.finite(loss):
            for buffer, value in before:
                buffer.copy_(value)
            self.sums[SUMS.index("skipped")] += ddp.is_rank0()  # once in all processes
            return
        self.optimizer.step()
        self.count(batch, logits, loss, terms)

    def teacher_output(self, batch) -> tuple:
        """The teacher's (features, logits), computed now or carried by the batch."""
        if isinstance(batch, TeacherBatch):
            return batch.features_t, batch.logits_t
        return self.teacher(batch.images)

    def losses(self, batch, out_t) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(what is minimised, the student's logits, the weighted terms whose sum it is)."""
        out_s = self.student(batch.images)
        loss, terms = self.compute_loss(out_s, out_t, batch)
        return loss, out_s[1].detach(), {name: term.detach() for name, term in terms.items()}

    def compute_loss(self, out_s, out_t, batch) -> tuple[Tensor, dict[str, Tensor]]:
        if self.stage == "init":
            return self.method.init_loss(out_s, out_t, batch), {}
        terms = self.method(out_s, out_t, batch)
        first, *others = terms.values()
        return sum(others, first), terms

    def backward(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward(self.one)

    def student(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """The student's (features, logits); features only where the method reads them."""
        if self.method.needs_features:
            return self.model(images, is_feat=True, preact=self.method.preact)
        return [], self.model(images)

    @torch.no_grad()
    def count(self, batch, logits: Tensor, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Add the batch to the epoch's sums, in the order of SUMS."""
        counts = torch.stack([*which_hit(logits, batch.labels), batch.mixed], 1).sum(0)  # top1, top5, mixed
        means = torch.stack([self.one, loss, *terms.values()])  # over the batch, so each counts n times
        self.sums[:len(counts)].add_(counts)
        self.sums[PER_IMAGE:PER_IMAGE + len(means)].add_(means, alpha=len(batch.labels))

    def finite(self, loss: Tensor) -> bool:
        """Whether loss and gradients are finite; waits for the device."""
        gradients = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        return ddp.all_true(bool(torch.isfinite(loss) & torch.isfinite(get_total_norm(gradients))))

    # Read once an epoch, or when a line is printed ----------------------------------------------------------------

    def totals(self) -> dict[str, float]:
        """The epoch's sums so far, by name; waits for the device."""
        return dict(zip((*SUMS, *self.terms), ddp.total(self.sums).tolist(), strict=True))

    def averages(self) -> dict[str, float]:
        """Of the epoch so far: train_loss and its terms, train_acc (%), mixed fraction."""
        sums = self.totals()
        images = sums["images"] or math.nan
        row = {"train_loss": sums["loss"] / images}
        if self.stage == "main":
            row |= {f"train_loss_{name}": sums[name] / images for name in self.terms}
            row |= {"train_acc": 100 * sums["top1"] / images, "train_acc_top5": 100 * sums["top5"] / images}
        row["mixed_fraction"] = sums["mixed"] / images
        if self.opt.on_nan == "skip":
            row["skipped_steps"] = int(sums["skipped"])
        return row

    def weights_finite(self) -> bool:
        """Whether every number of student and method is finite."""
        state = [*self.model.state_dict().values(), *self.method.state_dict().values()]
        return bool(get_total_norm([v for v in state if v.is_floating_point() and v.numel()], math.inf).isfinite())

    def state_dict(self) -> dict[str, Any]:
        return {"stage": self.stage, "sums": dict(zip((*SUMS, *self.terms), self.sums.tolist(), strict=True)),
                "model": cpu_state_dict(self.model), "method": cpu_state_dict(self.method),
                "optimizer": optimizer_state(self.optimizer)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a :meth:`state_dict`; torch's errors for shapes that don't fit pass through."""
        self.enter(state["stage"])
        sums = state["sums"]
        if isinstance(sums, Tensor):
            sums = dict(zip((*OLDER_SUMS, *self.terms), sums.tolist(), strict=True))
        self.sums.copy_(torch.tensor([sums[name] for name in (*SUMS, *self.terms)], dtype=torch.float64))
        self.model.load_state_dict(state["model"])
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        for parameter, slots in self.optimizer.state.items():
            for name, value in slots.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    # fused SGD walks the memory, so a buffer must have its parameter's layout
                    slots[name] = torch.empty_like(parameter, memory_format=torch.preserve_format).copy_(value)


def which_hit(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """bool (B,) each: whether the label is the largest logit, and among the five largest (all, with fewer classes)."""
    best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
    return best[:, 0], best.any(1)
