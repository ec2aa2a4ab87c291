"""Knowledge distillation from a stronger teacher: Huang, You, Wang, Qian, Xu, NeurIPS 2022."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Distiller
from .losses import at_least_single, centred
from .ranges import number, temperature
from .settings import DEFAULTS, default_weights

EPS = 1e-8  # the authors', beside the product of the norms


def pearson_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of the rows of a and b (B, K) -> (B,), eq. 5; 0 for a row that varies by no more than rounding.

    Such a row's gradient is unscaled; the authors' formula makes it 1e8 times larger.
    """
    (a, norm_a), (b, norm_b) = centred(a), centred(b)
    product = (norm_a * norm_b).squeeze(1)
    return (a * b).sum(1) / torch.where(product > 0, product + EPS, torch.ones_like(product))


class DISTLoss(nn.Module):
    """beta * (1 - mean correlation of rows) + gamma * (1 - mean correlation of columns), times T^2.

    Rows (inter-class, eq. 8) and columns (intra-class, eq. 9) of softmax(z / T), between student and teacher.
    Call with their logits (B, K); returns a scalar. The T^2 is in the authors' code, not in the paper.
    """

    def __init__(self, beta: float = 1.0, gamma: float = 1.0, T: float = 1.0):
        super().__init__()
        self.beta, self.gamma, self.T = beta, gamma, T

    def forward(self, y_s: Tensor, y_t: Tensor) -> Tensor:
        p_s, p_t = (F.softmax(at_least_single(y) / self.T, dim=1) for y in (y_s, y_t))
        inter = 1 - pearson_correlation(p_s, p_t).mean()
        intra = 1 - pearson_correlation(p_s.mT, p_t.mT).mean()
        return self.T**2 * (self.beta * inter + self.gamma * intra)


class DISTDistiller(Distiller):
    """``--distill dist``: cross-entropy + beta * :class:`DISTLoss` at temperature dist_T.

    The paper's beta and gamma are the products of ``-b`` with ``--dist_beta`` and ``--dist_gamma``.

    Mixed inputs: correlates both networks' outputs for the mixed images; cross-entropy with soft targets.
    """

    paper = "Huang, You, Wang, Qian, Xu, NeurIPS 2022"
    weights = default_weights("dist")
    needs_features = False
    compares_images = True
    min_batch = 2  # a column's correlation needs two images
    flags = {
        "dist_beta": {"type": number(float, low=0), "default": DEFAULTS["dist_beta"],
                      "help": "weight of the inter-class correlation"},
        "dist_gamma": {"type": number(float, low=0), "default": DEFAULTS["dist_gamma"],
                       "help": "weight of the intra-class correlation"},
        "dist_T": {"type": temperature(), "default": DEFAULTS["dist_T"], "help": "temperature of the outputs"},
    }

    def __init__(self, opt, pair):
        super().__init__(opt, pair)
        self.criterion = DISTLoss(opt.dist_beta, opt.dist_gamma, opt.dist_T)

    @classmethod
    def unsupported(cls, opt, pair):
        return "" if pair.num_classes > 1 else "it needs at least two classes"

    def kd_loss(self, out_s, out_t, batch):
        return self.criterion(out_s[1], out_t[1])
