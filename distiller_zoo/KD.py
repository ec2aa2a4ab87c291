"""Knowledge distillation: Hinton, Vinyals, Dean, arXiv 1503.02531."""
from .base import Distiller
from .losses import DistillKL
from .settings import default_weights

__all__ = ["KD", "DistillKL"]


class KD(Distiller):
    """gamma * CE + alpha * :class:`DistillKL` at temperature kd_T, as RepDistiller's ``--distill kd``.

    MIX-KD's own kd branch takes the cross-entropy of the mixed, permuted batch with the unpermuted hard labels;
    here the targets follow the mixing.
    """

    paper = "Hinton, Vinyals, Dean, arXiv 2015"
    weights = default_weights("kd")
    mix = "mixup"
    needs_features = False
