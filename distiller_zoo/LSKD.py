"""Logit standardisation in knowledge distillation: Sun, Ren, Li, Wang, Cao, CVPR 2024."""
from torch import Tensor, nn

from .base import Distiller
from .losses import at_least_single, kl_divergence, row_std
from .ranges import temperature
from .settings import DEFAULTS, default_weights

EPS = 1e-7  # the authors', beside the standard deviation


def z_scored(logits: Tensor) -> Tensor:
    """Algorithm 1: each row of logits (B, K) less its mean, divided by its unbiased standard deviation.

    A row of equal logits becomes zeros, with a finite gradient, where the authors' has none.
    """
    logits = at_least_single(logits)
    return (logits - logits.mean(dim=-1, keepdim=True)) / (row_std(logits) + EPS)


class LSKDLoss(nn.Module):
    """T^2 KL(softmax(Z(y_t) / T) || softmax(Z(y_s) / T)), Z being :func:`z_scored`; batch mean.

    T: the paper's base temperature tau. Call with logits of student and teacher (B, K); returns a scalar.
    """

    def __init__(self, T: float = 2.0):
        super().__init__()
        self.T = T

    def forward(self, y_s: Tensor, y_t: Tensor) -> Tensor:
        return kl_divergence(z_scored(y_s), z_scored(y_t), self.T)


class LSKDDistiller(Distiller):
    """``--distill lskd``: gamma * cross-entropy + beta * :class:`LSKDLoss` at base temperature lskd_T.

    The defaults of sunshangquan/logit-standardization-KD (CE_WEIGHT, KD_WEIGHT, TEMPERATURE); settings.json has the
    temperatures and KD weights of the pairs whose published log has others. The logs' names don't give the
    cross-entropy's weight, which was 1 in the repository's first days, so which of the two the published rows used
    is unknown.

    Mixed inputs: matches both networks' standardised logits of the mixed images; cross-entropy with soft targets.
    """

    paper = "Sun, Ren, Li, Wang, Cao, CVPR 2024"
    weights = default_weights("lskd")
    needs_features = False
    flags = {"lskd_T": {"type": temperature(), "default": DEFAULTS["lskd_T"],
                        "help": "base temperature of the standardised logits"}}

    def __init__(self, opt, pair):
        super().__init__(opt, pair)
        self.criterion = LSKDLoss(opt.lskd_T)

    @classmethod
    def unsupported(cls, opt, pair):
        return "" if pair.num_classes > 1 else "it needs at least two classes: one logit has no standard deviation"

    def kd_loss(self, out_s, out_t, batch):
        return self.criterion(out_s[1], out_t[1])
