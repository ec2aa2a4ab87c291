"""The analyses compared with plain loops in double precision."""
import json
import math
import statistics
from argparse import Namespace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import dataset
from distiller_zoo import std_scaled
from helper.errors import UserError, guard
from scripts import calibration, evaluate, robustness, tsne
from scripts.analysis import common
from tests.support.analysis_runs import SHARED, as_saved, run, two_networks


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return two_networks(tmp_path_factory.mktemp("save") / "models")


def random_logits(seed, n=200, classes=7, spread=3.0):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(0, spread, (n, classes))), torch.tensor(rng.integers(0, classes, n))


# evaluate -------------------------------------------------------------------------------------------------------------


def by_hand(logits, labels):
    """(top-1, top-5, loss) by loops; logits: a list of floats per image."""
    top1 = top5 = loss = 0
    for row, label in zip(logits, labels, strict=True):
        above = sum(z > row[label] for z in row)
        top1, top5 = top1 + (above == 0), top5 + (above < 5)
        loss += math.log(sum(math.exp(z - max(row)) for z in row)) + max(row) - row[label]
    return 100 * top1 / len(labels), 100 * top5 / len(labels), loss / len(labels)


def test_evaluate_command(paths, tmp_path, capsys):
    target = tmp_path / "figures.json"
    assert guard(evaluate.main, [*SHARED, "--path", paths[1], "--limit", "50", "--json", str(target)]) == 0
    printed = capsys.readouterr().out
    found = json.loads(target.read_text())
    assert "reduced to 50 of 360 test images" in printed and found["reduced"] and found["images"] == 50
    assert found["model"] == "resnet8"
    data, _ = common.load_data(Namespace(dataset="digits", data_dir="none", limit=50))
    net = as_saved(paths[1])
    images, labels = next(dataset.eval_batches(data.test, data, "cpu", 50))
    with torch.no_grad():
        logits = net(images).tolist()
    scaled = [[z / statistics.stdev(row) for z in row] for row in logits]
    for name, rows in (("plain", logits), ("std-scaled", scaled)):
        top1, top5, loss = by_hand(rows, labels.tolist())
        assert (found["logits"][name]["top1"], found["logits"][name]["top5"]) == pytest.approx((top1, top5))
        assert found["logits"][name]["loss"] == pytest.approx(loss, rel=1e-4)


# robustness -----------------------------------------------------------------------------------------------------------


class Linear(nn.Module):
    """logits = W x for pixels (B, 1, 2, 3)."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


def linear_case(classes, n=40):
    rng = np.random.default_rng(5)
    model = Linear(torch.tensor(rng.normal(size=(classes, 6))))
    return model, torch.tensor(rng.random((n, 1, 2, 3))), torch.tensor(rng.integers(0, classes, n))


def test_fgsm_is_the_hand_computed_step():
    """On logits W x the gradient of the cross-entropy is W^T (softmax(W x) - onehot)."""
    model, pixels, labels = linear_case(classes=4)
    weight = model.weight.tolist()
    epsilons = [0.0, 3.0, 40.0]
    attacked = list(robustness.fgsm(model, pixels, labels, epsilons))
    for image, label, *moved in zip(pixels.flatten(1).tolist(), labels.tolist(), *attacked, strict=True):
        z = [sum(w * x for w, x in zip(row, image, strict=True)) for row in weight]
        total = sum(math.exp(v) for v in z)
        slope = [math.exp(v) / total - (k == label) for k, v in enumerate(z)]
        for epsilon, found in zip(epsilons, moved, strict=True):
            for i, x in enumerate(image):
                step = math.copysign(epsilon / 255, sum(s * row[i] for s, row in zip(slope, weight, strict=True)))
                assert found.flatten()[i].item() == pytest.approx(min(max(x + step, 0), 1), abs=1e-15)


def test_fgsm_agrees_with_torchattacks():
    attacks = pytest.importorskip("torchattacks")
    model, pixels, labels = linear_case(classes=4)
    adversarial, = robustness.fgsm(model, pixels, labels, [8.0])
    assert torch.equal(adversarial, attacks.FGSM(model, eps=8 / 255)(pixels, labels))


def test_accuracies_of_both_attacks_are_those_of_the_worst_case():
    """For two classes and a linear model, the worst image within epsilon is a corner, in closed form. FGSM reaches it
    in its step, PGD because its steps of 2.5 epsilon / steps cross the whole range."""
    model, pixels, labels = linear_case(classes=2)
    batches = list(zip(pixels.split(16), labels.split(16), strict=True))
    study = SimpleNamespace(batches=lambda: batches, labels=labels, device=torch.device("cpu"), opt=Namespace(seed=3))
    epsilons = [2.0, 10.0, 30.0]
    expected = []
    for epsilon in epsilons:
        right = 0
        for image, label in zip(pixels.flatten(1).tolist(), labels.tolist(), strict=True):
            gap = (model.weight[label] - model.weight[1 - label]).tolist()
            worst = [min(max(x - math.copysign(epsilon / 255, g), 0), 1) for x, g in zip(image, gap, strict=True)]
            right += sum(g * x for g, x in zip(gap, worst, strict=True)) > 0
        expected.append(100 * right / len(labels))
    assert 0 < expected[-1] < expected[0] < 100
    assert robustness.fgsm_accuracies(study, model, epsilons) == pytest.approx(expected)
    assert [robustness.pgd_accuracy(study, model, e, 10) for e in epsilons] == pytest.approx(expected)


# calibration ----------------------------------------------------------------------------------------------------------


def errors_by_hand(logits, labels, bins):
    """(ece, nll, overconfidence) by loops over images and bins."""
    images, nll = [], 0.0
    for row, label in zip(logits, labels, strict=True):
        total = sum(math.exp(z) for z in row)
        p = [math.exp(z) / total for z in row]
        nll -= math.log(p[label])
        images.append((max(p), p.index(max(p)) == label))
    ece = over = 0.0
    for b in range(bins):
        inside = [(c, right) for c, right in images if b / bins < c <= (b + 1) / bins]
        if inside:
            confidence = sum(c for c, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            ece += len(inside) / len(labels) * abs(confidence - accuracy)
            over += len(inside) / len(labels) * confidence * max(confidence - accuracy, 0)
    return ece, nll / len(labels), over


@pytest.mark.parametrize("spread", [0.3, 3.0])
@pytest.mark.parametrize("scale", calibration.SCALES.values())
def test_errors_by_hand(spread, scale):
    logits, labels = random_logits(1, spread=spread)
    logits = scale(logits)
    found = calibration.errors(logits, labels, calibration.reliability(logits, labels))
    ece, nll, over = errors_by_hand(logits.tolist(), labels.tolist(), 15)
    assert (found["ece"], found["nll"], found["overconfidence"]) == pytest.approx((ece, nll, over), rel=1e-12)
    assert found["accuracy"] == pytest.approx(100 * (logits.argmax(1) == labels).double().mean().item())
    assert found["confidence"] == pytest.approx(logits.softmax(1).amax(1).mean().item())


def test_expected_calibration_error_agrees_with_torchmetrics():
    metrics = pytest.importorskip("torchmetrics.functional.classification")
    logits, labels = random_logits(2)
    found = calibration.errors(logits, labels, calibration.reliability(logits, labels))["ece"]
    theirs = metrics.multiclass_calibration_error(logits.softmax(1), labels, 7, n_bins=15, norm="l1")
    assert found == pytest.approx(theirs.item(), abs=1e-6)  # single precision there


def test_entropy_by_hand():
    logits, _ = random_logits(3, n=20)
    for row, found in zip(logits.tolist(), calibration.entropy(logits).tolist(), strict=True):
        total = sum(math.exp(z) for z in row)
        assert found == pytest.approx(-sum(math.exp(z) / total * math.log(math.exp(z) / total) for z in row))
    certain = torch.tensor([[5000.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    assert calibration.entropy(certain).tolist() == pytest.approx([0, math.log(2)])


def test_a_confidence_of_one_is_in_the_last_bin():
    logits = torch.tensor([[800.0, 0, 0]] * 3 + [[3.0, 0, 0]], dtype=torch.float64)
    table = calibration.reliability(logits, torch.tensor([0, 0, 1, 0]))
    assert table["count"].tolist() == [0.0] * 13 + [1.0, 3.0]
    assert table["accuracy"][14].item() == pytest.approx(2 / 3) and table["confidence"][14].item() == 1


def test_smoothing_against_the_network_itself(paths, tmp_path):
    """Entropy and spread of plain and scaled logits, from images mixed after normalising and the network as saved."""
    _, tables = run(calibration.main, "--paths", paths[0], "--limit", 30, "--temperatures", "2", "--diagrams", "1",
                    "--lambdas", "0,0.3,1", "--seed", 4, "--out", tmp_path)
    data, _ = common.load_data(Namespace(dataset="digits", data_dir="none", limit=30))
    net = as_saved(paths[0]).double()
    images = next(dataset.eval_batches(data.test, data, "cpu", 30))[0].double()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(4))
    for row in tables["smoothing.csv"]:
        lam, T = float(row["lambda"]), float(row["temperature"])
        with torch.no_grad():
            z = net(lam * images + (1 - lam) * images[order])
        if row["logits"] == "std-scaled":
            z = std_scaled(z)
        p = (z / T).softmax(1)
        assert float(row["entropy"]) == pytest.approx(-(p * p.log()).sum(1).mean().item(), rel=1e-4)
        spread = statistics.mean(statistics.stdev(values) for values in (z / T).tolist())
        assert float(row["logit_std"]) == pytest.approx(spread, rel=1e-4)


# t-SNE ----------------------------------------------------------------------------------------------------------------


def test_points_are_clean_images_and_pairs_of_different_classes():
    labels = np.random.default_rng(0).integers(0, 5, 300)
    points = tsne.choose(labels, [3, 0, 4], per_class=20, per_pair=50, beta_a=1.0, seed=1)
    first, second = labels[points.first], labels[points.second]
    assert points.clean.sum() == 60 and points.clean[:60].all() and (points.lam[:60] == 1).all()
    assert first[:60].tolist() == [3] * 20 + [0] * 20 + [4] * 20
    for i, pair in enumerate([(3, 0), (3, 4), (0, 4)]):
        part = slice(60 + 50 * i, 110 + 50 * i)
        assert set(zip(first[part].tolist(), second[part].tolist(), strict=True)) == {pair}
    mixed = points.lam[60:]
    assert 0 <= mixed.min() < 0.1 and 0.9 < mixed.max() <= 1 and abs(mixed.mean() - 0.5) < 0.1


def test_class_numbers_and_names():
    names = ["apple", "bear", "5"]
    assert tsne.class_ids("bear, 0", 3, names) == [1, 0]
    assert tsne.class_ids("4,2", 5, ()) == [4, 2]
    for text in ("0,0", "0", "0,9", "0,-1", "apple,0", "0,bare", "", "0,²"):
        with pytest.raises(UserError, match="--classes"):
            tsne.class_ids(text, 3, names)
    with pytest.raises(UserError, match="did you mean bear"):
        tsne.class_ids("0,bare", 3, names)


def test_the_legend_names_classes():
    rows = [{"network": "T", "kind": "clean", "class_a": c, "class_b": c, "lambda": 1.0, "x": c, "y": 0.0}
            for c in (8, 52)]
    names = dict(enumerate(f"class{i}" for i in range(100))) | {8: "bicycle", 52: "oak_tree"}
    study = SimpleNamespace(networks=[SimpleNamespace(label="T")], data=SimpleNamespace(name="cifar100"), reduced="")
    figure = tsne.draw(study, rows, [8, 52], [*names.values()])
    legend, = figure.legends
    assert "cifar100, 2 test images of 2 classes" in {text.get_text().split("\n")[-1] for text in figure.texts}
    assert [text.get_text() for text in legend.get_texts()] == ["bicycle", "oak tree"]


def test_features_are_f4_of_the_mixed_images(paths, tmp_path):
    opt = tsne.parse([*SHARED, "--paths", paths[0], "--out", str(tmp_path), "--limit", "60"])
    study = common.Study(opt)
    points = tsne.choose(study.labels.numpy(), [0, 1], 4, 5, 1.0, 0)
    net = as_saved(paths[0])
    images = next(dataset.eval_batches(study.data.test, study.data, "cpu", 60))[0]
    lam = torch.tensor(points.lam).view(-1, 1, 1, 1)
    with torch.no_grad():
        expected = net(lam * images[points.first] + (1 - lam) * images[points.second], is_feat=True)[0][-1]
    found = torch.tensor(tsne.features(study, study.networks[0].model, points))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
