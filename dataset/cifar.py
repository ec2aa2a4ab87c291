"""CIFAR-10 and CIFAR-100 from their official python files.

File names, md5 sums and the address are torchvision's (CIFAR100.train_list, url, tgz_md5, ...): one authority, kept
up to date by others. The files are pickles, and a pickle can run any code as it loads, so

1. a file is read into memory once and its md5 compared before anything interprets it;
2. those same bytes, not the file again, go through an unpickler that knows three numpy names and nothing else.
"""
import hashlib
import io
import pickle
from pathlib import Path

import numpy as np
import torch

from .data import Data, DataError, Split
from .download import fetch
from .published import alone

# name: torchvision's class, number of classes, mean and standard deviation of training pixels scaled to 0..1
CIFAR = {
    "cifar100": ("CIFAR100", 100, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "cifar10": ("CIFAR10", 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
SIZES = 50_000, 10_000  # training and test images, of both
_RECONSTRUCT = np.empty(0).__reduce__()[0]  # numpy moved it between modules; the files say numpy.core.multiarray
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _NumpyOnly(pickle.Unpickler):
    """Unpickles plain containers, numbers, strings and numpy arrays; any other name is refused, not imported."""

    def find_class(self, module, name):
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]


def _verified(path, md5):
    """The bytes of `path`, if their md5 is `md5`. DataError otherwise."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror}); mend its permissions or delete it") from None
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(f"{path}: truncated or altered, md5 {found} where the official file has {md5}; delete it "
                        "and start again to download it")
    return content


def _unpickled(content):
    return _NumpyOnly(io.BytesIO(content), encoding="latin1").load()


def _parsed(path, content, num_classes):
    """(images uint8 (n, 3, 32, 32), labels int64 (n,)) of one verified batch file."""
    try:
        entry = _unpickled(content)
        labels = np.asarray(entry["labels"] if "labels" in entry else entry["fine_labels"])
        pixels = entry["data"]
        if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3072) or labels.dtype.kind != "i":
            raise ValueError(f"pixels {pixels.dtype} {pixels.shape}, labels {labels.dtype} {labels.shape}")
        if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
            raise ValueError(f"labels {labels.min()} to {labels.max()}, {num_classes} classes")
    except Exception as error:  # a hostile or broken pickle can raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"{path}: not a CIFAR batch file ({reason}); delete it and start again to download it"
                        ) from None
    return pixels.reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _split(folder, files, num_classes):
    parts = [_parsed(folder / name, _verified(folder / name, md5), num_classes) for name, md5 in files]
    images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Split(torch.from_numpy(images), torch.from_numpy(labels))


def _class_names(folder, meta):
    """Names by label from the meta file, as oak_tree; () where it is missing, as training needs no names."""
    path = folder / meta["filename"]
    if not path.exists():
        return ()
    return tuple(_unpickled(_verified(path, meta["md5"]))[meta["key"]])


def load(name, data_dir, download=True):
    """Data of `name` ('cifar100' or 'cifar10') from `data_dir`/cifar-100-python or /cifar-10-batches-py.

    Images uint8 (50000, 3, 32, 32) and (10000, 3, 32, 32); crops reach 4 black pixels over the edge; flips allowed.
    Files that are missing are taken from the official archive, in `data_dir` or downloaded (see download.fetch).
    A file that is there is never overwritten.

    Raises DataError, one line that names the file and the mend: a file missing and not to be had, a file whose
    md5 is not the official one (nothing of it is interpreted), a file that holds no CIFAR batch.
    """
    from torchvision import datasets  # seconds to import, which --help and the digits need not wait for
    class_name, num_classes, mean, std = CIFAR[name]
    official = getattr(datasets, class_name)
    root = Path(data_dir).expanduser()
    folder = root / official.base_folder
    needed = [*official.train_list, *official.test_list]
    if root.exists() and not root.is_dir():
        raise DataError(f"--data_dir {data_dir}: not a folder; name the one that has {official.base_folder}/, or is to "
                        "have it")
    missing = [file for file, _ in needed if not (folder / file).exists()]
    if missing:
        fetch(official, root, missing, download)
    train = _split(folder, official.train_list, num_classes)
    test = _split(folder, official.test_list, num_classes)
    return Data(name, num_classes, mean, std, 4, True, train, test, alone(name),
                class_names=_class_names(folder, official.meta))
