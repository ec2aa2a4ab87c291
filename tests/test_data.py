"""The data sets: reading, refused files, hold-out and fractions."""
import pickle
import pickletools

import numpy as np
import pytest
import torch
from torchvision import datasets

import dataset
from dataset import DataError, data, digits
from tests.support import tiny
from tests.support.bombs import Bomb

OFFICIAL = {"cifar100": datasets.CIFAR100, "cifar10": datasets.CIFAR10}


@pytest.mark.parametrize("name", OFFICIAL)
def test_reads_what_torchvision_reads(tiny_dir, name):
    loaded = dataset.load(name, tiny_dir)
    for split, train in ((loaded.train, True), (loaded.test, False)):
        theirs = OFFICIAL[name](tiny_dir, train=train)
        assert np.array_equal(split.images.permute(0, 2, 3, 1), theirs.data)
        assert split.labels.tolist() == theirs.targets and list(loaded.class_names) == theirs.classes
        assert split.images.dtype == torch.uint8 and split.labels.dtype == torch.int64
    assert (len(loaded.train), len(loaded.test)) == (200, 100)
    assert (loaded.num_classes, loaded.pad, loaded.flip) == ({"cifar100": 100, "cifar10": 10}[name], 4, True)
    if name == "cifar100":  # RepDistiller's
        assert (loaded.mean, loaded.std) == ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))


@pytest.mark.parametrize("change", [lambda b: b[:-100], lambda b: b[:500] + b"\x00" + b[501:]])
def test_an_altered_file_is_refused_and_kept(tmp_path, change):
    tiny.write(tmp_path)
    with tiny.official(tmp_path):
        right = dict(datasets.CIFAR100.train_list)["train"]
        path = tmp_path / "cifar-100-python" / "train"
        path.write_bytes(change(path.read_bytes()))
        with pytest.raises(DataError) as caught:
            dataset.load("cifar100", tmp_path)
    text = str(caught.value)
    assert str(path) in text and right in text and tiny._md5(path) in text and "delete it" in text
    assert "\n" not in text and path.exists()


def test_missing_files_are_listed(tmp_path):
    with pytest.raises(DataError) as caught:
        dataset.load("cifar100", tmp_path, download=False)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in ("train", "test", datasets.CIFAR100.url, str(tmp_path / "cifar-100-python")))


def test_an_unreadable_file_is_refused(tmp_path):
    tiny.write(tmp_path)
    path = tmp_path / "cifar-100-python" / "test"
    with tiny.official(tmp_path):
        path.unlink()
        path.mkdir()
        with pytest.raises(DataError, match="can't be read"):
            dataset.load("cifar100", tmp_path)


def write_pickle(folder, value):
    tiny.write(folder)
    path = folder / "cifar-100-python" / "train"
    path.write_bytes(pickle.dumps(value, protocol=2))
    return path


def test_a_file_with_a_wrong_md5_is_never_unpickled(tmp_path, monkeypatch):
    with tiny.official(tiny.write(tmp_path)):
        path = write_pickle(tmp_path, Bomb(tmp_path / "mark"))
        monkeypatch.setattr(dataset.cifar, "_NumpyOnly", lambda *a, **k: pytest.fail("unpickled before the md5"))
        with pytest.raises(DataError, match="truncated or altered"):
            dataset.load("cifar100", tmp_path)
    assert path.exists() and not (tmp_path / "mark").exists()


@pytest.mark.parametrize("wrap", [lambda bomb: bomb, lambda bomb: {"data": bomb, "fine_labels": [0]},
                                  lambda bomb: {"fine_labels": [bomb], "data": np.zeros((1, 3072), np.uint8)}])
def test_a_pickle_that_runs_code_is_refused_whatever_its_md5(tmp_path, wrap):
    path = write_pickle(tmp_path, wrap(Bomb(tmp_path / "mark")))
    with tiny.official(tmp_path), pytest.raises(DataError, match=f"{path}: not a CIFAR batch file.*mkdir"):
        dataset.load("cifar100", tmp_path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("entry", [
    [1, 2], {"data": 3, "fine_labels": [1]}, {"data": np.zeros((2, 3072), np.uint8), "fine_labels": [0]},
    {"data": np.zeros((1, 3072)), "fine_labels": [0]}, {"data": np.zeros((1, 3072), np.uint8), "fine_labels": [100]},
    {"data": np.zeros((1, 3072), np.uint8), "fine_labels": [-1]}, {"data": np.zeros((1, 3072), np.uint8)},
    {"data": np.zeros((1, 3072), np.uint8), "fine_labels": [0.5]}])
def test_other_content_is_refused(tmp_path, entry):
    write_pickle(tmp_path, 0).write_bytes(tiny.dumps(entry))
    with tiny.official(tmp_path), pytest.raises(DataError, match="not a CIFAR batch file") as caught:
        dataset.load("cifar100", tmp_path)
    assert "\n" not in str(caught.value)


# --- hold-out and fractions


def test_digits_are_split_by_class_and_normalised():
    loaded = dataset.load("digits", "nowhere")
    assert (len(loaded.train), len(loaded.test)) == dataset.SIZES["digits"]
    both = torch.cat([loaded.train.images, loaded.test.images])
    assert both.shape == (1797, 3, 32, 32) and both.dtype == torch.uint8
    assert (loaded.num_classes, loaded.pad, loaded.flip) == (10, 4, False)
    assert torch.equal(both[:, 0], both[:, 2]) and both.max() == 255
    share = len(loaded.test) / len(both)
    assert 0.19 < share < 0.21
    for split, part in ((loaded.train, 1 - share), (loaded.test, share)):
        whole = torch.bincount(torch.cat([loaded.train.labels, loaded.test.labels]))
        assert ((torch.bincount(split.labels) - whole * part).abs() <= 1).all()
    pixels = loaded.train.images.double() / 255
    assert abs(pixels.mean() - loaded.mean[0]) < 1e-4 and abs(pixels.std(unbiased=False) - loaded.std[0]) < 1e-4
    assert torch.equal(loaded.train.images, digits.load().train.images)


def numbered(n=1000, classes=10):
    """Data whose images encode their index."""
    def split(first, count):
        index = torch.arange(first, first + count)
        images = torch.stack([index % 256, index // 256], 1).to(torch.uint8)[:, :, None, None]
        return data.Split(images, index % classes)

    return data.Data("numbered", classes, (0.5,) * 2, (0.5,) * 2, 0, False, split(0, n), split(n, 100))


def indices_of(split):
    return (split.images[:, 0].long() + 256 * split.images[:, 1].long()).flatten()


def test_holdout_is_balanced_fixed_and_disjoint():
    whole = numbered()
    once, again = data.reduced(whole, 200), data.reduced(whole, 200)
    assert torch.bincount(once.test.labels).tolist() == [20] * 10
    assert torch.bincount(once.train.labels).tolist() == [80] * 10
    joined = torch.cat([indices_of(once.train), indices_of(once.test)])
    assert sorted(joined.tolist()) == list(range(1000))  # nothing of the official test set (1000..1099) is left
    assert torch.equal(indices_of(once.test), indices_of(again.test))
    assert torch.equal(indices_of(once.test) % 10, once.test.labels)
    assert not torch.equal(indices_of(once.test), torch.arange(200))


def test_fraction_is_balanced_and_after_the_holdout():
    part = data.reduced(numbered(), 200, 0.25)
    assert torch.bincount(part.train.labels).tolist() == [20] * 10 and len(part.test) == 200
    assert not set(indices_of(part.train).tolist()) & set(indices_of(part.test).tolist())
    assert torch.equal(indices_of(data.reduced(numbered(), 0, 1.0).train), torch.arange(1000))


def test_stratified_rounds_by_largest_remainder():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    for n in (1, 7, 33, 99, 100):
        chosen = data.stratified(labels, n)
        assert len(set(chosen.tolist())) == n
        assert (np.abs(np.bincount(labels[chosen], minlength=3) - np.array([50, 30, 20]) * n / 100) < 1).all()
    assert np.bincount(labels[data.stratified(labels, 33)]).tolist() == [16, 10, 7]  # shares 16.5, 9.9, 6.6


@pytest.mark.parametrize("arguments, flag", [
    ((1000, 1.0), "--holdout 1000"), ((9, 1.0), "--holdout 9: fewer than the 10"), ((2000, 1.0), "--holdout 2000"),
    ((-1, 1.0), "--holdout -1"),
    ((0, 0.0), "--train_fraction 0.0"), ((0, 1.5), "--train_fraction 1.5"), ((0, -0.1), "--train_fraction -0.1"),
    ((0, float("nan")), "--train_fraction nan"), ((999, 0.4), "--train_fraction 0.4: leaves none")])
def test_reductions_that_leave_nothing_are_refused(arguments, flag):
    with pytest.raises(DataError, match=flag):
        data.reduced(numbered(), *arguments)


# --- real data


def operations(path):
    """Names of the pickle operations of a file, and the globals it names."""
    found = [(op.name, arg) for op, arg, _ in pickletools.genops(path.read_bytes())]
    return {name for name, _ in found}, {arg for name, arg in found if name == "GLOBAL"}


@pytest.mark.slow
def test_real_cifar100(real_cifar100, tiny_files):
    loaded = dataset.load("cifar100", real_cifar100, holdout=5000)
    assert torch.bincount(loaded.test.labels).tolist() == [50] * 100
    assert torch.bincount(loaded.train.labels).tolist() == [450] * 100
    pixels = loaded.test.images.float() / 255  # 5000 training images; the constants are of all 50000
    assert torch.allclose(pixels.mean((0, 2, 3)), torch.tensor(loaded.mean), atol=4e-3)
    assert torch.allclose(pixels.std((0, 2, 3)), torch.tensor(loaded.std), atol=4e-3)
    small, official = (operations(folder / "cifar-100-python" / "test") for folder in (tiny_files, real_cifar100))
    assert small[1] == official[1]
    assert small[0] - official[0] <= {"NEWTRUE"}  # numpy's dtype(..., copy=True), then a plain 1
