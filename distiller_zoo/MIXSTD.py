"""Mixup distillation with logits scaled by their own standard deviation.

Choi, Jeon, Shukla, Turaga, "Understanding the Role of Mixup in Knowledge Distillation", WACV 2023.
"""
from __future__ import annotations

from argparse import Namespace

from torch import Tensor, nn

from .base import Distiller
from .losses import kl_divergence, soft_cross_entropy, std_scaled


class MIXSTDLoss(nn.Module):
    """gamma * CE(z_s / std(z_s), y) and alpha * KL(softmax(z_t / std(z_t)) || softmax(z_s / std(z_s))), no T^2.

    opt: has gamma and alpha. Call with logits of student and teacher (B, K) and target probabilities (B, K);
    returns the two weighted terms, batch means, as MIX-KD's class of this name does. The standard deviation is
    unbiased, the mean stays; a row of equal logits, NaN there, is left unscaled here. With alpha 0 the second term is
    0 and ``logit_t`` may be None: nobody asks the teacher then.
    """

    def __init__(self, opt: Namespace):
        super().__init__()
        self.gamma, self.alpha = opt.gamma, opt.alpha

    def forward(self, logit_s: Tensor, logit_t: Tensor | None, target: Tensor) -> tuple[Tensor, Tensor]:
        scaled_s = std_scaled(logit_s)
        loss_cls = self.gamma * soft_cross_entropy(scaled_s, target)
        if not self.alpha:
            return loss_cls, loss_cls.new_zeros(())
        return loss_cls, self.alpha * kl_divergence(scaled_s, std_scaled(logit_t))


class MIXSTD(Distiller):
    """``--distill mixstd``: :class:`MIXSTDLoss`. kd_T, scale_T and beta do nothing here, as in the original.

    ``--rescale none`` takes the scaling away, which leaves cross-entropy and KL at temperature kd_T.
    """

    paper = "Choi, Jeon, Shukla, Turaga, WACV 2023"
    weights = (0.1, 0.9, 0.0)
    needs_features = False
    rescale = "std"

    def __init__(self, opt, pair):
        super().__init__(opt, pair)
        self.criterion = MIXSTDLoss(opt)

    def forward(self, out_s, out_t, batch):
        if not self.rescaled:
            return super().forward(out_s, out_t, batch)
        logit_t = None if out_t is None else out_t[1]
        loss_cls, loss_div = self.criterion(out_s[1], logit_t, batch.targets)
        terms = {"cls": loss_cls, "div": loss_div}
        return {name: terms[name] for name in self.term_names()}
