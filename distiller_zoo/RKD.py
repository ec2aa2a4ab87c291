"""Relational knowledge distillation: Park, Kim, Lu, Cho, CVPR 2019."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .features import SMALLEST_NORM, in_single
from .settings import default_weights
from .wiring import PooledDistiller


class RKDLoss(nn.Module):
    """w_d smooth_l1 of pairwise distances + w_a smooth_l1 of angles (the paper's RKD-DA); a scalar.

    Call with (B, ...) of student and teacher, B at least 2; what follows B is flattened and may differ. Distances are
    divided by their mean over all pairs; an angle is the cosine at sample a between the directions to b and to c.
    As in RepDistiller the means run over all B^2 distances and B^3 angles, those of a sample with itself (zero in both
    networks) among them, where the paper sums over tuples of distinct samples; two samples at one place count as 1e-6
    apart.
    """

    def __init__(self, w_d: float = 25, w_a: float = 50):
        super().__init__()
        self.w_d, self.w_a = w_d, w_a

    @in_single
    def forward(self, f_s: Tensor, f_t: Tensor) -> Tensor:
        with torch.no_grad():
            t_d, t_angle = self.relations(f_t.flatten(1))
        s_d, s_angle = self.relations(f_s.flatten(1))
        return self.w_d * F.smooth_l1_loss(s_d, t_d) + self.w_a * F.smooth_l1_loss(s_angle, t_angle)

    @staticmethod
    def relations(e: Tensor) -> tuple[Tensor, Tensor]:
        """Distances over their mean (B, B) and cosines (B, B, B) of embeddings (B, D)."""
        n = len(e)
        difference = e.unsqueeze(0) - e.unsqueeze(1)
        # one product gives both: squared distances on its diagonals, cosines after dividing by their roots
        product = torch.bmm(difference, difference.mT)
        squared = product.diagonal(dim1=1, dim2=2)
        distance = squared.clamp_min(SMALLEST_NORM).sqrt() * (1 - torch.eye(n, dtype=e.dtype, device=e.device))
        inverse = torch.where(squared > SMALLEST_NORM**2, squared, torch.ones_like(squared)).rsqrt()
        angle = product * inverse.unsqueeze(1) * inverse.unsqueeze(2)
        # a distance is never below 1e-6 off the diagonal, so the positive ones are the n (n - 1) there
        return distance / (distance.sum() / (n * (n - 1))), angle


class RKDDistiller(PooledDistiller):
    """:class:`RKDLoss` of the pooled features, 25 for distances and 50 for angles.

    Mixed inputs: distances and angles between mixed images; cross-entropy with the soft targets.
    """

    paper = "Park, Kim, Lu, Cho, CVPR 2019"
    weights = default_weights("rkd")
    compares_images = True
    min_batch = 2
    criterion_class = RKDLoss
