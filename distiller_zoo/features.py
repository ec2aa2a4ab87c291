"""What several losses share: precision, sizes, directions."""
from collections.abc import Callable, Sequence
from functools import wraps

import torch
import torch.nn.functional as F
from torch import Tensor

from .losses import at_least_single

SMALLEST_NORM = 1e-12  # F.normalize's eps: a vector shorter than this has no direction


def in_single(forward: Callable) -> Callable:
    """Decorates a loss's forward(self, features, ...): computes in at least single precision, outside autocast.

    Autocast would send matrix products back to half precision, where a Gram matrix of features overflows.
    An argument is a tensor or a sequence of them.
    """
    def single(x: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
        return at_least_single(x) if isinstance(x, Tensor) else [at_least_single(f) for f in x]

    @wraps(forward)
    def wrapped(self, *args, **kwargs):
        first = next(iter((*args, *kwargs.values())))
        first = first if isinstance(first, Tensor) else first[0]
        with torch.autocast(first.device.type, enabled=False):
            return forward(self, *map(single, args), **{name: single(value) for name, value in kwargs.items()})
    return wrapped


def match_sizes(f_s: Tensor, f_t: Tensor) -> tuple[Tensor, Tensor]:
    """Feature maps (N, C, H, W) brought to the smaller of their sizes by adaptive average pooling."""
    size = tuple(map(min, f_s.shape[2:], f_t.shape[2:]))
    f_s, f_t = (f if f.shape[2:] == size else F.adaptive_avg_pool2d(f, size) for f in (f_s, f_t))
    return f_s, f_t


def unit(x: Tensor, dim: int = 1, power: float = 2, eps: float = 0.0) -> Tensor:
    """x / (norm + eps) along dim. A zero vector stays zero and passes its gradient on unscaled.

    F.normalize returns the same values, but a zero vector's gradient comes out of it 1e12 times larger.
    """
    norm = torch.linalg.vector_norm(x, power, dim, keepdim=True)
    return x / torch.where(norm > SMALLEST_NORM, norm + eps, torch.ones_like(norm))
