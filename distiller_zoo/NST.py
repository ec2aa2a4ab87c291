"""Neuron selectivity transfer: Huang, Wang, "Like What You Like", arXiv 1707.01219."""
from collections.abc import Sequence

from torch import Tensor, nn

from .features import in_single, match_sizes, unit
from .settings import default_weights
from .wiring import StageDistiller


class NSTLoss(nn.Module):
    """Squared maximum mean discrepancy of the channels' activation maps under the kernel (a.b)^2, maps of length 1.

    Mean over the batch, and over pairs of channels in each term, of k(t, t) + k(s, s) - 2 k(s, t) (the paper's
    polynomial kernel with d = 2, c = 0; it has half this loss). Call with lists of (B, C, H, W); returns a list of
    scalars. Channels may differ, sizes are pooled to the smaller.
    """

    @in_single
    def forward(self, g_s: Sequence[Tensor], g_t: Sequence[Tensor]) -> list[Tensor]:
        return [self.nst_loss(f_s, f_t) for f_s, f_t in zip(g_s, g_t, strict=False)]

    def nst_loss(self, f_s: Tensor, f_t: Tensor) -> Tensor:
        f_s, f_t = (unit(f.flatten(2), dim=2) for f in match_sizes(f_s, f_t))
        return self.poly_kernel(f_t, f_t).detach() + self.poly_kernel(f_s, f_s) - 2 * self.poly_kernel(f_s, f_t)

    @staticmethod
    def poly_kernel(a: Tensor, b: Tensor) -> Tensor:
        """Mean of (a_i . b_j)^2 over batch and channels i, j of maps (B, C_a, P) and (B, C_b, P)."""
        (n, c_a, p), c_b = a.shape, b.shape[1]
        # sum_ij (a_i . b_j)^2 = <A'A, B'B>: take the smaller Gram matrices, of pixels or of channels
        if p * p < c_a * c_b:
            return ((a.mT @ a) * (b.mT @ b)).sum() / (n * c_a * c_b)
        return (a @ b.mT).square().mean()


class NSTDistiller(StageDistiller):
    """:class:`NSTLoss` of the stages.

    Mixed inputs: activation maps of the mixed image; cross-entropy with the soft targets.
    """

    paper = "Huang, Wang, arXiv 2017"
    weights = default_weights("nst")
    criterion_class = NSTLoss
