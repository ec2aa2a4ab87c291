"""Small networks for the analyses, and their commands run in this process."""
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import dataset
from helper import checkpoint
from helper.errors import guard
from models import model_dict

SHARED = ["--dataset", "digits", "--device", "cpu"]


def save_network(path, seed=0, classes=10, **about):
    """Save a resnet8 whose batch norms were updated on digits, so that its outputs differ between images."""
    torch.manual_seed(seed)
    net = model_dict["resnet8"](num_classes=classes)
    net.fc.weight.data.mul_(10)
    data = dataset.load("digits", "none")
    with torch.no_grad():
        for images, _ in dataset.eval_batches(data.train.take(np.arange(64)), data, "cpu", 32):
            net(images)
    path.parent.mkdir(parents=True)
    checkpoint.save({"model": net.state_dict(), **about}, path)
    return str(path)


def two_networks(folder):
    """One file as we write it, one as RepDistiller does, with the architecture only in the folder's name."""
    network = save_network(folder / "args" / "resnet8_last.pth", seed=1, arch="resnet8")
    (folder / "args" / "args.json").write_text(json.dumps({"config": {"model": "resnet8", "mix": "mixup"}}))
    return [network, save_network(folder / "resnet8_vanilla" / "ckpt_epoch_240.pth", seed=2)]


def as_saved(path):
    """The resnet8 of a file, unfolded, on normalised images."""
    net = model_dict["resnet8"](num_classes=10).eval()
    net.load_state_dict(checkpoint.load(Path(path))["model"])
    return net


def run(main, *args):
    """Run a command in this process; returns (status, rows by file name)."""
    out = Path(args[args.index("--out") + 1])
    status = guard(main, [*SHARED, *map(str, args)])
    tables = {}
    for file in sorted(out.glob("*.csv")):
        with open(file, newline="") as table:
            tables[file.name] = list(csv.DictReader(table))
    return status, tables


def assert_picture(path):
    """The file is a PNG with several colours and white corners."""
    image = pytest.importorskip("matplotlib.image").imread(path)[..., :3]
    assert min(image.shape[:2]) > 300 and len(np.unique(image.reshape(-1, 3), axis=0)) > 20
    assert (image[[0, 0, -1, -1], [0, -1, 0, -1]] == 1).all()
