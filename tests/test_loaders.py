"""The two loaders compared with each other, with torchvision and with the epoch's plan."""
import gc
import multiprocessing as mp
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import transforms

import dataset
from dataset import (
    DataError,
    DeviceLoader,
    MixSpec,
    TorchLoader,
    data,
    eval_batches,
    loaders,
    plan_epoch,
)
from dataset.batch import parts
from tests.support.small_runs import no_pictures  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parent.parent
LAYOUTS = [torch.contiguous_format, torch.channels_last]
MIXES = [MixSpec(), MixSpec("mixup"), MixSpec("mixup", pmixup=False), MixSpec("mixup", pmu_sampling="exact"),
         MixSpec("cutmix", pmixup=False), MixSpec("cutmix")]
FIELDS = ("images", "targets", "labels", "index", "mixed")


def make_data(n=150, shape=(3, 32, 32), classes=10, pad=4, flip=True, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def split(count):
        images = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
        return data.Split(images, torch.randint(0, classes, (count,), generator=generator))

    c = shape[0]
    return data.Data("made", classes, (0.4, 0.5, 0.6)[:c], (0.2, 0.3, 0.25)[:c], pad, flip, split(n), split(50))


def workers_of(loader):
    """Process ids of the idle workers."""
    return [worker.pid for idle in loader._idle for worker in getattr(idle._iterator, "_workers", ())]


def same(one, other):
    return all(torch.equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


@pytest.mark.parametrize("mix", MIXES)
def test_device_loader_equals_torch_loader_bit_for_bit(tiny_dir, mix):
    loaded = dataset.load("cifar100", tiny_dir)
    for layout in LAYOUTS:
        assert_loaders_equal(loaded, mix, layout)


def test_both_loaders_agree_on_other_shapes():
    for shape, pad, flip in (((1, 5, 9), 2, True), ((3, 8, 6), 0, True), ((3, 32, 32), 4, False)):
        for layout in LAYOUTS:
            assert_loaders_equal(make_data(200, shape, 3, pad, flip), MixSpec("mixup", partmixup=0.5), layout)


def assert_loaders_equal(loaded, mix, layout):
    resident = list(DeviceLoader(loaded, 64, mix, memory_format=layout).epoch(3, 1))
    through_torch = list(TorchLoader(loaded, 64, mix, num_workers=0, memory_format=layout).epoch(3, 1))
    assert [len(batch.labels) for batch in resident] == [64, 64, 64, 8]
    for a, b in zip(resident, through_torch, strict=True):
        assert same(a, b)
        assert a.images.is_contiguous(memory_format=layout) and b.images.is_contiguous(memory_format=layout)
        assert a.images.dtype == a.targets.dtype == torch.float32 and a.mixed.dtype == torch.bool


def test_batches_equal_torchvision_transforms():
    """Without mixing: the plan's crop and flip, then ToTensor and Normalize."""
    loaded = make_data()
    loader = DeviceLoader(loaded, 64, MixSpec())
    plan, seen = loader.plan(0, 0), 0
    finish = transforms.Compose([transforms.ToTensor(), transforms.Normalize(loaded.mean, loaded.std)])
    for batch in loader.epoch(0, 0):
        for image, index, label in zip(batch.images, batch.index, batch.labels, strict=True):
            pixels = np.zeros((40, 40, 3), np.uint8)  # black before normalising
            pixels[4:36, 4:36] = loaded.train.images[index].permute(1, 2, 0)
            top, left = plan.crop[seen]
            crop = pixels[top : top + 32, left : left + 32]
            if plan.flip[seen]:
                crop = crop[:, ::-1].copy()
            assert torch.equal(image, finish(crop)) and index == plan.order[seen]
            assert label == loaded.train.labels[index]
            seen += 1
    assert seen == 150


@pytest.mark.parametrize("layout", LAYOUTS)
def test_crops_on_device_and_host_are_equal(layout):
    loaded, last = make_data(), layout == torch.channels_last
    part = next(parts(DeviceLoader(loaded, 64, MixSpec()).plan(0, 0), torch.device("cpu"), 0, 2))
    assert len(part.lam) == 128 and part.flip.any() and not part.flip.all()
    windows = loaders.crop_windows(loaded.train.images, 4, last)
    axis = -2 if last else -1
    host = loaders.cut_on_host(windows, part.index, part.crop, part.flip, axis)
    device = loaders.cut_on_device(windows, part.index, part.crop, part.flip, axis)
    assert torch.equal(host, device) and host.dtype == torch.uint8


@pytest.mark.parametrize("make", [lambda d, m: DeviceLoader(d, 16, m),
                                  lambda d, m: TorchLoader(d, 16, m, num_workers=0)])
def test_an_epoch_can_start_at_any_step(make, monkeypatch):
    monkeypatch.setitem(loaders.CHUNK_IMAGES, "cpu", 50)  # three batches
    loader = make(make_data(), MixSpec("cutmix"))
    whole = list(loader.epoch(5, 2, phase=1))
    assert len(whole) == loader.steps == 10 and loader.n_data == 150
    for start in (0, 1, 4, 9, 10):
        rest = list(loader.epoch(5, 2, phase=1, start=start))
        assert len(rest) == 10 - start and all(same(a, b) for a, b in zip(rest, whole[start:], strict=True))
    assert not same(next(loader.epoch(5, 3, phase=1)), whole[0])
    for start in (-1, 11):
        with pytest.raises(DataError, match=f"step {start}"):
            loader.epoch(0, 0, start=start)


def test_batches_do_not_depend_on_the_chunk_size(monkeypatch):
    expected = list(DeviceLoader(make_data(), 16, MixSpec("cutmix")).epoch(0, 0))
    for images in (1, 32, 90, 1600):
        monkeypatch.setitem(loaders.CHUNK_IMAGES, "cpu", images)
        kept = list(DeviceLoader(make_data(), 16, MixSpec("cutmix")).epoch(0, 0))
        assert all(same(a, b) for a, b in zip(kept, expected, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_test_batches_are_normalised_in_order(layout):
    loaded = make_data()
    batches = list(eval_batches(loaded.test, loaded, "cpu", 16, memory_format=layout))
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 2]
    plain = transforms.Normalize(loaded.mean, loaded.std)(loaded.test.images.float() / 255)
    images, labels = (torch.cat(column) for column in zip(*batches, strict=True))
    assert torch.equal(images, plain) and torch.equal(labels, loaded.test.labels)
    assert batches[0][0].is_contiguous(memory_format=layout)
    ready = loaded.test.to("cpu")
    assert torch.equal(next(eval_batches(ready, loaded, "cpu", 50))[0], plain)


def test_an_empty_training_set_is_refused():
    with pytest.raises(DataError, match="no training images"):
        DeviceLoader(make_data(0), 8, MixSpec())


def test_workers_are_reused_and_return_the_same_batches():
    loaded, mix = make_data(), MixSpec("mixup")
    loader = TorchLoader(loaded, 16, mix, num_workers=2)
    for epoch in (0, 1):
        expected = DeviceLoader(loaded, 16, mix).epoch(0, epoch)
        assert all(same(a, b) for a, b in zip(loader.epoch(0, epoch), expected, strict=True))
    workers = workers_of(loader)
    interrupted = loader.epoch(0, 2)
    next(interrupted)
    interrupted.close()
    resumed = list(loader.epoch(0, 2, start=7))
    expected = list(DeviceLoader(loaded, 16, mix).epoch(0, 2))[7:]
    assert all(same(a, b) for a, b in zip(resumed, expected, strict=True))
    assert workers == workers_of(loader) and len(workers) == 2


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_alternating_seeds_equal_each_seed_alone(workers):
    loaded, mix = make_data(), MixSpec("mixup")
    loader = TorchLoader(loaded, 16, mix, num_workers=workers, at_once=2)
    for epoch in (1, 2, 3):
        alone = [list(DeviceLoader(loaded, 16, mix).epoch(seed, epoch)) for seed in (1, 2)]
        rows = list(zip(loader.epoch(1, epoch), loader.epoch(2, epoch), strict=True))
        assert len(rows) == 10
        for a, b, alone_a, alone_b in zip(*zip(*rows, strict=True), *alone, strict=True):
            assert same(a, alone_a) and same(b, alone_b)
    assert len(loader._idle) == 2 and len(workers_of(loader)) == workers  # no more than num_workers


def test_concurrent_epochs_share_the_workers():
    def workers_per_epoch(workers, at_once):
        return TorchLoader(make_data(), 16, MixSpec(), num_workers=workers, at_once=at_once).num_workers
    assert [workers_per_epoch(*case) for case in ((8, 1), (8, 3), (2, 3), (0, 3))] == [8, 2, 1, 0]


@pytest.mark.slow
def test_workers_end_with_their_loader():
    loader = TorchLoader(make_data(), 16, MixSpec(), num_workers=2, at_once=2)
    epochs = [loader.epoch(seed, 0) for seed in (1, 2)]
    for batches in epochs:
        next(batches)
    for batches in epochs:
        batches.close()
    pids = workers_of(loader)
    assert len(pids) == 2
    began = time.monotonic()
    del loader, epochs, batches
    gc.collect()
    assert time.monotonic() - began < 5  # a loader in a cycle takes 5 s per worker
    for _ in range(100):  # torch before 2.14 terminates slow workers without waiting for them
        mp.active_children()  # reaps those that ended
        if not (left := [pid for pid in pids if os.path.exists(f"/proc/{pid}")]):
            break
        time.sleep(0.1)
    assert not left


@pytest.mark.slow
def test_a_process_exits_with_open_epochs():
    program = ("import torch\nfrom dataset import Data, MixSpec, Split, TorchLoader\n"
               "split = Split(torch.zeros(640, 3, 8, 8, dtype=torch.uint8), torch.zeros(640, dtype=torch.int64))\n"
               "data = Data('black', 2, (0.5,) * 3, (0.5,) * 3, 1, True, split, split)\n"
               "loader = TorchLoader(data, 4, MixSpec('mixup'), num_workers=2, at_once=2)\n"
               "epochs = [loader.epoch(seed, 0) for seed in (1, 2)]\n"
               "print([len(next(batches).labels) for batches in epochs])\n")
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout) == (0, "[4, 4]\n"), done.stderr


def test_random_numbers_for_a_data_set_with_its_own_crops():
    plan = plan_epoch(2000, 64, (224, 224), None, True, MixSpec(), 1, 1)
    assert plan.crop.shape == (2000, 2) and plan.crop.min() >= 0 and 2**31 < plan.crop.max() < 2**32
    assert len(np.unique(plan.crop)) > 3990


class Broken(data.PlannedImages):
    def __getitem__(self, item):
        raise RuntimeError("a bug")


def test_an_error_in_a_worker_is_raised_unchanged(monkeypatch):
    monkeypatch.setattr(data, "PlannedImages", Broken)
    with pytest.raises(RuntimeError, match="a bug"):
        next(TorchLoader(make_data(), 4, MixSpec(), num_workers=1).epoch(0, 0))


@pytest.mark.slow
def test_a_killed_worker_raises_one_line_and_the_loader_recovers():
    handler, before = signal.getsignal(signal.SIGCHLD), {worker.pid for worker in mp.active_children()}
    loader = TorchLoader(make_data(600), 4, MixSpec(), num_workers=1)
    batches = loader.epoch(0, 0)
    next(batches)
    assert signal.getsignal(signal.SIGCHLD) == handler
    next(worker for worker in mp.active_children() if worker.pid not in before).kill()
    with pytest.raises(DataError, match="a data worker died") as caught:
        list(batches)
    assert "\n" not in str(caught.value) and "--num_workers" in str(caught.value)
    assert len(list(loader.epoch(0, 0))) == 150


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mix", MIXES)
def test_cuda_batches_equal_host_batches_without_synchronisation(mix, layout, monkeypatch):
    monkeypatch.setitem(loaders.CHUNK_IMAGES, "cuda", 256)
    loaded = make_data(1000)
    host = list(DeviceLoader(loaded, 64, mix, memory_format=layout).epoch(0, 0))
    loader = DeviceLoader(loaded, 64, mix, "cuda", layout)
    list(loader.epoch(0, 0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        device = list(loader.epoch(0, 0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for a, b in zip(host, device, strict=True):
        assert torch.allclose(a.images, b.images.cpu(), atol=1e-6) and torch.allclose(a.targets, b.targets.cpu())
        assert all(torch.equal(getattr(a, name), getattr(b, name).cpu()) for name in ("labels", "index", "mixed"))
        assert b.images.is_contiguous(memory_format=layout)


def test_training_images_are_pickled_for_workers_that_are_not_forked():
    """Python 3.14 starts workers by forkserver on Linux, which pickles their arguments."""
    images = make_data(n=4).training_images()
    item = (2, (1, 3), True)
    assert torch.equal(pickle.loads(pickle.dumps(images))[item], images[item])
