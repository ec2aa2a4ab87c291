"""Checkpoint files: atomic writes, digests, refused pickles, and the formats of other projects."""
import argparse
import ast
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from helper import checkpoint, files
from helper.errors import UserError
from helper.teacher import build, read_teacher
from models import model_dict
from scripts import evaluate
from tests.support.bombs import Bomb
from tests.support.small_runs import assert_refused, call


@pytest.fixture
def state():
    return {"model": {"a": torch.randn(3, 4), "b": torch.arange(5), "empty": torch.zeros(0)}, "epoch": 3, "lr": 0.1,
            "names": ["x", None, True], "best": {"top1": float("nan")}}


def test_a_saved_state_is_loaded_unchanged(state, tmp_path):
    checkpoint.save(state, tmp_path / "a.pth")
    found = checkpoint.load(tmp_path / "a.pth", digest_needed=True)
    assert found.keys() == state.keys() and checkpoint.digest(found) == checkpoint.digest(state)
    assert torch.equal(found["model"]["a"], state["model"]["a"]) and found["names"] == state["names"]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.pth"]
    assert (tmp_path / "a.pth").stat().st_mode & 0o777 == 0o666 & ~files.UMASK


def test_digest_changes_with_every_value(state):
    base = checkpoint.digest(state)
    assert checkpoint.digest({**state}) == base
    changed = [{**state, "epoch": 4}, {**state, "epoch": 3.0}, {**state, "epoch": "3"}, {**state, "more": 1},
               {**state, "names": ["x", None, 1]}, {**state, "names": ["x", [None, True]]}]
    for name, value in (("a", state["model"]["a"].clone().index_fill_(0, torch.tensor(2), 1.0)),
                        ("a", state["model"]["a"].reshape(4, 3)), ("a", state["model"]["a"].double()),
                        ("b", state["model"]["b"].flip(0)), ("empty", torch.zeros(0, 1))):
        changed.append({**state, "model": {**state["model"], name: value}})
    digests = [checkpoint.digest(c) for c in changed]
    assert len({base, *digests}) == len(digests) + 1
    weights = torch.randn(2, 3, 4, 4)
    assert checkpoint.digest(weights) == checkpoint.digest(weights.to(memory_format=torch.channels_last))


def test_a_failing_write_leaves_the_old_file(state, tmp_path, monkeypatch):
    file = tmp_path / "a.pth"
    checkpoint.save(state, file)
    old = file.read_bytes()

    def no_space(*_):
        raise OSError(28, "No space left on device")
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, no_space)
            with pytest.raises(OSError, match="No space left") as caught:
                checkpoint.save({**state, "epoch": 4}, file)
            assert caught.value.filename == str(file)
    with monkeypatch.context() as patch:  # the file reads back with another digest
        real, calls = checkpoint.digest, []
        patch.setattr(checkpoint, "digest", lambda value: calls.append(1) or real(value) + str(len(calls)))
        with pytest.raises(UserError, match="altered"):
            checkpoint.save({**state, "epoch": 4}, file)
    assert file.read_bytes() == old and list(tmp_path.iterdir()) == [file]


def test_every_truncation_is_refused(state, tmp_path):
    checkpoint.save(state, tmp_path / "a.pth")
    content = (tmp_path / "a.pth").read_bytes()
    file = tmp_path / "b.pth"
    for length in [0, 1, 7, *range(50, len(content), 97), len(content) - 1]:
        file.write_bytes(content[:length])
        with pytest.raises(UserError) as caught:
            checkpoint.load(file)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_a_flipped_bit_is_refused_or_harmless(state, tmp_path):
    """Padding between the members of the zip file may change; no value may."""
    checkpoint.save(state, tmp_path / "a.pth")
    content, refusals = (tmp_path / "a.pth").read_bytes(), 0
    for at in range(3, len(content), 41):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        (tmp_path / "b.pth").write_bytes(flipped)
        try:
            found = checkpoint.load(tmp_path / "b.pth", digest_needed=True)
        except UserError:
            refusals += 1
        else:
            assert checkpoint.digest(found) == checkpoint.digest(state)
    assert refusals > 20


def test_an_altered_tensor_in_a_valid_file_is_refused(state, tmp_path):
    """The checksums within the zip file are right, the digest is not."""
    checkpoint.save(state, tmp_path / "a.pth")
    kept = torch.load(tmp_path / "a.pth", weights_only=True)
    kept["model"]["a"][0, 0] += 1
    torch.save(kept, tmp_path / "b.pth")
    with pytest.raises(UserError, match="altered since it was written"):
        checkpoint.load(tmp_path / "b.pth")


@pytest.mark.parametrize("legacy", [False, True])
def test_pickles_that_run_code_are_refused(tmp_path, legacy):
    crater = tmp_path / "crater"
    bomb = Bomb(crater)
    for i, content in enumerate((bomb, {"model": bomb}, {"model": {"w": torch.ones(1)}, "opt": bomb})):
        file = tmp_path / f"{i}.pth"
        torch.save(content, file, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(UserError, match="refused and nothing in it was run"):
            checkpoint.load(file)
        file.write_bytes(pickle.dumps(content))
        with pytest.raises(UserError):
            checkpoint.load(file)
    assert not crater.exists()


def test_hostile_structures_are_refused(tmp_path):
    """A list that contains itself and a sparse tensor have no digest and give no traceback."""
    circle, file = [], tmp_path / "a.pth"
    circle.append(circle)
    for value in (circle, torch.eye(3).to_sparse()):
        torch.save({"model": value, "sha256": "0"}, file)
        with pytest.raises(UserError):
            checkpoint.load(file)


class Reduced:
    """An object whose pickle is the given result of __reduce__."""

    def __init__(self, *reduced):
        self.reduced = reduced

    def __reduce__(self):
        return self.reduced


EMPTY = np.zeros(0).__reduce__()[:2]  # how the pickle of every array begins
SCALAR = np.float64(0).__reduce__()[0]


@pytest.mark.parametrize("value", [
    Reduced(bytes, (10**13,)), Reduced(*EMPTY, (1, (10**13,), np.dtype("f8"), False, b"12345678")),
    Reduced(*EMPTY, (1, (-1, 2), np.dtype("f8"), False, b"12345678")), Reduced(*EMPTY, 3),
    Reduced(*EMPTY, (1, (2,), np.dtype("O"), False, [{}, {}])), Reduced(*EMPTY, (1, (1,), "f8", False, b"12345678")),
    Reduced(SCALAR, (np.dtype("f8"), b"123")), Reduced(SCALAR, (np.dtype("O"), b"12345678")),
    Reduced(np.dtype, ("f8", False, True), (3, "<", ("f8", (10**9,)), None, None, -1, -1, 63)),
    Reduced(np.dtype, ("S0", False, True)), Reduced(np.dtype, ([("a", "f8")], False, True))], ids=range(11))
def test_hostile_numpy_values_are_refused_or_harmless(tmp_path, value):
    torch.save({"model": {"w": torch.ones(1)}, "v": value}, tmp_path / "a.pth")
    try:
        found = checkpoint.load(tmp_path / "a.pth")["v"]
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(found, checkpoint._DType) and found.type == np.float64  # its other state is not read


def repdistiller_last(model, prefix=""):
    """A file of RepDistiller's train_teacher.py: with a Namespace, and a numpy scalar as the optimiser's rate."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    state = {"opt": argparse.Namespace(model="resnet8", lr_decay_epochs=[150, 180, 210], learning_rate=0.05),
             "model": {prefix + k: v for k, v in model.state_dict().items()}, "optimizer": optimizer.state_dict()}
    state["optimizer"]["param_groups"][0]["lr"] = np.float64(0.05) * 0.1**3
    return state


@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_repdistillers_files_load(tmp_path, module, prefix):
    folder = tmp_path / "resnet8_vanilla"
    folder.mkdir()
    model = model_dict["resnet8"](num_classes=10)
    torch.save(repdistiller_last(model, prefix=prefix), folder / "now.pth")
    with zipfile.ZipFile(folder / "now.pth") as old, zipfile.ZipFile(folder / "last.pth", "w") as new:
        for name in old.namelist():  # the pickle names the module that numpy had at the time
            content = old.read(name)
            if name.endswith("data.pkl"):
                assert b"multiarray" in content
                content = content.replace(b"cnumpy._core.multiarray\n", f"c{module}\n".encode())
                content = content.replace(b"cnumpy.core.multiarray\n", f"c{module}\n".encode())
            new.writestr(name, content)
    file = read_teacher(str(folder / "last.pth"))
    assert file.arch == "resnet8"
    loaded = build(file, 10).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())
    state = checkpoint.load(folder / "last.pth")
    assert float(state["optimizer"]["param_groups"][0]["lr"]) == pytest.approx(5e-5)


NET = model_dict["resnet8"](num_classes=10).state_dict()
PREFIXES = ("module.", "_orig_mod.", "module.module._orig_mod.")
PLAIN = [np.float32(0.5), np.int64(3), np.bool_(True), np.float16(1), np.str_("abc"), np.arange(6).reshape(2, 3),
         np.zeros((2, 0), np.float32), np.array(2.5), np.asfortranarray(np.eye(2, 3)), np.array(["a", "bc"]),
         np.array([1, 2], ">u2"), np.uint8(7)]


def add_prefix(prefix, weights=NET):
    return {prefix + name: weight for name, weight in weights.items()}


def without_counts():
    return {name: weight for name, weight in NET.items() if not name.endswith("num_batches_tracked")}


def convert(dtype):
    return {name: weight.to(dtype) if weight.is_floating_point() else weight for name, weight in NET.items()}


VARIANTS = {
    **{f"prefix {prefix}": (add_prefix(prefix), f"{prefix} taken off") for prefix in PREFIXES},
    "compiled part": ({name.replace("layer1.", "layer1._orig_mod."): w for name, w in NET.items()}, "_orig_mod. taken"),
    "bare": (NET, ""),
    **{f"under {place}": ({place: NET, "epoch": 3, "optimizer": {"state": {0: torch.ones(2)}}}, "")
       for place in checkpoint.PLACES},
    "no counts": (without_counts(), "num_batches_tracked added"),
    "numpy beside": ({"model": NET, **{f"v{i}": value for i, value in enumerate(PLAIN)}}, ""),
    "numpy among": ({**NET, "best": np.float64(3), "history": np.arange(3.0)}, "best, history taken off"),
    "averaged": ({"n_averaged": torch.tensor(5), **add_prefix("module.")}, "module., n_averaged taken off"),
    "half": (convert(torch.float16), "float16 converted to float32"),
    "bfloat16": (convert(torch.bfloat16), "bfloat16 converted to float32"),
    "twice the same": ({"model": NET, "state_dict": add_prefix("module.")}, ""),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_in_common_forms_are_loaded(tmp_path, capsys, variant):
    state, message = VARIANTS[variant]
    torch.save(state, tmp_path / "resnet8.pth")
    file = read_teacher(str(tmp_path / "resnet8.pth"))
    loaded = build(file, 10).state_dict()
    tolerance = 2**-7 if variant in ("half", "bfloat16") else 0
    for name, weight in NET.items():
        assert loaded[name].dtype == weight.dtype
        torch.testing.assert_close(loaded[name], weight, rtol=tolerance, atol=1e-6 if tolerance else 0)
    build(file, 10)
    out = capsys.readouterr().out
    assert out.count("\n") == bool(message) and message in out, out


OTHER = {name: weight + 1 for name, weight in NET.items()}
REFUSED = {
    "int8": (lambda: convert(torch.int8), "is int8"),
    "quantised": (lambda: NET | {"fc.weight": torch.quantize_per_tensor(NET["fc.weight"], 0.1, 0, torch.qint8)},
                  "fc.weight is qint8"),
    "sparse": (lambda: NET | {"fc.weight": NET["fc.weight"].to_sparse()}, "fc.weight is sparse"),
    "elsewhere": (lambda: NET | {"fc.weight": NET["fc.weight"].to("meta")}, "on the device meta"),
    "beyond float32": (lambda: NET | {"fc.bias": torch.tensor([1e300] * 10, dtype=torch.float64)}, "not finite"),
    "two that differ": (lambda: {"model": NET, "model_ema": OTHER}, "'model' and 'model_ema' that differ"),
    "one name twice": (lambda: NET | add_prefix("module.", OTHER), "twice"),
    "nothing": (lambda: {"epoch": 3, "model": {"a": 1}}, "holds no weights"),
    "objects": (lambda: {"model": NET, "v": np.array([{}, None], object)}, "an array of type O"),
}


@pytest.mark.filterwarnings("ignore:.*(quantized|TypedStorage|sparse)")
@pytest.mark.parametrize(("state", "words"), REFUSED.values(), ids=REFUSED)
def test_unsupported_weights_are_refused_in_one_line(tmp_path, state, words):
    torch.save(state(), tmp_path / "resnet8.pth")
    assert_refused(call(lambda argv: build(read_teacher(*argv), 10), [tmp_path / "resnet8.pth"]), "--path_t", words)


def test_safetensors_are_loaded(tmp_path, monkeypatch, capsys):
    file = tmp_path / "resnet8.safetensors"
    file.write_bytes(b"damaged")
    monkeypatch.setattr(checkpoint, "LIBRARY", "no.such.library")
    with pytest.raises(UserError, match="--path_t .*pip install safetensors"):
        read_teacher(str(file))
    monkeypatch.undo()
    library = pytest.importorskip("safetensors.torch")
    with pytest.raises(UserError, match="not a readable checkpoint"):
        read_teacher(str(file))
    library.save_file(add_prefix("module.", convert(torch.float16)), file)
    loaded = build(read_teacher(str(file)), 10).state_dict()
    assert all(torch.equal(loaded[name], w.float()) for name, w in convert(torch.float16).items() if w.ndim)
    assert "module. taken off; float16 converted" in capsys.readouterr().out


def test_a_mismatch_names_the_first_keys(tmp_path):
    model, file = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4)), tmp_path / "x.pth"
    good = model.state_dict()
    wrong = {k: v for k, v in good.items() if k != "0.bias"} | {"extra": torch.ones(1), "1.bias": torch.ones(5)}
    with pytest.raises(UserError, match=r"0\.bias missing, extra unexpected, 1\.bias is \(5,\), not \(4,\)"):
        checkpoint.load_weights(model, wrong, file, "net")
    with pytest.raises(UserError, match="0.weight missing, 0.bias missing, 1.weight missing and 2 more"):
        checkpoint.load_weights(model, {"extra": torch.ones(1)}, file, "net")
    with pytest.raises(UserError, match="1.weight holds numbers that are not finite"):
        checkpoint.load_weights(model, good | {"1.weight": torch.full((4, 3), float("nan"))}, file, "net")


def test_a_teacher_of_other_classes_or_an_unknown_name_is_refused(tmp_path):
    (tmp_path / "resnt8_x").mkdir()
    file = tmp_path / "resnt8_x" / "a.pth"
    checkpoint.save({"model": model_dict["resnet8"](num_classes=10).state_dict()}, file)
    with pytest.raises(UserError, match="'resnt8_x'; did you mean resnet8"):
        read_teacher(str(file))
    with pytest.raises(UserError, match="10 classes, but the data set has 100"):
        build(read_teacher(str(file), "resnet8"), 100)
    with pytest.raises(UserError, match="not the weights of resnet14"):
        build(read_teacher(str(file), "resnet14"), 10)


@pytest.mark.parametrize(("folder", "name", "arch"), [
    ("S=resnet8_T=resnet110_cifar100_mixstd_r=0.1_a=0.9_b=0.0_pmix=True_0.9_betalpha=1.0_1", "resnet8_last.pth",
     "resnet8"),
    ("S:resnet8x4_T:resnet32x4_cifar100_kd_r:0.1_a:0.9_b:0.0_1", "resnet8x4_best.pth", "resnet8x4"),
    ("resnet110_vanilla", "ckpt_epoch_240.pth", "resnet110"),
    ("downloads", "cifar100_resnet56-f2eff4c8.pt", "resnet56"),
    ("resnet8x4_vanilla", "epoch_1.pth", "resnet8x4"),
])
def test_architecture_is_read_from_the_file_or_folder_name(tmp_path, folder, name, arch):
    """Names of RepDistiller's teachers, students of MIX-KD and RepDistiller, and a plain state_dict."""
    (tmp_path / folder).mkdir()
    torch.save({"model": model_dict[arch](num_classes=10).state_dict()}, tmp_path / folder / name)
    file = read_teacher(str(tmp_path / folder / name))
    assert file.arch == arch
    build(file, 10)


def test_no_code_loads_pickles_unchecked():
    """torch.load only with weights_only=True, no pickle.load, eval, exec, os.system or shell=True outside the tests."""
    root = Path(__file__).resolve().parent.parent
    folders = ("helper", "dataset", "models", "distiller_zoo", "scripts", ".")
    for file in [file for folder in folders for file in (root / folder).glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
            assert name not in ("eval", "exec", "pickle.load", "pickle.loads", "os.system", "os.popen", "np.load",
                                "numpy.load"), (file, node.lineno, name)
            assert name != "torch.load" or keywords.get("weights_only") == "True", (file, node.lineno)
            assert keywords.get("shell", "False") == "False", (file, node.lineno)


def test_a_student_saved_by_mix_kd_is_evaluated(tmp_path, capsys):
    folder = tmp_path / "S=resnet8_T=resnet110_digits_mixstd_r=0.1_a=0.9_b=0.0_pmix=True_0.9_betalpha=1.0_1"
    folder.mkdir()
    torch.save({"opt": argparse.Namespace(), "model": model_dict["resnet8"](num_classes=10).state_dict()},
               folder / "resnet8_last.pth")
    evaluate.main(["--path", str(folder / "resnet8_last.pth"), "--dataset", "digits", "--device", "cpu"])
    assert "resnet8: " in capsys.readouterr().out
