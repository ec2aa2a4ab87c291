"""scripts.support: which pairs of networks a method runs on, and why not."""
import json

import pytest

from distiller_zoo import distiller_dict
from scripts import support
from tests.support.feature_cases import EQUAL_CHANNELS, PAIRS


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
