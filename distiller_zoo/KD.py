"""Knowledge distillation: Hinton, Vinyals, Dean, arXiv 1503.02531."""
from .base import Distiller
from .losses import DistillKL

__all__ = ["KD", "DistillKL"]


class KD(Distiller):
    """gamma * CE + alpha * :class:`DistillKL` at temperature kd_T, RepDistiller's ``--distill kd -r 0.1 -a 0.9 -b 0``.

    MIX-KD's own kd branch takes the cross-entropy of the mixed, permuted batch with the unpermuted hard labels;
    here the targets follow the mixing.
    """

    paper = "Hinton, Vinyals, Dean, arXiv 2015"
    weights = (0.1, 0.9, 0.0)
    mix = "mixup"
    needs_features = False
