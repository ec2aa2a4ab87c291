"""Top-1, top-5 and loss of a checkpoint on the test images, for plain logits and for logits scaled by their own
standard deviation (MIX-KD eq. 5; the order of a row stays, so the accuracies are equal).

    python -m scripts.evaluate --path save/models/resnet56_vanilla/ckpt_epoch_240.pth
    python -m scripts.evaluate --path student.pth --model resnet20 --json result/student.json
"""
from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch

import dataset
from distiller_zoo import std_scaled
from helper import files
from helper.argtypes import file_path, name_from, path
from helper.errors import UserError, guard
from helper.evaluate import Accuracy, evaluate
from helper.known_teachers import known_teachers, published_top1
from helper.teacher import build, read_teacher
from models import any_model

from .analysis import common


def parse(argv):
    parser = common.make_parser(__doc__)
    group = parser.add_argument_group("network and output")
    group.add_argument("--path", type=path, required=True, metavar="CKPT",
                       help="checkpoint, of this project or of RepDistiller")
    group.add_argument("--model", type=name_from(any_model, "model"), default=None,
                       help="its architecture (default: the one in the file, else from its name or folder's)")
    group.add_argument("--json", type=file_path(".json"), default=None, metavar="FILE",
                       help="write the figures here too")
    return parser.parse(argv)


@torch.no_grad()
def measure(model, batches) -> dict[str, Accuracy]:
    """The figures of :func:`helper.evaluate.evaluate` for the logits, plain and scaled, from one pass."""
    outputs = [(model(images).float(), labels) for images, labels in batches]
    return {"plain": evaluate(lambda logits: logits, outputs),
            "std-scaled": evaluate(lambda logits: logits, outputs, std_scaled)}


def main(argv=None):
    opt = parse(argv)
    file = read_teacher(opt.path, opt.model, ("--path", "--model"))
    if opt.json and not Path(opt.json).resolve().parent.is_dir():
        raise UserError(f"--json {opt.json}: its folder doesn't exist; make it or name another file")
    common.take_dataset(opt, [file])
    device = common.prepare_device(opt)
    data, total = common.load_data(opt, [file])
    model = build(file, data.num_classes, data.classes).to(device, memory_format=torch.channels_last)
    found = measure(model, dataset.make_test_batches(data, device)())
    print(f"{file.arch}: {file.path}\n{common.scope(data, total)}")
    for name, accuracy in found.items():
        print(f"{name:<10}  top-1 {accuracy.top1:6.2f}  top-5 {accuracy.top5:6.2f}  loss {accuracy.loss:.4f}")
    published = published_top1(file, data)
    if published is not None and len(data.test) == total:
        known = known_teachers().get(file.sha256)
        print(f"published top-1 {published:.2f} ({known.origin if known else f'a {file.arch} trained alone'})")
    if opt.json:
        about = {"path": str(file.path), "model": file.arch, "sha256": file.sha256, "dataset": data.name,
                 "images": len(data.test), "reduced": len(data.test) < total}
        logits = {name: asdict(accuracy) for name, accuracy in found.items()}
        files.save_text(json.dumps({**about, "logits": logits}, indent=2) + "\n", Path(opt.json))


if __name__ == "__main__":
    sys.exit(guard(main))
