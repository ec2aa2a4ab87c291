"""The contract between a training step and a distillation method.

A step hands a method what both networks returned for one batch, ``(features, logits)`` each, and the batch;
the method returns named, weighted loss terms:

    loss = gamma * cls + alpha * div + beta * kd                                  (RepDistiller, train_student.py)

cls is the cross-entropy with the batch's soft targets, div Hinton's KL divergence of the logits, kd what the
method adds. Everything a step does here stays on the device: no ``.item()``, no Python branch on a tensor, so that
the step can be one CUDA graph; a method that can't comply gives the reason in ``uncapturable``.

Adding a method: one new file with a subclass of :class:`Distiller`, one line in ``distiller_zoo/__init__.py``.
"""
from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .losses import DistillKL, MIXSTDLoss, soft_cross_entropy

Output = tuple[Sequence[Tensor], Tensor]  # what a network returns with is_feat=True: (features, logits)


class DistillError(Exception):
    """A method does not support what was requested; the message is one line: why, and how to fix it."""


@dataclass(frozen=True)
class Pair:
    """What a method is given about its two networks and its data before training.

    shapes_s, shapes_t: shapes (N, C, H, W) or (N, D) of the features f0, f1, ... of student and teacher.
    n_data: number of training images. num_classes: number of classes. labels: those of all training images, int64
    (n_data,); crd draws its negatives by them. seed: for the method's own random draws.
    """

    shapes_s: Sequence[torch.Size]
    shapes_t: Sequence[torch.Size]
    n_data: int
    num_classes: int
    labels: Tensor | None = None
    seed: int = 0


class Distiller(nn.Module):
    """A distillation method: its flags, its modules and memories, its loss.

    Class attributes a method sets:
        paper: authors, venue, year.
        weights: gamma, alpha, beta where the user gives none and settings.json has none for the pair.
        mix: default of ``--mix``; 'none' but for the two that MIX-KD's script has, kd and mixstd.
        flags: its own command-line flags, name -> keyword arguments of ``add_argument``.
        needs_features: whether it reads features at all (False: logits only).
        preact: whether the features must be those before the last ReLU of a stage.
        preact_t: the same for the teacher's features where it differs; None: as preact.
        rescale: default of ``--rescale`` ('none' or 'std'), see :meth:`scale`.
        uncapturable: why its step can't be a CUDA graph; empty if it can.
        two_stage: whether ``--init_epochs`` of :meth:`init_loss` come first.
        min_batch: smallest batch it is defined for.
        compares_images: whether its loss compares the images of a batch with each other. Under torchrun it then gets
            the features, logits and targets of all processes' images (not batch.images itself), and every process
            computes the whole loss and writes the same memories; other methods get their process's images alone.
        per_epoch, per_image: those of its flags whose defaults count epochs or images of the full recipe, so that a
            shorter run needs smaller values.

    Mixed inputs: both networks see the mixed batch, the cross-entropy takes its soft targets; a method that does
    otherwise, or more, documents it under this heading.

    Whatever has to be in a checkpoint is a parameter or a buffer. A loss may draw from torch's generators: every step
    seeds them anew. So a resumed run continues as if it had never stopped, on the CPU bit for bit; on CUDA cuDNN's
    choice of kernels and atomic sums leave differences of rounding.
    """

    paper = ""
    weights: tuple[float, float, float] = (1.0, 0.0, 1.0)
    mix = "none"
    flags: dict[str, dict] = {}
    needs_features = True
    preact = False
    preact_t: bool | None = None
    rescale = "none"
    uncapturable = ""
    two_stage = False
    min_batch = 1
    compares_images = False
    per_epoch: tuple[str, ...] = ()
    per_image: tuple[str, ...] = ()

    def __init__(self, opt: Namespace, pair: Pair):
        """opt: the resolved flags (gamma, alpha, beta, kd_T, rescale, step, its own). pair: see :class:`Pair`."""
        super().__init__()
        self.gamma, self.alpha, self.beta = opt.gamma, opt.alpha, opt.beta
        self.rescaled = opt.rescale == "std"
        weights = {"cls": self.gamma, "div": self.alpha, "kd": self.beta if self.adds_loss() else 0}
        self.terms = [name for name, weight in weights.items() if weight]  # those of weight 0 are not computed
        self.criterion_div = DistillKL(opt.kd_T)
        self.criterion_std = MIXSTDLoss(opt)  # in place of cls and div under --rescale std, without a temperature

    # What it supports, checked before anything is loaded or trained -----------------------------------------------

    @classmethod
    def teacher_preact(cls) -> bool:
        """Whether the teacher's features must be those before the last ReLU of a stage."""
        return cls.preact if cls.preact_t is None else cls.preact_t

    @classmethod
    def adds_loss(cls) -> bool:
        """Whether the method has a kd term, so that beta means something."""
        return cls.kd_loss is not Distiller.kd_loss

    @classmethod
    def reads(cls, opt: Namespace) -> set[str]:
        """The names of the loss flags that change anything for this method; the others are named in a warning."""
        names = {"gamma", "alpha"}
        if opt.gamma or opt.alpha:
            names.add("rescale")
        if opt.alpha and opt.rescale == "none":
            names.add("kd_T")
        if cls.adds_loss():
            names.add("beta")
        if opt.beta and cls.adds_loss() or cls.two_stage:
            names.update(cls.flags)
        if cls.two_stage:
            names.add("init_epochs")
        return names

    @classmethod
    def unsupported(cls, opt: Namespace, pair: Pair) -> str:
        """Why this method can't run on this pair of networks, or an empty string."""
        return ""

    # The loss -----------------------------------------------------------------------------------------------------

    def forward(self, out_s: Output, out_t: Output | None, batch) -> dict[str, Tensor]:
        """Weighted loss terms, scalars, of one batch, named as ``terms``. Their sum is what is minimised."""
        logit_s, logit_t = out_s[1], None if out_t is None else out_t[1]
        terms = {}
        if self.rescaled and (self.gamma or self.alpha):
            terms["cls"], terms["div"] = self.criterion_std(logit_s, logit_t, batch.targets)
        elif self.gamma:
            terms["cls"] = self.gamma * soft_cross_entropy(logit_s, batch.targets)
        if self.alpha and not self.rescaled:
            terms["div"] = self.alpha * self.criterion_div(logit_s, logit_t)
        if "kd" in self.terms:
            terms["kd"] = self.beta * self.kd_loss(out_s, out_t, batch)
        return {name: terms[name] for name in self.terms}

    def needs_teacher(self, stage: str) -> bool:
        """Whether a loss of the stage reads the teacher's output; where not, its forward pass is skipped."""
        return stage == "init" or self.terms != ["cls"]

    def kd_loss(self, out_s: Output, out_t: Output, batch) -> Tensor:
        """The method's own term, without its weight beta: a scalar."""
        raise NotImplementedError

    def scale(self, logits: Tensor) -> Tensor:
        """Logits as the cls and div terms and the test loss see them: ``--rescale std`` divides them by their
        standard deviation."""
        return self.criterion_std.scale(logits) if self.rescaled else logits

    # Stages -------------------------------------------------------------------------------------------------------

    def begin_epoch(self, epoch: int) -> None:
        """Called before the first step of an epoch (from 1) of the main stage; write buffers in place if needed."""

    def enter(self, stage: str, model_s: nn.Module) -> list[nn.Parameter]:
        """Put student and method in the mode of a stage, 'init' or 'main', and return the parameters it trains."""
        model_s.train()
        self.train()
        return [*model_s.parameters(), *self.parameters()]

    def init_loss(self, out_s: Output, out_t: Output, batch) -> Tensor:
        """Loss of the first stage of a two-stage method: a scalar."""
        raise NotImplementedError

    @classmethod
    def init_learning_rate(cls, opt: Namespace) -> float:
        """Constant learning rate of the first stage."""
        return opt.learning_rate
