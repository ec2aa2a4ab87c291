"""Factor transfer: Kim, Park, Kwak, NeurIPS 2018."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Distiller
from .connectors import Paraphraser, Translator
from .features import in_single, match_sizes, unit
from .losses import at_least_single
from .settings import default_weights

SLOW_FIRST_STAGE = ("resnet8", "resnet14", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet8x4",
                    "resnet32x4", "wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2")


class FactorTransfer(nn.Module):
    """Distance of normalised factors, eq. 3: mean over images and places of |F_s - F_t|^p2.

    f_s, f_t: factors (B, C, H, W), brought to the smaller of their sizes by average pooling. F is the channel mean of
    f^p1 as a vector of Euclidean length 1; with p1 = 2 that is an attention map of the factor. The authors normalise
    the factors themselves, of equal channels; the map is RepDistiller's and lets channels differ. Returns a scalar.
    A factor of zeros stays zero, with a finite gradient.
    """

    def __init__(self, p1: int = 2, p2: int = 1):
        super().__init__()
        self.p1, self.p2 = p1, p2

    @in_single
    def forward(self, f_s: Tensor, f_t: Tensor) -> Tensor:
        f_s, f_t = match_sizes(f_s, f_t)
        distance = self.factor(f_s) - self.factor(f_t)
        return distance.abs().mean() if self.p2 == 1 else distance.pow(self.p2).mean()

    def factor(self, f: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H W)."""
        return unit(f.pow(self.p1).mean(1).flatten(1), dim=1)


class FTDistiller(Distiller):
    """``--distill factor``: stage one trains a paraphraser to reconstruct the teacher's f3, by squared error; then it
    is frozen and a translator of the student's f3 is trained towards its factors.

    f3 stands for the last feature before the pooled one. Stage one leaves the student alone.

    Mixed inputs: the paraphraser is trained on, and factors are compared for, the mixed images; soft targets.
    """

    paper = "Kim, Park, Kwak, NeurIPS 2018"
    weights = default_weights("factor")
    two_stage = True

    def __init__(self, opt, pair):
        super().__init__(opt, pair)
        self.translator = Translator(pair.shapes_s[-2], pair.shapes_t[-2])
        self.paraphraser = Paraphraser(pair.shapes_t[-2])
        self.criterion = FactorTransfer()

    @classmethod
    def unsupported(cls, opt, pair):
        s, t = pair.shapes_s[-2], pair.shapes_t[-2]
        if len(s) != 4 or len(t) != 4:
            return f"it needs feature maps (N, C, H, W) before the pooled feature, not {[*s]} and {[*t]}"
        return "" if t[1] > 1 else "it halves the teacher's channels, and its last feature map has only one"

    def enter(self, stage, model_s):
        if stage == "init":
            model_s.eval()
            self.eval()
            return [*self.paraphraser.train().parameters()]
        model_s.train()
        self.train()
        self.paraphraser.eval()
        return [*model_s.parameters(), *self.translator.parameters()]

    @classmethod
    def init_learning_rate(cls, opt):
        """0.01 for the students of RepDistiller's list, else the student's rate."""
        return 0.01 if opt.model_s in SLOW_FIRST_STAGE else opt.learning_rate

    def init_loss(self, out_s, out_t, batch):
        f_t = out_t[0][-2]
        _, reconstruction = self.paraphraser(f_t)
        return F.mse_loss(at_least_single(reconstruction), at_least_single(f_t))

    def kd_loss(self, out_s, out_t, batch):
        with torch.no_grad():
            factor_t = self.paraphraser(out_t[0][-2], is_factor=True)
        return self.criterion(self.translator(out_s[0][-2]), factor_t)
