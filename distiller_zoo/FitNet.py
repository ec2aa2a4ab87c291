"""FitNets, hints for thin deep nets: Romero, Ballas, Kahou, Chassang, Gatta, Bengio, ICLR 2015."""
from argparse import Namespace

import torch.nn.functional as F
from torch import Tensor, nn

from .base import Distiller, Output, Pair
from .connectors import ConvReg
from .features import in_single
from .settings import DEFAULTS, default_weights


class HintLoss(nn.Module):
    """Mean of (f_s - f_t)^2 over all elements of two features of one shape; returns a scalar.

    The paper's equation 3 is half the sum over a sample's elements; RepDistiller's mean stands here.
    """

    @in_single
    def forward(self, f_s: Tensor, f_t: Tensor) -> Tensor:
        return F.mse_loss(f_s, f_t)


class HintDistiller(Distiller):
    """:class:`HintLoss` between f[hint_layer] of the teacher and a trained :class:`ConvReg` of the student's.

    As in RepDistiller, hint and classification are trained together; the paper trains the hint first.

    Mixed inputs: the teacher's feature of the mixed image is the hint; cross-entropy with the soft targets.
    """

    paper = "Romero, Ballas, Kahou, Chassang, Gatta, Bengio, ICLR 2015"
    weights = default_weights("hint")
    flags = {"hint_layer": {"type": int, "default": DEFAULTS["hint_layer"], "choices": range(5),
                            "help": "feature that is regressed: 0 stem, 1 and up the stages"}}

    def __init__(self, opt: Namespace, pair: Pair):
        super().__init__(opt, pair)
        self.layer = opt.hint_layer
        self.regress = ConvReg(pair.shapes_s[self.layer], pair.shapes_t[self.layer])
        self.criterion = HintLoss()

    @classmethod
    def unsupported(cls, opt: Namespace, pair: Pair) -> str:
        last = min(len(pair.shapes_s), len(pair.shapes_t)) - 1
        if opt.hint_layer > last:
            return f"--hint_layer {opt.hint_layer}: both networks have the features 0 to {last} only"
        reason = ConvReg.unsupported(pair.shapes_s[opt.hint_layer], pair.shapes_t[opt.hint_layer])
        return reason and f"--hint_layer {opt.hint_layer}: {reason}"

    def kd_loss(self, out_s: Output, out_t: Output, batch) -> Tensor:
        return self.criterion(self.regress(out_s[0][self.layer]), out_t[0][self.layer])
