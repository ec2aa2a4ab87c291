"""CIFAR-10 and CIFAR-100 from their official python files.

File names, md5 sums and the address are torchvision's (CIFAR100.train_list, url, tgz_md5, ...): one authority, kept
up to date by others. The files are pickles, and a pickle can run any code as it loads, so

1. a file is read into memory once and its md5 compared before anything interprets it;
2. those same bytes, not the file again, go through an unpickler that allows three numpy names and nothing else.
"""
import contextlib
import hashlib
import io
import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import torch

from .data import Data, DataError, Split
from .published import alone

# name: torchvision's class, number of classes, mean and standard deviation of training pixels scaled to 0..1
CIFAR = {
    "cifar100": ("CIFAR100", 100, (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "cifar10": ("CIFAR10", 10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
SIZES = 50_000, 10_000  # training and test images, of both
_RECONSTRUCT = np.empty(0).__reduce__()[0]  # numpy moved it between modules; the files have numpy.core.multiarray
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


def fetch(official, root, missing, download=True):
    """Put the files `missing` of torchvision's class `official` into root/base_folder, by torchvision's own functions.

    They come out of root/filename where the archive is there, else out of official.url. The archive's md5 is checked
    before it is unpacked, in a folder of its own from which whole files are moved; a file that is there is kept.

    Raises DataError, one line: which files, from where, into which folder, and what stood in the way.
    """
    from torchvision.datasets.utils import check_integrity, download_url, extract_archive
    folder, archive, new_root = root / official.base_folder, root / official.filename, not root.exists()
    source = archive if archive.exists() else official.url
    try:
        if source is archive and not check_integrity(archive, official.tgz_md5):
            raise RuntimeError(f"truncated or altered: its md5 is not the official {official.tgz_md5}")
        if source is not archive and not download:
            raise RuntimeError("the download is switched off")
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as private:
            if source is not archive:
                print(f"downloading {official.url}", flush=True)
                download_url(official.url, private, official.filename, official.tgz_md5)
                archive = Path(private, official.filename)
            extract_archive(str(archive), private)
            folder.mkdir(exist_ok=True)
            for name in {*missing, official.meta["filename"]}:
                if not (folder / name).exists():
                    os.replace(Path(private, official.base_folder, name), folder / name)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            if new_root:
                root.rmdir()  # only if it is empty
        mend = f"delete {archive} and start again" if source is archive else f"unpack {official.url} in {root}"
        raise DataError(f"--data_dir {root}: {', '.join(missing)} missing in {folder} and could not be fetched from "
                        f"{source} ({' '.join(str(error).split())}): {mend}") from None


def load(name, data_dir, download=True):
    """Data of `name` ('cifar100' or 'cifar10') from `data_dir`/cifar-100-python or /cifar-10-batches-py.

    Images uint8 (50000, 3, 32, 32) and (10000, 3, 32, 32); crops reach 4 black pixels over the edge; flips allowed.
    Files that are missing are taken from the official archive, in `data_dir` or downloaded (see fetch).
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
