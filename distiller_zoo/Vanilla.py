"""No distillation: the loss of a teacher, or of a student alone."""
from argparse import Namespace

from torch import Tensor

from .base import Distiller
from .losses import soft_cross_entropy


class Vanilla(Distiller):
    """Cross-entropy with the batch's (soft) targets; ``opt.label_smoothing`` as in Szegedy et al., CVPR 2016."""

    needs_features = False

    def __init__(self, opt: Namespace, pair=None):
        super().__init__(Namespace(gamma=1.0, alpha=0.0, beta=0.0, kd_T=1.0, rescale="none"), pair)
        self.label_smoothing = opt.label_smoothing

    def forward(self, out_s, out_t, batch) -> dict[str, Tensor]:
        return {"cls": soft_cross_entropy(out_s[1], batch.targets, self.label_smoothing)}
