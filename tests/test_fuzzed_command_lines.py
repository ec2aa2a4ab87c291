"""No command line gives a traceback: status 0 or 2, and with 2 exactly one line. Training is replaced by a stub."""

import contextlib
import importlib
import json
import os
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import dataset
import train_student_mixstd
import train_teacher
from helper import checkpoint, device, run, together
from helper.argtypes import Parser
from models import model_dict
from tests.support.small_runs import call

ROOT = Path(__file__).resolve().parent.parent
MAINS = {"teacher": train_teacher.main, "student": train_student_mixstd.main}
SMALL = ["resnet8", "wrn_16_1", "resnet8x4"]
START = {"teacher": ["--dataset", "digits", "--model", "resnet8"],
         "student": ["--dataset", "digits", "--model_s", "resnet8", "--path_t", "resnet8_vanilla/t.pth"]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a teacher, a run, a text file, an empty folder, a dangling link and a link to itself."""
    place = tmp_path_factory.mktemp("place")
    (place / "resnet8_vanilla").mkdir()
    checkpoint.save({"model": model_dict["resnet8"](num_classes=10).state_dict(), "arch": "resnet8"},
                    place / "resnet8_vanilla" / "t.pth")
    (place / "text").write_text("hello")
    (place / "empty").mkdir()
    (place / "nowhere").symlink_to(place / "gone")
    run = place / "save" / "models" / "run"
    run.mkdir(parents=True)
    (run / "args.json").write_text(json.dumps({"config": {"model": "resnet8", "epochs": "x", "trial": "../x"}}))
    (place / "loop").symlink_to(place / "loop")
    return place


PATHS = ["resnet8_vanilla/t.pth", "resnet8_vanilla", "text", "empty", "nowhere", "loop", "save", "save/models/run",
         ".", "..", "/dev/null", "/proc/self/mem", "text/below", "x" * 300, "a" * 5000, "\udcff", "~", "~nobody/x",
         "a\nb", "-", "é\u202e", "auto", "*", "$HOME", "| touch x", "a=b"]
WORDS = ["", " ", "0", "1", "-1", "2", "0.5", "1e308", "-1e308", "1e-320", "nan", "inf", "-inf", "9" * 30, "9" * 400,
         "9" * 5000, "1_000", "0x10", "\u0661", "True", "false", "None", "1,2", "1,2,3", "3,2", ",", "150,180,210",
         "auto", "cpu", "cuda", "cuda:0", "cuda:99", "cpu:1", "meta", "mps", "--", "-x", "%s", "%(default)s", "{}",
         "\x00", "a\x00b", "\udcff", "\n", "none", "mixup", "cutmix", "std", "exact", "torch", "graph", "compile",
         "skip", "digits", "cifar100", *SMALL]


def flags_of(role):
    found = []

    def parse(self, *_):
        found.extend(self._actions)
        raise SystemExit(0)

    with mock.patch.object(Parser, "parse", parse), contextlib.suppress(SystemExit):
        MAINS[role]([])
    return {text: action for action in found for text in action.option_strings}


def values_for(action):
    fitting = list(map(str, action.choices or [action.default]))
    return st.one_of(st.sampled_from(WORDS), st.sampled_from(PATHS), st.sampled_from(fitting), st.text(max_size=8),
                     st.integers().map(str), st.floats().map(str))


def lines(role):
    """Command lines: mostly a valid beginning, then flags with valid, invalid and absurd values, and stray words."""
    flags = {name: action for name, action in flags_of(role).items() if action.dest != "help"}

    def pair(name):
        value = values_for(flags[name])
        return st.one_of(value.map(lambda v: [name, v]), value.map(lambda v: [f"{name}={v}"]), st.just([name]))

    words = st.one_of(st.sampled_from(sorted(flags)).flatmap(pair), st.sampled_from(WORDS + PATHS).map(lambda w: [w]))
    return st.tuples(st.sampled_from([START[role]] * 3 + [[]]), st.lists(words, max_size=3)).map(
        lambda parts: parts[0] + sum(parts[1], []))


@pytest.fixture(scope="module")
def workspace(place):
    """The folder, with stubs for what would train, wait, write or change this process."""
    whole = dataset.load("digits", "")
    small = replace(whole, train=whole.train.take(range(60)), test=whole.test.take(range(20)))
    before = Path.cwd()
    with contextlib.ExitStack() as stack:
        for target, name, value in (
            (together, "train", lambda prepare, **_: [together.Outcome("done", last=0, best=0) for _ in prepare]),
            (run.Run, "begin", lambda *_: None),
            (device, "set_threads", lambda *_: None),
            (dataset.digits, "load", lambda: small),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        stack.enter_context(mock.patch.dict(os.environ, {"https_proxy": "http://127.0.0.1:9"}))
        for name in [n for n in model_dict if n not in SMALL]:  # building a ResNet50 a hundred times takes minutes
            stack.enter_context(mock.patch.dict(model_dict, {name: model_dict["resnet8"]}))
        os.chdir(place)
        yield place
        os.chdir(before)


def check(main, argv):
    done = call(main, argv)
    assert done.status in (0, 2), (argv, done)
    assert "Traceback" not in done.err, (argv, done)
    if done.status == 2:
        assert done.err.count("\n") == 1 and ": error: " in done.err, (argv, done.err)
    return done


@pytest.mark.slow
@pytest.mark.parametrize("role", MAINS)
@settings(max_examples=150, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_command_line_gives_a_traceback(role, data, workspace):
    check(MAINS[role], data.draw(lines(role)))
    assert not (workspace / "x").exists()


def test_two_dashes_are_refused_as_a_value(workspace):
    for name, action in flags_of("student").items():
        if action.nargs != 0:
            for argv in ([f"{name}=--"], [name, "--"]):
                assert check(MAINS["student"], ["--dataset", "digits", *argv]).status == 2


@pytest.mark.parametrize("role", MAINS)
def test_a_valid_command_line_is_accepted(role, workspace):
    """Otherwise the test above would see only refusals."""
    done = check(MAINS[role], START[role])
    assert done.status == 0 and "learning_rate :" in done.out


@pytest.mark.parametrize("flag", ["--path_t", "--data_dir", "--save_dir", "--resume"])
def test_unusual_paths_for_every_path_flag(flag, workspace):
    start = ["--dataset", "cifar100" if flag == "--data_dir" else "digits", "--model_s", "resnet8"]
    for path in PATHS:
        check(MAINS["student"], [*start, "--path_t", "resnet8_vanilla/t.pth", f"{flag}={path}"])


@settings(max_examples=40, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(holdout=st.integers(-5, 80), fraction=st.floats(0, 1.1), size=st.integers(0, 70))
@example(holdout=0, fraction=0.5, size=29)
def test_holdout_fraction_and_batch_size_together(holdout, fraction, size, workspace):
    check(MAINS["teacher"], ["--dataset", "digits", "--model", "resnet8", f"--holdout={holdout}",
                             f"--batch_size={size}", f"--train_fraction={fraction}"])


def tools():
    files = [p for p in (ROOT / "scripts").glob("*.py") if "guard(main" in p.read_text()]
    return sorted(f"scripts.{p.stem}" for p in files)


@pytest.mark.parametrize("module", ["train_teacher", "train_student_mixstd", *tools()])
def test_every_command_prints_its_help(module):
    done = call(importlib.import_module(module).main, ["--help"])
    assert done.status == 0 and "usage:" in done.out and "--help" in done.out and not done.err
