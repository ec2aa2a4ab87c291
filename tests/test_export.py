"""Weights for models/pretrained/: half precision, usable as a teacher, with their accuracy."""
import json
import re

import pytest
import torch

from helper import checkpoint
from helper.errors import guard
from helper.teacher import build, read_teacher
from models import model_dict
from scripts import evaluate, export_weights

COMMITTED = json.loads((export_weights.PRETRAINED / "index.json").read_text())


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


def made(tmp_path, name, seed=0, **opt):
    torch.manual_seed(seed)
    model = model_dict["resnet8"](num_classes=10)
    checkpoint.save({"model": model.state_dict(), "arch": "resnet8", "opt": opt}, tmp_path / f"{name}.pth")
    return ["--path", str(tmp_path / f"{name}.pth"), "--out", str(tmp_path / "out"), "--dataset", "digits",
            "--device", "cpu", "--reduced"]


@pytest.mark.slow
def test_students_have_names_of_their_own_and_nothing_is_overwritten(tmp_path, capsys):
    mixed = {"distill": "mixstd", "mix": "mixup"}
    for name, opt, wanted in (("alone", {}, "resnet8"),
                              ("plain", {"distill": "kd", "mix": "none"}, "students/resnet8_kd"),
                              ("partial", {**mixed, "pmixup": True}, "students/resnet8_mixstd_mixup_partial"),
                              ("full", {**mixed, "pmixup": False}, "students/resnet8_mixstd_mixup")):
        for _ in range(2):  # the second time, the same weights are accepted
            assert guard(export_weights.main, made(tmp_path, name, **opt)) == 0
        assert read_teacher(str(tmp_path / "out" / f"{wanted}.pth")).arch == "resnet8"
    index = tmp_path / "out" / "index.json"
    kept, table = index.read_text(), (tmp_path / "out" / "table.md").read_text()
    assert len(json.loads(kept)) == 4 == table.count("| resnet8") + table.count("| students/")
    other = made(tmp_path, "other", seed=1)
    capsys.readouterr()
    assert guard(export_weights.main, other) == 2
    assert "--name resnet8: " in (err := capsys.readouterr().err) and err.count("\n") == 1
    assert index.read_text() == kept
    for name in ("../alone", str(tmp_path / "alone")):
        assert guard(export_weights.main, [*other, "--name", name]) == 2
        assert f"--name {name}: leads out of --out" in capsys.readouterr().err
    assert guard(export_weights.main, [*other, "--name", "resnet8_second"]) == 0
    for damaged in ("[", '{"resnet8": 3}', kept.replace('"top1": ', '"top1": "x", "t": ')):
        index.write_text(damaged)
        assert guard(export_weights.main, [*other, "--name", "third"]) == 2
        assert "index.json" in (err := capsys.readouterr().err) and err.count("\n") == 1
    table = (tmp_path / "out" / "table.md").read_text()
    index.unlink()  # a new table would lack the others
    assert guard(export_weights.main, [*other, "--name", "third"]) == 2
    err = capsys.readouterr().err
    assert "index.json has no entry for resnet8.pth and 4 more; put index.json back" in err and err.count("\n") == 1
    assert (tmp_path / "out" / "table.md").read_text() == table
    assert not (tmp_path / "out" / "third.pth").exists()


def test_committed_weights_match_their_table():
    folder = export_weights.PRETRAINED
    files = {str(file.relative_to(folder).with_suffix("")) for file in folder.rglob("*.pth")}
    assert files == COMMITTED.keys() and files
    text = (folder / "table.md").read_text()
    for name, entry in COMMITTED.items():
        assert read_teacher(str(folder / f"{name}.pth")).sha256 == entry["sha256"]
        assert f"| {name}.pth | {entry['top1_half']:.2f} | {entry['top1']:.2f} | {entry['sha256'][:16]} |" in text


@pytest.mark.slow
def test_committed_weights_have_the_accuracy_of_their_table(real_cifar100, capsys):
    name = "resnet20"  # the others are checked by digest
    file = export_weights.PRETRAINED / f"{name}.pth"
    assert guard(evaluate.main, ["--path", str(file), "--data_dir", str(real_cifar100), "--device", "cpu"]) == 0
    top1 = float(re.search(r"^plain +top-1 +([0-9.]+)", capsys.readouterr().out, re.M)[1])
    assert abs(top1 - COMMITTED[name]["top1"]) <= 0.05
