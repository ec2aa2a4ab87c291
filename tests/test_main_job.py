"""The main job through the command line: teacher, then student, on tiny data in the official file format."""
import csv
import json
import re
import subprocess
import sys

import pytest
import torch

import dataset
import train_student_mixstd
from helper.run import Run
from models import model_dict
from tests.support import tiny
from tests.support.small_runs import call, scalars
from tests.support.tiny import ROOT

QUICK = ["--batch_size", 50, "--epochs", 2, "--lr_decay_epochs", 1, "--save_freq", 1, "--print_freq", 2, "--tb_freq", 2,
         "--device", "cpu"]


@pytest.fixture(scope="module")
def teacher(tiny_files, tmp_path_factory):
    """(--save_dir, the run's folder, output) of a training in a subprocess, as a user starts it."""
    save = tmp_path_factory.mktemp("save")
    done = tiny.run_script(tiny_files, "train_teacher.py", "--data_dir", tiny_files, "--model", "resnet8",
                           "--save_dir", save, *QUICK)
    assert done.returncode == 0, done.stderr
    folder, = (save / "models").iterdir()
    return save, folder, done.stdout


@pytest.fixture(scope="module")
def student(teacher, tiny_files):
    """The same for a student of that teacher, trained in this process."""
    save, folder, _ = teacher
    with tiny.official(tiny_files), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "write_curves", lambda self, history: None)
        done = call(train_student_mixstd.main, ["--data_dir", tiny_files, "--path_t", folder / "resnet8_last.pth",
                                                "--model_s", "resnet14", "--save_dir", save, "--kd_T", 2, *QUICK])
    assert done.status == 0, done.err
    made, = (save / "student_model").iterdir()
    return save, made, done.out


def test_files_of_a_teacher(teacher):
    _, folder, out = teacher
    assert folder.name.startswith("resnet8_cifar100_lr_0.05_decay_0.0005_trial_0")
    names = {f.name for f in folder.iterdir() if not f.name.startswith(".")}
    assert {"args.json", "log.csv", "timing.csv", "curves.png", "summary.json", "resnet8_best.pth", "resnet8_last.pth",
            "ckpt_epoch_1.pth", "ckpt_epoch_2.pth", "resume.pth", "resume.prev.pth"} == names
    best, last, epoch = (torch.load(folder / f, weights_only=True)
                         for f in ("resnet8_best.pth", "resnet8_last.pth", "ckpt_epoch_2.pth"))
    assert {"epoch", "model", "best_acc", "optimizer"} <= best.keys()
    assert {"opt", "model", "optimizer"} <= last.keys()
    assert {"epoch", "model", "accuracy", "optimizer"} <= epoch.keys()
    model_dict["resnet8"](num_classes=100).load_state_dict(last["model"], strict=True)
    assert "Epoch 1/2 [1/4]" in out and "best accuracy" in out


def test_flags_figures_and_warnings_of_a_student(student):
    save, folder, out = student
    assert folder.name.startswith(
        "S=resnet14_T=resnet8_cifar100_mixstd_r=0.1_a=0.9_b=0.0_pmix=True_0.9_betalpha=1.0_1")
    config = json.loads((folder / "args.json").read_text())
    assert config["config"]["gamma"] == 0.1 and config["config"]["model_t"] == "resnet8"
    assert config["config"]["trial"] == "1" and config["environment"]["torch"] == torch.__version__
    with open(folder / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([0.05, 0.005])
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["last_top1"] == float(rows[-1]["test_acc"])
    assert summary["best_top1"] == max(float(row["test_acc"]) for row in rows)
    assert 0.25 < float(rows[0]["mixed_fraction"]) < 0.55  # 0.9 with replacement leaves exp(-0.9) = 41 %
    assert "WARNING --kd_T does nothing under --distill mixstd" in out
    assert re.search(r"^teacher accuracy: \d+\.\d\d$", out, re.MULTILINE)  # no published figure for resnet8
    saved = torch.load(folder / "resnet14_last.pth", weights_only=True)
    assert "optimizer" not in saved and saved["arch"] == "resnet14"


def test_recorded_figures_match_the_saved_weights(student, tiny_dir):
    """Top-1, top-5 and the loss of the scaled logits, computed from the pixels in evaluation mode."""
    _, folder, _ = student
    net = model_dict["resnet14"](num_classes=100).eval()
    net.load_state_dict(torch.load(folder / "resnet14_last.pth", weights_only=True)["model"])
    test = dataset.load("cifar100", tiny_dir).test
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)))
    with torch.no_grad():
        z = net((test.images / 255 - mean) / std).double()
    above = (z > z.gather(1, test.labels[:, None])).sum(1)
    found = json.loads((folder / "summary.json").read_text())
    assert found["last_top1"] == pytest.approx(100 * (above < 1).double().mean().item(), abs=1.01)  # a tie or two
    assert found["last_top5"] == pytest.approx(100 * (above < 5).double().mean().item(), abs=1.01)
    loss = torch.nn.functional.cross_entropy(z / z.std(1, keepdim=True), test.labels).item()
    assert found["last_test_loss"] == pytest.approx(loss, rel=1e-4)


def test_tensorboard_has_the_figures_of_the_log(student, teacher):
    save, folder, *_ = student
    with open(folder / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = scalars(save / "student_tensorboards" / folder.name)
    for tag in ("train_acc", "train_loss", "test_acc", "test_loss", "test_acc_top5", "learning_rate", "mixed_fraction"):
        assert [step for step, _ in found[tag]] == [1, 2]
        assert [value for _, value in found[tag]] == pytest.approx([float(row[tag]) for row in rows], rel=1e-6), tag
    assert len(found["images_per_s"]) == 2
    assert [step for step, _ in found["train_loss_step"]] == [2, 4, 6, 8]
    assert "train_loss" in scalars(teacher[0] / "tensorboard" / teacher[1].name)


@pytest.mark.slow
def test_real_cifar100_through_the_command_line(real_cifar100, tmp_path):
    """An epoch on 1 % of the real data."""
    command = [sys.executable, "train_teacher.py", "--model", "resnet8", "--train_fraction", "0.01", "--epochs", "1",
               "--holdout", "500", "--device", "cpu", "--data_dir", str(real_cifar100), "--save_dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    summary, = (tmp_path / "models").glob("*/summary.json")
    assert json.loads(summary.read_text())["validated_on"] == "holdout"
