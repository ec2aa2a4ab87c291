"""When two runs count as the same: also after a new method, a new flag or a moved folder."""
import json
import shutil
from argparse import Namespace
from pathlib import Path

import pytest

from distiller_zoo import Distiller, distiller_dict
from helper import options
from helper.device import DEFAULT_PRECISIONS
from helper.options import parse_student, parse_teacher
from helper.run import Run, as_begun, config_of, default_flags, differing, identity, student_name, teacher_name

ROWS = sorted(Path(__file__).parents[1].glob("result/main/*/*/args.json"))
assert ROWS
# Another valid value than the default of every flag that can change a student's numbers.
OTHER = {"model_s": "resnet8", "model_t": "resnet14", "distill": None, "gamma": "0.3", "alpha": "0.4", "beta": "0.7",
         "kd_T": "2", "rescale": None, "init_epochs": "7", "epochs": "239", "batch_size": "32",
         "learning_rate": "0.02", "lr_decay_epochs": "9,10", "lr_decay_rate": "0.2", "weight_decay": "0.01",
         "momentum": "0.8", "mix": "cutmix", "pmixup": "False", "partmixup": "0.5", "pmu_sampling": "exact",
         "beta_a": "0.5", "dataset": "cifar10", "holdout": "5", "train_fraction": "0.5", "precision": "bf16",
         "teacher_precision": "fp16"}
PLACES = {"path_t": "elsewhere.pth", "data_dir": "elsewhere", "save_dir": "elsewhere", "threads": "1",
          "print_freq": "1000", "tb_freq": "7", "save_freq": "3", "num_workers": "1", "device": "cpu",
          "resume_every": "5", "kernels": "torch", "step": "eager", "scale_T": "3",
          "on_nan": "skip"}


class L1(Distiller):
    """The README's example of a method with a flag."""

    paper = "You, arXiv 2026"
    weights = (1.0, 0.0, 10.0)
    flags = {"l1_eps": {"type": float, "default": 0.0, "help": "eps"}}

    def kd_loss(self, out_s, out_t, batch):
        return (out_s[0][-1] - out_t[0][-1]).abs().mean()


@pytest.fixture
def with_l1(monkeypatch):
    monkeypatch.setitem(distiller_dict, "l1", L1)
    default_flags.cache_clear()
    yield
    default_flags.cache_clear()


def parse_flags(words):
    opt = parse_student(words)
    opt.model_t, opt.teacher_sha256 = opt.model_t or "resnet56", "0" * 64
    opt.precision = opt.precision or "fp32"
    return opt


def same(a: Namespace, b: Namespace) -> bool:
    return identity(config_of(a, "1")) == identity(config_of(b, "1"))


@pytest.mark.parametrize("mixing", ["--mix none", "--mix mixup --no-pmixup", "--mix mixup"])
@pytest.mark.parametrize("method", distiller_dict)
def test_identity_and_name_depend_on_the_flags_that_are_used(method, mixing):
    base = ["--distill", method, *mixing.split()]
    plain = parse_flags(base)
    present = {name: str(value) for name, value in vars(plain).items()}
    read = {name for name in OTHER if name not in options.idle_loss(plain) | options.idle_mixing(plain)}
    own = {flag: kwargs for m in distiller_dict.values() for flag, kwargs in m.flags.items()}
    values = {**{name: value for name, value in OTHER.items() if value is not None}, **PLACES}
    for flag, kwargs in own.items():
        default = kwargs["default"]
        values[flag] = {"mode": "relax"}.get(flag) or str(default + 1 if isinstance(default, int) else default * 0.5)
    for flag, value in values.items():
        if present[flag] == value:
            continue
        other = parse_flags([*base, f"--{flag}={value}"])
        changes = flag in read or flag in distiller_dict[method].reads(plain) & own.keys()
        assert same(plain, other) != changes, flag
        if flag != "path_t":
            assert (student_name(plain, "1") == student_name(other, "1")) != changes, flag


def test_identity_and_name_of_a_teacher_depend_on_its_flags():
    plain, values = parse_teacher(["--mix", "mixup"]), {"model": "resnet8", "label_smoothing": "0.1", **OTHER, **PLACES}
    for flag in values.keys() & vars(plain).keys():
        other = parse_teacher(["--mix", "mixup", f"--{flag}={values[flag]}"])
        assert same(plain, other) == (flag in PLACES), flag
        assert (teacher_name(plain, "1") == teacher_name(other, "1")) == (flag in PLACES), flag


def test_identity_and_name_depend_on_the_teachers_weights_not_on_their_path():
    one, moved, other = (parse_flags(["--path_t", path]) for path in ("a/x.pth", "b/x.pth", "a/x.pth"))
    other.teacher_sha256 = "1" * 64
    assert same(one, moved) and student_name(one, "1") == student_name(moved, "1")
    assert not same(one, other) and student_name(one, "1") != student_name(other, "1")


@pytest.mark.parametrize("file", ROWS, ids=[f"{path.parent.parent.name}-{i}" for i, path in enumerate(ROWS)])
def test_stored_runs_are_recognised_after_a_method_with_a_flag_is_added(file, with_l1, tmp_path):
    stored = json.loads(file.read_text())["config"]
    student = "distill" in stored
    words = [f"--{name}={stored[name]}" for name in ("distill", "mix", "pmixup", "model_s", "model_t", "model",
                                                    "path_t") if name in stored]
    opt = (parse_student if student else parse_teacher)(words)
    opt.precision = next(name for name in DEFAULT_PRECISIONS if name != stored["precision"])  # that of another device
    if student:
        opt.teacher_sha256 = stored["teacher_sha256"]
    assert "l1_eps" not in stored and ("l1_eps" in vars(opt)) == student
    assert differing(as_begun(config_of(opt, stored["trial"]), stored, precision_given=False), stored) == []
    old = tmp_path / file.parent.parent.name / "an older name"
    shutil.copytree(file.parent, old)
    (old / "x_last.pth").touch()  # they are stored without weights
    opt.save_dir, opt.resume, opt.trial = str(tmp_path), "auto", [stored["trial"]]
    run = Run.find(opt)
    assert run.finished and run.folder == old and run.config["precision"] == stored["precision"]
    opt.given.add("precision")
    assert not Run.find(opt).finished


def test_an_unknown_stored_flag_is_ignored_and_a_different_value_is_listed():
    config = config_of(parse_flags(["--distill", "similarity"]), "1")
    assert differing(config, {**config, "l1_eps": 0.5}) == []
    assert "--batch_size 64, there 32" in differing(config, {**config, "batch_size": 32})[0]
