"""Activation boundaries: Heo, Lee, Yun, Choi, AAAI 2019."""
from torch import Tensor, nn, where

from .base import Distiller
from .connectors import Connector, ConvReg
from .features import in_single
from .settings import default_weights


class ABLoss(nn.Module):
    """Squared distance of student activations on the wrong side of the teacher's boundary, or within margin.

    For layer l of L, of student s and teacher t before their ReLU, batch size B, margin m:

        3/1000 * 2^(l - L + 1) / B * sum over elements of  (s + m)^2 where t <= 0 and s > -m
                                                           (s - m)^2 where t > 0  and s <= m

    feat_num: L. Call with two lists of L features of equal shape, (B, C, H, W); returns a list of L scalars.
    The factor 3/1000 is RepDistiller's, the powers of two are the authors'.
    """

    def __init__(self, feat_num: int, margin: float = 1.0):
        super().__init__()
        self.w = [2.0 ** (i - feat_num + 1) for i in range(feat_num)]
        self.margin = margin

    @in_single
    def forward(self, g_s: list[Tensor], g_t: list[Tensor]) -> list[Tensor]:
        scale = 3 / 1000 / g_s[0].shape[0]
        return [scale * w * self.wrong_side(s, t) for w, s, t in zip(self.w, g_s, g_t, strict=True)]

    def wrong_side(self, s: Tensor, t: Tensor) -> Tensor:
        """Sum over all elements of two features of equal shape."""
        on, off = (t > 0) & (s <= self.margin), (t <= 0) & (s > -self.margin)
        distance = where(on, s - self.margin, where(off, s + self.margin, 0.0))
        return distance.square().sum()


class ABDistiller(Distiller):
    """``--distill abound``: :class:`ABLoss` on f1, f2, ... before their ReLU in the first stage, then cross-entropy.

    Stage one trains the connectors and the student up to its pooling; the rest of the student, batch norm outside
    ``get_feat_modules`` included, is in evaluation mode. In the main stage the connectors are idle and not trained,
    and beta does nothing, as in RepDistiller.

    Mixed inputs: stage one matches both networks on the mixed images; then cross-entropy with soft targets.
    """

    paper = "Heo, Lee, Yun, Choi, AAAI 2019"
    weights = default_weights("abound")
    preact = True
    two_stage = True

    def __init__(self, opt, pair):
        super().__init__(opt, pair)
        self.connector = Connector(pair.shapes_s[1:-1], pair.shapes_t[1:-1])
        self.criterion = ABLoss(len(pair.shapes_s[1:-1]))

    @classmethod
    def unsupported(cls, opt, pair):
        shapes_s, shapes_t = pair.shapes_s[1:-1], pair.shapes_t[1:-1]
        if len(shapes_s) != len(shapes_t):
            return f"it needs as many stages in the student as in the teacher, not {len(shapes_s)} and {len(shapes_t)}"
        for i, (s, t) in enumerate(zip(shapes_s, shapes_t, strict=True), 1):
            if tuple(s[1:]) != tuple(t[1:]) and (reason := ConvReg.unsupported(s, t)):
                return f"feature f{i}: {reason}"
        return ""

    def enter(self, stage, model_s):
        if stage == "main":
            model_s.train()
            self.eval()
            return [*model_s.parameters()]
        model_s.eval()
        self.eval()
        trained = [self.connector, model_s.get_feat_modules()]
        return [p for module in trained for p in module.train().parameters()]

    def init_loss(self, out_s, out_t, batch):
        return sum(self.criterion(self.connector(out_s[0][1:-1]), out_t[0][1:-1]))
