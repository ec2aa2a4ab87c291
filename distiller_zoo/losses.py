"""Losses of logits that several methods share: soft cross-entropy, Hinton's KL divergence, MIXSTD's scaling."""
from __future__ import annotations

from argparse import Namespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def soft_cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """-1/B sum_i sum_c y_ic log softmax(z_i)_c for probabilities y (B, K), in at least single precision."""
    logits = at_least_single(logits)
    return F.cross_entropy(logits, targets.to(logits.dtype), label_smoothing=label_smoothing)


def kl_divergence(logit_s: Tensor, logit_t: Tensor, T: float = 1.0) -> Tensor:
    """Hinton et al. 2015: T^2 KL(softmax(z_t / T) || softmax(z_s / T)), summed over classes, mean over the batch."""
    log_p_s = F.log_softmax(at_least_single(logit_s) / T, dim=1)
    p_t = F.softmax(at_least_single(logit_t) / T, dim=1)
    return F.kl_div(log_p_s, p_t, reduction="sum") * (T**2 / len(p_t))


class DistillKL(nn.Module):
    """:func:`kl_divergence` as RepDistiller's class, the ``criterion_div`` of every method.

    T: temperature. Call with the logits of student and teacher, (B, K) each; returns a scalar.
    """

    def __init__(self, T: float):
        super().__init__()
        self.T = T

    def forward(self, y_s: Tensor, y_t: Tensor) -> Tensor:
        return kl_divergence(y_s, y_t, self.T)


def std_scaled(logits: Tensor) -> Tensor:
    """MIX-KD eq. 5: each row of logits (B, K) divided by its own unbiased standard deviation.

    The mean is removed as well, where the original leaves it: no softmax differs by that, and it makes the scaling a
    layer norm, one kernel each way. The original gives NaN for a row of equal logits; here its softmax is uniform, and
    its gradient that of unscaled logits.
    """
    logits = at_least_single(logits)
    classes = logits.shape[1]
    unbiased = logits.new_full([classes], ((classes - 1) / classes) ** 0.5)
    scaled = F.layer_norm(logits, [classes], unbiased, eps=torch.finfo(logits.dtype).tiny)
    if not logits.requires_grad:
        return scaled
    least, most = logits.detach().aminmax(dim=1, keepdim=True)
    return torch.where(most > least, scaled, logits)


class MIXSTDLoss(nn.Module):
    """gamma * CE(z_s / std(z_s), y) and alpha * KL(softmax(z_t / std(z_t)) || softmax(z_s / std(z_s))), no T^2.

    Choi et al., WACV 2023. opt: has gamma and alpha. Call with logits of student and teacher (B, K) and target
    probabilities (B, K); returns the two weighted terms, batch means, as MIX-KD's class of this name does. With alpha 0
    the second term is 0 and ``logit_t`` may be None. Under ``--rescale std`` every method computes this in place of
    its classification and KL terms. The test loss is the cross-entropy of :meth:`scale`'s logits, without ``forward``.
    """

    def __init__(self, opt: Namespace):
        super().__init__()
        self.gamma, self.alpha = opt.gamma, opt.alpha

    def forward(self, logit_s: Tensor, logit_t: Tensor | None, target: Tensor) -> tuple[Tensor, Tensor]:
        # The weights are multiplied into the targets, which need no gradient: fewer operations.
        log_p_s = F.log_softmax(self.scale(logit_s), dim=1)
        weighted_y = target.to(log_p_s.dtype) * (-self.gamma / len(target))
        loss_cls = (weighted_y * log_p_s).sum()
        if not self.alpha:
            return loss_cls, loss_cls.new_zeros(())
        log_p_t = F.log_softmax(self.scale(logit_t), dim=1)
        weighted_p_t = log_p_t.exp() * (-self.alpha / len(target))
        return loss_cls, (weighted_p_t * (log_p_s - log_p_t)).sum()

    @staticmethod
    def scale(logits: Tensor) -> Tensor:
        return std_scaled(logits)


def row_std(x: Tensor) -> Tensor:
    """Unbiased standard deviation (B, 1) of the rows of x (B, K); 1, without a gradient, for a constant row."""
    norm = centred(x)[1] / max(x.shape[1] - 1, 1) ** 0.5
    return torch.where(norm > 0, norm, torch.ones_like(norm))


def centred(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of x (B, K) less their means, and the norms of those (B, 1), 0 where only rounding error is left."""
    deviation = x - x.mean(1, keepdim=True)
    norm, whole = (torch.linalg.vector_norm(v, dim=1, keepdim=True) for v in (deviation, x))
    return deviation, torch.where(norm > 8 * torch.finfo(x.dtype).eps * whole, norm, torch.zeros_like(norm))


def at_least_single(x: Tensor) -> Tensor:
    """Half precision becomes float32, anything else stays: softmaxes and norms of bf16 numbers lose too much."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
