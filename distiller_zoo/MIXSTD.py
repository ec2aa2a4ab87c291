"""Mixup distillation with logits scaled by their own standard deviation.

Choi, Jeon, Shukla, Turaga, "Understanding the Role of Mixup in Knowledge Distillation", WACV 2023.
"""
from argparse import Namespace

from torch import Tensor, nn

from .base import Distiller, kl_divergence, soft_cross_entropy, std_scaled


class MIXSTDLoss(nn.Module):
    """gamma * CE(z_s / std(z_s), y) and alpha * KL(softmax(z_t / std(z_t)) || softmax(z_s / std(z_s))), no T^2.

    opt: has gamma and alpha. Call with logits of student and teacher (B, K) and target probabilities (B, K);
    returns the two weighted terms, batch means, as MIX-KD's class of this name does. The standard deviation is
    unbiased, the mean stays; a row of equal logits, NaN there, is left unscaled here.
    """

    def __init__(self, opt: Namespace):
        super().__init__()
        self.opt = opt

    def forward(self, logit_s: Tensor, logit_t: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        scaled_s = std_scaled(logit_s)
        loss_cls = self.opt.gamma * soft_cross_entropy(scaled_s, target)
        return loss_cls, self.opt.alpha * kl_divergence(scaled_s, std_scaled(logit_t))


class MIXSTD(Distiller):
    """:class:`MIXSTDLoss` as a method: rescaled logits are its default, so it is the base loss under them.

    kd_T, scale_T and beta do nothing here, as in the original.
    """

    paper = "Choi, Jeon, Shukla, Turaga, WACV 2023"
    weights = (0.1, 0.9, 0.0)
    needs_features = False
    rescale = "std"
