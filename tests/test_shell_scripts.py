"""The shell scripts of scripts/: their commands, checked without training."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from distiller_zoo import distiller_dict
from helper.known_teachers import known_teachers
from helper.options import parse_student, parse_teacher
from helper.teacher import network_named
from scripts import run_table
from scripts.table import spec
from tests.support import table_runs
from tests.support.tiny import write_stamp

ROOT = Path(__file__).resolve().parent.parent


# Shell scripts --------------------------------------------------------------------------------------------------------

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
    for name in ("wrn_40_2", "resnet56", "resnet110", "resnet32x4", "vgg13", "ResNet50"):
        file = tmp_path / "teachers" / f"{name}_vanilla" / "ckpt_epoch_240.pth"
        file.parent.mkdir(parents=True)
        file.write_text(name)
    for known in known_teachers().values():
        if known.arch != "resnet56":
            file = tmp_path / "teachers" / known.path
            file.parent.mkdir(parents=True)
            file.write_text(known.arch)
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


def test_scripts_match_their_tables(capsys):
    for name in spec.names():
        run_table.main([name, "--print"])
        path = ROOT / "scripts" / f"run_{name}.sh"
        stale = f"stale: python -m scripts.run_table {name} --print > scripts/{path.name}"
        assert path.is_file() and path.read_text() == capsys.readouterr().out, stale


@pytest.mark.parametrize("table", spec.names())
def test_scripts_run_the_commands_of_their_tables(commands, tmp_path, table):
    done, lines = commands(f"run_{table}.sh")
    assert done.returncode == 0, done.stderr

    def facts(opt):
        keys = ["model_s", "model_t", "distill", "mix", "gamma", "alpha", "beta", "rescale", "epochs", "learning_rate",
                "init_epochs", *distiller_dict[opt.distill].flags]
        if opt.distill == "kd" and opt.rescale == "none":
            keys.append("kd_T")
        if opt.mix != "none":
            keys += ["pmixup", "beta_a"] + (["partmixup", "pmu_sampling"] if opt.pmixup else [])
        mixed = "mix=mixup" in opt.path_t
        return mixed, *(f"{key}={getattr(opt, key)}" for key in keys)

    found = [parse_command(line) for line in lines if line[0] == "train_student_mixstd.py"]
    trials = spec.load(table).trial.split(",")
    assert all(opt.trial == trials and opt.warnings == [] and network_named(opt.path_t) == opt.model_t
               for opt in found)
    plan = table_runs.make_plan([table, "--save_dir", tmp_path / "save"])
    wanted = [run.opt for run in plan.runs.values() if run.kind == "student_model"]
    assert sorted(map(facts, found)) == sorted(map(facts, wanted))
    alone = [parse_command(line) for line in lines if line[0] == "train_teacher.py"]
    expected = [run.opt for run in plan.runs.values() if run.kind == "models"]
    if table in ("augmentation", "teachers"):  # else the teachers are taken as they are
        shown = {"model", "mix", "pmixup", "learning_rate", "epochs"}
        made = {tuple(getattr(opt, key) for key in sorted(shown)) for opt in alone}
        assert made >= {tuple(getattr(opt, key) for key in sorted(shown)) for opt in expected if opt.mix == "mixup"}
    assert all(parse_command(line).warnings == [] for line in lines)


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
    clone = tmp_path / "clone"  # without the teachers that may lie beside this code
    for name in ("scripts", "helper"):
        shutil.copytree(ROOT / name, clone / name)
    for file in ROOT.glob("requirements*.txt"):
        shutil.copy(file, clone)
    done, lines = commands("run_beta_a.sh", root=clone, TEACHER_DIR=str(tmp_path / "nowhere"))
    assert done.returncode == 2 and "run_cifar_vanilla.sh resnet56" in done.stderr and not lines
