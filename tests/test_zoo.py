"""Tests of every method of ``--distill``. A new method fails here until WIRING has its kd term."""
import copy
import math
import re

import pytest
import torch

import distiller_zoo as zoo
from distiller_zoo import Distiller, distiller_dict
from helper import checkpoint
from helper.errors import UserError
from helper.options import parse_student
from tests.references.reviewkd import reviewed
from tests.support.draws import total
from tests.support.zoo_cases import (
    SHAPES_S,
    batch_of,
    cancelled_biases,
    enter,
    fit_of,
    outputs,
    small_method,
    stages_of,
    step,
)

METHODS = list(distiller_dict)
WEIGHTS = ["-r", "0.3", "-a", "0.7", "-b", "2.5"]  # all three terms


def loss_of(method, stage, out_s, out_t, batch):
    return method.init_loss(out_s, out_t, batch) if stage == "init" else sum(method(out_s, out_t, batch).values())


# Values and gradients -----------------------------------------------------------------------------------------------

def pooled_as_map(f):
    return [*f[1:4], f[4][:, :, None, None]]


# The kd term, or the loss of the first stage, from method m, features s and t, logits x and y and batch b: the loss
# class (for its value see tests/test_losses.py) on RepDistiller's choice of features.
WIRING = {
    "kd": None, "mixstd": None,
    "hint": lambda m, s, t, x, y, b: zoo.HintLoss()(m.regress(s[2]), t[2]),
    "attention": lambda m, s, t, x, y, b: zoo.Attention()(s[1:4], t[1:4]),
    "similarity": lambda m, s, t, x, y, b: zoo.Similarity()(s[3:4], t[3:4]),
    "correlation": lambda m, s, t, x, y, b: zoo.Correlation()(m.embed_s(s[4]), m.embed_t(t[4])),
    "vid": lambda m, s, t, x, y, b: [m.criterion[i](s[1 + i], t[1 + i]) for i in range(3)],
    "rkd": lambda m, s, t, x, y, b: zoo.RKDLoss()(s[4], t[4]),
    "pkt": lambda m, s, t, x, y, b: zoo.PKT()(s[4], t[4]),
    "nst": lambda m, s, t, x, y, b: zoo.NSTLoss()(s[1:4], t[1:4]),
    "kdsvd": lambda m, s, t, x, y, b: zoo.KDSVD()(s[1:4], t[1:4]),
    "abound": lambda m, s, t, x, y, b: zoo.ABLoss(3)(m.connector(s[1:4]), t[1:4]),
    "factor": lambda m, s, t, x, y, b: zoo.FactorTransfer()(m.translator(s[3]), m.paraphraser(t[3], is_factor=True)),
    "fsp": lambda m, s, t, x, y, b: zoo.FSP([f.shape for f in s[:4]], [f.shape for f in t[:4]])(s[:4], t[:4]),
    "crd": lambda m, s, t, x, y, b: copy.deepcopy(m.criterion)(s[4], t[4], b.index),
    "dkd": lambda m, s, t, x, y, b: zoo.DKDLoss(1, 8, 4)(x, y, b.labels) * m.warmup.factor,
    "dist": lambda m, s, t, x, y, b: zoo.DISTLoss(1, 1, 4)(x, y),
    "lskd": lambda m, s, t, x, y, b: zoo.LSKDLoss(2)(x, y),
    "reviewkd": lambda m, s, t, x, y, b: zoo.HCL()(reviewed(m, pooled_as_map(s), pooled_as_map(t)), pooled_as_map(t))
    * m.warmup.factor,
}


def scaled(z):
    return z / ((z - z.mean(1, keepdim=True)).square().sum(1, keepdim=True) / (z.shape[1] - 1)).sqrt()


@pytest.mark.parametrize("name", METHODS)
def test_terms_equal_the_formulas(name):
    """0.3 CE + 0.7 T^2 KL + 2.5 kd of float64 features; under --rescale std of the scaled logits, without a T."""
    assert name in WIRING, f"write the kd term of {name} into WIRING"
    for rescale in ("none", "std"):
        method, shapes_t = small_method(name, *WEIGHTS, "--rescale", rescale, "--kd_T", "3")
        (s, x), (t, y), batch = outputs(SHAPES_S, 0), outputs(shapes_t, 20), batch_of()
        stage = "init" if name in ("abound", "fsp") else "main"
        enter(method, stage)
        own = WIRING[name] and total(WIRING[name](method, s, t, x, y, batch)).squeeze()
        if stage == "init":
            torch.testing.assert_close(method.init_loss((s, x), (t, y), batch), own)
            enter(method, "main")
        z_s, z_t, T = (scaled(x), scaled(y), 1) if rescale == "std" else (x, y, 3)
        p_t = (z_t / T).softmax(1)
        expected = {"cls": 0.3 * -(batch.targets * z_s.log_softmax(1)).sum(1).mean(),
                    "div": 0.7 * T**2 * (p_t * (p_t.log() - (z_s / T).log_softmax(1))).sum(1).mean()}
        if own is not None and stage == "main":
            expected["kd"] = 2.5 * own
        assert list(expected) == method.terms
        torch.testing.assert_close(method((s, x), (t, y), batch), expected, msg=name)


def test_the_first_stage_of_factor_is_the_reconstruction_error():
    method, shapes_t = small_method("factor")
    out_t = outputs(shapes_t, 20)
    enter(method, "init")
    _, rebuilt = method.paraphraser(out_t[0][3])
    torch.testing.assert_close(method.init_loss(outputs(SHAPES_S, 0), out_t, batch_of()),
                               (rebuilt - out_t[0][3]).square().mean())


@pytest.mark.parametrize("name", METHODS)
def test_gradients_match_finite_differences(name):
    """Of the student's features and logits and of every learned parameter, whose gradients are not zero."""
    method, shapes_t = small_method(name, *WEIGHTS)
    (f_s, z_s), out_t, batch = outputs(SHAPES_S, 0, grad=True), outputs(shapes_t, 20), batch_of()
    trained = set()
    for stage in stages_of(name):
        parameters = enter(method, stage)
        loss_of(method, stage, (f_s, z_s), out_t, batch)  # crd sets its constants in its first batch
        before = {key: buffer.clone() for key, buffer in method.named_buffers()}

        def value(*_, stage=stage, before=before):
            for key, buffer in method.named_buffers():
                if "running" not in key and not torch.equal(buffer, before[key]):
                    buffer.copy_(before[key])  # every call updates crd's memories
            return loss_of(method, stage, (f_s, z_s), out_t, batch)

        leaves = [*f_s, z_s, *parameters.values()]
        assert torch.autograd.gradcheck(value, leaves, fast_mode=True)
        gradients = dict(zip(parameters, torch.autograd.grad(value(), [*parameters.values(), z_s], allow_unused=True),
                             strict=False))
        for key, gradient in gradients.items():
            zero = id(parameters[key]) in cancelled_biases(method)
            assert (gradient.abs().max() < 1e-9) == zero, (stage, key)
        trained |= parameters.keys()
    assert trained == {key for key, _ in method.named_parameters()}


@pytest.mark.parametrize("name", METHODS)
def test_the_stages_train_every_parameter(name):
    """In a Fit, the stages together update every parameter but those that a batch norm cancels."""
    fit, moved = fit_of(name), set()
    fixed = cancelled_biases(fit.engine.method)
    for stage in stages_of(name):
        assert fit.stage == stage
        owners = {f"student.{k}": p for k, p in fit.engine.model.named_parameters()}
        owners |= {k: p for k, p in fit.engine.method.named_parameters() if id(p) not in fixed}
        before = {k: p.detach().clone() for k, p in owners.items()}
        fit.begin_epoch()
        step(fit, 0)
        in_stage = {id(p) for group in fit.engine.optimizer.param_groups for p in group["params"]}
        for key, p in owners.items():
            assert torch.equal(p, before[key]) == (id(p) not in in_stage), (stage, key)
        moved |= {k for k, p in owners.items() if id(p) in in_stage}
        fit.end_epoch({})
    assert moved == owners.keys()


# Edge cases ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_zero_features_and_constant_logits_are_finite(name):
    """Values and gradients in single precision; gradients stay below a limit."""
    for rescale, who in (("none", "student"), ("none", "both"), ("std", "student"), ("std", "teacher")):
        assert_finite_at_zeros(name, rescale, who)


def assert_finite_at_zeros(name, rescale, who):
    method, shapes_t = small_method(name, "-a", "0.5", "--rescale", rescale)
    method.float()
    # each batch norm multiplies the gradient of a constant by 1 / sqrt(eps) = 316
    limit = 1e4 * 316 ** sum(isinstance(m, torch.nn.BatchNorm2d) for m in method.modules())
    batch = batch_of()
    batch.targets = batch.targets.float()
    for stage, constant in ((stage, constant) for stage in stages_of(name) for constant in (0.0, 3.3)):
        parameters = enter(method, stage)
        sides = []
        for side, shapes, seed in (("student", SHAPES_S, 0), ("teacher", shapes_t, 20)):
            f, z = outputs(shapes, seed)
            if who in (side, "both"):
                f, z = [torch.zeros_like(x) for x in f], torch.full_like(z, constant)
            sides.append(([x.float() for x in f], z.float()))
        leaves = [x.requires_grad_() for x in (*sides[0][0], sides[0][1])] + list(parameters.values())
        loss = loss_of(method, stage, *sides, batch)
        gradients = [g for g in torch.autograd.grad(loss, leaves, allow_unused=True) if g is not None]
        assert torch.isfinite(loss) and gradients
        assert all(torch.isfinite(g).all() and g.abs().max() < limit for g in gradients), (stage, constant)


@pytest.mark.parametrize("name", METHODS)
def test_the_smallest_batch_trains_in_half_precision(name):
    smallest = distiller_dict[name].min_batch
    fit = fit_of(name, precision="bf16", flags=["--rescale", "std", "--mix", "none"])
    for _ in stages_of(name):
        fit.begin_epoch()
        step(fit, 0, n=smallest)
        assert math.isfinite(fit.engine.averages()["train_loss"]) and fit.engine.weights_finite()
        fit.end_epoch({})
    if smallest > 1:
        with pytest.raises(UserError, match=f"^--batch_size 1: --distill {name} needs at least {smallest}$"):
            parse_student(["--distill", name, "--batch_size", "1"])


def flat(value, place=""):
    """A nested state as one dict, path -> value."""
    if isinstance(value, dict):
        return {k: v for name, part in value.items() for k, v in flat(part, f"{place}/{name}").items()}
    if isinstance(value, (list, tuple)):
        return {k: v for i, part in enumerate(value) for k, v in flat(part, f"{place}/{i}").items()}
    return {place: value}


# One method per state that a checkpoint has to hold: the student's alone, a memory, a first stage, a warm-up.
QUICK = ("kd", "crd", "factor", "reviewkd")


@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
                                  for name in METHODS])
def test_a_resumed_method_continues_bit_for_bit(name, tmp_path):
    """From a checkpoint within each stage, loaded into a fit with other initial weights."""
    straight = fit_of(name)
    for stage in stages_of(name):
        straight.begin_epoch()
        step(straight, 1)
        step(straight, 2, n=3)  # an epoch's short last batch
        checkpoint.save(straight.state_dict(), tmp_path / "state.pth")
        resumed = fit_of(name, seed=7)
        resumed.load_state_dict(checkpoint.load(tmp_path / "state.pth", digest_needed=True))
        assert resumed.stage == stage
        for fit in (straight, resumed):
            fit.begin_epoch()
            step(fit, 3)
            step(fit, 4)
            loss = fit.engine.averages()["train_loss"]
            fit.end_epoch({"stage": stage, "epoch": 1, "train_loss": loss, "seconds": 1.0})
            fit.begin_epoch()
            step(fit, 5)
        before, after = (flat(fit.state_dict()) for fit in (straight, resumed))
        assert before.keys() == after.keys()
        for place, value in before.items():
            same = torch.equal(value, after[place]) if isinstance(value, torch.Tensor) else value == after[place]
            assert same, (stage, place)
        straight.step = 0


LOSS_CLASSES = {
    "kd": "DistillKL", "mixstd": "MIXSTDLoss", "hint": "HintLoss", "attention": "Attention",
    "similarity": "Similarity", "correlation": "Correlation", "vid": "VIDLoss", "rkd": "RKDLoss", "pkt": "PKT",
    "nst": "NSTLoss", "kdsvd": "KDSVD", "abound": "ABLoss", "factor": "FactorTransfer", "fsp": "FSP",
    "crd": "CRDLoss", "dkd": "DKDLoss", "dist": "DISTLoss", "lskd": "LSKDLoss", "reviewkd": "HCL"}


def double(value):
    return type(value)(map(double, value)) if isinstance(value, (list, tuple)) else 2 * value


@pytest.mark.parametrize("name", METHODS)
def test_training_uses_the_published_loss_class(name, monkeypatch):
    """Doubling its forward changes the loss and its gradients; for a method without a loss class, doubling kd_loss."""
    known, call = distiller_dict[name], "kd_loss"
    if name in LOSS_CLASSES:
        known, call = getattr(zoo, LOSS_CLASSES[name]), "forward"
    forward = getattr(known, call)
    found = []
    for change in (False, True):
        if change:
            monkeypatch.setattr(known, call, lambda self, *args: double(forward(self, *args)))
        method, shapes_t = small_method(name)
        stage = "init" if name in ("abound", "fsp") else "main"
        enter(method, stage)
        out_s, out_t = outputs(SHAPES_S, 0, grad=True), outputs(shapes_t, 20)
        loss = loss_of(method, stage, out_s, out_t, batch_of())
        seen = [x for x in (*out_s[0], out_s[1]) if x.requires_grad]
        gradients = torch.autograd.grad(loss, seen, allow_unused=True)
        found.append((float(loss.detach()), sum(float(g.abs().sum()) for g in gradients if g is not None)))
    (before, slope), (after, slope_after) = found
    assert abs(after - before) > 1e-3 * abs(before) and slope_after > 1.001 * slope


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_a_paper_weights_and_described_flags(name):
    method = distiller_dict[name]
    assert issubclass(method, Distiller) and method.__doc__ and method.__doc__ != Distiller.__doc__
    assert re.search(r"\w+, .*(arXiv|[A-Z]{4}|NeurIPS).* (19|20)\d\d$", method.paper), (
        f"{name}.paper: {method.paper!r} is not 'Names, venue year'")
    assert len(method.weights) == 3 and all(type(w) is float and w >= 0 for w in method.weights) and any(method.weights)
    assert method.rescale in ("none", "std") and method.min_batch >= 1 and isinstance(method.two_stage, bool)
    for flag, kwargs in method.flags.items():
        assert re.fullmatch(r"\w+", flag) and kwargs["help"] and "default" in kwargs
        assert "type" in kwargs or "choices" in kwargs
