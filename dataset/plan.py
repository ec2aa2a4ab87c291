"""Everything random in an epoch, drawn before its first step.

A batch is a pure function of (data, plan, step): any loader, on any device, resumed at any step, gives the same one.

A new kind of mixing gets a name in MIXES, a function in batch.MIXERS that mixes two samples, and, where it needs more
than lambda, an array of one row a slot that _mixing draws, as CutMix's boxes: it reaches the function as it is.
"""
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from .data import DataError

MIXES = ("none", "mixup", "cutmix")
SAMPLINGS = ("original", "exact")


@dataclass(frozen=True)
class MixSpec:
    """How batches are mixed (Choi et al., WACV 2023, sec. 3; Zhang et al., ICLR 2018; Yun et al., ICCV 2019). The
    fields have their flags' names and meaning; the parser checks the numbers.

    mix: one of MIXES. beta_a: lambda ~ Beta(beta_a, beta_a), one for each SAMPLE.
    pmixup: False mixes every sample (FMU). True (PMU) keeps some clean, lambda = 1; their number follows
    from `partmixup` and `pmu_sampling`, with k = int(B * partmixup) for a batch of B:
    'original', as MIX-KD does it: k draws WITH replacement are set clean. At 0.9 and B = 64 about 41% stay mixed, not
    the 10% its help states; at 1.0 still 36%.
    'exact': k different samples are set clean, so exactly B - k stay mixed.

    Raises DataError for an unknown name.
    """

    mix: str = "none"
    pmixup: bool = True
    partmixup: float = 0.9
    pmu_sampling: str = "original"
    beta_a: float = 1.0

    def __post_init__(self):
        if self.mix not in MIXES:
            raise DataError(f"--mix {self.mix}: choose one of {', '.join(MIXES)}")
        if self.pmu_sampling not in SAMPLINGS:
            raise DataError(f"--pmu_sampling {self.pmu_sampling}: choose one of {', '.join(SAMPLINGS)}")


@dataclass(frozen=True)
class EpochPlan:
    """An epoch of n samples in batches, the last one short; or one process's share of it (see share).
    Arrays have length n unless stated.

    By epoch position (before mixing): order, the sample's place in the training set (a permutation); crop, (n, 2),
    top and left of its crop in the padded image, or where the data set cuts in its own way two random numbers below
    2^32 to draw a crop from; flip, whether it is mirrored.
    By slot of the mixed batches: first, second, the epoch positions that are mixed there, always of the same batch;
    lam, float32, the weight of `first`; extra, (n, ...), what else the kind of mixing drew: CutMix's boxes, rows of
    top, bottom, left, right of what `second` pastes; None for mixup. Without mixing every position has its own slot,
    and lam is 1. mix: the kind, one of MIXES.
    samples, slots, (steps + 1,): where the positions and the slots of each batch begin, and at last where all end; the
    two are equal but in a process's share, where the samples that meet outnumber the slots. totals, (steps,): samples
    of each batch in all processes.
    """

    order: np.ndarray
    crop: np.ndarray
    flip: np.ndarray
    first: np.ndarray
    second: np.ndarray
    lam: np.ndarray
    extra: np.ndarray | None
    samples: np.ndarray
    slots: np.ndarray
    totals: np.ndarray
    mix: str

    @property
    def steps(self):
        return len(self.slots) - 1

    def share(self, rank, size):
        """The plan that process `rank` of `size` follows: of every batch of B its slots from B rank / size up to
        B (rank + 1) / size, rounded down, and the samples that meet there. The shares of all processes cover each slot
        once; a sample is in several of them where its partners are."""
        count = np.diff(self.slots)
        begin, end = (self.slots[:-1] + count * r // size for r in (rank, rank + 1))
        mine = np.concatenate([np.arange(a, b) for a, b in zip(begin, end, strict=True)])
        lam, first = self.lam[mine], self.first[mine]
        second = np.where(lam < 1, self.second[mine], first)  # a partner without any weight need not be read
        samples = np.unique(np.concatenate([first, second]))
        place = np.zeros(len(self.order), np.int64)
        place[samples] = np.arange(len(samples))
        return replace(self, order=self.order[samples], crop=self.crop[samples], flip=self.flip[samples],
                       first=place[first], second=place[second], lam=lam,
                       extra=None if self.extra is None else self.extra[mine],
                       samples=np.searchsorted(samples, self.samples), slots=np.append(0, np.cumsum(end - begin)))


def plan_epoch(n, batch_size, size, pad, flip, spec, seed, epoch, phase=0):
    """EpochPlan for n images of size (H, W), drawn from SeedSequence((seed, phase, epoch)). Time linear in n.

    Crops are uniform over the (2 pad + 1)^2 places (pad None: the data set cuts in its own way, from two random
    numbers), flips fair coins where `flip`. Order, crops and flips are drawn first: runs that differ in `spec` alone
    see the same samples in the same order. Two independent permutations of each batch pair the samples; even where
    lambda is 1 the batch comes out permuted (as in MIX-KD), and a sample may meet itself.

    Raises DataError for seed, phase or epoch outside [0, 2^32), where two plans could coincide.
    """
    for name, value in (("seed", seed), ("phase", phase), ("epoch", epoch)):
        if not 0 <= value < 2**32:
            raise DataError(f"{name} {value}: give a whole number from 0 to 2^32 - 1")
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, phase, epoch))))
    order = rng.permutation(n)
    crop = rng.integers(0, 2**32 if pad is None else 2 * pad + 1, (2, n)).T
    turned = rng.random(n) < (0.5 if flip else 0.0)
    begins = np.append(np.arange(0, n, batch_size), n)
    return EpochPlan(order, crop, turned, *_mixing(rng, n, batch_size, size, spec), begins, begins, np.diff(begins),
                     spec.mix)


class PlanAhead:
    """Draws plans, each while the epoch before it is trained: 30 ms that a device would wait. The plans are the same.

    draw: from (seed, epoch, phase) to the plan. A thread draws; it ends with the process. Not for loaders that fork.
    """

    def __init__(self, draw):
        self._draw, self._thread, self._coming = draw, ThreadPoolExecutor(1), {}

    def __call__(self, seed, epoch, phase):
        coming_epoch, coming = self._coming.pop((seed, phase), (None, None))
        plan = coming.result() if coming_epoch == epoch else self._draw(seed, epoch, phase)
        self._coming[seed, phase] = epoch + 1, self._thread.submit(self._draw, seed, epoch + 1, phase)
        return plan


def _mixing(rng, n, b, size, spec):
    """(first, second, lam, extra) of an EpochPlan: what MIX-KD's PMU() and FMU() draw for a batch, for all
    batches of b samples at once."""
    if spec.mix == "none":
        everyone = np.arange(n)
        return everyone, everyone, np.ones(n, np.float32), None
    first, second = _shuffled_batches(rng, n, b), _shuffled_batches(rng, n, b)
    lam = rng.beta(spec.beta_a, spec.beta_a, n)
    if spec.pmixup:
        lam[_clean(rng, n, b, spec)] = 1.0
    extra = None
    if spec.mix == "cutmix":
        extra, lam = _boxes(rng, lam, size)
    return first, second, lam.astype(np.float32), extra


def _shuffled_batches(rng, n, b):
    """0..n-1, shuffled within each run of b; the last run may be short."""
    whole = n - n % b
    runs = rng.permuted(np.arange(whole).reshape(-1, b), axis=1).reshape(-1)
    return np.concatenate([runs, whole + rng.permutation(n - whole)])


def _clean(rng, n, b, spec):
    """Slots that partial mixing leaves clean, drawn batch by batch; repeats are possible in 'original'."""
    chosen = []
    for start, count, size in ((0, n // b, b), (n - n % b, 1, n % b)):
        k = int(size * spec.partmixup)
        if spec.pmu_sampling == "original":
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
