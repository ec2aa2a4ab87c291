"""The methods of ``--distill`` and their loss classes under RepDistiller's names."""
from .AB import ABDistiller, ABLoss
from .AT import ATDistiller, Attention
from .base import Distiller, DistillError, Pair
from .CC import CCDistiller, Correlation
from .CRD import CRDDistiller, CRDLoss
from .DIST import DISTDistiller, DISTLoss
from .DKD import DKDDistiller, DKDLoss
from .FitNet import HintDistiller, HintLoss
from .FSP import FSP, FSPDistiller
from .FT import FactorTransfer, FTDistiller
from .KD import KD
from .KDSVD import KDSVD, KDSVDDistiller
from .losses import DistillKL, kl_divergence, soft_cross_entropy, std_scaled
from .LSKD import LSKDDistiller, LSKDLoss
from .MIXSTD import MIXSTD, MIXSTDLoss
from .NST import NSTDistiller, NSTLoss
from .PKT import PKT, PKTDistiller
from .ReviewKD import HCL, ReviewKDDistiller
from .RKD import RKDDistiller, RKDLoss
from .SP import Similarity, SPDistiller
from .Vanilla import Vanilla
from .VID import VIDDistiller, VIDLoss

distiller_dict: dict[str, type[Distiller]] = {
    "kd": KD,
    "mixstd": MIXSTD,
    "hint": HintDistiller,
    "attention": ATDistiller,
    "similarity": SPDistiller,
    "correlation": CCDistiller,
    "vid": VIDDistiller,
    "rkd": RKDDistiller,
    "pkt": PKTDistiller,
    "nst": NSTDistiller,
    "kdsvd": KDSVDDistiller,
    "abound": ABDistiller,
    "factor": FTDistiller,
    "fsp": FSPDistiller,
    "crd": CRDDistiller,
    "dkd": DKDDistiller,
    "dist": DISTDistiller,
    "lskd": LSKDDistiller,
    "reviewkd": ReviewKDDistiller,
}

__all__ = [
    "Distiller", "DistillError", "Pair", "Vanilla", "distiller_dict", "kl_divergence", "soft_cross_entropy",
    "std_scaled", "DistillKL", "MIXSTDLoss",
    "HintLoss", "Attention", "Similarity", "Correlation", "VIDLoss", "RKDLoss", "PKT", "NSTLoss", "KDSVD",
    "ABLoss", "FactorTransfer", "FSP", "CRDLoss", "DKDLoss", "DISTLoss", "LSKDLoss", "HCL",
]
