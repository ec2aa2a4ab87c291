"""Similarity-preserving knowledge distillation: Tung, Mori, ICCV 2019."""
from collections.abc import Sequence

from torch import Tensor, nn

from .features import in_single, unit
from .settings import default_weights
from .wiring import StageDistiller


class Similarity(nn.Module):
    """|| G_t - G_s ||_F^2 / B^2 (equation 4), G the B x B Gram matrix of the flattened features, rows of length 1.

    Call with lists of (B, ...), shapes may differ but for B; returns a list of scalars (of shape (1,) in RepDistiller).
    A batch of one sample costs nothing: its only similarity is 1 in both networks.
    """

    @in_single
    def forward(self, g_s: Sequence[Tensor], g_t: Sequence[Tensor]) -> list[Tensor]:
        return [self.similarity_loss(f_s, f_t) for f_s, f_t in zip(g_s, g_t, strict=False)]

    def similarity_loss(self, f_s: Tensor, f_t: Tensor) -> Tensor:
        return (self.similarity(f_t) - self.similarity(f_s)).square().mean()

    def similarity(self, f: Tensor) -> Tensor:
        f = f.flatten(1)
        return unit(f @ f.mT)


class SPDistiller(StageDistiller):
    """:class:`Similarity` of the last stage, f[-2].

    Mixed inputs: similarities between mixed images; cross-entropy with the soft targets.
    """

    paper = "Tung, Mori, ICCV 2019"
    weights = default_weights("similarity")
    compares_images = True
    criterion_class = Similarity

    @staticmethod
    def stages(features: Sequence) -> Sequence:
        return features[-2:-1]
