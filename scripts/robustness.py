"""Accuracy under attack: FGSM over a range of epsilon, and PGD, of any number of checkpoints.

    python -m scripts.robustness --paths TEACHER.pth STUDENT.pth

FGSM (Goodfellow et al., ICLR 2015): x + epsilon sign(dL/dx). PGD (Madry et al., ICLR 2018): ``--pgd_steps`` such
steps of 2.5 epsilon / steps from a random start, kept within epsilon of x. L is the cross-entropy with the label, x
pixels in [0, 1] and clipped to it; epsilon is in units of 1/255, the largest change of any pixel. Writes
robustness.csv, robustness.png and args.json.
"""
from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helper.argtypes import number
from helper.errors import guard
from helper.evaluate import hits

from .analysis import common, drawing

LINES = {"FGSM": {"linestyle": "-"}, "PGD": {"linestyle": "--", "markerfacecolor": "white"}}


def parse(argv):
    parser = common.make_parser(__doc__)
    common.add_networks(parser, "result/robustness")
    group = parser.add_argument_group("attacks")
    epsilons = common.list_of(number(float, low=0, high=255))
    group.add_argument("--epsilons", type=epsilons, default=[0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0], metavar="LIST",
                       help="of FGSM, in 1/255 (default 0,0.5,1,2,3,4,6,8)")
    group.add_argument("--pgd_epsilons", type=epsilons, default=[0.5, 1.0, 2.0, 4.0], metavar="LIST",
                       help="of PGD, in 1/255 (default 0.5,1,2,4)")
    group.add_argument("--pgd_steps", type=number(int, low=0, high=10000), default=10,
                       help="0 leaves PGD out, and torchattacks unused (default 10)")
    return parser.parse(argv)


def fgsm(model: nn.Module, pixels: Tensor, labels: Tensor, epsilons: Sequence[float]) -> Iterator[Tensor]:
    """The attacked pixels for each epsilon (in 1/255), all from one gradient.

    The loss is summed, not averaged: the signs are those of the mean, and a confident network's small gradients are
    not divided by the batch size, down to zero.
    """
    pixels = pixels.detach().clone().requires_grad_()
    with torch.enable_grad():
        loss = F.cross_entropy(model(pixels), labels, reduction="sum")
    sign = torch.autograd.grad(loss, pixels)[0].sign()
    for epsilon in epsilons:
        yield (pixels.detach() + epsilon / 255 * sign).clamp(0, 1)


def fgsm_accuracies(study: common.Study, model: nn.Module, epsilons: Sequence[float]) -> list[float]:
    """Per cent of the images that stay right, for each epsilon."""
    right = torch.zeros(len(epsilons), dtype=torch.int64, device=study.device)
    for pixels, labels in study.batches():
        with torch.no_grad():
            right += torch.stack([hits(model(x), labels)[0] for x in fgsm(model, pixels, labels, epsilons)])
    return [100 * count / len(study.labels) for count in right.tolist()]


def pgd_accuracy(study: common.Study, model: nn.Module, epsilon: float, steps: int) -> float:
    """Per cent of the images that stay right; every network and epsilon has the same random start, up to its size."""
    attacks = drawing.need("torchattacks", "torchattacks")
    attack = attacks.PGD(model, eps=epsilon / 255, alpha=2.5 * epsilon / steps / 255, steps=steps)
    torch.manual_seed(study.opt.seed)
    right = torch.zeros((), dtype=torch.int64, device=study.device)
    for pixels, labels in study.batches():
        attacked = attack(pixels, labels)
        with torch.no_grad():
            right += hits(model(attacked), labels)[0]
    return 100 * right.item() / len(study.labels)


def measure(study: common.Study) -> list[dict]:
    """One row for each network, attack and epsilon."""
    opt, rows = study.opt, []
    for network in study.networks:
        found = [("FGSM", epsilon, 1, epsilon, accuracy) for epsilon, accuracy in
                 zip(opt.epsilons, fgsm_accuracies(study, network.model, opt.epsilons), strict=True)]
        for epsilon in opt.pgd_epsilons if opt.pgd_steps else []:
            accuracy = pgd_accuracy(study, network.model, epsilon, opt.pgd_steps)
            found.append(("PGD", epsilon, opt.pgd_steps, 2.5 * epsilon / opt.pgd_steps, accuracy))
        for attack, epsilon, steps, step, accuracy in found:
            print(f"{network.label}  {attack:<4}  epsilon {epsilon:g}/255  accuracy {accuracy:.2f}", flush=True)
            rows.append({"network": network.label, "attack": attack, "epsilon_255": epsilon, "steps": steps,
                         "step_255": step, "accuracy": accuracy})
    return rows


def draw(study: common.Study, rows: list[dict]):
    """Accuracy against epsilon: a colour a network, solid lines for FGSM, dashed ones for PGD."""
    figure, axes = drawing.make_figure(f"Accuracy under attack\n{study.scope}", 1, 1, (7.5, 4.3))
    axis = axes[0, 0]
    attacks = [attack for attack in LINES if any(row["attack"] == attack for row in rows)]
    for network in study.networks:
        for attack in attacks:
            points = sorted((row["epsilon_255"], row["accuracy"]) for row in rows
                            if row["network"] == network.label and row["attack"] == attack)
            axis.plot(*zip(*points, strict=True), linewidth=1.6, markersize=5, **network.style, **LINES[attack])
    axis.set(xlabel="epsilon, in 1/255", ylabel="accuracy, %")
    axis.set_ylim(bottom=0)
    steps = f", {study.opt.pgd_steps} steps"
    drawing.add_legend(figure, [(n.label, n.style) for n in study.networks] +
                        [(a + steps * (a == "PGD"), {"color": "0.35", **LINES[a]}) for a in attacks])
    return figure


def main(argv=None):
    opt = parse(argv)
    if opt.pgd_steps:
        drawing.need("torchattacks", "torchattacks")
    drawing.need("matplotlib.figure", "matplotlib")
    study = common.Study(opt)
    rows = measure(study)
    study.save_table("robustness.csv", rows)
    study.save_figure("robustness.png", draw(study, rows))
    study.save_settings()


if __name__ == "__main__":
    sys.exit(guard(main))
