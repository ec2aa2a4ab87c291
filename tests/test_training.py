"""The training step compared with a plain float64 loop; its sums, schedule, skipped steps and memory."""
import gc
import json
from argparse import Namespace

import pytest
import torch

from dataset import DeviceLoader, MixSpec
from distiller_zoo import Vanilla, distiller_dict
from helper.engine import Engine
from helper.evaluate import Accuracy
from helper.fit import Fit
from helper.graphs import CudaEngine
from helper.recipe import learning_rate_at
from helper.teacher import TeacherBatch
from models import model_dict
from tests.support import small_runs
from tests.support.graph_emulator import Emulated
from tests.support.training import options, small_data, small_engine, small_teacher, train, weights


def test_the_rate_drops_after_the_given_epochs():
    opt = Namespace(learning_rate=0.05, lr_decay_epochs=[150, 180, 210], lr_decay_rate=0.1)
    rates = {epoch: learning_rate_at(epoch, opt)
             for epoch in (1, 150, 151, 180, 181, 210, 211, 240)}
    drops = {1: 0.05, 150: 0.05, 151: 5e-3, 180: 5e-3, 181: 5e-4, 210: 5e-4, 211: 5e-5, 240: 5e-5}
    assert rates == pytest.approx(drops)
    opt.lr_decay_epochs = []
    assert learning_rate_at(300, opt) == 0.05


def test_steps_equal_a_plain_loop():
    """Six steps across a learning-rate drop, in float64, against SGD and the loss written from their definitions."""
    opt = options()
    engine = small_engine(opt, dtype=torch.float64)
    plain = model_dict["resnet8"](num_classes=5).double()
    plain.load_state_dict(engine.model.state_dict())
    loader = train(engine, opt, dtype=torch.float64)

    teacher, velocity, seen, rates = small_teacher(dtype=torch.float64), {}, 0, []
    sums = {"loss": 0.0, "hits": 0.0, "mixed": 0.0, "n": 0}
    for epoch in (1, 2):
        rate = 0.05 if epoch == 1 else 0.005
        sums = dict.fromkeys(sums, 0.0)
        for batch in loader.epoch(1, epoch):
            if seen == 6:
                break
            seen, rates = seen + 1, [*rates, rate]
            images = batch.images.double()
            z_s, z_t = plain(images), teacher(images)[1]
            log_p = z_s - z_s.exp().sum(1, keepdim=True).log()
            soft_s, soft_t = ((z / 4).exp() / (z / 4).exp().sum(1, keepdim=True) for z in (z_s, z_t))
            cls = -(batch.targets.double() * log_p).sum() / len(z_s)
            div = 16 * (soft_t * (soft_t.log() - soft_s.log())).sum() / len(z_s)
            loss = 0.1 * cls + 0.9 * div
            gradients = torch.autograd.grad(loss, list(plain.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(plain.parameters(), gradients, strict=True):
                    g = gradient + 5e-4 * parameter
                    velocity[parameter] = g if parameter not in velocity else 0.9 * velocity[parameter] + g
                    parameter -= rate * velocity[parameter]
            sums["loss"] += loss.item() * len(z_s)
            sums["hits"] += float((z_s.argmax(1) == batch.targets.argmax(1)).sum())
            sums["mixed"] += float((batch.targets.max(1).values < 1).sum())
            sums["n"] += len(z_s)
    assert rates == [0.05] * 3 + [0.005] * 3
    trained, expected = engine.model.state_dict(), plain.state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(trained[name], value, rtol=1e-9, atol=1e-11, msg=name)
    averages = engine.averages()
    assert averages["train_loss"] == pytest.approx(sums["loss"] / sums["n"], rel=1e-9)
    assert averages["train_loss"] == pytest.approx(averages["train_loss_cls"] + averages["train_loss_div"], rel=1e-9)
    assert averages["train_acc"] == pytest.approx(100 * sums["hits"] / sums["n"])
    # a sample mixed with one of its own class keeps a hard target
    assert averages["mixed_fraction"] >= sums["mixed"] / sums["n"] > 0


@pytest.mark.parametrize("name, alpha, calls", [("kd", 0.9, 6), ("kd", 0.0, 0), ("mixstd", 0.9, 6), ("mixstd", 0.0, 0),
                                                ("abound", 0.0, 0), (None, 0.0, 0)])
def test_the_teacher_is_called_only_if_a_loss_needs_it(name, alpha, calls):
    opt, called, teacher = options(alpha=alpha, rescale="std" if name == "mixstd" else "none"), [], small_teacher()
    engine = small_engine(opt, name="kd" if name == "abound" else name)
    if name == "abound":  # only its first stage uses the teacher
        assert not distiller_dict[name].needs_teacher(engine.method, "main")
        assert distiller_dict[name].needs_teacher(engine.method, "init")
    train(engine, opt, teacher=lambda images: called.append(1) or teacher(images))
    assert len(called) == calls


def test_on_cuda_the_teacher_runs_on_a_side_stream_before_the_student(monkeypatch):
    emulated, plain, teacher, calls = Emulated().patch(monkeypatch), small_engine(options()), small_teacher(), []

    def record(images):
        calls.append(torch.cuda.current_stream())
        return teacher(images)
    engine = CudaEngine(plain.opt, plain.model, plain.method, record)
    engine.model.register_forward_pre_hook(lambda *_: calls.append(torch.cuda.current_stream()))
    batch = next(DeviceLoader(small_data(), 8, MixSpec("none"), "cpu").epoch(1, 1))
    engine.step(batch)
    side, current = calls
    assert current is emulated.checker.current and side is not current
    engine.step(TeacherBatch(**vars(batch), logits_t=teacher(batch.images)[1]))  # computed ahead
    assert calls[2:] == [current]


def test_label_smoothing_in_closed_form():
    opt = options(label_smoothing=0.2)
    z = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    y = torch.eye(5, dtype=torch.float64)[torch.tensor([0, 1, 2, 3, 4, 0])]
    loss = Vanilla(opt)(([], z), None, Namespace(targets=y))["cls"]
    expected = -((0.8 * y + 0.2 / 5) * z.log_softmax(1)).sum(1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    gradient, = torch.autograd.grad(loss, z)
    torch.testing.assert_close(gradient, (z.softmax(1) - 0.8 * y - 0.2 / 5).detach() / 6, rtol=1e-9, atol=1e-12)


def test_a_step_that_is_not_finite_is_skipped():
    opt = options(on_nan="skip")
    engine = small_engine(opt, name=None)
    loader = DeviceLoader(small_data(), 16, MixSpec(), "cpu", torch.channels_last)
    good, bad, *_ = loader.epoch(1, 1)
    engine.step(good)
    before, momentum = weights(engine), [s["momentum_buffer"].clone() for s in engine.optimizer.state.values()]
    bad.images[3, 0, 0, 0] = float("inf")
    engine.step(bad)
    assert torch.equal(weights(engine), before)
    after = [s["momentum_buffer"] for s in engine.optimizer.state.values()]
    assert all(torch.equal(a, b) for a, b in zip(after, momentum, strict=True))
    averages = engine.averages()
    assert averages["skipped_steps"] == 1 and averages["train_loss"] < 10
    engine.step(good)
    assert not torch.equal(weights(engine), before) and torch.isfinite(weights(engine)).all()


def test_bf16_trains_near_single_precision():
    losses = {}
    for precision in ("fp32", "bf16"):
        opt = options(precision=precision)
        engine = small_engine(opt)
        train(engine, opt, steps=3)
        losses[precision] = engine.averages()["train_loss"]
        assert next(engine.model.parameters()).dtype == torch.float32
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)
    assert losses["bf16"] != losses["fp32"]


@pytest.mark.slow
def test_memory_does_not_grow_with_epochs(teacher, tmp_path, monkeypatch):
    """The bytes of all live tensors before a step, for a method with memories."""
    real, held = Engine.step, []

    def measure(self, batch):
        gc.collect()
        storages = [x.untyped_storage() for x in gc.get_objects() if type(x) in (torch.Tensor, torch.nn.Parameter)]
        held.append(sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values()))
        real(self, batch)
    monkeypatch.setattr(Engine, "step", measure)
    small_runs.train_ok(tmp_path, "--epochs", 5, "--path_t", teacher, "--distill", "crd", "--nce_k", 20,
                        role="student")
    second, fifth = held[len(held) // 5], held[4 * len(held) // 5]
    assert len(held) % 5 == 0 and 0 < fifth <= second


def test_a_summary_has_the_last_accuracy_and_the_best(tmp_path, monkeypatch):
    found = iter([Accuracy(50.0, 90.0, 1.0, 20), Accuracy(40.0, 80.0, 2.0, 20)])
    monkeypatch.setattr(Fit, "evaluate", lambda self: next(found))
    small_runs.train_ok(tmp_path, "--epochs", 2)
    summary = json.loads((small_runs.only_run(tmp_path) / "summary.json").read_text())
    assert (summary["last_top1"], summary["last_top5"], summary["last_test_loss"]) == (40.0, 80.0, 2.0)
    assert (summary["best_top1"], summary["best_top5"], summary["best_epoch"]) == (50.0, 90.0, 1)
