"""A data set: uint8 images and labels, a few numbers, and the subsets that flags select."""
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset

SELECTION_SEED = 20230103  # fixed: the same images are held out whatever seed a run trains with


class DataError(Exception):
    """Data that is unavailable, or an invalid data option. Its text is one line for the user."""


@dataclass(frozen=True)
class Split:
    """images: uint8 (N, C, H, W), pixels as stored. labels: int64 (N,), 0 <= label < num_classes."""

    images: torch.Tensor
    labels: torch.Tensor

    def __len__(self):
        return len(self.labels)

    def take(self, chosen):
        """The samples at the places `chosen` (int64 array), in that order."""
        chosen = torch.as_tensor(chosen)
        return Split(self.images[chosen], self.labels[chosen])

    def to(self, device):
        """The same split on `device`; kept by a caller who evaluates often, it saves a copy each time."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Data:
    """A data set ready to train on.

    mean, std: per channel, of pixels scaled to 0..1. pad: black border, in pixels, that random crops may reach
    into (0: no crops). flip: whether training images may be mirrored. test: the official test set, or the
    hold-out split where one was requested. published: network -> last-epoch top-1 (%) that is published for it alone.

    Another kind of data set (images in files) is a class with the same names. What the rest of the program
    uses: the fields above; of train and test len() and labels (and take(), for a hold-out split); image_shape, resident
    and, where that is False, training_images() and test_images(), torch Datasets of images (C, H, W): float32
    mirrored and normalised, or uint8, for which the device does both. A bad file is a DataError of one line there too.
    pad None: it cuts in its own way, from the two random numbers of EpochPlan.crop.
    """

    name: str
    num_classes: int
    mean: tuple
    std: tuple
    pad: int
    flip: bool
    train: Split
    test: Split
    published: dict = field(default_factory=dict)
    classes: tuple = ()  # class names, where the data set's name does not determine them
    class_names: tuple = ()  # what pictures call the classes, by label; empty where the files have no names
    left_out: tuple = ()  # files beside the images that are none
    sha256: str | None = None  # of the names of a user's own images; None where the data set's name determines them
    windows: dict = field(default_factory=dict, init=False, repr=False, compare=False)  # of DeviceLoaders, by device
    resident: ClassVar[bool] = True  # the training images fit on a device: DeviceLoader can serve them

    @property
    def image_shape(self):
        """(C, H, W) of the images of a batch."""
        return tuple(self.train.images.shape[1:])

    def training_images(self):
        """torch Dataset for the workers of TorchLoader: item (place, crop, flip), one row of an EpochPlan, gives the
        cut and mirrored image. (test_images(), of other data sets: item i gives test image i.)"""
        return PlannedImages(self)


class PlannedImages(Dataset):
    """Item (place, crop, flip) -> float32 (C, H, W): padded black, cropped, flipped, scaled and normalised by
    torchvision."""

    def __init__(self, data):
        self.images, self.pad, self.mean, self.std = data.train.images, data.pad, data.mean, data.std

    def __getitem__(self, item):
        from torchvision.transforms import functional as TF  # seconds to import, which few runs need
        place, (top, left), flip = item
        height, width = self.images.shape[2:]
        image = TF.pad(TF.to_pil_image(self.images[place]), self.pad, fill=0)
        image = TF.crop(image, top, left, height, width)
        if flip:
            image = TF.hflip(image)
        return TF.normalize(TF.to_tensor(image), self.mean, self.std)


def stratified(labels, n):
    """Places (sorted, int64) of `n` samples drawn so that every class keeps its share of `labels` (N,).

    Shares that are no whole number are rounded by largest remainder, ties to the lower label. With equally
    large classes and n a multiple of their number the draw is exactly balanced. The draw is fixed: it depends
    on labels and n alone.
    """
    labels = np.asarray(labels)
    rng = np.random.Generator(np.random.PCG64(SELECTION_SEED))
    counts = np.bincount(labels)
    share = counts * n / len(labels)
    quota = np.floor(share).astype(np.int64)
    rest = np.argsort(-(share - quota), kind="stable")[: n - quota.sum()]
    quota[rest] += 1
    places = [rng.permutation(np.flatnonzero(labels == label))[:k] for label, k in enumerate(quota)]
    return np.sort(np.concatenate(places))


def reduced(data, holdout=0, train_fraction=1.0):
    """`data` with `holdout` training images as its test split, and `train_fraction` of the rest to train on.

    Both draws keep the classes' shares and are the same for every seed. With holdout > 0 the official test set
    is not in the result at all, so nothing can be tuned on it. Places in the training set (Batch.index) count
    within the training set as it is returned, not within the official one.

    Raises DataError for holdout outside [0, N) or train_fraction outside (0, 1] or leaving nothing.
    """
    n = len(data.train)
    if not 0 <= holdout < n:
        raise DataError(f"--holdout {holdout}: give 0 or a number below the {n} training images of {data.name}")
    if not 0 < train_fraction <= 1:
        raise DataError(f"--train_fraction {train_fraction}: give a number above 0 and at most 1")
    train, test = data.train, data.test
    if 0 < holdout < data.num_classes:
        raise DataError(f"--holdout {holdout}: fewer than the {data.num_classes} classes of {data.name}; give more, "
                        "or 0")
    if holdout:
        chosen = stratified(train.labels, holdout)
        test, train = train.take(chosen), train.take(np.setdiff1d(np.arange(n), chosen))
    if train_fraction < 1:
        keep = round(train_fraction * len(train))
        if keep < 1:
            raise DataError(f"--train_fraction {train_fraction}: leaves none of {len(train)} images; give more")
        train = train.take(stratified(train.labels, keep))
    return replace(data, train=train, test=test)
