"""What a frozen teacher's precision changes: top-1, and the KL divergence of its outputs from single precision's.

    python -m scripts.bench.teacher_precision A.pth B.pth --data_dir DIR [--limit 2000] [--json FILE.json]

A line per teacher and precision, over the first --limit test images of CIFAR-100: top-1 (%), images given the same
class (%), KL(single || precision) at temperatures 1 and 4, nats an image.
"""
from __future__ import annotations

import json
import sys
from argparse import Namespace
from itertools import islice
from pathlib import Path

import torch

import dataset
from helper import files
from helper.argtypes import Parser, file_path, number, path
from helper.device import FORMAT, pick_device
from helper.errors import guard
from helper.teacher import Teacher, build, read_teacher

BATCH = 250


def outputs(file, data, own: str, device: torch.device, limit: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits in float64 and labels."""
    opt = Namespace(kernels="torch", precision="fp32", teacher_precision=own)
    teacher = Teacher(build(file, data.num_classes), opt, device, False, False)
    test = islice(dataset.eval_batches(data.test, data, device, BATCH, FORMAT), -(-limit // BATCH))
    logits, labels = zip(*((teacher(images)[1].double().cpu(), labels.cpu()) for images, labels in test), strict=True)
    return torch.cat(logits)[:limit], torch.cat(labels)[:limit]


def divergence(single: torch.Tensor, other: torch.Tensor, T: float) -> float:
    log_p, log_q = ((z / T).log_softmax(1) for z in (single, other))
    return float((log_p.exp() * (log_p - log_q)).sum(1).mean())


def main(argv=None) -> None:
    parser = Parser(description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="teachers' checkpoints")
    parser.add_argument("--data_dir", type=path, default="data")
    parser.add_argument("--limit", type=number(int, low=1), default=2000, help="test images (default 2000)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=file_path(".json"), default=None, help="write the results here")
    opt = parser.parse(argv)
    device, data, rows = pick_device(opt.device), dataset.load("cifar100", opt.data_dir), []
    for name in opt.paths:
        file = read_teacher(name, flags=("PATH", "a name that contains it"))
        single, labels = outputs(file, data, "same", device, opt.limit)
        for own in ("same", "bf16", "fp16"):
            z = single if own == "same" else outputs(file, data, own, device, opt.limit)[0]
            row = {"teacher": file.arch, "file": Path(name).name, "precision": own, "images": len(labels),
                   "top1": 100 * float((z.argmax(1) == labels).double().mean()),
                   "same_class": 100 * float((z.argmax(1) == single.argmax(1)).double().mean()),
                   "kl_T1": divergence(single, z, 1), "kl_T4": divergence(single, z, 4)}
            rows.append(row)
            print(f"{file.arch:<10}{own:<6}top-1 {row['top1']:.2f}  same class {row['same_class']:.2f}  "
                  f"KL {row['kl_T1']:.1e} at T 1, {row['kl_T4']:.1e} at T 4", flush=True)
            if opt.json:
                files.save_text(json.dumps(rows, indent=2) + "\n", Path(opt.json))


if __name__ == "__main__":
    sys.exit(guard(main))
