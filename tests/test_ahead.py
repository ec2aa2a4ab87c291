"""Teacher outputs computed ahead for several batches: the results are those of the teacher in every step."""
from argparse import Namespace

import pytest
import torch

from dataset import Batch
from helper import checkpoint
from helper import teacher as teachers
from helper.device import autocast
from helper.teacher import Teacher
from models import model_dict
from models.folding import folded
from tests.support.small_runs import no_pictures, only_run, results_of, signal_at, train, train_ok  # noqa: F401 - a fixture

STEPS = 3  # per epoch: 42 images in batches of 16
FLAGS = ["--epochs", 2, "--mix", "mixup"]


def weights(save):
    return checkpoint.load(only_run(save, "student") / "resnet8_last.pth")["model"]


def test_outputs_ahead_train_the_same_weights_as_outputs_in_every_step(teacher, tmp_path, monkeypatch):
    flags = [*FLAGS, "--path_t", teacher]
    sizes, real = [], Teacher.__call__
    monkeypatch.setattr(Teacher, "__call__", lambda self, images: sizes.append(len(images)) or real(self, images))
    train_ok(tmp_path / "within", *flags, role="student")
    within = [n for n in sizes if n <= 32]
    assert max(within) <= 20  # a batch, or the test images before the first step
    sizes.clear()
    with monkeypatch.context() as patch:
        patch.setitem(teachers.IMAGES_AHEAD, "cpu", 32)
        train_ok(tmp_path / "ahead", *flags, role="student")
    assert 32 in sizes and len(sizes) < len(within)
    for name, value in weights(tmp_path / "within").items():
        torch.testing.assert_close(weights(tmp_path / "ahead")[name], value, rtol=1e-6, atol=1e-6, msg=name)


def test_a_run_stopped_within_a_chunk_is_resumed_bit_for_bit(teacher, tmp_path, monkeypatch):
    monkeypatch.setitem(teachers.IMAGES_AHEAD, "cpu", 32)  # two batches at a time
    flags = [*FLAGS, "--path_t", teacher]
    train_ok(tmp_path / "whole", *flags, role="student")
    for step in (1, STEPS + 1):
        save = tmp_path / str(step)
        with monkeypatch.context() as patch:
            signal_at(patch, step)
            assert train(save, *flags, role="student").status == 143
        train_ok(save, *flags, "--resume", "auto", role="student")
        assert results_of(save, "student") == results_of(tmp_path / "whole", "student")


def test_chunks_start_at_fixed_steps():
    """The teacher gets the same images together, whichever step is the first."""

    def epoch(first):
        for step in range(first, 7):
            x = torch.full((2, 1), float(step))
            yield Batch(x, x, x[:, 0], x[:, 0], x[:, 0] > 0, len(x))
    for start in range(8):
        seen = []
        batches = list(teachers.with_teacher(lambda x, seen=seen: seen.append(x[:, 0].tolist()) or ([], 10 * x), 3,
                                             epoch, start))
        assert [batch.images[0].item() for batch in batches] == list(range(start, 7))
        assert all(torch.equal(batch.logits_t, 10 * batch.images) for batch in batches)
        whole = [[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5], [6, 6]]
        assert seen == (whole[start // 3:] if start < 7 else whole[2:])


def test_a_teacher_in_half_precision_equals_autocast():
    """Its weights are cast once; norms that are not folded, as in a wide ResNet, stay in single precision."""
    torch.manual_seed(0)
    net = model_dict["wrn_16_1"](num_classes=5).eval()
    x = torch.randn(4, 3, 16, 16).to(memory_format=torch.channels_last)
    opt = Namespace(kernels="torch", precision="bf16", teacher_precision="same")
    features, logits = Teacher(net, opt, torch.device("cpu"), True, False)(x)
    with torch.no_grad(), autocast("bf16", torch.device("cpu")):
        expected = folded(net)(x, True, False)
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close((features, logits), expected, rtol=0, atol=0)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_teacher_can_have_its_own_precision(precision):
    """Its outputs are float32, and near the single-precision ones within that precision's rounding."""
    torch.manual_seed(0)
    net, x = model_dict["resnet14"](num_classes=5).eval(), torch.randn(4, 3, 16, 16)
    flags = [Namespace(kernels=kernels, precision="fp32", teacher_precision=own)
             for kernels, own in (("torch", "same"), ("torch", precision), ("native", precision))]
    (features, logits), *others = (Teacher(net, opt, torch.device("cpu"), True, False)(x) for opt in flags)
    for features_h, logits_h in others:
        for half, single in zip([*features_h, logits_h], [*features, logits], strict=True):
            assert half.dtype == torch.float32 and not torch.equal(half, single)
            rounding = torch.finfo(torch.float16 if precision == "fp16" else torch.bfloat16).eps
            assert (half - single).norm() < 8 * rounding * single.norm()
