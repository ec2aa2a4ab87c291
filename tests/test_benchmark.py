"""The benchmark: mixing of the reference path, printed figures, JSON, refused input."""
import json
import re

import pytest
import torch

from helper.errors import guard
from scripts import benchmark
from scripts.bench.classic import host_mix
from tests.support.images import make_tree
from tests.support.training import small_data

pytestmark = pytest.mark.slow


def test_host_mix_is_mixup_of_the_batch():
    torch.manual_seed(0)
    images, labels = torch.randn(64, 3, 4, 4), torch.arange(64) % 7
    mixed, targets = host_mix(images, labels, 7, 0.9, 1.0)
    torch.testing.assert_close(targets.sum(1), torch.ones(64))
    clean = sum(any(torch.allclose(x, image) for image in images) for x in mixed)
    assert 20 < clean < 55  # 59 % of them, more or less
    full, _ = host_mix(images, labels, 7, 0.0, 1.0)
    assert not any(torch.allclose(x, image) for x in full[:8] for image in images)
    torch.testing.assert_close(full.mean(), images.mean(), atol=0.05, rtol=0)


@pytest.fixture
def noise(monkeypatch):
    monkeypatch.setattr(benchmark, "load", lambda opt: small_data(64, classes=100, size=32))


def test_benchmark_prints_and_stores_its_table(noise, tmp_path, capsys):
    target = tmp_path / "speed.json"
    words = ["--what", "data,step,train", "--pairs", "resnet14:resnet8", "--methods", "kd,mixstd", "--trial", "1,2",
             "--batch_size", "16", "--steps", "1", "--rounds", "1", "--num_workers", "0", "--device", "cpu"]
    status = guard(benchmark.main, [*words, "--json", str(target), "--profile", str(tmp_path / "profile.txt")])
    assert status == 0
    rows = json.loads(target.read_text())
    assert [(row["what"], row["method"]) for row in rows] == [
        ("data", "mixup"), ("step", "kd"), ("train", "kd"), ("step", "mixstd"), ("train", "mixstd")]
    wanted = {"what", "pair", "method", "device", "batch", "reference_images_per_s", "images_per_s", "ratio"}
    for row in rows:
        assert wanted <= row.keys()
        assert row["ratio"] == pytest.approx(row["images_per_s"] / row["reference_images_per_s"])
    assert "240 epochs" in capsys.readouterr().out
    assert "convolution" in (tmp_path / "profile.txt").read_text()


def test_the_bottleneck_of_a_training_on_files(tmp_path, capsys):
    tree, target = make_tree(tmp_path / "images"), tmp_path / "speed.json"
    words = ["--what", "feed", "--dataset", "folder", "--data_dir", str(tree), "--pairs", "resnet18:mobilenet_v1",
             "--methods", "kd", "--batch_size", "4", "--steps", "1", "--rounds", "1", "--num_workers", "1", "--device",
             "cpu", "--json", str(target)]
    assert guard(benchmark.main, words) == 0
    row, = json.loads(target.read_text())
    assert min(row["loader"], row["step"], row["training"]) > 0
    printed = capsys.readouterr().out
    assert ("bound by the loader" if row["loader"] < row["step"] else "bound by the step") in printed
    assert f"loader {row['loader']:.1f} images/s, step {row['step']:.1f}, both in training" in printed
    assert "classic" not in printed


@pytest.mark.parametrize("words", [["--what", "all"], ["--dataset", "folder"], ["--pairs", "resnet56"],
                                   ["--methods", "x"], ["--pairs", "a:b"]])
def test_bad_input_is_refused(words, capsys):
    assert guard(benchmark.main, words) == 2
    assert words[0] in capsys.readouterr().err


def test_operations_are_counted(noise, capsys):
    words = ["--what", "ops", "--pairs", "resnet14:resnet8", "--methods", "mixstd,hint", "--device", "cpu"]
    assert guard(benchmark.main, words) == 0
    ahead, card, within, _ = capsys.readouterr().out.splitlines()[-4:]
    step, teacher, steps, whole = (int(word) for word in ahead.split() if word.isdigit())
    assert steps == 16 and whole == pytest.approx(step + teacher / steps, abs=1)
    assert teacher > 0 and "teacher" not in within  # hint has it in the step
    nodes, memsets, conversions, initialisations, chain = (int(n) for n in re.findall(r"\b\d+\b", card))
    assert memsets == 3 * 9 - 1 and conversions == 2 * 7 and initialisations == 3  # 9 convolutions, two of them 1x1
    assert nodes == step + memsets + conversions + initialisations and 4 * 9 < chain < step

    assert guard(benchmark.main, [*words, "--norms", "triton"]) == 0
    ahead, card = capsys.readouterr().out.splitlines()[-4:-2]
    assert int(ahead.split()[3]) < step and f"{3 * 9 - 1 - 2 * 9} memsets" in card
    assert guard(benchmark.main, ["--what", "step", "--norms", "triton"]) == 2
