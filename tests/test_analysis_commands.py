"""The commands of the analyses on small networks: files, labels, refusals of bad input."""
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from helper.errors import UserError, guard
from helper.teacher import TeacherFile
from scripts import calibration, evaluate, robustness, tsne
from scripts.analysis import common
from tests.support.analysis_runs import SHARED, assert_picture, run, save_network, two_networks
from tests.support.small_runs import call

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
TOOLS = {"robustness": robustness, "tsne": tsne, "calibration": calibration}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    return two_networks(tmp_path_factory.mktemp("save") / "models")


def test_robustness_command(paths, tmp_path):
    args = ["--paths", *paths, "--limit", 40, "--epsilons", "0,4", "--pgd_epsilons", "4", "--pgd_steps", 2]
    status, tables = run(robustness.main, *args, "--out", tmp_path / "a")
    rows = tables["robustness.csv"]
    assert status == 0 and len(rows) == 6
    assert {row["network"] for row in rows} == {"resnet8 alone, partial mixup", "resnet8 vanilla"}
    assert {(row["images"], row["reduced"]) for row in rows} == {("40", "True")}
    for clean, fgsm, pgd in zip(*[iter(rows)] * 3, strict=True):
        assert (clean["attack"], fgsm["attack"], pgd["attack"]) == ("FGSM", "FGSM", "PGD")
        assert float(pgd["accuracy"]) <= float(clean["accuracy"])
    run(robustness.main, *args, "--out", tmp_path / "b")
    assert (tmp_path / "a/robustness.csv").read_bytes() == (tmp_path / "b/robustness.csv").read_bytes()
    assert_picture(tmp_path / "a/robustness.png")


def test_the_default_data_set_is_the_checkpoints(tmp_path, capsys):
    """Without --dataset, no other is loaded or downloaded."""
    path = save_network(tmp_path / "resnet8_vanilla" / "a.pth", opt={"dataset": "digits"})
    assert guard(evaluate.main, ["--path", path, "--limit", "20", "--device", "cpu"]) == 0
    assert "digits, reduced to 20" in capsys.readouterr().out
    other = save_network(tmp_path / "resnet8" / "b.pth", opt={"dataset": "cifar10"})
    done = call(evaluate.main, [*SHARED, "--path", other])
    assert done.status == 0 and "b.pth: trained on cifar10" in done.out
    twice = [SimpleNamespace(trained={"dataset": name}) for name in ("digits", "cifar100")]
    with pytest.raises(UserError, match="different data sets, cifar100, digits"):
        common.take_dataset(Namespace(given=set(), dataset="cifar100"), twice)


def test_calibration_command(paths, tmp_path):
    args = ["--paths", *paths, "--limit", 40, "--temperatures", "0.5", "--diagrams", "1,2", "--lambdas", "0,0.3,1"]
    status, tables = run(calibration.main, *args, "--out", tmp_path)
    assert status == 0
    assert {name: len(rows) for name, rows in tables.items()} == {
        "calibration.csv": 2 * 2 * 3, "reliability.csv": 2 * 2 * 3 * 15, "smoothing.csv": 2 * 2 * 3 * 3}
    for row in tables["calibration.csv"]:
        key = ("network", "logits", "temperature")
        bins = [b for b in tables["reliability.csv"] if all(b[k] == row[k] for k in key)]
        ece = sum(int(b["count"]) / 40 * abs(float(b["confidence"]) - float(b["accuracy"])) for b in bins)
        assert sum(int(b["count"]) for b in bins) == 40 and ece == pytest.approx(float(row["ece"]), abs=1e-7)
    for name in ("calibration", "reliability", "smoothing"):
        assert_picture(tmp_path / f"{name}.png")


def test_tsne_command(paths, tmp_path):
    args = ["--paths", *paths, "--classes", "0,7", "--per_class", 12, "--per_pair", 10, "--perplexity", 5]
    status, tables = run(tsne.main, *args, "--out", tmp_path / "a")
    rows = tables["tsne.csv"]
    assert status == 0 and len(rows) == 2 * (12 + 12 + 10) and len(tables["tsne_summary.csv"]) == 2
    assert {(row["kind"], row["class_a"], row["class_b"]) for row in rows} == {
        ("clean", "0", "0"), ("clean", "7", "7"), ("mixed", "0", "7")}
    run(tsne.main, *args, "--out", tmp_path / "b")
    assert (tmp_path / "a/tsne.csv").read_bytes() == (tmp_path / "b/tsne.csv").read_bytes()
    assert_picture(tmp_path / "a/tsne.png")


def test_equal_labels_get_different_names(tmp_path):
    def file(path):
        return TeacherFile(tmp_path / path, "resnet8", {})

    opt = Namespace(labels=None)
    labels = common.label_all(opt, [file("resnet8_x/a.pth"), file("resnet8_x/b.pth"), file("resnet20/a.pth")])
    assert labels == ["resnet8 x, a", "resnet8 x, b", "resnet8 resnet20"]
    labels = common.label_all(opt, [file("1/resnet8/a.pth"), file("2/resnet8/a.pth")])
    assert len(set(labels)) == 2
    assert common.default_label(file("S=resnet8_T=resnet56_kd_1/a.pth")) == "resnet8 T=resnet56 kd 1"


def test_a_network_of_less_than_the_recipe_is_labelled_reduced(tmp_path):
    def label(**trained):
        return common.default_label(TeacherFile(tmp_path / "resnet8_x" / "a.pth", "resnet8", {}, trained))

    assert label(epochs=3, train_fraction=0.1) == "resnet8 x, reduced: --epochs 3 --train_fraction 0.1"
    assert label(epochs=240, train_fraction=1.0, holdout=0, dataset="digits") == label(epochs=300) == "resnet8 x"


BAD = {  # (flags after --paths OURS THEIRS --out FOLDER, a word of the error)
    "robustness": [("--paths missing.pth", "missing.pth"), ("--models resnet8", "--models"), ("--labels a", "--labels"),
                   ("--labels a a", "--labels"), ("--epsilons 2,2", "twice"), ("--epsilons 300", "--epsilons"),
                   ("--models resnet14 resnet14", "not the weights of resnet14"), ("--nonsense 1", "--nonsense")],
    "tsne": [("--classes 0,10", "0 to 9"), ("--classes 3", "2 to"), ("--perplexity 5000", "--perplexity"),
             ("--limit 10 --classes 0,1", "--limit"), ("--beta_a 0", "--beta_a")],
    "calibration": [("--temperatures 0", "--temperatures"), ("--lambdas 0,1.5", "--lambdas")],
}


@pytest.mark.parametrize("tool", BAD)
def test_bad_input_is_refused_in_one_line(tool, paths, tmp_path):
    for flags, word in BAD[tool]:
        done = call(TOOLS[tool].main, [*SHARED, "--paths", *paths, "--out", str(tmp_path / "out"), *flags.split()])
        assert done.status == 2 and done.err.count("\n") == 1 and word in done.err, done
        assert not list((tmp_path / "out").glob("*"))


def test_other_bad_input(paths, tmp_path):
    hundred = save_network(tmp_path / "resnet8_c100" / "a.pth", classes=100)
    unknown = save_network(tmp_path / "strange" / "a.pth")
    (tmp_path / "file").write_text("")
    for main, args, word in [
        (robustness.main, ["--paths", paths[0], paths[0]], "given twice"),
        (robustness.main, ["--paths", hundred, "--out", str(tmp_path / "x")], "100 classes"),
        (robustness.main, ["--paths", unknown], "name it with --models"),
        (robustness.main, ["--paths", paths[0], "--out", str(tmp_path / "file" / "x")], "--out"),
        (evaluate.main, ["--path", unknown], "name it with --model"),
        (evaluate.main, ["--path", paths[0], "--json", str(tmp_path / "none" / "x.json")], "--json"),
    ]:
        done = call(main, [*SHARED, *args])
        assert done.status == 2 and done.err.count("\n") == 1 and word in done.err, done


def test_a_missing_package_is_reported_in_one_line(paths, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    done = call(tsne.main, [*SHARED, "--paths", *paths, "--out", str(tmp_path / "out")])
    assert done.status == 2 and done.err.count("\n") == 1 and "pip install" in done.err
    assert not (tmp_path / "out").exists()


def test_limit_keeps_the_classes_balanced():
    data, total = common.load_data(Namespace(dataset="digits", data_dir="none", limit=30))
    counts = torch.bincount(data.test.labels)
    assert total == 360 and counts.sum() == 30 and counts.max() - counts.min() <= 1
