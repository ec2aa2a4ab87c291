"""The epoch's plan, and mixing compared with plain loops in float64."""
import hashlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

from dataset import MixSpec, make_loader, plan_epoch
from dataset import batch as batch_module
from dataset import plan as plan_module
from dataset.batch import Batch, mix_batch, parts
from tests.support.training import small_data

SIZE, CPU = (32, 32), torch.device("cpu")
FMU = MixSpec("mixup", pmixup=False)
PMU = MixSpec("mixup")
EXACT = MixSpec("mixup", pmu_sampling="exact")
CUTMIX = MixSpec("cutmix", pmixup=False)
CUTMIX_PARTIAL = MixSpec("cutmix", partmixup=0.5)
MIXES = [FMU, PMU, EXACT, CUTMIX, CUTMIX_PARTIAL, MixSpec("mixup", partmixup=0.5, beta_a=0.3)]


def plan_of(mix, n=1000, batch=64, seed=0, epoch=0, phase=0, size=SIZE):
    return plan_epoch(n, batch, size, 4, True, mix, seed, epoch, phase)


def batches(plan):
    return [slice(lo, hi) for lo, hi in pairwise(plan.slots.tolist())]


def mixed_slots(plan):
    return np.flatnonzero(plan.lam < 1)


# --- the plan


@pytest.mark.parametrize("n, batch", [(1000, 64), (128, 64), (10, 64), (65, 64), (7, 1)])
def test_order_and_partners(n, batch):
    for mix in (MixSpec(), *MIXES):
        assert_order_and_partners(n, batch, mix)


def assert_order_and_partners(n, batch, mix):
    plan = plan_of(mix, n, batch)
    assert plan.steps == len(batches(plan)) == -(-n // batch)
    assert sorted(plan.order.tolist()) == list(range(n))
    if mix.mix == "none":
        assert plan.first.tolist() == plan.second.tolist() == list(range(n)) and (plan.lam == 1).all()
        assert plan.extra is None
        return
    for part in batches(plan):
        inside = list(range(n))[part]
        assert sorted(plan.first[part].tolist()) == sorted(plan.second[part].tolist()) == inside
    assert ((plan.lam >= 0) & (plan.lam <= 1)).all()


def test_plans_depend_on_seed_epoch_and_phase():
    def content(**seeds):
        plan = plan_of(CUTMIX, **seeds)
        names = ("order", "crop", "flip", "first", "second", "lam", "extra")
        return [getattr(plan, name).tobytes() for name in names]

    base = content(seed=1, epoch=2, phase=3)
    assert content(seed=1, epoch=2, phase=3) == base
    for seeds in ({"seed": 2, "epoch": 2, "phase": 3}, {"seed": 1, "epoch": 3, "phase": 3},
                  {"seed": 1, "epoch": 2, "phase": 2}, {"seed": 3, "epoch": 2, "phase": 1}):
        assert not any(a == b for a, b in zip(content(**seeds), base, strict=True))


ORDER = "0d1c591a430aa154"
STREAM = [  # mix, pmu_sampling, digest of partners and mixed slots, sum of lambda, digest of boxes
    ("none", "original", "", 1000, ""), ("mixup", "original", "f36017bd0eff60c2", 785.1104917163029, ""),
    ("mixup", "exact", "a99b03c4247272bc", 945.0189585202606, ""),
    ("cutmix", "original", "0d857803a065fa13", 875.37109375, "83de64f94dd28080"),
    ("cutmix", "exact", "a4aaf7f6c1d550be", 969.482421875, "b38856d6d4aa551e")]


@pytest.mark.parametrize("mix, sampling, partners, lam, boxes", STREAM)
def test_random_numbers_are_those_of_earlier_versions(mix, sampling, partners, lam, boxes):
    """So that runs of an earlier version resume with the same batches."""
    def digest(*columns):
        return hashlib.sha256(b"".join(column.astype("<i8").tobytes() for column in columns)).hexdigest()[:16]

    plan = plan_of(MixSpec(mix, pmu_sampling=sampling), seed=3, epoch=2, phase=1)
    assert digest(plan.order, plan.crop[:, 0], plan.crop[:, 1], plan.flip) == ORDER
    assert plan.lam.sum(dtype=np.float64) == pytest.approx(lam, rel=1e-6)
    assert not partners or digest(plan.first, plan.second, mixed_slots(plan)) == partners
    assert (digest(plan.extra) if boxes else plan.extra) == (boxes or None)


def test_crops_and_flips_are_uniform_and_can_be_off():
    plan = plan_of(MixSpec(), n=40500)
    place = np.bincount(plan.crop @ (9, 1), minlength=81)
    assert len(place) == 81 and stats.chisquare(place).pvalue > 1e-3
    assert stats.binomtest(int(plan.flip.sum()), 40500).pvalue > 1e-3
    still = plan_epoch(100, 64, SIZE, 0, False, MixSpec(), 0, 0)
    assert not still.flip.any() and not still.crop.any()


def test_permutations_are_uniform_and_independent():
    plan = plan_of(FMU, n=64 * 3000, batch=4)
    one, two = (getattr(plan, name).reshape(-1, 4) % 4 for name in ("first", "second"))
    powers = 4 ** np.arange(4)
    codes = [np.unique(perm @ powers, return_inverse=True) for perm in (one, two)]
    assert [len(values) for values, _ in codes] == [24, 24]
    joint = np.bincount(codes[0][1] * 24 + codes[1][1], minlength=576)  # all pairs of permutations equally often
    assert stats.chisquare(joint).pvalue > 1e-3


@pytest.mark.parametrize("beta_a", [0.3, 1.0, 2.0])
def test_lambda_follows_the_beta_distribution(beta_a):
    lam = plan_of(MixSpec("mixup", pmixup=False, beta_a=beta_a), n=20000).lam
    assert stats.kstest(lam, stats.beta(beta_a, beta_a).cdf).pvalue > 1e-3
    assert stats.kstest(lam, stats.beta(1.2 * beta_a, 1.2 * beta_a).cdf).pvalue < 1e-3  # another one is rejected
    partial = plan_of(MixSpec("mixup", partmixup=0.3, beta_a=beta_a), n=20000)
    assert stats.kstest(partial.lam[partial.lam < 1], stats.beta(beta_a, beta_a).cdf).pvalue > 1e-3


@pytest.mark.parametrize("amount, percent", [(0.9, 41), (0.5, 60), (1.0, 36), (0.0, 100)])
def test_share_mixed_by_original_sampling(amount, percent):
    plan = plan_of(MixSpec("mixup", partmixup=amount), n=64 * 1000)
    theory = (1 - 1 / 64) ** int(64 * amount)
    share = (plan.lam < 1).mean()
    assert abs(share - theory) < 0.005 and round(100 * theory) == percent
    assert len({(lam < 1).sum() for lam in plan.lam.reshape(-1, 64)[:50]}) > (5 if amount else 0)


@pytest.mark.parametrize("amount", [0.0, 0.25, 0.9, 1.0])
def test_exact_sampling_mixes_the_exact_share(amount):
    plan = plan_of(MixSpec("mixup", partmixup=amount, pmu_sampling="exact"), n=64 * 200 + 16)
    for part in batches(plan):
        lam = plan.lam[part]
        assert (lam < 1).sum() == len(lam) - int(len(lam) * amount)
    if amount == 0.25:  # all slots are equally likely
        assert stats.chisquare(np.bincount(mixed_slots(plan)[:9600] % 64, minlength=64)).pvalue > 1e-3


def test_box_sides_follow_lambda():
    """Boxes compared with Yun et al.'s formula, with centres drawn from the same generator state."""
    from dataset.plan import _boxes

    lam = np.linspace(0, 1, 101)
    box, pasted = _boxes(np.random.default_rng(3), lam, (24, 40))
    rng = np.random.default_rng(3)
    y, x = rng.integers(0, 24, 101), rng.integers(0, 40, 101)
    for i, value in enumerate(lam):
        h, w = int(24 * np.sqrt(1 - value)), int(40 * np.sqrt(1 - value))
        expected = [max(y[i] - h // 2, 0), min(y[i] + h // 2, 24), max(x[i] - w // 2, 0), min(x[i] + w // 2, 40)]
        assert box[i].tolist() == expected
        assert pasted[i] == 1 - (expected[1] - expected[0]) * (expected[3] - expected[2]) / 960
    assert pasted[-1] == 1 and box[-1, 0] == box[-1, 1]


# --- mixing


def mixed_by_loops(plan, part, images, labels, index, classes):
    """One batch, mixed per sample in float64."""
    rows = []
    for slot in range(part.start, part.stop):
        a, b, lam = plan.first[slot] - part.start, plan.second[slot] - part.start, float(plan.lam[slot])
        if plan.extra is None:
            image = lam * images[a].double() + (1 - lam) * images[b].double()
        else:
            image = images[a].double().clone()
            top, bottom, left, right = plan.extra[slot]
            image[:, top:bottom, left:right] = images[b][:, top:bottom, left:right].double()
        target = torch.zeros(classes, dtype=torch.float64)
        target[labels[a]] += lam
        target[labels[b]] += 1 - lam
        main = a if lam >= 0.5 else b
        rows.append((image, target, labels[main], index[main], lam < 1))
    images, targets, labels, index, mixed = zip(*rows, strict=True)
    return torch.stack(images), torch.stack(targets), torch.stack(labels), torch.stack(index), torch.tensor(mixed)


@pytest.mark.parametrize("mix", MIXES)
def test_mixing_equals_plain_loops(mix):
    for layout in (torch.contiguous_format, torch.channels_last):
        for n, batch, shape, classes in ((150, 64, (3, 16, 16), 100), (20, 7, (1, 5, 9), 3), (4, 1, (3, 6, 6), 10)):
            assert_mixing(mix, n, batch, shape, classes, layout)


def assert_mixing(mix, n, batch, shape, classes, layout):
    torch.manual_seed(0)
    plan = plan_of(mix, n, batch, size=shape[1:])
    images = torch.randn(n, *shape).contiguous(memory_format=layout)  # of the epoch, in its order
    labels = torch.randint(0, classes, (n,))
    (at_once,) = mixed_batches(plan, images, labels, classes, plan.steps)
    singly = mixed_batches(plan, images, labels, classes, 1)
    for part, one, other in zip(batches(plan), singly, split(at_once, batch), strict=True):
        expected = mixed_by_loops(plan, part, images[part], labels[part], torch.from_numpy(plan.order)[part], classes)
        for got in (one, other):
            assert torch.allclose(got.images.double(), expected[0], rtol=0, atol=1e-6)
            assert torch.allclose(got.targets.double(), expected[1], rtol=0, atol=1e-6)
            assert torch.equal(got.labels, expected[2]) and torch.equal(got.index, expected[3])
            assert torch.equal(got.mixed, expected[4])
    assert torch.allclose(at_once.targets.sum(1), torch.ones(n), atol=1e-6) and (at_once.targets >= 0).all()


def split(batch, size):
    columns = (getattr(batch, name).split(size) for name in ("images", "targets", "labels", "index", "mixed"))
    return [Batch(*column, len(column[0])) for column in zip(*columns, strict=True)]


def mixed_batches(plan, images, labels, classes, length):
    """All batches of the epoch, mixed `length` at a time."""
    done, start = [], 0
    for part in parts(plan, CPU, 0, length):
        samples = slice(start, start + len(part.lam))
        mine, start = images[samples], samples.stop
        done.append(Batch(*mix_batch(mine[part.samples], labels[samples], part, classes), len(part.lam)))
    assert start == len(images)
    return done


def test_half_precision_images_keep_their_dtype():
    images, labels, plan = torch.randn(64, 3, 32, 32), torch.arange(64), plan_of(PMU, 64)
    (low,), (full,) = (mixed_batches(plan, given, labels, 64, 1) for given in (images.bfloat16(), images))
    assert low.images.dtype == torch.bfloat16 and torch.allclose(low.images.float(), full.images, atol=0.05)
    assert low.targets.dtype == torch.float32


@pytest.mark.parametrize("loader", ["device", "torch"])
def test_a_new_mixing_needs_a_name_a_function_and_a_draw(loader, monkeypatch):
    """As in the README. Here a mask in the plan selects the pixels of the partner."""
    original = plan_module._mixing

    def with_masks(rng, n, b, size, spec):
        first, second, lam, _ = original(rng, n, b, size, spec)
        masks = rng.random((n, *size)) >= lam[:, None, None]
        return first, second, 1 - masks.mean((1, 2), dtype=np.float32), masks

    monkeypatch.setattr(plan_module, "MIXES", (*plan_module.MIXES, "masks"))
    monkeypatch.setattr(plan_module, "_mixing", with_masks)
    monkeypatch.setitem(batch_module.MIXERS, "masks", lambda images, partners, _, masks:
                        torch.where(masks[:, None], partners, images))
    data, spec = small_data(n=24), MixSpec("masks", pmixup=False)
    made = make_loader(data, 6, spec, "cpu", loader, 0)
    clean = torch.cat([one.images for one in make_loader(data, 6, MixSpec("none"), "cpu", loader, 0).epoch(1, 1)])
    plan, mixed = made.plan(1, 1), torch.cat([one.images for one in made.epoch(1, 1)])
    for slot in range(24):
        mask = torch.from_numpy(plan.extra[slot])
        assert torch.equal(mixed[slot], torch.where(mask, clean[plan.second[slot]], clean[plan.first[slot]]))
