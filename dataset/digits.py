"""scikit-learn's handwritten digits, in CIFAR's shape: a small real data set that needs no download."""
import numpy as np
import torch

from .data import Data, DataError, Split, stratified

N_TEST = 360  # about a fifth of the 1,797 images
CLASSES = 10
SIZES = 1_797 - N_TEST, N_TEST
MEAN, STD = 0.3051, 0.3756  # measured on the training split, all pixels


def load():
    """Data: 1,437 training and 360 test images, 10 classes, uint8 (N, 3, 32, 32), a fixed stratified split.

    The 8x8 grey images (0..16) are enlarged four times without smoothing and repeated over three channels.
    Crops may shift them by 4 pixels, one pixel of the original. No flips: a mirrored digit is another sign.

    Raises DataError where scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("--dataset digits needs scikit-learn: pip install scikit-learn") from None
    raw = load_digits()
    grey = np.rint(raw.images * (255 / 16)).astype(np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    images = torch.from_numpy(np.repeat(grey[:, None], 3, axis=1))
    everything = Split(images, torch.from_numpy(raw.target.astype(np.int64)))
    chosen = stratified(raw.target, N_TEST)
    train = everything.take(np.setdiff1d(np.arange(len(everything)), chosen))
    return Data("digits", CLASSES, (MEAN,) * 3, (STD,) * 3, 4, False, train, everything.take(chosen),
                class_names=tuple(map(str, range(CLASSES))))
