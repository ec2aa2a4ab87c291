"""Self-supervised knowledge distillation using singular value decomposition: Lee, Kim, Song, ECCV 2018."""
from argparse import Namespace
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .base import Pair
from .features import in_single, unit
from .wiring import StageDistiller


def _finite(x: Tensor) -> Tensor:
    return torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)


class _RightVectors(torch.autograd.Function):
    """Singular values (B, K) and right singular vectors (B, N, K) of (B, M, N), K the smaller of M and N.

    torch's own gradient divides by differences of squared singular values and is NaN for the whole matrix where two
    are equal, as the zeros of two dead channels are. Those quotients are 0 / 0 of vectors nobody uses; here they are 0.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> tuple[Tensor, Tensor]:
        u, s, vh = torch.linalg.svd(x, full_matrices=False)
        ctx.save_for_backward(u, s, vh)
        ctx.mark_non_differentiable(s)
        return s, vh.mT.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, _, grad_v: Tensor) -> Tensor:
        u, s, vh = ctx.saved_tensors
        inside = vh @ grad_v
        gap = s.square().unsqueeze(-2) - s.square().unsqueeze(-1)
        grad = s.unsqueeze(-1) * _finite((inside - inside.mT) / gap) @ vh
        if vh.shape[-1] > s.shape[-1]:  # the part of the gradient outside the space that the vectors span
            grad = grad + _finite((grad_v.mT - inside.mT @ vh) / s.unsqueeze(-1))
        return u @ grad


class KDSVD(nn.Module):
    """Correlations, exp(-(x - y)^2 / 8), between the right singular vectors of neighbouring stages, compared.

    Of each feature (B, C, H, W), read as H W x C, the teacher's first k right singular vectors are kept, times their
    singular values scaled to length 1; each is met by that of the student's first k + 3 with the largest absolute
    cosine, with its sign, times the teacher's values. Squared differences of the correlations of each two consecutive
    stages are summed over elements and divided by B. Call with lists of features with equal channels, sizes may
    differ; returns a list of scalars, one fewer than stages. k = 1 leaves the values out: one value has length 1.

    As in RepDistiller the signs of the teacher's vectors, which a decomposition leaves open, enter the loss; and there
    is no clipping of its gradient, which grows where a chosen singular value nears another.
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

    @staticmethod
    def svd(feat: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """First n singular values (B, n) and right singular vectors (B, C, n)."""
        s, v = _RightVectors.apply(feat.flatten(2).mT)
        return _finite(s[:, :n]), _finite(v[:, :, :n])

    @staticmethod
    def rbf(v: Tensor, below: Tensor) -> Tensor:
        """Correlations (B, C, C', k) of the elements of (B, C, k) with those of (B, C', k)."""
        return torch.exp(-(v.unsqueeze(2) - below.unsqueeze(1)).square() / 8)


class KDSVDDistiller(StageDistiller):
    """:class:`KDSVD` of the stages, k = 1."""

    paper = "Lee, Kim, Song, ECCV 2018"
    weights = (1.0, 0.0, 1.0)
    mixed = "singular vectors of the mixed image's features; cross-entropy with the soft targets"
    uncapturable = "a singular value decomposition waits for the device"
    criterion_class = KDSVD

    @classmethod
    def unsupported(cls, opt: Namespace, pair: Pair) -> str:
        if reason := super().unsupported(opt, pair):
            return reason
        channels_s, channels_t = zip(*((s[1], t[1]) for s, t in cls.stage_shapes(pair)), strict=True)
        if channels_s != channels_t:
            return f"it needs equal channels in each stage; student {[*channels_s]}, teacher {[*channels_t]}"
        return "" if len(channels_s) > 1 else "it compares each stage with the next, the networks share only one"
