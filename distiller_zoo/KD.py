"""Knowledge distillation: Hinton, Vinyals, Dean, arXiv 1503.02531."""
from torch import Tensor, nn

from .base import Distiller, kl_divergence


class DistillKL(nn.Module):
    """T^2 KL(softmax(y_t / T) || softmax(y_s / T)), summed over classes, mean over the batch.

    T: temperature. Call with the logits of student and teacher, (B, K) each; returns a scalar.
    """

    def __init__(self, T: float):
        super().__init__()
        self.T = T

    def forward(self, y_s: Tensor, y_t: Tensor) -> Tensor:
        return kl_divergence(y_s, y_t, self.T)


class KD(Distiller):
    """gamma * CE + alpha * KL at temperature kd_T, RepDistiller's ``--distill kd -r 0.1 -a 0.9 -b 0``.

    MIX-KD's own kd branch takes the cross-entropy of the mixed, permuted batch with the unpermuted hard labels;
    here the targets follow the mixing.
    """

    paper = "Hinton, Vinyals, Dean, arXiv 2015"
    weights = (0.1, 0.9, 0.0)
    needs_features = False
