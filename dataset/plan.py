"""Everything random in an epoch, drawn before its first step.

A batch is a pure function of (data, plan, step): any loader, on any device, resumed at any step, sees the same one.
"""
from dataclasses import dataclass

import numpy as np

from .data import DataError

KINDS = ("none", "mixup", "cutmix")
SAMPLINGS = ("original", "exact")


@dataclass(frozen=True)
class MixSpec:
    """How batches are mixed (Choi et al., WACV 2023, sec. 3; Zhang et al., ICLR 2018; Yun et al., ICCV 2019).

    kind: 'none', 'mixup' or 'cutmix'. beta_a: lambda ~ Beta(beta_a, beta_a), one for each SAMPLE.
    partial: False mixes every sample (FMU). True (PMU) keeps some clean, lambda = 1; how many say `amount` and
    `sampling`, with k = int(B * amount) for a batch of B:
    'original', as MIX-KD does it: k draws WITH replacement are set clean. At amount 0.9 and B = 64 about 41% stay
    mixed, not the 10% its help states; at 1.0 still 36%.
    'exact': k different samples are set clean, so exactly B - k stay mixed.

    Raises DataError for a value that makes no sense.
    """

    kind: str = "none"
    partial: bool = True
    amount: float = 0.9
    sampling: str = "original"
    beta_a: float = 1.0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise DataError(f"mix kind {self.kind!r}: choose one of {', '.join(KINDS)}")
        if self.sampling not in SAMPLINGS:
            raise DataError(f"--pmu_sampling {self.sampling!r}: choose one of {', '.join(SAMPLINGS)}")
        if not 0 <= self.amount <= 1:
            raise DataError(f"--partmixup {self.amount}: give a number from 0 to 1")
        if not 0 < self.beta_a < float("inf"):
            raise DataError(f"--beta_a {self.beta_a}: give a number above 0")


@dataclass(frozen=True)
class EpochPlan:
    """An epoch of n samples in batches of batch_size, the last one short. Arrays of length n unless said.

    By epoch position (before mixing): order, the sample's place in the training set (a permutation); top, left,
    where its crop begins in the padded image; flip, whether it is mirrored.
    By slot of the mixed batches (None without mixing): first, second, the epoch positions that are mixed there,
    always of the same batch; lam, float32, the weight of `first`; box, (n, 4) rows of top, bottom, left, right of
    what `second` pastes (CutMix only). rows: the slots with lam < 1, ascending, any length.
    """

    batch_size: int
    order: np.ndarray
    top: np.ndarray
    left: np.ndarray
    flip: np.ndarray
    first: np.ndarray | None = None
    second: np.ndarray | None = None
    lam: np.ndarray | None = None
    box: np.ndarray | None = None
    rows: np.ndarray | None = None

    @property
    def steps(self):
        return -(-len(self.order) // self.batch_size)


def plan_epoch(n, batch_size, size, pad, flip, mix, seed, epoch, phase=0):
    """EpochPlan for n images of size (H, W), drawn from SeedSequence((seed, phase, epoch)). Time linear in n.

    Crops are uniform over the (2 pad + 1)^2 places, flips fair coins where `flip`. Order, crops and flips are drawn
    first: runs that differ in `mix` alone see the same samples in the same order. Two independent permutations of
    each batch say who meets whom; even where lambda is 1 the batch comes out permuted (as in MIX-KD), and a sample
    may meet itself.

    Raises DataError for seed, phase or epoch outside [0, 2^32), where two plans could coincide.
    """
    for name, value in (("seed", seed), ("phase", phase), ("epoch", epoch)):
        if not 0 <= value < 2**32:
            raise DataError(f"{name} {value}: give a whole number from 0 to 2^32 - 1")
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, phase, epoch))))
    order = rng.permutation(n)
    top, left = rng.integers(0, 2 * pad + 1, (2, n))
    turned = rng.random(n) < (0.5 if flip else 0.0)
    plan = EpochPlan(batch_size, order, top, left, turned)
    return plan if mix.kind == "none" else _mixed(plan, rng, size, mix)


def _mixed(plan, rng, size, mix):
    """`plan` with partners, weights and boxes."""
    n, b = len(plan.order), plan.batch_size
    first, second = _shuffled_batches(rng, n, b), _shuffled_batches(rng, n, b)
    lam = rng.beta(mix.beta_a, mix.beta_a, n)
    if mix.partial:
        lam[_clean(rng, n, b, mix)] = 1.0
    box = None
    if mix.kind == "cutmix":
        box, lam = _boxes(rng, lam, size)
    lam = lam.astype(np.float32)
    return EpochPlan(b, plan.order, plan.top, plan.left, plan.flip, first, second, lam, box, np.flatnonzero(lam < 1))


def _shuffled_batches(rng, n, b):
    """0..n-1, shuffled within each run of b; the last run may be short."""
    whole = n - n % b
    runs = rng.permuted(np.arange(whole).reshape(-1, b), axis=1).reshape(-1)
    return np.concatenate([runs, whole + rng.permutation(n - whole)])


def _clean(rng, n, b, mix):
    """Slots that partial mixing leaves clean, drawn batch by batch; repeats are possible in 'original'."""
    chosen = []
    for start, count, size in ((0, n // b, b), (n - n % b, 1, n % b)):
        k = int(size * mix.amount)
        if mix.sampling == "original":
            draw = rng.integers(0, max(size, 1), (count, k))
        else:
            draw = rng.permuted(np.broadcast_to(np.arange(size), (count, size)), axis=1)[:, :k]
        chosen.append((draw + start + size * np.arange(count)[:, None]).reshape(-1))
    return np.concatenate(chosen)


def _boxes(rng, lam, size):
    """CutMix boxes (n, 4) as top, bottom, left, right, and lambda as pasted.

    Sides sqrt(1 - lambda) of the image's, cut to whole pixels and to an even number as Yun et al. do; uniform centre;
    clipped at the border. lambda becomes the share of the image that is not pasted over.
    """
    sides = []
    for length in size:
        half = (length * np.sqrt(1 - lam)).astype(np.int64) // 2
        centre = rng.integers(0, length, len(lam))
        sides += [np.maximum(centre - half, 0), np.minimum(centre + half, length)]
    box = np.stack(sides, axis=1)
    area = (box[:, 1] - box[:, 0]) * (box[:, 3] - box[:, 2])
    return box, 1 - area / (size[0] * size[1])
