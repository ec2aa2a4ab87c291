"""Attention transfer: Zagoruyko, Komodakis, "Paying More Attention to Attention", ICLR 2017."""
from collections.abc import Sequence

from torch import Tensor, nn

from .features import in_single, match_sizes, unit
from .settings import default_weights
from .wiring import StageDistiller


class Attention(nn.Module):
    """For each stage the mean squared difference of the two unit attention maps, Q = mean over channels of f^p.

    Call with lists of (B, C, H, W); returns a list of scalars. Channels may differ, sizes are pooled to the smaller.
    Equation 2 of the paper has the (unsquared) norm of the difference, summed over the batch, and sums |f|^p over
    channels; RepDistiller's mean of squares and its signed power stand here (the same maps for even p).
    """

    def __init__(self, p: int = 2):
        super().__init__()
        self.p = p

    @in_single
    def forward(self, g_s: Sequence[Tensor], g_t: Sequence[Tensor]) -> list[Tensor]:
        return [self.at_loss(f_s, f_t) for f_s, f_t in zip(g_s, g_t, strict=False)]

    def at_loss(self, f_s: Tensor, f_t: Tensor) -> Tensor:
        f_s, f_t = match_sizes(f_s, f_t)
        return (self.at(f_s) - self.at(f_t)).square().mean()

    def at(self, f: Tensor) -> Tensor:
        """Attention map (B, H W) of length 1."""
        return unit(f.pow(self.p).mean(1).flatten(1))


class ATDistiller(StageDistiller):
    """:class:`Attention` of the stages, f1 with f1 and so on.

    megvii-research/mdistiller drops the first feature of each ImageNet network, taken to be the stem. Its MobileNetV1
    lists none, so for resnet50 > mobilenet_v1 it compares the student's stages 2 to 4 with the teacher's 1 to 3.

    Mixed inputs: attention maps of the mixed image; cross-entropy with the soft targets.
    """

    paper = "Zagoruyko, Komodakis, ICLR 2017"
    weights = default_weights("attention")
    criterion_class = Attention
