"""scripts.support and scripts.zoo_table."""
import csv
import json

import pytest

from distiller_zoo import distiller_dict
from helper import checkpoint
from helper.errors import UserError
from models import model_dict
from scripts import support, zoo_table
from tests.support import table_runs
from tests.support.feature_cases import EQUAL_CHANNELS, PAIRS
from tests.support.small_runs import no_pictures  # noqa: F401 - a fixture

# Which pairs ----------------------------------------------------------------------------------------------------------


def test_support_lists_supported_pairs_and_reasons(tmp_path, capsys):
    support.main(["--methods", "kd,fsp", "--json", str(tmp_path / "support.json")])
    rows = json.loads((tmp_path / "support.json").read_text())
    assert {(row["teacher"], row["student"]) for row in rows} == set(PAIRS) and len(rows) == 2 * len(PAIRS)
    for row in rows:
        runs = row["method"] == "kd" or (row["teacher"], row["student"]) in EQUAL_CHANNELS
        assert row["runs"] == runs == (not row["why_not"]) and (runs or "same channels" in row["why_not"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["teacher", ">", "student", "kd", "fsp"]
    assert [line.split()[:3] for line in lines[1:14]] == [[t, ">", s] for t, s in PAIRS]
    marks = [line.split()[4] for line in lines[1:14]]
    reasons = {line.split()[0]: line for line in lines[15:]}
    assert {mark for mark in marks if mark != "yes"} == reasons.keys() and marks.count("yes") == len(EQUAL_CHANNELS)
    assert "the student has [16, 16, 32, 64], the teacher [16, 32, 64, 128]" in reasons["(1)"]
    assert reasons["(1)"].endswith("[wrn_40_2 > wrn_40_1]")


def test_support_uses_the_training_flags(monkeypatch, capsys):
    pair = "resnet56", "resnet20"
    assert support.why_not("correlation", *pair) == ""
    assert "batch of 1" in support.why_not("correlation", *pair, ["--train_fraction", "0.0013"])
    assert support.why_not("kd", *pair, ["--train_fraction", "0.0013"]) == ""
    assert "--batch_size 1" in support.why_not("rkd", *pair, ["--batch_size", "1"])
    assert "give 2475 or less" in support.why_not("crd", *pair, ["--train_fraction", "0.05"])
    assert "feature maps" in support.why_not("hint", *pair, ["--hint_layer", "4"])
    monkeypatch.setattr(distiller_dict["rkd"], "min_batch", 100)
    support.main(["--methods", "rkd"])
    assert "(1) rkd: --batch_size 64: --distill rkd needs at least 100  [every pair]" in capsys.readouterr().out
    support.main(["--methods", "kd", "--mix", "mixup"])
    assert "Every method runs on every pair." in capsys.readouterr().out
    with pytest.raises(SystemExit):
        support.main(["--methods", "fps"])
    assert "did you mean fsp" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        support.main(["--nce_kk", "3"])
    assert "did you mean --nce_k" in capsys.readouterr().err


# The table ------------------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_the_table_continues_after_a_failure_and_a_stop(tmp_path, capsys, monkeypatch):
    """On resnet8x4 > resnet8, the training script refuses fsp; a second call runs only what is missing."""
    table_runs.train_in_process(monkeypatch)
    save, out, data = tmp_path / "runs", tmp_path / "out", tmp_path / "there"
    folder = save / "models" / "resnet8x4_vanilla"
    folder.mkdir(parents=True)
    checkpoint.save({"model": model_dict["resnet8x4"](num_classes=10).state_dict()}, folder / "ckpt.pth")
    flags = ["--path_t", str(folder / "ckpt.pth"), "--dataset", "digits", "--save_dir", str(save), "--data_dir",
             str(data), "--out", str(out), "--methods", "fsp,factor", "--mixes", "cutmix", "--note", "A note."]
    with pytest.raises(UserError, match="^1 of 2 runs failed: fsp, cutmix; their logs are in "):
        zoo_table.main(flags)
    fsp, factor = csv.DictReader((out / "table.csv").read_text().splitlines())
    assert "same channels" in fsp["state"] and fsp["seeds"] == "0" and fsp[zoo_table.TOP1] == ""
    assert factor["state"] == "" and float(factor["images_per_s"]) > 0 and 0 <= float(factor[zoo_table.TOP1]) <= 100
    assert [term.split()[0] for term in factor["loss_terms"].split(", ")] == ["init", "cls", "kd"]
    text = (out / "table.md").read_text()
    assert str(tmp_path) not in text + (out / "table.csv").read_text()
    assert f"Hardware: {factor['hardware']}. A note.\n" in text
    assert "reduced: 1 of 240 epochs, 5 % of the training images" in text.splitlines()[0]
    assert "--path_t ./save/models/resnet8x4_vanilla/ckpt.pth" in factor["command"] and "--mix cutmix" in text
    assert "python -m scripts.zoo_table --path_t ./save/models/resnet8x4_vanilla/ckpt.pth" in text
    capsys.readouterr()
    with pytest.raises(UserError):
        zoo_table.main(flags)
    printed = capsys.readouterr().out
    assert "started: fsp" in printed and "started: factor" not in printed and factor["images_per_s"] in printed


def test_flags_of_the_table(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="--path_t"):
        zoo_table.main([])
    checkpoint.save({"model": model_dict["resnet8"](num_classes=100).state_dict(), "arch": "resnet8"},
                    tmp_path / "t.pth")
    flags = ["--path_t", str(tmp_path / "t.pth"), "--save_dir", str(tmp_path / "save")]
    with pytest.raises(UserError, match="the full recipe"):
        zoo_table.main([*flags, "--epochs", "240", "--train_fraction", "1"])
    monkeypatch.setattr(distiller_dict["kd"], "min_batch", 100)
    table = zoo_table.ZooTable(zoo_table.parse([*flags, "--mixes", "partial,cutmix", "--train_fraction", "0.1"]))
    assert [(line.method, line.mix) for line in table.lines] == [(m, x) for x in ("partial", "cutmix")
                                                                 for m in distiller_dict]
    refused = [line for line in table.lines if line.run is None]
    assert [(line.method, line.mix) for line in refused] == [("kd", "partial"), ("kd", "cutmix")]
    assert refused[0].refused.endswith("--distill kd needs at least 100")
    flags = {line.method: line.run.opt for line in table.lines if line.run and line.mix == "partial"}
    assert (flags["crd"].nce_k, flags["dkd"].dkd_warmup, flags["reviewkd"].reviewkd_warmup) == (1638, 1, 1)
    assert all(opt.epochs == 1 and opt.mix == "mixup" and opt.pmixup for opt in flags.values())
    assert flags["factor"].init_epochs == 1
    small = zoo_table.ZooTable(zoo_table.parse(["--path_t", str(tmp_path / "t.pth"), "--methods", "crd", "--dataset",
                                             "digits", "--train_fraction", "1"]))
    assert small.lines[0].run.opt.nce_k == round(16384 * 1437 / 50_000)
