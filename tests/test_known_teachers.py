"""Teachers trained by others: their accuracy on the real test images, and the origin that a run prints and stores."""
import json
from argparse import Namespace
from pathlib import Path

import pytest
import torch

import dataset
from helper import checkpoint
from helper.evaluate import evaluate
from helper.known_teachers import PRETRAINED, KnownTeacher, known_teachers, origin_of, published_top1, vanilla
from helper.known_teachers import main as find_teacher
from helper.options import parse_teacher
from helper.run import teacher_name
from helper.teacher import build, read_teacher
from models import model_dict
from scripts import evaluate as evaluate_file
from tests.support import real_data
from tests.support.small_runs import train_ok

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = {"resnet20": 68.83, "resnet32": 70.16, "resnet44": 71.63, "resnet56": 72.63}


@pytest.fixture(scope="module")
def teacher_files():
    """The four files of github.com/chenyaofo/pytorch-cifar-models: architecture -> TeacherFile."""
    folder = real_data.teachers()
    files = [] if folder is None else [read_teacher(str(path)) for path in sorted(folder.glob("cifar100_resnet*.p*"))]
    files = {file.arch: file for file in files}
    if not files.keys() >= PUBLISHED.keys():
        pytest.skip("no chenyaofo teachers in $MIXKD_TEACHERS or in shared/teachers beside the code")
    return files


@pytest.fixture(scope="module")
def cifar100(real_cifar100):
    return dataset.load("cifar100", str(real_cifar100))


@pytest.mark.slow
def test_published_accuracy(teacher_files, cifar100):
    """Of the smallest network; the weights of the others are checked by digest."""
    model = build(teacher_files["resnet20"], 100).to(memory_format=torch.channels_last)
    found = evaluate(model, dataset.make_test_batches(cifar100, torch.device("cpu"))())
    assert abs(found.top1 - PUBLISHED["resnet20"]) <= 0.1


@pytest.mark.parametrize("arch", PUBLISHED)
def test_weights_are_recognised_in_any_file(teacher_files, tmp_path, arch):
    file = teacher_files[arch]
    known = known_teachers()[file.sha256]
    assert (known.arch, known.zoo, known.top1) == (arch, "chenyaofo", PUBLISHED[arch])
    checkpoint.save({"model": file.weights, "arch": arch}, tmp_path / "renamed.pth")
    again = read_teacher(str(tmp_path / "renamed.pth"))
    assert origin_of(again.sha256, again.path) == "chenyaofo (github.com/chenyaofo/pytorch-cifar-models)"


@pytest.fixture
def known_teacher(tmp_path, monkeypatch):
    """Path of a small network whose weights are listed as known."""
    torch.manual_seed(3)
    path = tmp_path / "resnet8_chenyaofo" / "cifar100_resnet8-00000000.pt"
    path.parent.mkdir()
    torch.save(model_dict["resnet8"](num_classes=10).state_dict(), path)
    known = KnownTeacher("resnet8", "someone", path.name, 55.5, 90.0, "example.org/zoo", "MIT", "digits",
                         "https://example.org/")
    monkeypatch.setitem(known_teachers(), read_teacher(str(path)).sha256, known)
    return path


def test_a_run_prints_and_stores_the_origin_of_its_teacher(known_teacher, tmp_path):
    done = train_ok(tmp_path / "save", "--path_t", known_teacher, "--epochs", 1, role="student")
    assert "teacher origin: someone (example.org/zoo)" in done.out
    args = next(tmp_path.glob("save/student_model/*/args.json"))
    assert json.loads(args.read_text())["config"]["teacher_origin"] == "someone (example.org/zoo)"
    measured = json.loads(args.with_name("summary.json").read_text())["teacher_top1"]
    assert f"teacher accuracy: {measured:.2f} on the hold-out" in done.out


def test_evaluate_prints_the_origin_of_the_published_figure(known_teacher, monkeypatch, capsys):
    """A zoo's figure for its own weights, otherwise that of a network of this name trained alone."""
    evaluate_file.main(["--path", str(known_teacher), "--dataset", "digits", "--device", "cpu"])
    assert "published top-1 55.50 (someone (example.org/zoo))" in capsys.readouterr().out
    torch.save(model_dict["resnet8"](num_classes=10).state_dict(), known_teacher)
    monkeypatch.setattr(evaluate_file, "published_top1", lambda *_: 60.25)
    evaluate_file.main(["--path", str(known_teacher), "--dataset", "digits", "--device", "cpu"])
    assert "published top-1 60.25 (a resnet8 trained alone)" in capsys.readouterr().out


def test_weights_of_the_project_are_known_and_distilled_or_reduced_ones_have_no_published_figure(tmp_path):
    data = Namespace(name="cifar100", published={"resnet20": 69.06})
    for name, entry in json.loads((PRETRAINED / "index.json").read_text()).items():
        file = read_teacher(str(PRETRAINED / f"{name}.pth"))
        assert origin_of(file.sha256, file.path) == "models/pretrained" == origin_of(entry["sha256_full"], file.path)
        assert published_top1(file, data) == (None if name.startswith("students/") else data.published[file.arch])
    state = {"model": model_dict["resnet20"](num_classes=100).state_dict(), "arch": "resnet20", "opt": {"epochs": 60}}
    checkpoint.save(state, tmp_path / "t.pth")
    assert published_top1(read_teacher(str(tmp_path / "t.pth")), data) is None


@pytest.mark.parametrize("arch", ["resnet20", "MobileNetV2"])
def test_teacher_dir_precedes_own_teachers_and_those_precede_fetched_ones(tmp_path, monkeypatch, capsys, arch):
    own = Path("save", "models", teacher_name(parse_teacher(["--model", arch]), "0"), f"{arch}_last.pth")
    fetched, given = Path("save", "models", vanilla(arch)), Path("mine", vanilla(arch))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("helper.known_teachers.PRETRAINED", tmp_path / "none")
    for file in (fetched, own, given):
        file.parent.mkdir(parents=True)
        file.touch()
        assert (find_teacher(arch), capsys.readouterr().out) == (0, f"{own if file == given else file}\n")
    assert (find_teacher(arch, "mine"), capsys.readouterr().out) == (0, f"{given}\n")


@pytest.mark.slow
def test_other_teachers_are_unknown_or_trained_here(tmp_path):
    path = tmp_path / "resnet8_vanilla" / "ckpt.pth"
    path.parent.mkdir()
    torch.save({"model": model_dict["resnet8"](num_classes=10).state_dict()}, path)
    assert "teacher origin: unknown" in train_ok(tmp_path / "a", "--path_t", path, "--epochs", 1, role="student").out
    train_ok(tmp_path / "b", "--epochs", 1)
    own = next(tmp_path.glob("b/models/*/resnet8_last.pth"))
    done = train_ok(tmp_path / "c", "--path_t", own, "--epochs", 1, role="student")
    assert "teacher origin: trained here" in done.out
