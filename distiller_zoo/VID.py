"""Variational information distillation: Ahn, Hu, Damianou, Lawrence, Dai, CVPR 2019."""
import math
from argparse import Namespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Pair
from .features import match_sizes
from .losses import at_least_single
from .settings import default_weights
from .wiring import StageDistiller


class VIDLoss(nn.Module):
    """Negative log likelihood of the teacher's feature under a Gaussian that the student's feature predicts.

    Mean over all elements of 1/2 ((mu(f_s) - f_t)^2 / v_c + log v_c), v_c = softplus(log_scale_c) + eps (the
    paper's Gaussian without its constant, a mean where it sums). mu: three 1x1 convolutions with ReLUs between, from
    num_input_channels over num_mid_channel twice to num_target_channels. init_pred_var: v_c at the start.
    Call with (B, num_input_channels, H, W) of the student, (B, num_target_channels, H', W') of the teacher; sizes are
    pooled to the smaller; returns a scalar.
    """

    def __init__(self, num_input_channels: int, num_mid_channel: int, num_target_channels: int,
                 init_pred_var: float = 5.0, eps: float = 1e-5):
        super().__init__()
        self.regressor = nn.Sequential(
            nn.Conv2d(num_input_channels, num_mid_channel, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(num_mid_channel, num_mid_channel, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(num_mid_channel, num_target_channels, 1, bias=False),
        )
        self.log_scale = nn.Parameter(torch.full((num_target_channels,), math.log(math.expm1(init_pred_var - eps))))
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        input, target = match_sizes(input, target)
        error = at_least_single(self.regressor(input)) - at_least_single(target)
        variance = F.softplus(self.log_scale) + self.eps
        # every channel has as many elements, so the mean over the others may come first
        return 0.5 * (error.square().mean((0, 2, 3)) / variance + variance.log()).mean()


class _StageVID(nn.ModuleList):
    """One :class:`VIDLoss` a stage, called with lists of features."""

    def forward(self, g_s, g_t) -> list[Tensor]:
        return [criterion(f_s, f_t) for criterion, f_s, f_t in zip(self, g_s, g_t, strict=False)]


class VIDDistiller(StageDistiller):
    """A :class:`VIDLoss` for each stage, its width the teacher's, trained with the student.

    Mixed inputs: the teacher's features of the mixed image are predicted; cross-entropy with the soft targets.
    """

    paper = "Ahn, Hu, Damianou, Lawrence, Dai, CVPR 2019"
    weights = default_weights("vid")

    def make_criterion(self, opt: Namespace, pair: Pair) -> nn.Module:
        return _StageVID(VIDLoss(s[1], t[1], t[1]) for s, t in self.stage_shapes(pair))
