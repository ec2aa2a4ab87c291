"""Weights for models/pretrained/: half precision, usable as a teacher, with what they are worth."""
import json

import torch

from helper import checkpoint
from helper.errors import guard
from helper.teacher import build, read_teacher
from models import model_dict
from scripts import evaluate, export_weights


def test_export_and_use(tmp_path, capsys):
    torch.manual_seed(0)
    model = model_dict["resnet8"](num_classes=10)
    checkpoint.save({"model": model.state_dict(), "arch": "resnet8"}, tmp_path / "made.pth")
    words = ["--path", str(tmp_path / "made.pth"), "--out", str(tmp_path / "out"), "--dataset", "digits",
             "--device", "cpu"]
    assert guard(export_weights.main, words) == 2 and "--reduced" in capsys.readouterr().err
    words += ["--reduced"]
    assert guard(export_weights.main, words) == 0
    entry = json.loads((tmp_path / "out" / "index.json").read_text())["resnet8"]
    file = read_teacher(str(tmp_path / "out" / "resnet8.pth"))
    assert file.arch == "resnet8" and file.sha256 == entry["sha256"]
    assert all(w.dtype in (torch.float16, torch.int64) for w in file.weights.values())
    loaded = build(file, 10).state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded[name], value, rtol=1e-3, atol=1e-6)
    capsys.readouterr()
    words = ["--path", str(tmp_path / "out" / "resnet8.pth"), "--dataset", "digits", "--device", "cpu"]
    assert guard(evaluate.main, words) == 0
    assert f"{entry['top1_half']:.2f}" in capsys.readouterr().out
    assert guard(export_weights.main, ["--path", str(tmp_path / "none.pth")]) == 2


def test_a_reduced_teacher_is_known_outside_its_folder(tmp_path, capsys):
    state = {"model": model_dict["resnet8"](num_classes=100).state_dict(), "arch": "resnet8", "opt": {"epochs": 3}}
    checkpoint.save(state, tmp_path / "copied.pth")
    assert guard(export_weights.main, ["--path", str(tmp_path / "copied.pth"), "--device", "cpu"]) == 2
    assert "--epochs 3" in capsys.readouterr().err


def test_reduced_teachers_stay_out_of_the_pretrained_ones(tmp_path, capsys):
    model = model_dict["resnet8"](num_classes=100)
    folder = tmp_path / "models" / "resnet8_run"
    folder.mkdir(parents=True)
    checkpoint.save({"model": model.state_dict(), "arch": "resnet8"}, folder / "resnet8_last.pth")
    config = {"dataset": "cifar100", "epochs": 8, "train_fraction": 0.1, "holdout": 0}
    (folder / "args.json").write_text(json.dumps({"config": config, "command": []}))
    before = sorted(export_weights.FOLDER.glob("*"))
    for more in ([], ["--reduced"]):
        assert guard(export_weights.main, ["--path", str(folder / "resnet8_last.pth"), *more]) == 2
        assert "--epochs 8, --train_fraction 0.1" in capsys.readouterr().err
    assert sorted(export_weights.FOLDER.glob("*")) == before
