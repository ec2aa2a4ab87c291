"""The processes of a table, the shell scripts, and the report page."""
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import table_runs

from distiller_zoo import distiller_dict
from helper.options import parse_student, parse_teacher
from helper.util import UserError
from scripts import report, run_table, table_output, table_pictures
from scripts.table_jobs import Pool, slug

ROOT = Path(__file__).resolve().parent.parent


# Processes ------------------------------------------------------------------------------------------------------------

class Fake:
    """A run whose command is a small script."""

    def __init__(self, folder, label, code, teacher=None):
        self.label, self.teacher, self.missing = label, teacher, ["1"]
        self.script = folder / f"{label}.py"
        self.script.write_text(f"import os, pathlib, signal, sys, time\nhere = pathlib.Path({str(folder)!r})\n{code}\n")

    def argv(self, trials):
        return [str(self.script), "--trial", *trials]


NOTE = "(here / 'order').open('a').write(pathlib.Path(sys.argv[0]).stem + ' ')"


def test_a_failed_run_is_reported_and_the_others_go_on(tmp_path, capsys):
    bad = Fake(tmp_path, "bad", "print('first'); print('bad luck'); sys.exit(2)")
    child = Fake(tmp_path, "child", NOTE, teacher=bad)
    good = Fake(tmp_path, "good", NOTE)
    after = Fake(tmp_path, "after", NOTE, teacher=good)
    pool, calls = Pool(1, [], tmp_path / "logs"), []
    assert pool.train([bad, child, good, after], lambda: calls.append(1)) == 0
    assert (tmp_path / "order").read_text().split() == ["good", "after"] and len(calls) == 3
    assert pool.reason(bad) == "bad luck" and pool.reason(child) == "bad failed" and not pool.reason(good)
    assert "FAILED: bad: bad luck" in capsys.readouterr().out


def test_several_jobs_run_at_once_each_on_its_device(tmp_path):
    code = ("(here / os.environ['CUDA_VISIBLE_DEVICES'] / pathlib.Path(sys.argv[0]).stem).touch()\n"
            "end = time.time() + 20\nwhile len(list(here.glob('[01]/*'))) < 4 and time.time() < end: time.sleep(0.02)\n"
            "sys.exit(len(list(here.glob('[01]/*'))) < 4)")
    for gpu in "01":
        (tmp_path / gpu).mkdir()
    pool = Pool(2, ["0", "1"], tmp_path / "logs")
    runs = [Fake(tmp_path, f"run{i}", code) for i in range(4)]
    pool.train(runs, lambda: None)
    assert not any(map(pool.reason, runs))
    assert [len(list((tmp_path / gpu).iterdir())) for gpu in "01"] == [2, 2]


def test_ctrl_c_lets_every_run_save_and_leaves_none(tmp_path):
    code = ("signal.signal(signal.SIGTERM, lambda *a: ((here / (sys.argv[0][-4] + '.saved')).touch(), sys.exit(143)))\n"
            "(here / (sys.argv[0][-4] + '.started')).touch()\ntime.sleep(60)")
    runs = [Fake(tmp_path, f"run{i}", code) for i in range(3)]
    pool = Pool(2, [], tmp_path / "logs")

    def interrupt():
        while len(list(tmp_path.glob("*.started"))) < 2:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    began = time.monotonic()
    assert pool.train(runs, lambda: None) == signal.SIGINT
    thread.join()
    assert len(list(tmp_path.glob("*.saved"))) == 2 and not pool.children and time.monotonic() - began < 30


def test_file_names_are_plain():
    assert slug("KD + FMU, T=4, resnet56 > resnet20 ../$(x)") == "KD_+_FMU_T=4_resnet56_resnet20_.._x"


# Shell scripts --------------------------------------------------------------------------------------------------------

@pytest.fixture
def commands(tmp_path):
    """Run a script of scripts/ with a python that notes its arguments; returns the argument lists."""
    stub = tmp_path / "bin" / "python"
    stub.parent.mkdir()
    stub.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then echo "{tmp_path}"; exit; fi\n'
                    f'for word in "$@"; do printf "%s\\0" "$word"; done >> "{tmp_path}/noted"\n'
                    f'printf "\\n" >> "{tmp_path}/noted"\n')
    stub.chmod(0o755)
    shutil.copy(ROOT / "requirements.txt", tmp_path / ".mixkd-requirements")
    for name in ("wrn_40_2", "resnet56", "resnet110", "resnet32x4", "vgg13", "ResNet50"):
        file = tmp_path / "teachers" / f"{name}_vanilla" / "ckpt_epoch_240.pth"
        file.parent.mkdir(parents=True)
        file.write_text(name)
    environment = {**os.environ, "VIRTUAL_ENV": str(tmp_path), "PATH": f"{stub.parent}:{os.environ['PATH']}",
                   "TEACHER_DIR": str(tmp_path / "teachers")}

    def run(script, *args, **more):
        done = subprocess.run(["bash", str(ROOT / "scripts" / script), *args], env={**environment, **more}, text=True,
                              capture_output=True, timeout=60)
        noted = tmp_path / "noted"
        lines = [line.split("\0")[:-1] for line in noted.read_text().split("\n")[:-1]] if noted.exists() else []
        noted.unlink(missing_ok=True)
        return done, lines

    return run


def parsed(line):
    """The options of one noted command, by our own parsers; what is left of a module's command is its name."""
    if line[0] == "-m":
        return run_table.parse(line[2:]) if line[1] == "scripts.run_table" else line[1]
    return {"train_teacher.py": parse_teacher, "train_student_mixstd.py": parse_student}[line[0]](line[1:])


@pytest.mark.parametrize("script, table", [("run_mixkd.sh", "main"), ("run_augmentation.sh", "augmentation"),
                                           ("run_partial_amount.sh", "partial_amount"), ("run_beta.sh", "beta_a"),
                                           ("run_cutmix.sh", "cutmix"), ("run_rescale.sh", "rescale")])
def test_scripts_run_the_students_of_their_tables(commands, tmp_path, script, table):
    done, lines = commands(script)
    assert done.returncode == 0, done.stderr

    def facts(opt):
        keys = ["model_s", "distill", "mix", "gamma", "alpha", "beta", "rescale", "epochs", "learning_rate"]
        if opt.distill == "kd" and opt.rescale == "none":
            keys.append("kd_T")
        if opt.mix != "none":
            keys += ["pmixup", "beta_a"] + (["partmixup", "pmu_sampling"] if opt.pmixup else [])
        mixed = Path(opt.path_t).parent.name if table == "augmentation" else "mix=mixup" in opt.path_t
        name = re.search(r"(resnet\d+x4|resnet\d+|wrn_40_2|vgg13)_", opt.path_t)[1]
        return name, mixed, *(f"{key}={getattr(opt, key)}" for key in keys)

    found = [parsed(line) for line in lines if line[0] == "train_student_mixstd.py"]
    assert all(opt.trial == ["1", "2", "3"] and opt.warnings == [] for opt in found)
    plan = table_runs.make_plan([table, "--save_dir", tmp_path / "save"])
    wanted = [run.parse() for run in plan.runs.values() if run.kind == "student_model"]
    assert sorted(map(facts, found)) == sorted(map(facts, wanted))
    assert all(parsed(line).warnings == [] for line in lines)


def test_the_zoo_script_has_every_method_with_its_own_weights(commands):
    done, lines = commands("run_cifar_distill.sh", "--trial", "7")
    assert done.returncode == 0, done.stderr
    found = {opt.distill: opt for opt in map(parsed, lines)}
    assert set(found) == set(distiller_dict) and len(lines) == len(found)
    for name, opt in found.items():
        weights = (opt.gamma, opt.alpha, opt.beta)
        assert weights == distiller_dict[name].weights and {"gamma", "alpha", "beta"} <= opt.given
        assert opt.model_s == "resnet8x4" and "resnet32x4" in opt.path_t and opt.mix == "none" and opt.trial == ["7"]


def test_the_vanilla_script_trains_the_networks_of_the_tables(commands):
    done, lines = commands("run_cifar_vanilla.sh")
    assert done.returncode == 0 and len(lines) == 15
    for opt in map(parsed, lines):
        assert opt.learning_rate == (0.01 if opt.model in ("MobileNetV2", "ShuffleV1", "ShuffleV2") else 0.05)
    _, lines = commands("run_cifar_vanilla.sh", "vgg13", FLAGS="--trial 1,2 --epochs 3")
    assert [(opt.model, opt.trial, opt.epochs) for opt in map(parsed, lines)] == [("vgg13", ["1", "2"], 3)]


def test_reproduce_runs_every_table_and_reports(commands):
    done, lines = commands("reproduce.sh", "--epochs", "8", "--jobs", "2", STEPS="tables report")
    assert done.returncode == 0, done.stderr
    assert lines.pop() == ["-m", "scripts.report"]
    assert {opt.table for opt in map(parsed, lines)} == set(run_table.table_data.names())
    assert all((opt.epochs, opt.jobs) == (8, 2) for opt in map(parsed, lines))


def test_fetching_teachers(commands, tmp_path):
    target = tmp_path / "fetched"
    where = {"TEACHER_DIR": str(target), "TEACHER_URL": f"file://{tmp_path}/teachers"}
    done, lines = commands("fetch_pretrained_teachers.sh", **where)
    assert done.returncode == 0, done.stderr
    assert len(lines) == 6 and all(line[:2] == ["-m", "scripts.evaluate"] for line in lines)
    assert (target / "vgg13_vanilla" / "ckpt_epoch_240.pth").read_text() == "vgg13" and "72.34" in done.stdout
    (target / "vgg13_vanilla" / "ckpt_epoch_240.pth").write_text("altered")
    done, _ = commands("fetch_pretrained_teachers.sh", "vgg13", **where)
    assert done.returncode == 2 and "not what was downloaded" in done.stderr
    shutil.rmtree(target)
    done, _ = commands("fetch_pretrained_teachers.sh", "vgg13", **{**where, "TEACHER_URL": f"file://{tmp_path}/gone"})
    assert done.returncode == 2 and "run_cifar_vanilla.sh vgg13" in done.stderr
    assert not list(target.rglob("*.p*"))
    done, _ = commands("fetch_pretrained_teachers.sh", "vgg12", **where)
    assert done.returncode == 2 and "not one of RepDistiller's teachers" in done.stderr


def test_a_missing_teacher_says_how_to_get_one(commands, tmp_path):
    done, lines = commands("run_beta.sh", TEACHER_DIR=str(tmp_path / "nowhere"))
    shipped = (ROOT / "models" / "pretrained" / "resnet56.pth").exists()
    if not shipped and not list((ROOT / "save" / "models").glob("resnet56_*")):
        assert done.returncode == 2 and "run_cifar_vanilla.sh resnet56" in done.stderr and not lines


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "scripts").glob("*.sh")))
def test_scripts_are_shell(script):
    subprocess.run(["bash", "-n", str(ROOT / "scripts" / script)], check=True)


# Pictures and report --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["augmentation", "beta_a"])
def test_surfaces_and_curves_are_drawn_with_gaps(tmp_path, name):
    plan = table_runs.make_plan([name, "--save_dir", tmp_path])
    figures = {cell.key: table_output.Figure(2, 60.0 + i / 7, 0.2, 61.0)
               for i, cell in enumerate(plan.table.cells) if i % 3}
    table_pictures.draw(plan.table, plan.size, figures, tmp_path)
    table_pictures.draw(plan.table, plan.size, {}, tmp_path)
    expected = {f"{name}.png"} | ({"result_heatmap.png"} if name == "augmentation" else set())
    assert {path.name for path in tmp_path.glob("*.png")} == expected


EVIL = "<img src=x onerror=alert(1)>&\"'"


def test_the_report_escapes_every_name_and_needs_no_network(tmp_path):
    rows = [{"name": EVIL, "flags": "--distill kd --mix none"}]
    argv = [table_runs.small_table(tmp_path, title=EVIL, rows=rows), "--save_dir", tmp_path / "save"]
    for more in ([], ["--epochs", "24"]):
        plan = table_runs.make_plan([*argv, *more])
        folder = table_runs.finish(plan, table_runs.run_of(plan, EVIL), "1", 41.25 if more else 77.5)
        evil = folder.rename(folder.with_name(f"{folder.name}{EVIL}"))
        (evil / "curves.png").write_bytes(b"png")
        plan = table_runs.make_plan([*argv, *more])
        target = tmp_path / "result" / "small" / plan.size.folder
        _, figures = table_output.write(plan, target)
        table_pictures.draw(plan.table, plan.size, figures, target)
    (tmp_path / "result" / f"tsne {EVIL}").mkdir()
    (tmp_path / "result" / f"tsne {EVIL}" / "points.csv").write_text(f"x,{EVIL}\n1,2\n")
    report.main(["--out", str(tmp_path / "result"), "--save_dir", str(tmp_path / "save")])
    page = (tmp_path / "result" / "report.html").read_text()
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#x27;" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page) and "<script" not in page and "@import" not in page
    for reference in re.findall(r'(?:src|href)="([^"#][^"]*)"', page):
        if not reference.startswith("data:image/png;base64,"):
            from urllib.parse import unquote
            assert (tmp_path / "result" / unquote(reference.replace("&#x27;", "'"))).exists(), reference
    full, reduced = (page.index(f"Runs: distilled students{kind} (1)</h2>") for kind in ("", ", reduced"))
    assert full < page.index("<td class=\"number\">77.50", full) < reduced < page.index(">41.25<", reduced)


def test_nothing_to_report_is_one_line(tmp_path):
    with pytest.raises(UserError, match="nothing to report"):
        report.main(["--out", str(tmp_path / "a"), "--save_dir", str(tmp_path / "b")])


def test_the_command_line_lists_tables_and_plans(tmp_path, capsys):
    run_table.main([])
    assert "main" in capsys.readouterr().out
    run_table.main(["main", "--dry_run", "--save_dir", str(tmp_path), "--out", str(tmp_path / "out")])
    out = capsys.readouterr().out
    assert "[to do] teacher resnet56" in out and "0 done" in out and not (tmp_path / "out").exists()
    assert sys.executable not in out
