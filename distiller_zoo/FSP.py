"""Flow of the solution procedure: Yim, Joo, Bae, Kim, CVPR 2017."""
from collections.abc import Sequence

from torch import Tensor, nn

from .base import Distiller, DistillError
from .features import in_single, match_sizes
from .settings import default_weights


class FSP(nn.Module):
    """Mean squared distance of the FSP matrices of student and teacher, one for each two consecutive features.

    Eq. 1, for features a (B, C_a, H, W) and b (B, C_b, H, W), brought to the smaller of their sizes by average pooling:

        G_ij = 1/(H W) sum over places of b_i a_j                                      (B, C_b, C_a)

    s_shapes, t_shapes: shapes of the features, of equal channels place by place, else :class:`DistillError`.
    Call with the two lists of features; returns a list of scalars, one shorter. The authors add weights and sum over
    the matrix, RepDistiller takes the plain mean.
    """

    def __init__(self, s_shapes: Sequence[Sequence[int]], t_shapes: Sequence[Sequence[int]]):
        super().__init__()
        if reason := self.unsupported(s_shapes, t_shapes):
            raise DistillError(f"FSP: {reason}")

    @staticmethod
    def unsupported(s_shapes: Sequence[Sequence[int]], t_shapes: Sequence[Sequence[int]]) -> str:
        """Why features of these shapes have no comparable FSP matrices, or an empty string."""
        if any(len(shape) != 4 for shape in (*s_shapes, *t_shapes)):
            return "it needs feature maps (N, C, H, W)"
        channels_s, channels_t = ([shape[1] for shape in shapes] for shapes in (s_shapes, t_shapes))
        if channels_s == channels_t:
            return ""
        return (f"it needs the same channels at every stage, and the student has {channels_s}, "
                f"the teacher {channels_t}; choose a pair of one family and width")

    @in_single
    def forward(self, g_s: list[Tensor], g_t: list[Tensor]) -> list[Tensor]:
        return [self.compute_loss(s, t)
                for s, t in zip(self.compute_fsp(g_s), self.compute_fsp(g_t), strict=True)]

    @staticmethod
    def compute_loss(s: Tensor, t: Tensor) -> Tensor:
        return (s - t).square().mean()

    @staticmethod
    def compute_fsp(g: Sequence[Tensor]) -> list[Tensor]:
        matrices = []
        for bot, top in zip(g[:-1], g[1:], strict=True):
            bot, top = (f.flatten(2) for f in match_sizes(bot, top))
            matrices.append(top @ bot.mT / bot.shape[2])
        return matrices


class FSPDistiller(Distiller):
    """``--distill fsp``: :class:`FSP` on f0, f1, ... (not the pooled one) in the first stage, then cross-entropy.

    Stage one trains the student up to its pooling; the rest of it is in evaluation mode. In the main stage beta does
    nothing, as in RepDistiller.

    Mixed inputs: stage one matches both networks on the mixed images; then cross-entropy with soft targets.
    """

    paper = "Yim, Joo, Bae, Kim, CVPR 2017"
    weights = default_weights("fsp")
    two_stage = True

    def __init__(self, opt, pair):
        super().__init__(opt, pair)
        self.criterion = FSP(pair.shapes_s[:-1], pair.shapes_t[:-1])

    @classmethod
    def unsupported(cls, opt, pair):
        return FSP.unsupported(pair.shapes_s[:-1], pair.shapes_t[:-1])

    def enter(self, stage, model_s):
        if stage == "main":
            return super().enter(stage, model_s)
        model_s.eval()
        self.eval()
        return [*model_s.get_feat_modules().train().parameters()]

    def init_loss(self, out_s, out_t, batch):
        return sum(self.criterion(out_s[0][:-1], out_t[0][:-1]))
