"""t-SNE of the penultimate features (f4) of chosen classes, of clean test images and of mixup between the classes.

    python -m scripts.tsne --paths TEACHER.pth STUDENT.pth --classes 0,1,2

t-SNE: van der Maaten and Hinton, JMLR 2008. Clean and mixed images of a network are laid out together, so that both
rows of the picture have the same axes: above the clean images, below the mixed ones over them, in the two classes'
colours in proportion to lambda, the weight of the first class (from Beta(a, a), a = ``--beta_a``). Distances and
places can't be compared between networks. For that tsne_summary.csv has the silhouette of the clean images' classes in
feature space (cosine distance; 1 is tight and apart, 0 overlapping). Writes tsne.csv, tsne_summary.csv, tsne.png and
args.json.
"""
from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from helper.argtypes import number
from helper.errors import UserError, guard, near

from .analysis import common, drawing

MOST = len(drawing.COLOURS)


@dataclass(frozen=True)
class Points:
    """What is laid out, clean images first. first, second: int64 (P,), the images' places in the test set, equal for a
    clean one. lam: float32 (P,), the weight of first, 1 for a clean one."""

    first: np.ndarray
    second: np.ndarray
    lam: np.ndarray

    @property
    def clean(self) -> np.ndarray:
        return self.first == self.second


def parse(argv):
    parser = common.make_parser(__doc__)
    common.add_networks(parser, "result/tsne")
    group = parser.add_argument_group("what is laid out")
    group.add_argument("--classes", default="0,1,2", metavar="LIST",
                       help=f"class numbers, or names as oak_tree, 2 to {MOST} (default 0,1,2)")
    group.add_argument("--per_class", type=number(int, low=2), default=100, metavar="N",
                       help="clean images of each class, the first ones (default 100)")
    group.add_argument("--per_pair", type=number(int, low=0), default=100, metavar="N",
                       help="mixed images of each pair of classes (default 100)")
    group.add_argument("--beta_a", type=number(float, above=0, high=1e4), default=1.0,
                       help="lambda ~ Beta(a, a) (default 1)")
    group.add_argument("--perplexity", type=number(float, above=0), default=30.0, help="of t-SNE (default 30)")
    return parser.parse(argv)


def class_ids(text: str, num_classes: int, names: Sequence[str]) -> list[int]:
    """Class numbers of '0,1,2' or 'apple,bear', in the order given."""
    found = []
    for part in (p.strip() for p in text.split(",")):
        if part in names:
            found.append(list(names).index(part))
        elif part.isascii() and part.isdigit() and int(part) < num_classes:
            found.append(int(part))
        else:
            raise UserError(f"--classes: no class {part!r}{near(part, names)}; give numbers from 0 to {num_classes - 1}"
                            + (" or names" if names else ""))
    if not 2 <= len(set(found)) == len(found) <= MOST:
        raise UserError(f"--classes {text}: give 2 to {MOST} different classes")
    return found


def choose(labels: np.ndarray, classes: Sequence[int], per_class: int, per_pair: int, beta_a: float,
           seed: int) -> Points:
    """The clean images of each class, then ``per_pair`` random pairs between every two classes."""
    rng = np.random.default_rng(seed)
    members = {c: np.flatnonzero(labels == c)[:per_class] for c in classes}
    few = [str(c) for c, places in members.items() if len(places) < 2]
    if few:
        raise UserError(f"--classes: fewer than two test images of class {', '.join(few)}; raise --limit")
    clean = np.concatenate(list(members.values()))
    pairs = [(rng.choice(members[a], per_pair), rng.choice(members[b], per_pair)) for a, b in combinations(classes, 2)]
    first, second = (np.concatenate([clean, *column]) for column in zip(*pairs, strict=True))
    lam = np.ones(len(first), dtype=np.float32)
    lam[len(clean):] = rng.beta(beta_a, beta_a, len(first) - len(clean))
    return Points(first, second, lam)


def features(study: common.Study, model, points: Points) -> np.ndarray:
    """f4 (P, D), float32, of the (mixed) images."""
    first, second = (torch.from_numpy(p).to(study.device) for p in (points.first, points.second))
    lam = torch.from_numpy(points.lam).to(study.device).view(-1, 1, 1, 1)
    pixels = lam * study.pixels[first] + (1 - lam) * study.pixels[second]
    return study.logits(lambda batch: model(batch, is_feat=True)[0][-1], pixels).float().numpy()


def layout(found: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """t-SNE coordinates (P, 2), from a start at the first two principal components."""
    manifold = drawing.need("sklearn.manifold", "scikit-learn")
    if perplexity >= len(found):
        raise UserError(f"--perplexity {perplexity:g}: {len(found)} points need a smaller one")
    return manifold.TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(found)


def measure(study: common.Study, points: Points, labels: np.ndarray) -> tuple[list[dict], list[dict]]:
    """(a row for each point of each network, a row for each network)."""
    metrics = drawing.need("sklearn.metrics", "scikit-learn")
    rows, summary, clean = [], [], points.clean
    for network in study.networks:
        found = features(study, network.model, points)
        places = layout(found, study.opt.perplexity, study.opt.seed)
        score = float(metrics.silhouette_score(found[clean], labels[points.first[clean]], metric="cosine"))
        print(f"{network.label}  silhouette of the clean classes {score:.3f}", flush=True)
        summary.append({"network": network.label, "silhouette": score, "images": int(clean.sum())})
        for i, (x, y) in enumerate(places.tolist()):
            a, b = int(points.first[i]), int(points.second[i])
            rows.append({"network": network.label, "kind": "clean" if clean[i] else "mixed", "class_a": int(labels[a]),
                         "class_b": int(labels[b]), "lambda": float(points.lam[i]), "image_a": a, "image_b": b,
                         "x": x, "y": y})
    return rows, summary


def draw(study: common.Study, rows: list[dict], classes: Sequence[int], names: Sequence[str]):
    """A column for each network: clean images above, the mixed ones below."""
    colours = drawing.need("matplotlib.colors", "matplotlib")
    paint = {c: np.array(colours.to_rgb(drawing.COLOURS[i])) for i, c in enumerate(classes)}
    kinds = ["clean", "mixed"] if any(row["kind"] == "mixed" for row in rows) else ["clean"]
    clean, mixed = (sum(row["kind"] == kind for row in rows) // len(study.networks) for kind in ("clean", "mixed"))
    title = f"t-SNE of the penultimate features\n{study.data.name}, {clean} test images of {len(classes)} classes" \
            f"{f' and {mixed} mixed ones' if mixed else ''}{study.reduced}"
    figure, axes = drawing.make_figure(title, len(kinds), len(study.networks), (3.6, 3.4), sharex="col", sharey="col")
    for column, network in enumerate(study.networks):
        own = [row for row in rows if row["network"] == network.label]
        axes[0, column].set_title(drawing.wrapped(network.label, 34), fontsize=10)
        for axis, shown in zip(axes[:, column], kinds, strict=True):
            for kind in kinds[:kinds.index(shown) + 1]:
                points = [row for row in own if row["kind"] == kind]
                shade = [row["lambda"] * paint[row["class_a"]] + (1 - row["lambda"]) * paint[row["class_b"]]
                         for row in points]
                axis.scatter([row["x"] for row in points], [row["y"] for row in points], c=shade, linewidths=0.9,
                             s=14, marker="o" if kind == "clean" else "x", alpha=0.15 if kind != shown else 0.85)
            axis.set_ylabel(shown if column == 0 else "")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set(visible=True, color="0.8")
    dot = {"linestyle": "", "marker": "o"}
    entries = [(names[c].replace("_", " ") if names else f"class {c}", {"color": tuple(paint[c]), **dot})
               for c in classes]
    if "mixed" in kinds:
        entries.append(("mixup of two classes, coloured by lambda", {"color": "0.35", "linestyle": "", "marker": "x"}))
    drawing.add_legend(figure, entries)
    return figure


def main(argv=None):
    opt = parse(argv)
    for module, package in (("sklearn.manifold", "scikit-learn"), ("matplotlib.figure", "matplotlib")):
        drawing.need(module, package)
    study = common.Study(opt)
    names = study.data.class_names
    classes = class_ids(opt.classes, study.data.num_classes, names)
    labels = study.labels.cpu().numpy()
    points = choose(labels, classes, opt.per_class, opt.per_pair, opt.beta_a, opt.seed)
    rows, summary = measure(study, points, labels)
    study.save_table("tsne.csv", rows)
    study.save_table("tsne_summary.csv", summary)
    study.save_figure("tsne.png", draw(study, rows, classes, names))
    study.save_settings()


if __name__ == "__main__":
    sys.exit(guard(main))
