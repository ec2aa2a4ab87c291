"""The shell scripts of scripts/: their commands, checked without training."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from distiller_zoo import distiller_dict
from helper.known_teachers import TORCHVISION
from helper.options import parse_student, parse_teacher
from helper.run import config_of, identity, teacher_name
from scripts import run_table
from scripts.table import spec
from scripts.table.plan import Training
from tests.support import table_runs
from tests.support.tiny import write_stamp

ROOT = Path(__file__).resolve().parent.parent


# Scripts and tables ---------------------------------------------------------------------------------------------------

STUBS = r"""
PYTHON=note
note() { printf '%s\0' "${BASH_LINENO[0]}" "$@"; echo; }
teacher() { echo "teacher $1"; }
"""
KINDS = {"train_teacher.py": "models", "train_student_mixstd.py": "student_model"}


def identity_of(opt, trial, **changes):
    """A run's identity as sorted (flag, text) pairs."""
    values = identity({**config_of(opt, trial), **changes})
    return tuple(sorted((flag, str(value)) for flag, value in values.items()))


def runs_of_script(folder, name):
    """Identity -> script and line, of each run that run_NAME.sh starts, by bash with the stubs."""
    script = folder / "scripts" / f"run_{name}.sh"
    script.parent.mkdir()
    shutil.copy(ROOT / "scripts" / script.name, script)
    (script.parent / "teachers.sh").write_text(STUBS)
    done = subprocess.run(["bash", script, "--print_freq", "7"], text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    trained, runs = set(), {}
    for noted in done.stdout.splitlines():
        line, command, *flags = noted.split("\0")[:-1]
        place = f"{script.name}, line {line}"
        assert command in KINDS, f"{place}: {command}"
        opt = Training(KINDS[command], tuple(flags), place).opt
        assert opt.resume == "auto" and not opt.warnings, f"{place}: {opt.warnings or 'lacks --resume auto'}"
        if "trial" in opt.given:  # else the teacher of later lines, whose path "$@" could change
            assert opt.print_freq == 7, f'{place}: lacks "$@"'
        if command == "train_teacher.py":
            trained |= {f"save/models/{teacher_name(opt, trial)}/{opt.model}_last.pth" for trial in opt.trial}
        elif opt.path_t.startswith("save/"):
            assert opt.path_t in trained, f"{place}: no line above trains {opt.path_t}"
        for run in (identity_of(opt, trial) for trial in opt.trial):
            assert run not in runs, f"{place}: the same run as {runs[run]}"
            runs[run] = place
    return runs


def runs_of_table(name):
    """Identity -> cell, of each run of a table. A teacher without flags of its own is what `teacher` finds, except in a
    table of a reduced recipe, which trains its own."""
    plan, runs = table_runs.make_plan([name]), {}
    found = [source for (_, flags), source in plan.teachers.items() if not flags and not plan.table.reduced]
    for run in plan.runs.values():
        teacher = {}
        if run.source in found and not str(run.source.path).startswith(TORCHVISION):
            teacher = {"path_t": f"teacher {run.opt.model_t}"}
        if run not in [source.run for source in found]:
            runs |= {identity_of(run.opt, trial, **teacher): run.label for trial in run.trials}
    return runs


def differences(run, other):
    run, other = dict(run), dict(other)
    return [f"--{flag} {run.get(flag)}, there {other.get(flag)}" for flag in sorted({*run, *other})
            if run.get(flag) != other.get(flag)]


@pytest.mark.parametrize("name", spec.names())
def test_a_script_and_its_table_have_the_same_runs(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # where nothing has been trained
    script, table = runs_of_script(tmp_path, name), runs_of_table(name)
    missing, problems = table.keys() - script.keys(), []
    for run in script.keys() - table.keys():
        differ = f"one run more than in tables/{name}.json"
        if missing:
            near = min(missing, key=lambda other, run=run: len(differences(run, other)))
            missing.remove(near)
            differ = f"{table[near]} in tables/{name}.json differs: {'; '.join(differences(run, near))}"
        problems.append(f"{script[run]}, trial {dict(run)['trial']}: {differ}")
    problems += [f"run_{name}.sh: lacks {table[run]}, trial {dict(run)['trial']}" for run in missing]
    assert not problems, "\n".join(sorted(problems))


# Other scripts --------------------------------------------------------------------------------------------------------

@pytest.fixture
def commands(tmp_path):
    """Function that runs a script with a python that records its arguments; returns (process, argument lists)."""
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then echo "{tmp_path}"; exit; fi\n'
                    f'if [ "$2" = helper.known_teachers ]; then exec {sys.executable} "$@"; fi\n'
                    f'for word in "$@"; do printf "%s\\0" "$word"; done >> "{tmp_path}/noted"\n'
                    f'printf "\\n" >> "{tmp_path}/noted"\n')
    stub.chmod(0o755)
    write_stamp(tmp_path)
    teacher = tmp_path / "teachers" / "resnet32x4_vanilla" / "ckpt_epoch_240.pth"
    teacher.parent.mkdir(parents=True)
    teacher.touch()
    environment = {**os.environ, "VIRTUAL_ENV": str(tmp_path), "PATH": f"{stub.parent}:{os.environ['PATH']}",
                   "TEACHER_DIR": str(tmp_path / "teachers")}

    def run(script, *args, root=ROOT, **more):
        done = subprocess.run(["bash", str(root / "scripts" / script), *args], env={**environment, **more}, text=True,
                              capture_output=True, timeout=240)
        noted = tmp_path / "noted"
        lines = [line.split("\0")[:-1] for line in noted.read_text().split("\n")[:-1]] if noted.exists() else []
        noted.unlink(missing_ok=True)
        return done, lines

    return run


def parse_command(line):
    """The options of one recorded command, by our parsers; for another module its name."""
    if line[0] == "-m":
        return run_table.parse(line[2:]) if line[1] == "scripts.run_table" else line[1]
    return {"train_teacher.py": parse_teacher, "train_student_mixstd.py": parse_student}[line[0]](line[1:])


def test_the_zoo_script_runs_every_method_with_its_own_weights(commands):
    done, lines = commands("run_cifar_distill.sh", "--trial", "7")
    assert done.returncode == 0, done.stderr
    found = {opt.distill: opt for opt in map(parse_command, lines)}
    assert set(found) == set(distiller_dict) and len(lines) == len(found), "scripts/run_cifar_distill.sh: a line each"
    for name, opt in found.items():
        weights = (opt.gamma, opt.alpha, opt.beta)
        assert weights == distiller_dict[name].weights and {"gamma", "alpha", "beta"} <= opt.given
        assert opt.model_s == "resnet8x4" and "resnet32x4" in opt.path_t and opt.mix == "none" and opt.trial == ["7"]


def test_the_vanilla_script_trains_the_networks_of_the_tables(commands):
    done, lines = commands("run_cifar_vanilla.sh")
    assert done.returncode == 0 and len(lines) == 15
    for opt in map(parse_command, lines):
        assert opt.learning_rate == (0.01 if opt.model in ("MobileNetV2", "ShuffleV1", "ShuffleV2") else 0.05)
    _, lines = commands("run_cifar_vanilla.sh", "vgg13", FLAGS="--trial 1,2 --epochs 3")
    assert [(opt.model, opt.trial, opt.epochs) for opt in map(parse_command, lines)] == [("vgg13", ["1", "2"], 3)]


@pytest.mark.parametrize("data", ["", "/data/imagenet"])
def test_reproduce_runs_every_table_and_reports(commands, data):
    """The table of ImageNet only if its images are given."""
    done, lines = commands("reproduce.sh", "--epochs", "8", "--jobs", "2", STEPS="tables report", IMAGENET=data)
    assert done.returncode == 0, done.stderr
    assert lines.pop() == ["-m", "scripts.report"]
    tables = {opt.table: opt.data_dir for opt in map(parse_command, lines)}
    assert tables.keys() == set(spec.names()) - (set() if data else {"imagenet"})
    assert tables.get("imagenet", "") == data and tables["main"] == "data"
    assert all((opt.epochs, opt.jobs) == (8, 2) for opt in map(parse_command, lines))


def test_a_missing_teacher_is_reported_with_the_command_that_trains_it(commands, tmp_path):
    clone = tmp_path / "clone"  # without the teachers that may be beside this code
    for name in ("scripts", "helper"):
        shutil.copytree(ROOT / name, clone / name)
    for file in ROOT.glob("requirements*.txt"):
        shutil.copy(file, clone)
    done, lines = commands("run_beta_a.sh", root=clone, TEACHER_DIR=str(tmp_path / "nowhere"))
    assert done.returncode == 2 and "run_cifar_vanilla.sh resnet56" in done.stderr and not lines
