"""Random float64 inputs, and the sum of what a loss returns."""
import torch


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def maps(seed, channels, sizes, n=3):
    """A list of feature maps, one per number of channels and size."""
    return [draw(n, c, h, h, seed=seed + i) for i, (c, h) in enumerate(zip(channels, sizes, strict=True))]


def total(losses):
    return sum(losses) if isinstance(losses, (list, tuple)) else losses
