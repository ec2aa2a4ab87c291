"""Image folders: batches, refused folders, the recipe, both training scripts."""
import math
import os
import pickle
import shutil
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

import dataset
import train_student_mixstd
import train_teacher
from dataset import DataError, MixSpec, folder
from dataset.loaders import TorchLoader, make_loader, make_test_batches
from helper.options import parse_student, parse_teacher
from scripts import evaluate, tsne
from tests.support.images import make_tree, small_images
from tests.support.small_runs import assert_refused, call

MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


load = folder.load


@pytest.fixture(autouse=True)
def small():
    with small_images():
        yield


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path / "images")


def all_batches(loader, *args, **kwargs):
    return list(loader.epoch(*args, **kwargs))


def crop_box(numbers, width, height):
    """(top, left, height, width) of a random crop after Szegedy et al., drawn as torchvision does."""
    generator = torch.Generator().manual_seed((int(numbers[0]) << 32 | int(numbers[1])) & (2**63 - 1))
    logs = torch.log(torch.tensor((3 / 4, 4 / 3)))
    for _ in range(10):
        area = width * height * torch.empty(1).uniform_(0.08, 1.0, generator=generator).item()
        aspect = torch.exp(torch.empty(1).uniform_(logs[0], logs[1], generator=generator)).item()
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = torch.randint(0, height - h + 1, (1,), generator=generator).item()
            return top, torch.randint(0, width - w + 1, (1,), generator=generator).item(), h, w
    raise AssertionError("choose images that are closer to a square")


def test_training_batches_follow_the_plan(tree):
    data = dataset.load("folder", tree)
    loader = make_loader(data, 5, MixSpec("none"), "cpu", num_workers=0)
    assert isinstance(loader, TorchLoader)  # whatever --loader is: the images do not fit on a device
    plan, batches = loader.plan(3, 1), all_batches(loader, 3, 1)
    found = torch.cat([batch.images for batch in batches])
    assert len(found) == 18 and 0 < plan.flip.sum() < 18
    for position, (place, numbers, flip) in enumerate(zip(plan.order, plan.crop, plan.flip, strict=True)):
        image = Image.open(data.train.paths[place]).convert("RGB")
        top, left, h, w = crop_box(numbers, *image.size)
        image = image.crop((left, top, left + w, top + h)).resize((64, 64), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255
        expected = ((pixels.flip(2) if flip else pixels) - MEAN) / STD
        torch.testing.assert_close(found[position], expected, rtol=0, atol=1e-5)
    assert torch.equal(torch.cat([batch.labels for batch in batches]), data.train.labels[plan.order])


def test_crops_depend_only_on_seed_epoch_and_sample(tree):
    data, spec = dataset.load("folder", tree), MixSpec("mixup")
    state = torch.get_rng_state()
    alone = all_batches(TorchLoader(data, 4, spec, num_workers=0), 1, 2)
    assert torch.equal(torch.get_rng_state(), state)
    others = TorchLoader(data, 4, spec, num_workers=2)
    for start in (0, 3):
        for one, other in zip(alone[start:], all_batches(others, 1, 2, start=start), strict=True):
            assert torch.equal(one.images, other.images) and torch.equal(one.targets, other.targets)
    assert not torch.equal(alone[0].images, all_batches(others, 1, 3)[0].images)


def test_shares_of_two_processes_join_to_the_batches(tree):
    data = dataset.load("folder", tree)

    def training(share):
        return list(make_loader(data, 5, MixSpec("cutmix"), "cpu", num_workers=0, share=share).epoch(1, 1))

    def validation(share):
        return [images for images, _ in make_test_batches(data, "cpu", num_workers=0, share=share)()]

    for whole, *shares in zip(training((0, 1)), training((0, 2)), training((1, 2)), strict=True):
        assert torch.equal(torch.cat([share.images for share in shares]), whole.images)
    assert torch.equal(torch.cat(validation((0, 2)) + validation((1, 2))), torch.cat(validation((0, 1))))


def test_validation_images_are_resized_and_centre_cropped(tree):
    data = dataset.load("folder", tree)
    found = torch.cat([images for images, _ in make_test_batches(data, "cpu", num_workers=0)()])
    for path, image in zip(data.test.paths, found, strict=True):
        whole = Image.open(path).convert("RGB")
        scale = 72 / min(whole.size)
        whole = whole.resize([int(scale * side) for side in whole.size], Image.Resampling.BILINEAR)
        left, top = (round((side - 64) / 2) for side in whole.size)
        cut = np.asarray(whole)[top:top + 64, left:left + 64].astype(np.float32) / 255
        torch.testing.assert_close(image, (torch.from_numpy(cut).permute(2, 0, 1) - MEAN) / STD, rtol=0, atol=1e-5)


def test_crops_have_224_pixels(tree):
    data = load("folder", tree)
    assert data.training_images()[0, (1, 2), False].shape == data.test_images()[0].shape == (3, 224, 224)


def test_images_can_be_pickled(tree):
    data = dataset.load("folder", tree)
    training, test = (pickle.loads(pickle.dumps(images)) for images in (data.training_images(), data.test_images()))
    assert torch.equal(training[3, (5, 6), False], data.training_images()[3, (5, 6), False])
    assert torch.equal(test[2], data.test_images()[2])


def test_holdout_comes_from_the_training_folder(tree):
    data = dataset.load("folder", tree, holdout=6)
    assert len(data.train) == 12 and len(data.test) == 6 and not set(data.train.paths) & set(data.test.paths)
    assert all("/train/" in path for path in data.test.paths) and data.test.labels.bincount().tolist() == [2, 2, 2]


# Refusals -----------------------------------------------------------------------------------------------------------


def keep_one_class(tree):
    for part in ("train", "val"):
        for name in ("bee", "cat"):
            shutil.rmtree(tree / part / name)


def empty_a_class(tree):
    for file in (tree / "train" / "bee").iterdir():
        file.unlink()


def link_as_another_class(tree):
    (tree / "train" / "eel").symlink_to(tree / "train" / "ant")
    shutil.copytree(tree / "val" / "ant", tree / "val" / "eel")


BAD = {  # what is done to a tree: words of the error
    keep_one_class: "has only one class, 'ant'", empty_a_class: "bee", link_as_another_class: "remove the link",
    lambda tree: (tree / "val").rename(tree / "elsewhere"): "val is no folder",
    lambda tree: (tree / "val" / "cat").rename(tree / "val" / "dog"): "'cat' is in train/",
    lambda tree: (tree / "val" / "ant").rename(tree / "val" / "Ant"): "'Ant' is in val/ but not in train/ .*capital",
    lambda tree: (tree / "train" / "ant" / "loop").symlink_to(tree / "train"): "remove the link"}


@pytest.mark.parametrize("harm", BAD, ids=BAD.values())
def test_bad_folders_are_refused_in_one_line(tree, harm):
    harm(tree)
    with pytest.raises(DataError, match=BAD[harm]) as caught:
        dataset.load("folder", tree)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name, workers", [("train/bee/2.jpg", 0), ("train/bee/2.jpg", 1), ("val/ant/1.jpg", 1)])
def test_a_damaged_image_ends_the_training_with_its_name(tree, tmp_path, name, workers):
    (tree / name).write_bytes((tree / name).read_bytes()[:300])
    done = call(train_teacher.main, ["--dataset", "folder", "--data_dir", tree, "--model", "resnet8", "--epochs", 1,
                                     "--num_workers", workers, "--save_dir", tmp_path / "save", "--device", "cpu"])
    assert_refused(done, tree / name)


def test_imagenet_needs_all_of_its_classes(tree, tmp_path):
    words = ["--dataset", "imagenet", "--data_dir", tree, "--model", "resnet18", "--save_dir", tmp_path / "save"]
    done = call(train_teacher.main, [*words, "--device", "cpu"])
    assert done.status == 2 and "has 3 of ImageNet's 1000 classes" in done.err and done.err.count("\n") == 1, done.err
    for part, i in product(("train", "val"), range(1000)):
        (tmp_path / "whole" / part / f"n{i:04d}").mkdir(parents=True)
        (tmp_path / "whole" / part / f"n{i:04d}" / "0.jpg").touch()  # no image is opened
    data = dataset.load("imagenet", tmp_path / "whole")
    assert data.num_classes == 1000 and len(data.train) == len(data.test) == 1000


# The recipe ---------------------------------------------------------------------------------------------------------


RECIPE = {"batch_size": 256, "epochs": 100, "learning_rate": 0.1, "lr_decay_epochs": [30, 60, 90], "weight_decay": 1e-4}


def test_the_default_recipe_is_that_of_imagenet():
    for name, parse in product(folder.NAMES, (parse_teacher, parse_student)):
        opt = parse(["--dataset", name])
        assert {flag: getattr(opt, flag) for flag in RECIPE} == RECIPE
        given = parse(["--dataset", name, "--batch_size", "64", "--learning_rate", "0.05", "--epochs", "240"])
        assert (given.batch_size, given.learning_rate, given.epochs) == (64, 0.05, 240)


def test_a_resumed_run_keeps_its_stored_flags(tmp_path):
    stored = {"dataset": "imagenet", "batch_size": 64, "epochs": 240}
    opt = parse_teacher(["--resume", str(tmp_path)], lambda opt: (tmp_path / "args.json", stored))
    assert (opt.dataset, opt.batch_size, opt.epochs) == ("imagenet", 64, 240)


# Training -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_teacher_and_student_train_from_the_folder(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "load", load)  # at 224 pixels, for which these networks are made
    common = ["--dataset", "folder", "--data_dir", tree, "--epochs", 1, "--batch_size", 6, "--num_workers", 1,
              "--save_dir", tmp_path / "save", "--device", "cpu", "--threads", 1]
    done = call(train_teacher.main, [*common, "--model", "resnet18"])
    assert done.status == 0, done.err
    teacher, = (tmp_path / "save" / "models").glob("*/resnet18_last.pth")
    done = call(train_student_mixstd.main, [*common, "--path_t", teacher, "--model_s", "mobilenet_v1"])
    assert done.status == 0 and "images/s" in done.out, done.err
    assert "WARNING" not in done.out


@pytest.mark.slow
def test_resume_auto_on_another_folder_starts_another_run(tmp_path):
    common = ["--dataset", "folder", "--model", "resnet8", "--epochs", 1, "--batch_size", 9, "--num_workers", 0,
              "--save_dir", tmp_path / "save", "--device", "cpu", "--resume", "auto", "--data_dir"]
    one, other = make_tree(tmp_path / "one"), make_tree(tmp_path / "other", ("dog", "eel"))
    for tree, wanted in ((one, "Epoch 1/1"), (one, "is finished"), (other, "Epoch 1/1")):
        done = call(train_teacher.main, [*common, tree])
        assert done.status == 0 and wanted in done.out, done.err
    assert len(list((tmp_path / "save" / "models").iterdir())) == 2
    assert "is finished" in call(train_teacher.main, [*common, os.path.relpath(one)]).out
    twin = make_tree(tmp_path / "twin")  # the same file names
    assert "Epoch 1/1" in call(train_teacher.main, [*common, twin]).out
    (other / "train" / "dog" / "0.jpg").rename(other / "train" / "eel" / "10.jpg")
    done = call(train_teacher.main, [*common, other])
    assert_refused(done, "other images under --data_dir", "put them back", "--overwrite")


@pytest.mark.slow
def test_starting_runs_lists_every_folder_once(tree, tmp_path, monkeypatch):
    """Two trials, and the same command again, which finds them finished."""
    listed, scandir = [], os.scandir

    def counted(path="."):
        listed.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted)
    wanted = sorted(str(folder) for folder in tree.rglob("*") if folder.is_dir())
    for message in ("Epoch 1/1", "is finished"):
        listed.clear()
        done = call(train_teacher.main, ["--dataset", "folder", "--data_dir", tree, "--model", "resnet8", "--epochs", 1,
                                         "--batch_size", 9, "--num_workers", 0, "--save_dir", tmp_path / "save",
                                         "--device", "cpu", "--trial", "1,2", "--resume", "auto"])
        assert done.status == 0 and message in done.out, done.err
        assert sorted(path for path in listed if path.startswith(str(tree))) == wanted


@pytest.mark.slow
def test_training_is_saved_when_a_validation_image_is_damaged(tree, tmp_path):
    words = ["--dataset", "folder", "--data_dir", tree, "--model", "resnet8", "--epochs", 2, "--batch_size", 9,
             "--num_workers", 0, "--device", "cpu", "--resume", "auto", "--save_dir"]
    assert call(train_teacher.main, [*words, tmp_path / "whole"]).status == 0
    image = tree / "val" / "ant" / "1.jpg"
    good = image.read_bytes()
    image.write_text("no picture")
    assert_refused(call(train_teacher.main, [*words, tmp_path / "save"]), image, "saved, continue with --resume auto")
    image.write_bytes(good)
    done = call(train_teacher.main, [*words, tmp_path / "save"])
    assert done.status == 0 and "resumed after main epoch 0, step 2" in done.out, done.err
    weights = [torch.load(next((tmp_path / name).glob("models/*/resnet8_last.pth")), weights_only=True)["model"]
               for name in ("whole", "save")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.slow
def test_a_network_of_other_classes_is_refused(tree, tmp_path):
    """The same number of classes, but the labels stand for others."""
    words = ["--dataset", "folder", "--data_dir", tree, "--device", "cpu"]
    training = ["--epochs", 1, "--batch_size", 9, "--num_workers", 0, "--save_dir", tmp_path / "save"]
    assert call(train_teacher.main, [*words, "--model", "resnet8", *training]).status == 0
    checkpoint, = (tmp_path / "save").glob("models/*/resnet8_last.pth")
    assert call(evaluate.main, [*words, "--path", checkpoint]).status == 0
    assert_refused(call(tsne.main, [*words, "--paths", checkpoint]), "--dataset folder", "small ones")
    for part in ("train", "val"):
        (tree / part / "ant").rename(tree / part / "zebra")
    assert_refused(call(evaluate.main, [*words, "--path", checkpoint]), "--path", "other classes, 'ant' where", "'bee'")
    done = call(train_student_mixstd.main, [*words, "--path_t", checkpoint, "--model_s", "resnet8", *training])
    assert_refused(done, "--path_t", "other classes")


def test_16_bit_images_are_read_and_float_images_and_pipes_refused(tree):
    file = tree / "train" / "ant" / "deep.png"
    levels = np.arange(0, 2**16, 97, dtype=np.uint16).reshape(26, 26)
    Image.fromarray(levels).save(file)
    assert np.array_equal(np.asarray(folder.read(file)), np.repeat((levels // 256).astype(np.uint8)[..., None], 3, 2))
    floats = tree / "train" / "ant" / "float.tiff"
    Image.fromarray(np.full((8, 8), 3.5, np.float32)).save(floats)
    pipe = tree / "train" / "ant" / "pipe.jpg"
    os.mkfifo(pipe)
    for file, words in ((floats, "float.tiff: .*mode F"), (pipe, "pipe.jpg: not a readable image .*no file")):
        with pytest.raises(DataError, match=words):
            folder.read(file)


def test_files_that_are_not_images_and_small_networks_cause_warnings(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "load", load)  # at 224 pixels
    (tree / "train" / "ant" / "x.gif").write_text("")
    (tree / "val" / "ant" / "notes.txt").write_text("")
    assert [path.rpartition("/")[2] for path in dataset.load("folder", tree).left_out] == ["x.gif", "notes.txt"]
    done = call(train_teacher.main, ["--dataset", "folder", "--data_dir", tree, "--model", "resnet8", "--epochs", 1,
                                     "--num_workers", 0, "--save_dir", tmp_path / "save", "--device", "cpu"])
    assert done.status == 0 and "WARNING 2 files under --data_dir are no images" in done.out
    assert "WARNING resnet8 was made for 32x32 images" in done.out, done.err


def test_hidden_files_and_folders_are_ignored(tree):
    wanted = dataset.load("folder", tree)
    for folder_ in (".ipynb_checkpoints", "@eaDir", "__MACOSX", "ant/.thumbnails"):
        (tree / "train" / folder_).mkdir()
        (tree / "train" / folder_ / "0.jpg").write_text("no picture")
    (tree / "val" / "bee" / "._0.jpg").write_text("no picture")
    found = dataset.load("folder", tree)
    assert (found.num_classes, found.train.paths, found.test.paths) == (3, wanted.train.paths, wanted.test.paths)
    assert found.sha256 == wanted.sha256
