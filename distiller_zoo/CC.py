"""Correlation congruence: Peng, Jin, Liu, Zhou, Wu, Liu, Li, Zhang, ICCV 2019."""
from argparse import Namespace

from torch import Tensor, nn

from .base import Distiller, Output, Pair
from .connectors import FEAT_DIM_FLAG, LinearEmbed
from .features import in_single
from .settings import default_weights


class Correlation(nn.Module):
    """1/(B-1) sum_i sum_d |f_s - f_t|_id |f_s - f_t|_(i+1)d for embeddings (B, D) of both networks; a scalar.

    The paper's loss compares the matrices of kernel similarities between all samples of the batch. RepDistiller has
    the product of the deviations of each sample and its neighbour instead, so the batch's order matters, and a batch
    of one sample has no loss (NaN).
    """

    @in_single
    def forward(self, f_s: Tensor, f_t: Tensor) -> Tensor:
        delta = (f_s - f_t).abs()
        return (delta[:-1] * delta[1:]).sum(1).mean()


class CCDistiller(Distiller):
    """:class:`Correlation` of linear embeddings of both pooled features; both embeddings are trained.

    Mixed inputs: neighbours in the mixed batch are compared; cross-entropy with the soft targets.
    """

    paper = "Peng, Jin, Liu, Zhou, Wu, Liu, Li, Zhang, ICCV 2019"
    weights = default_weights("correlation")
    flags = FEAT_DIM_FLAG
    compares_images = True
    min_batch = 2

    def __init__(self, opt: Namespace, pair: Pair):
        super().__init__(opt, pair)
        self.embed_s = LinearEmbed(pair.shapes_s[-1][1], opt.feat_dim)
        self.embed_t = LinearEmbed(pair.shapes_t[-1][1], opt.feat_dim)
        self.criterion = Correlation()

    def kd_loss(self, out_s: Output, out_t: Output, batch) -> Tensor:
        return self.criterion(self.embed_s(out_s[0][-1]), self.embed_t(out_t[0][-1]))
