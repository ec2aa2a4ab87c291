"""Put a trained network's weights into models/pretrained/, in half precision, with its accuracy and its command.

    python -m scripts.export_weights --path save/models/resnet56_.../resnet56_last.pth

NAME.pth holds the weights and the architecture; index.json says for each file its last-epoch top-1 before and after
rounding (measured here, on the test set) and the command that trained it. ``--path_t models/pretrained/NAME.pth``
distils from it, ``python -m scripts.evaluate --path models/pretrained/NAME.pth`` checks it.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

import dataset
from helper import checkpoint, files, rundir
from helper.argtypes import Parser, name_from, path
from helper.device import pick_device
from helper.errors import UserError, guard
from helper.evaluate import evaluate
from helper.recipe import FULL
from helper.teacher import build, read_teacher

FOLDER = Path(__file__).resolve().parent.parent / "models" / "pretrained"


def halved(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Floating-point tensors in half precision, the rest as it is."""
    return {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}


def main(argv=None):
    parser = Parser(prog="python -m scripts.export_weights", description=__doc__)
    parser.add_argument("--path", type=path, required=True, help="checkpoint, of this project or of RepDistiller")
    parser.add_argument("--dataset", type=name_from(dataset.NAMES, "data set"), default="cifar100")
    parser.add_argument("--data_dir", type=path, default="data")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=path, default=str(FOLDER), help="folder to write to (default models/pretrained)")
    parser.add_boolean(parser, "--reduced", False, "take weights of less than the full recipe too, into another --out")
    opt = parser.parse(argv)
    file = read_teacher(opt.path)
    refuse_reduced(opt, file)
    data, device = dataset.load(opt.dataset, opt.data_dir), pick_device(opt.device)
    full = accuracy(file, data, device)
    original, file.weights = file.sha256, halved(file.weights)
    half = accuracy(file, data, device)
    folder = Path(opt.out)
    folder.mkdir(parents=True, exist_ok=True)
    state = {"model": file.weights, "arch": file.arch, "num_classes": data.num_classes, "dataset": data.name,
             "opt": {name: file.trained.get(name) for name in FULL}}
    checkpoint.save(state, folder / f"{file.arch}.pth")
    add_to_index(folder, file, original, full, half)
    print(f"{file.arch}: {full:.2f} -> {half:.2f} in half precision, {folder / f'{file.arch}.pth'}")


def refuse_reduced(opt, file) -> None:
    """models/pretrained/ serves full tables, so it takes nothing that was trained on less than their recipe."""
    if opt.reduced and Path(opt.out).resolve() != FOLDER:
        return
    full = dict(FULL)
    if less := file.less_than(full):
        raise UserError(f"--path {file.path}: trained on less than the full recipe ({', '.join(less)}); train it in "
                        "full, or give --reduced and another --out")
    if opt.dataset != full["dataset"]:
        raise UserError(f"--dataset {opt.dataset}: models/pretrained/ is for {full['dataset']}; give --reduced and "
                        "another --out")


def accuracy(file, data, device: torch.device) -> float:
    return evaluate(build(file, data.num_classes).to(device), dataset.make_test_batches(data, device)()).top1


def add_to_index(folder: Path, file, original: str, full: float, half: float) -> None:
    index = folder / "index.json"
    entries = json.loads(index.read_text()) if index.exists() else {}
    command = rundir.read(file.path.parent).command
    entries[file.arch] = {"top1": full, "top1_half": half, "command": " ".join(command),
                           "sha256": file.sha256, "sha256_full": original}
    files.save_text(json.dumps(entries, indent=2) + "\n", index)


if __name__ == "__main__":
    sys.exit(guard(main))
