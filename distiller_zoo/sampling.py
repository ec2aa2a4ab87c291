"""Random subsets as a pure function of (seed, step, row): no generator, no host sync, the same after a resume."""
import torch
from torch import Tensor, nn

INT32_MAX = 2**31 - 1
BLOCK = 2**24  # keys at once: all of a batch of CIFAR-100; of ImageNet's, whose keys would fill gigabytes, 13 rows
GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # splitmix64's increment, as a signed number


def shifted(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right: a signed integer's own would drag its sign along."""
    return (x >> bits) & ((1 << (8 * x.element_size() - bits)) - 1)


def mix64(x: Tensor) -> Tensor:
    """Splitmix64's finaliser (Steele et al., OOPSLA 2014) on int64: a bijection whose output bits look random."""
    x = (x ^ shifted(x, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    x = (x ^ shifted(x, 27)) * (0x94D049BB133111EB - 2**64)
    return x ^ shifted(x, 31)


def hashed_keys(seed: Tensor, step: Tensor, rows: int, columns: int, first: int = 0) -> Tensor:
    """Random int32 (rows, columns) of scalars seed and step, int64; no number occurs twice in a row. first: number of
    the first row; a row's keys depend on no other row.

    A row's 64 bits key a 32-bit finaliser (Wellons' lowbias32) of the column at two places. Each of its operations is
    a bijection of the column, hence no ties, and the smallest of a row's numbers are a uniform subset.
    """
    row = mix64(mix64(seed + GOLDEN * step) + GOLDEN * torch.arange(first, first + rows, device=seed.device))[:, None]
    low, high = ((row << 32) >> 32).int(), (row >> 32).int()
    x = torch.arange(columns, dtype=torch.int32, device=seed.device) ^ low
    x ^= shifted(x, 16)
    x *= 0x7FEB352D
    x += high
    x ^= shifted(x, 15)
    x *= 0x846CA68B - 2**32
    x ^= shifted(x, 16)
    return x


class ContrastSampler(nn.Module):
    """Draws, for each of a batch's images, one positive and K negatives among all n_data training images.

    Negatives are K different images of other classes, each set of K as likely as any other; without labels, of all
    images but the anchor. The positive is the image itself, or, relax, an image of its class drawn uniformly.
    That is RepDistiller's CIFAR100InstanceSample with mode 'exact' and 'relax', except that it falls back to drawing
    with replacement where there are fewer than K negatives; here :meth:`most` returns how many are allowed.

    Rows are drawn in blocks, so that a draw's memory does not grow with batch size times n_data.

    labels: int64 (n_data,) or None. State: seed and a step counter, which every draw increments in place.
    """

    def __init__(self, n_data: int, K: int, labels: Tensor | None = None, relax: bool = False, seed: int = 0):
        super().__init__()
        if (most := self.most(n_data, labels)) < K:
            raise ValueError(f"{K} negatives can't be drawn from {most}")
        self.n_data, self.K, self.relax = n_data, K, relax
        labels = torch.arange(n_data) if labels is None else labels.clone()
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("seed", torch.tensor(seed))
        self.register_buffer("step", torch.tensor(0))

    @staticmethod
    def most(n_data: int, labels: Tensor | None) -> int:
        """The largest K that every image allows."""
        return n_data - (1 if labels is None else int(labels.bincount().max()))

    def forward(self, y: Tensor) -> Tensor:
        """y: places of the images in the training set, int64 (B,). Returns places (B, 1 + K), the positive first."""
        drawn = y.new_empty(y.shape[0], 1 + self.K)
        rows = max(1, BLOCK // self.n_data)
        for first in range(0, y.shape[0], rows):
            self._draw(y[first : first + rows], first, drawn[first : first + rows])
        self.step.add_(1)
        return drawn

    def _draw(self, y: Tensor, first: int, drawn: Tensor) -> None:
        """Fill the batch's rows from ``first`` on."""
        keys = hashed_keys(self.seed, self.step, y.shape[0], self.n_data, first)
        same = self.labels == self.labels.index_select(0, y)[:, None]
        # Unsorted is faster, and the loss sums over the negatives anyway.
        drawn[:, 1:] = keys.masked_fill(same, INT32_MAX).topk(self.K, dim=1, largest=False, sorted=False).indices
        drawn[:, 0] = keys.masked_fill(~same, INT32_MAX).argmin(1) if self.relax else y
