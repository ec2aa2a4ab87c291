"""Put a trained network's weights into models/pretrained/, in half precision, with its accuracy and its command.

    python -m scripts.export_weights --path save/models/resnet56_.../resnet56_last.pth

NAME.pth holds the weights and the architecture; table.md (index.json for programs) has for each file its last-epoch
top-1 before and after rounding (measured here, on the test set), the command that trained it and its digest.
``--path_t models/pretrained/NAME.pth`` distils from it, ``$PYTHON -m scripts.evaluate --path ...`` checks it.
A network trained alone is called as its architecture, by which tables find it as a teacher; a distilled student is
students/ARCHITECTURE_METHOD_MIXING.
"""
from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

import dataset
from helper import checkpoint, files
from helper.argtypes import Parser, folder_path, path
from helper.device import pick_device
from helper.errors import UserError, guard
from helper.evaluate import evaluate
from helper.known_teachers import PRETRAINED
from helper.options import add_dataset
from helper.recipe import FULL
from helper.stored_runs import StoredRun
from helper.teacher import build, read_teacher

from .table.markdown import markdown_table

# The fields of each file in index.json.
FIELDS = {"top1": (int, float), "top1_half": (int, float), "command": str, "sha256": str, "sha256_full": str}


def halved(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Floating-point tensors in half precision, the rest as it is."""
    return {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}


def main(argv=None):
    parser = Parser(description=__doc__)
    parser.add_argument("--path", type=path, required=True, help="checkpoint, of this project or of RepDistiller")
    add_dataset(parser)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=folder_path, default=str(PRETRAINED),
                        help="folder to write to (default models/pretrained)")
    parser.add_argument("--name", type=path, default=None, help="name of the file, without .pth (default: see above)")
    parser.add_boolean(parser, "--reduced", False, "take weights of less than the full recipe too, into another --out")
    opt = parser.parse(argv)
    file = read_teacher(opt.path, None, ("--path", "--path"))
    refuse_reduced(opt, file)
    folder, name = Path(opt.out), opt.name or name_of(file)
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"--name {name}: leads out of --out {opt.out}; name the folder there")
    entries = read_index(folder)
    refuse_unlisted(folder, entries)
    original = file.sha256
    refuse_other(folder, name, entries, original)
    data, device = dataset.load(opt.dataset, opt.data_dir), pick_device(opt.device)
    full = accuracy(file, data, device)
    file = replace(file, weights=halved(file.weights))
    half = accuracy(file, data, device)
    target = folder / f"{name}.pth"
    target.parent.mkdir(parents=True, exist_ok=True)
    state = {"model": file.weights, "arch": file.arch, "num_classes": data.num_classes, "dataset": data.name,
             "opt": {**dict.fromkeys(FULL), **file.trained}}
    checkpoint.save(state, target)
    entries[name] = {"top1": full, "top1_half": half, "command": " ".join(StoredRun(file.path.parent).command),
                     "sha256": file.sha256, "sha256_full": original}
    write_index(folder, entries)
    print(f"{name}: {full:.2f} -> {half:.2f} in half precision, {target}")


def name_of(file) -> str:
    """resnet20 for a network trained alone, students/resnet20_mixstd_mixup_partial for a distilled one."""
    trained = file.trained
    if "distill" not in trained:
        return file.arch
    mixing = trained.get("mix", "none")
    parts = [file.arch, trained["distill"], *([] if mixing == "none" else [mixing])]
    if mixing != "none" and trained.get("pmixup"):
        parts.append("partial")
    return "students/" + "_".join(parts)


def refuse_other(folder: Path, name: str, entries: dict, sha256: str) -> None:
    """Nothing is overwritten but the same weights."""
    if (folder / f"{name}.pth").exists() and entries.get(name, {}).get("sha256_full") != sha256:
        raise UserError(f"--name {name}: {folder / name}.pth holds other weights; give another --name, or delete it")


def refuse_unlisted(folder: Path, entries: dict) -> None:
    """table.md is written from index.json, so what that has lost would be lost there too."""
    there = {str(file.relative_to(folder).with_suffix("")) for file in folder.rglob("*.pth")}
    if unlisted := sorted(there - entries.keys()):
        more = f" and {len(unlisted) - 1} more" if unlisted[1:] else ""
        raise UserError(f"--out {folder}: its index.json has no entry for {unlisted[0]}.pth{more}; put index.json "
                        "back, move the files without an entry away, or name another --out")


def refuse_reduced(opt, file) -> None:
    """models/pretrained/ serves full tables, so it takes nothing that was trained on less than their recipe."""
    if opt.reduced and Path(opt.out).resolve() != PRETRAINED:
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


def read_index(folder: Path) -> dict[str, dict]:
    try:
        entries = json.loads((folder / "index.json").read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"--out {folder}: its index.json can't be read ({error}); correct or delete it") from None
    whole = isinstance(entries, dict) and all(isinstance(e, dict) and FIELDS.keys() <= e.keys() and all(
        isinstance(e[name], kind) for name, kind in FIELDS.items()) for e in entries.values())
    if not whole:
        raise UserError(f"--out {folder}: its index.json is no index of weights; correct or delete it")
    return entries


def write_index(folder: Path, entries: dict[str, dict]) -> None:
    lines = ["# Weights in half precision", "", "Last epoch's top-1 on all test images, %, by scripts.export_weights; "
             "`$PYTHON -m scripts.evaluate --path FILE` prints it again.", ""]
    head = ["file", "top-1", "as trained, in single precision", "sha256 of the weights", "trained by"]
    lines += markdown_table(head, [[f"{name}.pth", f"{entry['top1_half']:.2f}", f"{entry['top1']:.2f}",
                                    entry["sha256"][:16], f"`{entry['command']}`"]
                                   for name, entry in sorted(entries.items())])
    files.save_text("\n".join(lines) + "\n", folder / "table.md")
    files.save_text(json.dumps(entries, indent=2) + "\n", folder / "index.json")


if __name__ == "__main__":
    sys.exit(guard(main))
