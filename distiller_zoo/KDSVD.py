"""Self-supervised knowledge distillation using singular value decomposition: Lee, Kim, Song, ECCV 2018."""
from argparse import Namespace
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from .base import Pair
from .features import in_single, unit
from .right_vectors import RightVectors
from .settings import default_weights
from .wiring import StageDistiller


class KDSVD(nn.Module):
    """Correlations, exp(-(x - y)^2 / 8), between the right singular vectors of neighbouring stages, compared.

    Of each feature (B, C, H, W), read as H W x C, the teacher's first k right singular vectors are kept, times their
    singular values scaled to length 1; each is matched with that of the student's first k + 3 with the largest absolute
    cosine, with its sign, times the teacher's values. Squared differences of the correlations of each two consecutive
    stages are summed over elements and divided by B. Call with lists of features with equal channels, sizes may
    differ; returns a list of scalars, one fewer than stages. k = 1 leaves the values out: one value has length 1.

    The signs of the teacher's vectors enter the loss. RepDistiller uses its library's signs, so its value depends on
    the library; here the largest entry of a vector is positive, which for the first vector of
    features after a ReLU makes all of it so. As there, the gradient, which grows where a chosen singular value nears
    another, is not clipped; it sets elements that are not finite to 0, here they stop the run or skip the step
    (``--on_nan``).
    """

    def __init__(self, k: int = 1):
        super().__init__()
        self.k = k

    @in_single
    def forward(self, g_s: Sequence[Tensor], g_t: Sequence[Tensor]) -> list[Tensor]:
        stages = [self.aligned(f_s, f_t) for f_s, f_t in zip(g_s, g_t, strict=False)]
        return [(self.rbf(v_s, below_s) - self.rbf(v_t, below_t)).square().sum() / len(v_s)
                for (below_s, below_t), (v_s, v_t) in pairwise(stages)]

    def aligned(self, f_s: Tensor, f_t: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled vectors (B, C, k) of student, in the teacher's order and sign, and teacher."""
        with torch.no_grad():
            s_t, v_t = self.svd(f_t, self.k)
            s_t = unit(s_t).unsqueeze(1)
        _, v_s = self.svd(f_s, self.k + 3)
        with torch.no_grad():
            cosine = v_s.mT @ v_t
            nearest = cosine.abs() == cosine.abs().amax(1, keepdim=True)
            choice = torch.where(nearest, cosine.sign(), torch.zeros_like(cosine))
        return v_s @ choice * s_t, v_t * s_t

    def svd(self, feat: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """First n singular values (B, n) and right singular vectors (B, C, n), or as many as there are."""
        x = feat.flatten(2).mT
        return RightVectors.apply(x, min(n, *x.shape[1:]))

    @staticmethod
    def rbf(v: Tensor, below: Tensor) -> Tensor:
        """Correlations (B, C, C', k) of the elements of (B, C, k) with those of (B, C', k)."""
        return torch.exp(-(v.unsqueeze(2) - below.unsqueeze(1)).square() / 8)


class KDSVDDistiller(StageDistiller):
    """:class:`KDSVD` of the stages, k = 1.

    Mixed inputs: singular vectors of the mixed image's features; cross-entropy with the soft targets.
    """

    paper = "Lee, Kim, Song, ECCV 2018"
    weights = default_weights("kdsvd")
    uncapturable = "kdsvd's eigendecomposition waits for the device"

    def make_criterion(self, opt: Namespace, pair: Pair) -> KDSVD:
        return KDSVD()

    @classmethod
    def unsupported(cls, opt: Namespace, pair: Pair) -> str:
        if reason := super().unsupported(opt, pair):
            return reason
        channels_s, channels_t = zip(*((s[1], t[1]) for s, t in cls.stage_shapes(pair)), strict=True)
        if channels_s != channels_t:
            return f"it needs equal channels in each stage; student {[*channels_s]}, teacher {[*channels_t]}"
        return "" if len(channels_s) > 1 else "it compares each stage with the next, the networks share only one"
