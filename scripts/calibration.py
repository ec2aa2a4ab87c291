"""How sure networks are: entropy and spread of their outputs, and how far confidence is from accuracy.

    python -m scripts.calibration --paths TEACHER.pth STUDENT.pth

Each figure is computed for the plain logits and for logits scaled by their own standard deviation (MIX-KD eq. 5), both
divided by every temperature of ``--temperatures``. Confidence is the largest probability; bins are (0, 1/15], ...,
(14/15, 1] (see :func:`reliability`, which defines the errors too). Writes to ``--out``:

    calibration.csv .png   accuracy, confidence, negative log likelihood, expected calibration error, overconfidence
    reliability.csv .png   count, confidence and accuracy of every bin
    smoothing.csv .png     mean entropy and mean standard deviation of the logits of mixed images, by lambda
    args.json
"""
from __future__ import annotations

import math
import sys

import torch
import torch.nn.functional as F
from torch import Tensor

from distiller_zoo import std_scaled
from helper.argtypes import number
from helper.errors import guard

from .analysis import common, drawing
from .analysis.calibration_plots import draw_errors, draw_reliability, draw_smoothing

BINS = 15
SCALES = {"plain": lambda logits: logits, "std-scaled": std_scaled}
TEMPERATURES = [0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0]


def parse(argv):
    parser = common.make_parser(__doc__)
    common.add_networks(parser, "result/calibration")
    group = parser.add_argument_group("what is measured")
    temperatures = common.list_of(number(float, low=0.01, high=1000))
    shown = ",".join(f"{t:g}" for t in TEMPERATURES)
    group.add_argument("--temperatures", type=temperatures, default=TEMPERATURES, metavar="LIST",
                       help=f"(default {shown})")
    group.add_argument("--diagrams", type=temperatures, default=[1.0, 4.0], metavar="LIST",
                       help="temperatures of the reliability diagrams; the first is that of the entropy by lambda in "
                            "the picture (default 1,4)")
    group.add_argument("--lambdas", type=common.list_of(number(float, low=0, high=1)), metavar="LIST",
                       default=[i / 10 for i in range(11)], help="mixup coefficients (default 0,0.1,...,1)")
    opt = parser.parse(argv)
    opt.temperatures = sorted({*opt.temperatures, *opt.diagrams})
    opt.lambdas = sorted(opt.lambdas)
    return opt


def reliability(logits: Tensor, labels: Tensor, bins: int = BINS) -> dict[str, Tensor]:
    """count, confidence and accuracy, (bins,) each, of the rows whose confidence falls into a bin; 0 where none does.

    Bins are open below and closed above (Guo et al., ICML 2017), so that a confidence of 1 is in the last; torchmetrics
    gives it a bin of its own, after the last.
    """
    confidence, guess = logits.softmax(dim=1).max(dim=1)
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype)
    place = torch.bucketize(confidence, edges[1:-1])
    empty = torch.zeros(bins, dtype=confidence.dtype)
    count = empty.index_add(0, place, torch.ones_like(confidence))
    total = count.clamp(min=1)
    return {"count": count, "confidence": empty.index_add(0, place, confidence) / total,
            "accuracy": empty.index_add(0, place, (guess == labels).to(confidence.dtype)) / total}


def errors(logits: Tensor, labels: Tensor, table: dict[str, Tensor]) -> dict[str, float]:
    """Of logits (N, K) with their :func:`reliability`; n_b images of bin b have mean confidence c_b, accuracy a_b.

    accuracy: per cent. confidence: mean over the images. nll: mean -log p of the label, nats.
    ece: sum_b n_b/N |c_b - a_b| (Naeini et al., AAAI 2015; Guo et al., ICML 2017).
    overconfidence: sum_b n_b/N c_b max(c_b - a_b, 0) (Thulasidasan et al., NeurIPS 2019).
    """
    share, gap = table["count"] / len(labels), table["confidence"] - table["accuracy"]
    found = {"accuracy": 100 * (share * table["accuracy"]).sum(), "confidence": (share * table["confidence"]).sum(),
             "nll": F.cross_entropy(logits, labels), "ece": (share * gap.abs()).sum(),
             "overconfidence": (share * table["confidence"] * gap.clamp(min=0)).sum()}
    return {name: value.item() for name, value in found.items()}


def entropy(logits: Tensor) -> Tensor:
    """-sum_c p_c log p_c of every row's softmax, (N,), in nats."""
    log_p = F.log_softmax(logits, dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def measure_errors(study: common.Study) -> tuple[list[dict], list[dict]]:
    """(a row for each network, scaling and temperature; a row for each bin of these)."""
    rows, bins, labels = [], [], study.labels.cpu()
    for network in study.networks:
        clean = study.logits(network.model)
        for name, scale in SCALES.items():
            for T in study.opt.temperatures:
                logits = scale(clean) / T
                table = reliability(logits, labels)
                key = {"network": network.label, "logits": name, "temperature": T}
                rows.append({**key, **errors(logits, labels, table)})
                for b in range(BINS):
                    bins.append({**key, "low": b / BINS, "high": (b + 1) / BINS, "count": int(table["count"][b]),
                                 "confidence": table["confidence"][b].item(), "accuracy": table["accuracy"][b].item()})
        for row in rows:
            if row["network"] == network.label and row["temperature"] == study.opt.diagrams[0]:
                print(f"{network.label}  {row['logits']:<10}  T {row['temperature']:g}  "
                      f"accuracy {row['accuracy']:.2f}  NLL {row['nll']:.4f}  ECE {row['ece']:.4f}  "
                      f"overconfidence {row['overconfidence']:.4f}", flush=True)
    return rows, bins


def measure_smoothing(study: common.Study) -> list[dict]:
    """A row for each network, lambda, scaling and temperature: lambda x + (1 - lambda) x', x' the test images in a
    random order that all networks share. logit_std is the mean over images of the unbiased standard deviation of
    logits / T; it is 1 / T for scaled logits."""
    order = torch.randperm(len(study.labels), generator=torch.Generator().manual_seed(study.opt.seed))
    partner, rows = study.pixels[order.to(study.device)], []
    for network in study.networks:
        for lam in study.opt.lambdas:
            mixed = study.logits(network.model, torch.lerp(partner, study.pixels, lam))
            for name, scale in SCALES.items():
                for T in study.opt.temperatures:
                    logits = scale(mixed) / T
                    rows.append({"network": network.label, "logits": name, "lambda": lam, "temperature": T,
                                 "entropy": entropy(logits).mean().item(),
                                 "logit_std": logits.std(dim=1).mean().item()})
    return rows


def main(argv=None):
    opt = parse(argv)
    drawing.need("matplotlib.figure", "matplotlib")
    study = common.Study(opt)
    rows, bins = measure_errors(study)
    smoothing = measure_smoothing(study)
    for name, table in (("calibration", rows), ("reliability", bins), ("smoothing", smoothing)):
        study.save_table(f"{name}.csv", table)
    study.save_figure("calibration.png", draw_errors(study, rows))
    study.save_figure("reliability.png", draw_reliability(study, rows, bins))
    study.save_figure("smoothing.png", draw_smoothing(study, smoothing, math.log(study.data.num_classes)))
    study.save_settings()


if __name__ == "__main__":
    sys.exit(guard(main))
