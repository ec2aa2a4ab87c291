"""ImageNet, and any images in folders DIR/train/CLASS/*.jpg and DIR/val/CLASS/*.jpg.

Finding the files is torchvision's ImageFolder. The images do not fit on a device, so worker processes decode and cut
them (TorchLoader); they come as uint8 and are mirrored, normalised and mixed on the device.
"""
from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset

from .data import DataError
from .published import alone

NAMES = ("imagenet", "folder")
CLASSES, SIZES = 1000, (1_281_167, 50_000)  # ImageNet's; its training and validation images
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, which torchvision's weights were trained with
IMAGE, RESIZED = 224, 256  # side of an image of a batch; the shorter side that validation resizes to before its crop


@dataclass(frozen=True)
class Files:
    """Images that are read on demand. paths: one for each. labels: int64 (N,)."""

    paths: tuple[str, ...]
    labels: torch.Tensor

    def __len__(self):
        return len(self.labels)

    def take(self, chosen):
        """The samples at the places `chosen` (int64 array), in that order."""
        return Files(tuple(self.paths[i] for i in chosen), self.labels[torch.as_tensor(chosen)])


@dataclass(frozen=True)
class FolderData:
    """Images in folders, with the names that data.Data has; see there. `image`: side of the images of a batch."""

    name: str
    num_classes: int
    train: Files
    test: Files
    mean: tuple = MEAN
    std: tuple = STD
    flip: bool = True
    image: int = IMAGE
    resized: int = RESIZED
    published: dict = field(default_factory=dict)
    classes: tuple = ()  # their names, in the order of the labels
    left_out: tuple = ()  # paths of files that are no images by their names
    sha256: str = ""  # of the names of all images with their classes, without the folder's place or the pixels
    pad: ClassVar[None] = None  # crops come from two random numbers of the plan, not from a border
    resident: ClassVar[bool] = False

    @property
    def image_shape(self):
        return 3, self.image, self.image

    @property
    def class_names(self):
        """What pictures call the classes, by label."""
        return self.classes

    def training_images(self):
        """Item (place, two random numbers, flip) -> uint8 (3, image, image), a random resized crop; not mirrored."""
        return TrainingFiles(self.train, self.image)

    def test_images(self):
        """Item i -> uint8 (3, image, image): shorter side to `resized`, then the centre."""
        return TestFiles(self.test, self.image, self.resized)


class TrainingFiles(Dataset):
    """torchvision's RandomResizedCrop (Szegedy et al., CVPR 2015: 8 to 100 % of the area, aspect 3/4 to 4/3), its
    draws seeded by two numbers below 2^32, so that an image's crop depends on the epoch's plan alone."""

    def __init__(self, files, size):
        from torchvision.transforms import RandomResizedCrop  # seconds to import, which few runs need
        self.files, self.crop = files, RandomResizedCrop(size)

    def __getitem__(self, item):
        from torchvision.transforms import functional
        place, (high, low), _ = item
        image, crop = read(self.files.paths[place]), self.crop
        before = torch.default_generator.get_state()  # with --num_workers 0 this is the training's own generator
        torch.default_generator.manual_seed((high << 32 | low) & (2**63 - 1))
        box = crop.get_params(image, crop.scale, crop.ratio)
        torch.default_generator.set_state(before)
        return functional.pil_to_tensor(functional.resized_crop(image, *box, crop.size, crop.interpolation))


class TestFiles(Dataset):
    """torchvision's Resize and CenterCrop."""

    __test__ = False  # no test class, whatever pytest thinks of its name

    def __init__(self, files, size, resized):
        self.files, self.size, self.resized = files, size, resized

    def __len__(self):
        return len(self.files)

    def __getitem__(self, place):
        from torchvision.transforms import functional
        image = functional.resize(read(self.files.paths[place]), self.resized)
        return functional.pil_to_tensor(functional.center_crop(image, self.size))


def read(path):
    """The RGB image of a file, decoded whole, as stored: an EXIF orientation is not applied, as
    torchvision's loader doesn't. 16 bits of grey become their upper 8, which torchvision clips to white.

    DataError where it can't be read, or has numbers (32 bits, floats) that have no range to bring to 8 bits.
    """
    from PIL import Image
    try:
        if not os.path.isfile(path):  # reading a pipe would block
            raise ValueError("no file" if os.path.exists(path) else "gone")
        with Image.open(path) as image:
            if image.mode.startswith("I;16"):
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.mode in ("I", "F"):
                raise ValueError(f"pixels of PIL's mode {image.mode}, 8 or 16 bits are needed")
            return image.convert("RGB")
    except Exception as error:  # PIL raises what its decoders meet in a damaged file
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{path}: not a readable image ({reason}); replace it by a good copy") from None


def load(name, data_dir):
    """FolderData of the images under `data_dir`/train and `data_dir`/val; the classes are the folders, by their names
    in alphabetical order, as torchvision's weights for ImageNet count them. Each folder is listed once, no file is
    opened here.

    Raises DataError, one line: a folder that is missing or has no images, a class that is in one of both only, one
    class alone, an ImageNet that has not its 1000 classes.
    """
    root = Path(data_dir).expanduser()
    (train, classes, more), (val, val_classes, others) = (_files(root / part, name) for part in ("train", "val"))
    if differ := sorted(set(classes) ^ set(val_classes)):
        there, not_there = ("train", "val") if differ[0] in classes else ("val", "train")
        more = f" ({len(differ)} classes are in one of both only)" if len(differ) > 1 else ""
        case = "; capital and small letters differ" if len({name.lower() for name in differ}) < len(differ) else ""
        raise DataError(f"--data_dir {root}: class {differ[0]!r} is in {there}/ but not in {not_there}/{more}{case}; "
                        "both need the same class folders")
    if len(classes) == 1:
        raise DataError(f"--data_dir {root}: has only one class, {classes[0]!r}; train/ and val/ need a folder "
                        "for each of at least two")
    if name == "imagenet" and len(classes) != CLASSES:
        raise DataError(f"--dataset imagenet: {root / 'train'} has {len(classes)} of ImageNet's {CLASSES} classes; "
                        "complete it, or train on what is there with --dataset folder")
    return FolderData(name, len(classes), train, val, published=alone(name), classes=tuple(classes),
                      left_out=(*more, *others), sha256=_digest(root, (*train.paths, *val.paths)))


def _digest(root, paths):
    found = hashlib.sha256()
    for path in paths:
        found.update(path[len(str(root)):].encode(errors="surrogateescape") + b"\0")
    return found.hexdigest()


def _files(folder, name):
    """(Files, names of the classes, files that are no images by their names) of one folder of class folders."""
    if not folder.is_dir():
        raise DataError(f"--dataset {name}: {folder} is no folder; give a --data_dir that holds train/CLASS/*.jpg and "
                        "val/CLASS/*.jpg")
    try:
        found, left_out = _visible(folder)
    except FileNotFoundError as error:
        reason = str(error).split("Supported extensions")[0].strip().rstrip(".")
        raise DataError(f"--dataset {name}: {folder} has no images, or a class without any ({reason}); put them into "
                        f"{folder}/CLASS/*.jpg, or delete the class's folder") from None
    paths, labels = zip(*found.samples, strict=True)
    _refuse_links(paths)
    return Files(paths, torch.from_numpy(np.array(labels, np.int64))), found.classes, left_out


def _refuse_links(paths):
    """DataError where a link makes one folder's images count twice, perhaps under two classes."""
    places = {}
    for folder in dict.fromkeys(map(os.path.dirname, paths)):
        if (other := places.setdefault(os.path.realpath(folder), folder)) != folder:
            raise DataError(f"--data_dir: {other} and {folder} are one folder, by a link, so its images would count "
                            "twice; remove the link")


def _visible(folder):
    """torchvision's ImageFolder, without hidden files of notebooks, desktops and NAS systems; and the other
    files that it leaves out, because their names don't end as images' do."""
    from torchvision.datasets import ImageFolder
    from torchvision.datasets.folder import IMG_EXTENSIONS, has_file_allowed_extension

    class Visible(ImageFolder):
        def find_classes(self, directory):
            names = [name for name in super().find_classes(directory)[0] if not _hidden(name)]
            if not names:
                raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
            return names, {name: place for place, name in enumerate(names)}

    left_out = []

    def counts(path):
        if _hidden(path[len(str(folder)):]):
            return False
        if not has_file_allowed_extension(path, IMG_EXTENSIONS):
            left_out.append(path)
            return False
        return True

    return Visible(folder, is_valid_file=counts), left_out


def _hidden(path):
    """.ipynb_checkpoints and ._0.jpg, Synology's @eaDir, and what macOS packs into archives."""
    return any(f"/{start}" in f"/{path}" for start in (".", "@eaDir", "__MACOSX"))
