"""The types of flags: whatever number is given, the answer is a number or one line."""
import argparse
import os
from pathlib import Path

import pytest
import torch

import helper.argtypes
from distiller_zoo import distiller_dict
from distiller_zoo.ranges import number
from helper.errors import UserError
from helper.options import parse_student

LONG = "9" * 5000


@pytest.mark.parametrize("text", ["1e999", "-1e999", "nan", "inf", LONG, "9" * 400, "-" + LONG, "0x10", "", "1e5", " ",
                                  LONG + ".0", "1e-5000x"])
@pytest.mark.parametrize("kind", [int, float])
def test_no_number_breaks_a_flag(kind, text):
    parse = number(kind, low=1, high=1e4)
    with pytest.raises(argparse.ArgumentTypeError) as error:
        parse(text)
    noun = "a whole number" if kind is int else "a number"
    assert str(error.value).startswith(f"must be {noun} >= 1 and <= 10000, not {text[:40]!r}"[:-1])
    assert len(str(error.value)) < 120


def test_number_is_one_thing():
    assert helper.argtypes.number is number
    assert number(int)("9" * 400) == int("9" * 400) and number(float)("1e308") == 1e308


@pytest.mark.parametrize("flag", sorted({"kd_T", "feat_dim", "nce_k", "init_epochs", "gamma", "learning_rate"} | {
    flag for method in distiller_dict.values() for flag in method.flags}))
@pytest.mark.parametrize("text", ["1e999", LONG, "9" * 200])
def test_every_flag_answers_a_number_beyond_all(flag, text, capsys):
    """In one line, or, where a weight may be that large, with a float."""
    try:
        assert isinstance(getattr(parse_student([f"--{flag}={text}"]), flag), float)
    except SystemExit as stop:
        assert stop.code == 2 and capsys.readouterr().err.count("\n") == 1
    except UserError as error:
        assert flag in str(error)


def test_the_hottest_temperature_can_be_squared():
    opt = parse_student(["--distill", "kd", "--mix", "none", "--kd_T", "1e6"])
    kd = distiller_dict["kd"](opt, None)
    assert torch.isfinite(kd.criterion_div(torch.randn(2, 10), torch.randn(2, 10)))
    with pytest.raises(SystemExit):
        parse_student(["--kd_T", "1e200"])


def test_files_and_folders_to_write(tmp_path):
    new, file = str(tmp_path / "new.json"), tmp_path / "file"
    file.touch()
    json_file = helper.argtypes.file_path(".json")
    kept = [tmp_path / name for name in ("last.pth", "log.csv", "args.json", "summary.json", "index.json")]
    for kind, *wrong in ((json_file, tmp_path, *kept), (helper.argtypes.folder_path, file)):
        assert kind(new) == new
        for text in map(str, wrong):
            with pytest.raises(argparse.ArgumentTypeError, match="name a(nother)? f(ile|older)"):
                kind(text)


def test_what_can_t_be_written_to_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda folder, mode: Path(folder) != tmp_path)
    for kind in (helper.argtypes.file_path(".json"), helper.argtypes.folder_path):
        with pytest.raises(argparse.ArgumentTypeError, match="no folder that can be written to"):
            kind(str(tmp_path / "new" / "x.json"))


def test_a_range_is_no_trial():
    with pytest.raises(argparse.ArgumentTypeError, match="as 1,2,3"):
        helper.argtypes.trial_list("1-3")
    assert helper.argtypes.trial_list("a-3,2-b") == ["a-3", "2-b"]


@pytest.mark.parametrize("text", ["1,1", "1,01", "0,00", "a,1,a"])
def test_one_seed_is_never_two_trials(text):
    assert helper.argtypes.trial_list("1,2,a") == ["1", "2", "a"] and helper.argtypes.trial_list("01") == ["01"]
    with pytest.raises(argparse.ArgumentTypeError, match="one seed"):
        helper.argtypes.trial_list(text)
