"""The negatives of CRD: hash, smallest keys, classes, memory."""
import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from distiller_zoo import sampling
from distiller_zoo.sampling import ContrastSampler, hashed_keys, mix64

N, K, CLASSES = 60, 20, 6
LABELS = torch.from_numpy(np.random.default_rng(0).permutation(np.arange(N) % CLASSES))


def python_keys(seed, step, row, columns):
    """The same hash in Python's unbounded integers."""
    m64, m32 = 2**64 - 1, 2**32 - 1

    def mix(x):
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & m64
        x = (x ^ x >> 27) * 0x94D049BB133111EB & m64
        return x ^ x >> 31
    golden = 0x9E3779B97F4A7C15
    key = mix(mix(seed + golden * step & m64) + golden * row & m64)
    low, high = key & m32, key >> 32
    keys = []
    for column in range(columns):
        x = column ^ low
        x = (x ^ x >> 16) * 0x7FEB352D & m32
        x = x + high & m32
        x = (x ^ x >> 15) * 0x846CA68B & m32
        x ^= x >> 16
        keys.append(x - 2**32 if x >= 2**31 else x)
    return keys


def test_hash_equals_that_of_python_integers():
    for seed, step in ((0, 0), (12345, 7), (2**62, 10**9)):
        keys = hashed_keys(torch.tensor(seed), torch.tensor(step), 3, 40)
        assert keys.dtype == torch.int32
        assert keys.tolist() == [python_keys(seed, step, row, 40) for row in range(3)]
    assert mix64(torch.tensor([1])).tolist() == [0x5692161D100B05E5]  # splitmix64's finaliser of 1


def test_all_available_negatives_can_be_drawn():
    sampler = ContrastSampler(N, 50, LABELS)
    idx = sampler(torch.arange(8))
    for i, row in enumerate(idx):
        assert sorted(row[1:].tolist()) == [j for j in range(N) if LABELS[j] != LABELS[i]]
    with pytest.raises(ValueError, match="51 negatives can't be drawn from 50"):
        ContrastSampler(N, 51, LABELS)


def test_without_labels_all_other_images_are_negatives():
    sampler = ContrastSampler(N, N - 1)
    for i, row in enumerate(sampler(torch.arange(8))):
        assert row[0] == i and sorted(row[1:].tolist()) == [j for j in range(N) if j != i]


@pytest.mark.parametrize("relax", [False, True])
def test_draws_have_the_smallest_keys_also_in_blocks_of_rows(monkeypatch, relax):
    monkeypatch.setattr(sampling, "BLOCK", 3 * N)
    sampler, y = ContrastSampler(N, K, LABELS, relax, seed=5), torch.arange(20, 28)
    for step in range(2):
        for row, drawn in enumerate(sampler(y).tolist()):
            keys, own = python_keys(5, step, row, N), LABELS[y[row]]
            assert set(drawn[1:]) == set(sorted(LABELS.ne(own).nonzero()[:, 0].tolist(), key=keys.__getitem__)[:K])
            alike = LABELS.eq(own).nonzero()[:, 0].tolist()
            assert drawn[0] == (min(alike, key=keys.__getitem__) if relax else y[row])


def test_sampling_on_imagenet_needs_no_array_of_batch_times_images():
    """On the meta device, which computes only shapes: 256 rows of 1.28 million keys would take 1.3 GB."""
    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            made = func(*args, **(kwargs or {}))
            for tensor in made if isinstance(made, (tuple, list)) else [made]:
                largest = max(largest, tensor.numel() * tensor.element_size())
            return made

    sampler = ContrastSampler(1_281_167, 16384, torch.arange(1_281_167) % 1000).to("meta")
    with Sizes():
        assert sampler(torch.zeros(256, dtype=torch.int64, device="meta")).shape == (256, 16385)
    assert 0 < largest < 100e6


CHI_1E6 = 4.75  # standard deviations that a normal variable exceeds once in a million draws


def inclusions(sampler, y, steps):
    """Whether image j is a negative: bool (steps, rows, N)."""
    hits = torch.zeros(steps, len(y), N, dtype=torch.bool)
    for step in range(steps):
        hits[step].scatter_(1, sampler(y)[:, 1:], True)
    return hits


def test_negatives_are_uniform():
    """Images, and pairs of images, are drawn as often as in uniform subsets; rows and steps are independent."""
    y, steps, rows = torch.zeros(16, dtype=torch.int64), 1500, 16
    allowed = LABELS.ne(LABELS[0]).nonzero()[:, 0]
    hits = inclusions(ContrastSampler(N, K, LABELS, seed=1), y, steps)[:, :, allowed].double()
    draws, n = steps * rows, len(allowed)
    p = K / n
    once = hits.sum((0, 1))
    # A subset's counts vary less than free draws' by 1 - p: scaled to unit variance before the comparison.
    z = (once - draws * p) / math.sqrt(draws * p * (1 - p))
    assert abs(float((z**2).sum()) / (1 + 1 / (n - 1)) - n + 1) < CHI_1E6 * math.sqrt(2 * n)
    flat = hits.flatten(0, 1)
    together = flat.T @ flat
    pairs = together[torch.triu_indices(n, n, 1).unbind()]
    p2 = K * (K - 1) / (n * (n - 1))
    assert float(((pairs - draws * p2) / math.sqrt(draws * p2 * (1 - p2))).abs().max()) < CHI_1E6 + 1
    # Two rows of a step, and a row of two steps, share as many images as independent subsets do.
    for a, b in ((hits[:, :-1], hits[:, 1:]), (hits[:-1], hits[1:])):
        shared = (a * b).sum(-1).flatten()
        sigma = math.sqrt(K * p * (1 - p) * (n - K) / (n - 1))
        assert abs(float(shared.mean()) - K * p) < CHI_1E6 * sigma / math.sqrt(len(shared))
        assert float(shared.std()) == pytest.approx(sigma, rel=0.03)
