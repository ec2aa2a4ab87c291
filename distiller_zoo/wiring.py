"""Methods that compare stage features or pooled features and differ only in their criterion."""
from argparse import Namespace
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .base import Distiller, Output, Pair


class StageDistiller(Distiller):
    """kd is the sum of a criterion's list of losses over the stages f[1:-1] of student and teacher.

    Where the networks have different numbers of stages, the longer one's last stages are left out, as RepDistiller
    does.
    """

    criterion_class: type[nn.Module]

    def __init__(self, opt: Namespace, pair: Pair):
        super().__init__(opt, pair)
        self.criterion = self.make_criterion(opt, pair)

    def make_criterion(self, opt: Namespace, pair: Pair) -> nn.Module:
        return self.criterion_class()

    @staticmethod
    def stages(features: Sequence) -> Sequence:
        """The stage features, or their shapes: all but the stem's and the pooled one."""
        return features[1:-1]

    @classmethod
    def stage_shapes(cls, pair: Pair) -> list[tuple[torch.Size, torch.Size]]:
        """Shapes of the stages that are compared, (student, teacher) each."""
        return list(zip(cls.stages(pair.shapes_s), cls.stages(pair.shapes_t), strict=False))

    @classmethod
    def unsupported(cls, opt: Namespace, pair: Pair) -> str:
        shapes = cls.stage_shapes(pair)
        if shapes and all(len(shape) == 4 for both in shapes for shape in both):
            return ""
        return (f"it compares stage features (N, C, H, W) between the stem's and the pooled one, the networks have "
                f"{[tuple(s) for s, _ in shapes]} and {[tuple(t) for _, t in shapes]}")

    def kd_loss(self, out_s: Output, out_t: Output, batch) -> Tensor:
        return sum(self.criterion(self.stages(out_s[0]), self.stages(out_t[0])))


class PooledDistiller(Distiller):
    """kd is a criterion of the pooled features f[-1], (B, D_s) and (B, D_t)."""

    criterion_class: type[nn.Module]

    def __init__(self, opt: Namespace, pair: Pair):
        super().__init__(opt, pair)
        self.criterion = self.criterion_class()

    def kd_loss(self, out_s: Output, out_t: Output, batch) -> Tensor:
        return self.criterion(out_s[0][-1], out_t[0][-1])
