"""Probabilistic knowledge transfer: Passalis, Tefas, ECCV 2018."""
from torch import Tensor, nn

from .features import in_single, unit
from .settings import default_weights
from .wiring import PooledDistiller


class PKT(nn.Module):
    """KL divergence of the student's conditional neighbour probabilities from the teacher's.

    p_ij = k_ij / sum_j k_ij with the cosine kernel k = (cos + 1) / 2. Call with (B, D_s) and (B, D_t); returns the mean
    over all B^2 pairs of p_t log((p_t + eps) / (p_s + eps)), a sample with itself among them, where the paper sums over
    distinct pairs. Zero features have cosine 0; NaN features, zero in RepDistiller, stay NaN, so that they are seen.
    """

    @in_single
    def forward(self, f_s: Tensor, f_t: Tensor) -> Tensor:
        return self.cosine_similarity_loss(f_s, f_t)

    @staticmethod
    def cosine_similarity_loss(output_net: Tensor, target_net: Tensor, eps: float = 1e-7) -> Tensor:
        def probabilities(f: Tensor) -> Tensor:
            f = unit(f, eps=eps)
            kernel = ((f @ f.mT + 1) / 2).clamp_min(0)  # rounding may take a cosine below -1
            return kernel / kernel.sum(dim=1, keepdim=True)

        p_s, p_t = probabilities(output_net), probabilities(target_net)
        return (p_t * ((p_t + eps) / (p_s + eps)).log()).mean()


class PKTDistiller(PooledDistiller):
    """:class:`PKT` of the pooled features.

    Mixed inputs: neighbour probabilities between mixed images; cross-entropy with the soft targets.
    """

    paper = "Passalis, Tefas, ECCV 2018"
    weights = default_weights("pkt")
    compares_images = True
    criterion_class = PKT
