"""Decoupled knowledge distillation: Zhao, Cui, Song, Qiu, Liang, CVPR 2022."""
import torch
from torch import Tensor, nn

from .base import Distiller
from .losses import at_least_single, kl_divergence
from .ranges import number, temperature
from .settings import DEFAULTS, default_weights
from .warmup import Warmup, warmup_flag


class DKDLoss(nn.Module):
    """alpha * TCKD + beta * NCKD, eq. 7, each times T^2 and a mean over the batch.

    With p = softmax(z / T) and target class y, TCKD is the KL divergence of the two-way distributions (p_y, 1 - p_y),
    NCKD that of the softmax over the other classes; teacher first in both. Call with logits of student and teacher
    (B, K) and target classes (B,), int64; returns a scalar. It is computed from logits, where the authors take the
    logarithm of a summed probability: the same value, but finite for p_y = 1.
    """

    def __init__(self, alpha: float = 1.0, beta: float = 8.0, T: float = 4.0):
        super().__init__()
        self.alpha, self.beta, self.T = alpha, beta, T

    def forward(self, y_s: Tensor, y_t: Tensor, target: Tensor) -> Tensor:
        (binary_s, others_s), (binary_t, others_t) = (self.decoupled(y, target) for y in (y_s, y_t))
        tckd, nckd = kl_divergence(binary_s, binary_t), kl_divergence(others_s, others_t)
        return self.T**2 * (self.alpha * tckd + self.beta * nckd)

    def decoupled(self, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Logits at temperature T: target against the rest (B, 2), and the rest (B, K), with the target at weight 0."""
        z = at_least_single(logits) / self.T
        # Finite, because 0 * inf would be NaN; far below any logit, so its probability is exactly 0.
        others = z.scatter(1, target[:, None], torch.finfo(z.dtype).min / 2)
        return torch.cat([z.gather(1, target[:, None]), others.logsumexp(1, keepdim=True)], dim=1), others


class DKDDistiller(Distiller):
    """``--distill dkd``: cross-entropy + :class:`DKDLoss`, which grows over the first ``--dkd_warmup`` epochs.

    ``--dkd_beta`` differs from pair to pair, see settings.json.

    Mixed inputs: target class is the one of larger weight; cross-entropy with soft targets.
    """

    paper = "Zhao, Cui, Song, Qiu, Liang, CVPR 2022"
    weights = default_weights("dkd")
    needs_features = False
    per_epoch = ("dkd_warmup",)
    flags = {
        "dkd_alpha": {"type": number(float, low=0), "default": DEFAULTS["dkd_alpha"],
                      "help": "weight of target-class distillation"},
        "dkd_beta": {"type": number(float, low=0), "default": DEFAULTS["dkd_beta"],
                     "help": "weight of non-target-class distillation"},
        "dkd_T": {"type": temperature(), "default": DEFAULTS["dkd_T"], "help": "temperature of both"},
        "dkd_warmup": warmup_flag(DEFAULTS["dkd_warmup"]),
    }

    def __init__(self, opt, pair):
        super().__init__(opt, pair)
        self.criterion = DKDLoss(opt.dkd_alpha, opt.dkd_beta, opt.dkd_T)
        self.warmup = Warmup(opt.dkd_warmup)

    @classmethod
    def unsupported(cls, opt, pair):
        return "" if pair.num_classes > 1 else "it needs at least two classes"

    def begin_epoch(self, epoch):
        self.warmup.begin_epoch(epoch)

    def kd_loss(self, out_s, out_t, batch):
        return self.warmup(self.criterion(out_s[1], out_t[1], batch.labels))
