"""Images in, batches out. Data sets are named here and nowhere else."""
from . import cifar, digits, folder
from .batch import Batch
from .data import Data, DataError, Split, reduced
from .loaders import LOADERS, DeviceLoader, TorchLoader, eval_batches, make_loader, make_test_batches
from .plan import MIXES, SAMPLINGS, EpochPlan, MixSpec, plan_epoch
from .published import published_figures

NAMES = (*cifar.CIFAR, "digits", *folder.NAMES)
FOLDERS = folder.NAMES  # those of large images in folders, which have a recipe of their own
# Numbers of training and test images, where the name fixes them.
SIZES = {**dict.fromkeys(cifar.CIFAR, cifar.SIZES), "digits": digits.SIZES, "imagenet": folder.SIZES}
# Of a data set for which nothing is published: the one whose recipe and settings hold for it.
LIKE = {"folder": "imagenet"}
CLASSES = {**{name: about[1] for name, about in cifar.CIFAR.items()}, "digits": digits.CLASSES,
           "imagenet": folder.CLASSES}  # their number, where the name fixes it

__all__ = ["CLASSES", "FOLDERS", "LIKE", "LOADERS", "MIXES", "NAMES", "SAMPLINGS", "SIZES", "Batch", "Data",
           "DataError", "DeviceLoader", "EpochPlan", "MixSpec", "Split", "TorchLoader", "eval_batches", "load",
           "make_loader", "make_test_batches", "plan_epoch", "published_figures", "sizes"]


def load(name, data_dir, holdout=0, train_fraction=1.0, download=True):
    """Data of `name` (one of NAMES), from `data_dir` or downloaded into it.

    holdout: that many training images become the test split, in place of the official one. train_fraction: the part
    of the remaining training images that is kept. Both keep the classes' shares and choose the same images for every
    seed; Batch.index counts within what remains.

    Raises DataError, one line for the user: an unknown name, files that are missing, altered or not to be had, a
    hold-out or fraction out of range.
    """
    if name in cifar.CIFAR:
        data = cifar.load(name, data_dir, download)
    elif name == "digits":
        data = digits.load()
    elif name in folder.NAMES:
        data = folder.load(name, data_dir)
    else:
        raise DataError(f"--dataset {name}: choose one of {', '.join(NAMES)}")
    return reduced(data, holdout, train_fraction)


def sizes(name, data_dir):
    """How many training and test images a data set has; those of one's own are counted. Raises DataError as load()."""
    if name in SIZES:
        return SIZES[name]
    data = load(name, data_dir)
    return len(data.train), len(data.test)
