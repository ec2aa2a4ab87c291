"""Mixup distillation with logits divided by their own standard deviation.

Choi, Jeon, Shukla, Turaga, "Understanding the Role of Mixup in Knowledge Distillation", WACV 2023.
"""
from .base import Distiller
from .losses import MIXSTDLoss
from .settings import default_weights

__all__ = ["MIXSTD", "MIXSTDLoss"]


class MIXSTD(Distiller):
    """``--distill mixstd``: :class:`MIXSTDLoss`. kd_T, scale_T and beta do nothing here, as in the original.

    ``--rescale none`` takes the scaling away, which leaves cross-entropy and KL at temperature kd_T.
    """

    paper = "Choi, Jeon, Shukla, Turaga, WACV 2023"
    weights = default_weights("mixstd")
    mix = "mixup"
    needs_features = False
    rescale = "std"
