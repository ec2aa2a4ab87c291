"""Which method runs on which pair of networks, for the 13 published pairs, and if not, why.

    python -m scripts.support
    python -m scripts.support --methods fsp,kdsvd --hint_layer 3 --batch_size 49
    python -m scripts.support --json support.json

Any other flag is the training script's and is taken into account. Nothing is trained: the shapes of the features come
from networks without weights, and the checks are those of the training script before its first epoch.
"""
from __future__ import annotations

import argparse
import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch

from dataset import CLASSES
from distiller_zoo import Pair, distiller_dict
from helper.argtypes import file_path, name_from
from helper.errors import UserError, guard, program
from helper.files import save_text
from helper.options import parse_student
from helper.pair import check_batches, shapes_of
from models import any_model

from .analysis.common import list_of

PAIRS = (("wrn_40_2", "wrn_16_2"), ("wrn_40_2", "wrn_40_1"), ("resnet56", "resnet20"), ("resnet110", "resnet20"),
         ("resnet110", "resnet32"), ("resnet32x4", "resnet8x4"), ("vgg13", "vgg8"), ("vgg13", "MobileNetV2"),
         ("ResNet50", "MobileNetV2"), ("ResNet50", "vgg8"), ("resnet32x4", "ShuffleV1"), ("resnet32x4", "ShuffleV2"),
         ("wrn_40_2", "ShuffleV1"))  # RepDistiller's two tables
IMAGES, IMAGE = 50_000, (3, 32, 32)  # the training set of those tables
RUNS = "yes"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog=program(), description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", type=list_of(name_from(distiller_dict, "method")), default=list(distiller_dict),
                        metavar="LIST", help="as fsp,crd (default all)")
    parser.add_argument("--json", type=file_path(".json"), default=None, metavar="FILE",
                        help="write the table here too")
    opt, flags = parser.parse_known_args(argv)
    table = {name: {pair: why_not(name, *pair, flags) for pair in PAIRS} for name in opt.methods}
    print("\n".join(report(table)))
    if opt.json:
        rows = [{"method": name, "teacher": teacher, "student": student, "runs": not why, "why_not": why}
                for name, row in table.items() for (teacher, student), why in row.items()]
        save_text(json.dumps(rows, indent=1) + "\n", Path(opt.json))


def why_not(name: str, teacher: str, student: str, flags: Sequence[str] = ()) -> str:
    """Why training would be refused, or an empty string. flags: the training script's."""
    method = distiller_dict[name]
    try:
        opt = parse_student([*flags, "--distill", name, "--model_t", teacher, "--model_s", student])
        n = images_of(opt, IMAGES)
        check_batches(opt, n, method)
    except UserError as why:
        return str(why)
    return method.unsupported(opt, named_pair(opt, method, n))


def images_of(opt: Namespace, total: int) -> int:
    """Training images of a data set of ``total`` that the flags leave."""
    return round(opt.train_fraction * (total - opt.holdout))


def named_pair(opt: Namespace, method, n: int) -> Pair:
    shapes_s, shapes_t = (shapes(name, preact) for name, preact in ((opt.model_s, method.preact),
                                                                    (opt.model_t, method.teacher_preact())))
    classes = CLASSES.get(opt.dataset, 100)
    return Pair(shapes_s, shapes_t, n, classes, labels=torch.arange(n) % classes)


@cache
def shapes(name: str, preact: bool) -> list[torch.Size]:
    with torch.device("meta"):
        return shapes_of(any_model[name](num_classes=100), IMAGE, preact)


def report(table: dict[str, dict[tuple[str, str], str]]) -> list[str]:
    """A row per pair and a column per method; below them every reason, with its pairs."""
    label = {pair: " > ".join(pair) for pair in PAIRS}
    width = max(map(len, label.values()))
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, row in table.items():
        for pair, why in row.items():
            if why:
                reasons.setdefault((name, why), []).append(label[pair])
    marks = {key: f"({i})" for i, key in enumerate(reasons, 1)}
    lines = ["  ".join(["teacher > student".ljust(width), *table])]
    for pair in PAIRS:
        cells = [(marks[name, row[pair]] if row[pair] else RUNS).center(len(name)) for name, row in table.items()]
        lines.append("  ".join([label[pair].ljust(width), *cells]).rstrip())
    lines += [""] if reasons else ["", "Every method runs on every pair."]
    for (name, why), pairs in reasons.items():
        where = "every pair" if len(pairs) == len(PAIRS) else ", ".join(pairs)
        lines.append(f"{marks[name, why]} {name}: {why}  [{where}]")
    return lines


if __name__ == "__main__":
    sys.exit(guard(main))
