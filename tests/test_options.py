"""Flags: ranges, booleans, similar names, defaults, warnings; names of runs."""
import argparse
import os
from pathlib import Path

import pytest
import torch

import train_teacher
from distiller_zoo import DistillError, distiller_dict
from helper import recipe
from helper.argtypes import file_path, folder_path, seed_of
from helper.errors import UserError, guard
from helper.options import parse_student, parse_teacher
from helper.run import student_name, teacher_name
from models import model_dict
from tests.support.small_runs import call

PARSERS = {"teacher": parse_teacher, "student": parse_student}
RANGES = {  # flag: (accepted values, refused values)
    "epochs": (["1", "240"], ["0", "-1", "1.5", "1e2", "x", "", "9" * 400, "nan"]),
    "batch_size": (["1", "65536"], ["0", "65537", "-64", "64.0", "9" * 5000]),
    "learning_rate": (["1e-9", "0.05", "3"], ["0", "-0.1", "nan", "inf", "1e999", "0,05", "x"]),
    "lr_decay_epochs": (["150,180,210", "1", "", " "], ["3,2", "2,2", "0", "-1", "1,,2", "a", "1.5", "1;2"]),
    "lr_decay_rate": (["0.1", "1"], ["0", "-1", "inf"]),
    "weight_decay": (["0", "5e-4"], ["-1e-9", "nan"]),
    "momentum": (["0", "0.9", "1"], ["-0.1", "1.1"]),
    "partmixup": (["0", "0.5", "1"], ["-0.01", "1.01", "nan", "True"]),
    "beta_a": (["0.2", "1", "1e-6"], ["0", "-1", "inf", "1e5"]),
    "dataset": (["cifar100", "digits"], ["cifar", "../cifar100", "imagenet21k"]),
    "data_dir": (["/tmp", "a b", "~"], ["", " ", "~nobody-of-this-name/x"]),
    "save_dir": (["x/../y"], ["", "\t"]),
    "num_workers": (["0", "256"], ["-1", "257", "two"]),
    "holdout": (["0", "5000"], ["-1", "0.1"]),
    "train_fraction": (["0.01", "1"], ["0", "1.1", "-1"]),
    "print_freq": (["1"], ["0", "-5"]),
    "threads": (["0", "4"], ["-1", "5000"]),
    "trial": (["0", "1,2,3", "a.b-c", "999999999"],
              ["", ",", "1,1", "1,01", "1-3", "../../x", "a/b", "-1", "1 2", "1\n", "..", "1234567890", "a_b"]),
}
STUDENT_RANGES = {
    "kd_T": (["0.5", "4"], ["0", "-1", "nan"]),
    "gamma": (["0.5", "1"], ["-0.1", "nan", "inf"]),
    "beta": (["0", "30000"], ["-1", "x"]),
    "init_epochs": (["0", "30"], ["-1"]),
    "path_t": (["x.pth"], [""]),
}


def parse(role, *argv):
    return PARSERS[role](list(argv))


def refusal_line(capsys, role, *argv):
    """Exit status 2 and exactly one line; returns it."""
    with pytest.raises(SystemExit) as left:
        raise SystemExit(guard(lambda argv: parse(role, *argv), argv))
    captured = capsys.readouterr()
    assert left.value.code == 2 and captured.err.count("\n") == 1 and not captured.out, (captured, left.value.code)
    return captured.err


ALL = [(role, flag) for role in PARSERS for flag in RANGES] + [("student", flag) for flag in STUDENT_RANGES]


@pytest.mark.parametrize("role, flag", ALL)
def test_values_are_accepted_or_refused(role, flag, capsys):
    good, bad = (RANGES | STUDENT_RANGES)[flag]
    for value in good:
        assert flag in parse(role, f"--{flag}={value}").given
    for value in bad:
        assert f"--{flag}" in refusal_line(capsys, role, f"--{flag}={value}")


@pytest.mark.parametrize("name", [name for name, method in distiller_dict.items() if method.flags])
def test_every_method_checks_its_own_flags(name, capsys):
    """Refuses in one line, also a number of 5000 digits."""
    for flag, kwargs in distiller_dict[name].flags.items():
        for value in ("no such value", "9" * 5000):
            assert f"--{flag}" in refusal_line(capsys, "student", "--distill", name, f"--{flag}", value)
        assert getattr(parse("student", "--distill", name), flag) == kwargs["default"]


def test_the_largest_temperature_can_be_squared():
    kd = distiller_dict["kd"](parse("student", "--distill", "kd", "--mix", "none", "--kd_T", "1e6"), None)
    assert torch.isfinite(kd.criterion_div(torch.randn(2, 10), torch.randn(2, 10)))


def test_files_and_folders_to_write(tmp_path, monkeypatch):
    new, file = str(tmp_path / "new.json"), tmp_path / "file"
    file.touch()
    kept = [tmp_path / name for name in ("last.pth", "log.csv", "args.json", "summary.json", "index.json")]
    for kind, *wrong in ((file_path(".json"), tmp_path, *kept), (folder_path, file)):
        assert kind(new) == new
        for text in map(str, wrong):
            with pytest.raises(argparse.ArgumentTypeError, match="name a(nother)? f(ile|older)"):
                kind(text)
    monkeypatch.setattr(os, "access", lambda folder, mode: Path(folder) != tmp_path)
    for kind in (file_path(".json"), folder_path):
        with pytest.raises(argparse.ArgumentTypeError, match="no folder that can be written to"):
            kind(str(tmp_path / "new" / "x.json"))


def test_spellings_of_booleans(capsys):
    for words, value in (([], True), (["--pmixup"], True), (["--no-pmixup"], False), (["--pmixup=True"], True),
                         (["--pmixup=ON"], True), (["--pmixup", "1"], True), (["--pmixup=False"], False),
                         (["--pmixup", "no"], False), (["--pmixup", "0"], False)):
        assert parse("student", *words).pmixup is value, words
    for words in (["--pmixup=2"], ["--pmixup", "maybe"], ["--pmixup="], ["--no-pmixup=1"]):
        assert "pmixup" in refusal_line(capsys, "teacher", *words)


def test_unknown_names_suggest_similar_ones(capsys):
    for role, argv, hint in (
            ("teacher", ["--model", "resnet65"], "resnet56"), ("student", ["--model_s", "wrn_16"], "wrn_16_1"),
            ("student", ["--distill", "atention"], "attention"), ("teacher", ["--dataset", "cifar-100"], "cifar100"),
            ("teacher", ["--learning_rat", "1"], "--learning_rate"), ("student", ["stray"], "unknown argument"),
            ("student", ["--batch", "3"], "--batch_size"), ("teacher", ["--", "x"], "x")):
        assert hint in refusal_line(capsys, role, *argv)


def test_the_learning_rate_of_slow_networks_is_only_a_default():
    for model in model_dict:
        for role, flag in (("student", "--model_s"), ("teacher", "--model")):
            slow = model in ("MobileNetV2", "ShuffleV1", "ShuffleV2")
            assert parse(role, flag, model).learning_rate == (0.01 if slow else 0.05)
            assert parse(role, flag, model, "--learning_rate", "0.2").learning_rate == 0.2


@pytest.mark.parametrize("role", PARSERS)
def test_the_defaults_are_the_full_recipe(role):
    opt = parse(role)
    assert {name: getattr(opt, name) for name in recipe.FULL} == recipe.FULL
    assert opt.epochs == 240 and recipe.less_than(vars(opt)) == [] == recipe.less_than({"epochs": 300})


def test_each_flag_below_the_recipe_is_listed():
    values = {"dataset": "digits", "epochs": 3, "train_fraction": 0.5, "holdout": 100, "momentum": 0.1}
    assert recipe.less_than(values) == ["--dataset digits", "--epochs 3", "--train_fraction 0.5", "--holdout 100"]
    imagenet = vars(parse_teacher(["--dataset", "imagenet", "--model", "resnet18"]))
    assert recipe.less_than(imagenet) == [] and recipe.less_than({**imagenet, "epochs": 90}) == ["--epochs 90"]


def test_flags_without_effect_cause_a_warning():
    for argv, words in (
            ("--kd_T 2", ["kd_T"]), ("--distill kd --kd_T 2", []), ("--distill kd --scale_T 2", ["scale_T"]),
            ("--distill kd -b 3", ["beta"]), ("--init_epochs 3", ["init_epochs"]), ("--nce_k 3", ["nce_k"]),
            ("--mix none --partmixup 0.5 --beta_a 2", ["beta_a", "partmixup"]),
            ("--no-pmixup --partmixup 0.5", ["partmixup"]), ("--no-pmixup --beta_a 0.5", []),
            ("--num_workers 3", ["num_workers"]), ("--num_workers 3 --loader torch", [])):
        assert [w.split()[0] for w in parse("student", *argv.split()).warnings] == [f"--{w}" for w in words], argv


def test_contradicting_flags_are_refused():
    for argv, words in (("-r 0 -a 0", "nothing to train on"), ("--resume auto --overwrite", "exclude each other"),
                        ("--lr_decay_rate 1e308 --lr_decay_epochs 1,2,3 --epochs 9", "--lr_decay_rate")):
        with pytest.raises((UserError, DistillError), match=words):
            parse("student", *argv.split())


def test_help_shows_the_flags_of_the_chosen_method(capsys):
    def shown(*argv):
        with pytest.raises(SystemExit) as left:
            parse("student", *argv)
        assert left.value.code == 0
        return {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  --")}

    kd, crd, everything = shown("--help"), shown("-h", "--distill", "crd"), shown("--help_all")
    assert "--epochs" in kd and crd - kd == {f"--{flag}" for flag in distiller_dict["crd"].flags}
    assert everything - kd == {f"--{flag}" for method in distiller_dict.values() for flag in method.flags}


def test_seeds_of_trial_names():
    assert [seed_of(t) for t in ("0", "1", "007", "999999999")] == [0, 1, 7, 999999999]
    assert 0 <= seed_of("a") < 2**32 and seed_of("a") != seed_of("b")


def test_run_names_are_those_of_the_originals():
    name = teacher_name(parse("teacher", "--model", "resnet56"), "3")
    assert name == "resnet56_cifar100_lr_0.05_decay_0.0005_trial_3"
    name = student_name(parse("student", "--model_t", "resnet56"), "1")
    assert name == "S=resnet20_T=resnet56_cifar100_mixstd_r=0.1_a=0.9_b=0.0_pmix=True_0.9_betalpha=1.0_1"


def test_names_of_unusual_values_are_names_of_different_files():
    flags = [["--data_dir", folder] for folder in ("a", "a/b", "a_b", "a" * 300, "ü", ".")]
    flags.append(["--lr_decay_epochs", ",".join(map(str, range(1, 99)))])
    names = {teacher_name(parse("teacher", "--dataset", "folder", *words), "0") for words in flags}
    assert len(names) == len(flags)
    assert all(len(name.encode()) <= 255 and "/" not in name and name.isascii() for name in names)


@pytest.mark.parametrize("argv", [
    "--dataset cifar100 --data_dir EMPTY", "--holdout 9999999 --dataset digits", "--dataset digits --device nonsense",
    "--dataset digits --device cuda:77", "--dataset digits --step graph --device cpu",
    "--dataset digits --resume EMPTY", "--dataset digits --train_fraction 1e-9", "--batch_size none",
    f"--dataset cifar100 --data_dir {__file__}"])
def test_errors_leave_no_folder(argv, tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there: the download fails at once
    empty = tmp_path / "empty"
    argv = [str(empty) if word == "EMPTY" else word for word in argv.split()]
    done = call(train_teacher.main, [*argv, "--save_dir", tmp_path / "save"])
    assert done.status == 2 and done.err.count("\n") == 1
    assert any(word in done.err for word in argv if word.startswith("--") and word != "--dataset"), done.err
    assert not (tmp_path / "save").exists() and not empty.exists()


def test_a_save_dir_that_cannot_be_created_is_refused(tmp_path):
    if not Path("/proc/self").exists():
        pytest.skip("no /proc, where no folder can be created")
    words = ["--dataset", "digits", "--model", "resnet8", "--train_fraction", "0.05", "--device", "cpu"]
    done = call(train_teacher.main, [*words, "--save_dir", "/proc/x"])
    assert done.status == 2 and "--save_dir" in done.err and "name another folder" in done.err
