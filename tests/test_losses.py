"""Every loss class: values and gradients compared with the original code in float64, or with the formula where golden/
has no values; constant inputs; half precision.

golden/upstream.npz holds per case the inputs, the values and the gradients of their sum; upstream.json how each was
called. The originals are RepDistiller, MIX-KD, mdistiller, DIST and logit-standardization-KD.
"""
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from distiller_zoo import (
    FSP,
    HCL,
    KD,
    KDSVD,
    MIXSTD,
    PKT,
    ABLoss,
    Attention,
    Correlation,
    DistillKL,
    DISTLoss,
    DKDLoss,
    FactorTransfer,
    HintLoss,
    LSKDLoss,
    MIXSTDLoss,
    NSTLoss,
    RKDLoss,
    Similarity,
    VIDLoss,
    distiller_dict,
)
from distiller_zoo.ReviewKD import ABF
from distiller_zoo.right_vectors import RightVectors
from tests.references.reviewkd import reviewed
from tests.support.draws import draw, maps, total
from tests.support.feature_cases import options
from tests.support.zoo_cases import pair_of_shapes

GOLDEN = Path(__file__).with_name("golden")
DATA = np.load(GOLDEN / "upstream.npz")
CASES = json.loads((GOLDEN / "upstream.json").read_text())


def two_lists(loss):
    """The first half of the inputs is the student's, the second the teacher's."""
    return lambda *x: loss([*x[:len(x) // 2]], [*x[len(x) // 2:]])


CALLS = {
    "DistillKL_T4": DistillKL(4), "HintLoss": HintLoss(), "Attention": two_lists(Attention()),
    "Similarity": two_lists(Similarity()), "NSTLoss": two_lists(NSTLoss()), "Correlation": Correlation(),
    "RKDLoss": RKDLoss(), "PKT": PKT(), "ABLoss": two_lists(ABLoss(1)), "FactorTransfer": FactorTransfer(),
    "FSP": lambda *x: two_lists(FSP([f.shape for f in x[:3]], [f.shape for f in x[3:]]))(*x),
    "MIXSTDLoss": MIXSTDLoss(Namespace(gamma=0.1, alpha=0.9)), "DKD_1_8_4": DKDLoss(1, 8, 4),
    "DKD_1_2_4": DKDLoss(1, 2, 4), "DIST_1_1_4": DISTLoss(1, 1, 4), "LSKD_T2": LSKDLoss(2), "HCL": two_lists(HCL()),
}


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_match_the_original(case):
    part = {key.split("/")[1]: torch.from_numpy(DATA[key]) for key in DATA.files if key.startswith(f"{case}/")}
    inputs = [part[f"in{i}"] for i in range(sum(name.startswith("in") for name in part))]
    inputs = [x.double() if x.is_floating_point() else x for x in inputs]
    expected = {name: x for name, x in part.items() if name.startswith("grad")}
    wanted = [inputs[int(name.removeprefix("grad"))].requires_grad_() for name in expected]
    loss = CALLS[case](*inputs)
    values = torch.stack([*loss]) if isinstance(loss, (list, tuple)) else loss.reshape(1)
    torch.testing.assert_close(values, part["values"], rtol=1e-12, atol=1e-14)
    for got, gradient in zip(torch.autograd.grad(values.sum(), wanted), expected.values(), strict=True):
        torch.testing.assert_close(got, gradient, rtol=1e-10, atol=1e-12 * float(gradient.abs().max()))


def test_mixstd_loss_has_one_implementation(monkeypatch):
    """A change of MIXSTDLoss changes mixstd, every method under --rescale std and the test loss."""
    opt = Namespace(gamma=0.1, alpha=0.9, beta=0.0, rescale="std", kd_T=4.0)
    monkeypatch.setattr(MIXSTDLoss, "scale", staticmethod(lambda logits: 3 * logits))
    logits, targets = torch.randn(4, 10), torch.softmax(torch.randn(4, 10), 1)
    expected = -0.1 * (targets * torch.log_softmax(3 * logits, 1)).sum(1).mean()
    for method in (MIXSTD, KD):
        method = method(opt, None)
        terms = method(([], logits), ([], logits), Namespace(targets=targets))
        torch.testing.assert_close(terms["cls"], expected)
        torch.testing.assert_close(method.scale(logits), 3 * logits)


def test_dkd_weighted_by_the_teacher_equals_kd():
    """Zhao et al., eq. 5: KD = TCKD + (1 - p_t of the target) NCKD, per image."""
    z_s, z_t = 2 * draw(3, 5), 2 * draw(3, 5, seed=1)
    for s, t, y in zip(z_s.split(1), z_t.split(1), torch.tensor([[4], [0], [2]]), strict=True):
        others = 1 - float((t / 4).softmax(1)[0, y])
        torch.testing.assert_close(DKDLoss(1, others, 4)(s, t, y), DistillKL(4)(s, t))


# Losses without golden values -----------------------------------------------------------------------------------------

def make_vid(c_s=3, c_t=4):
    torch.manual_seed(0)
    loss = VIDLoss(c_s, c_t, c_t).double()
    torch.nn.init.normal_(loss.log_scale, 1.0)
    return loss


def vid_formula(loss, f_s, f_t):
    """Mean of 1/2 ((mu - t)^2 / v + log v), v = log(1 + e^scale) + eps."""
    size = min(f_s.shape[2], f_t.shape[2])
    mu, t = F.adaptive_avg_pool2d(f_s, size), F.adaptive_avg_pool2d(f_t, size)
    for i, weight in enumerate(loss.regressor.parameters()):
        mu = torch.einsum("oc,bchw->bohw", weight[:, :, 0, 0], mu.clamp_min(0) if i else mu)
    v = ((1 + loss.log_scale.exp()).log() + loss.eps).view(-1, 1, 1)
    return (0.5 * ((mu - t) ** 2 / v + v.log())).mean()


def vectors(f, n):
    """First n singular values and right vectors (N, C) by torch's SVD; the largest entry positive."""
    _, s, vh = torch.linalg.svd(f.flatten(1).T, full_matrices=False)
    return s[:n], [v * v[v.abs().argmax()].sign() for v in vh[:n]]


def kdsvd_formula(k, g_s, g_t):
    losses = [0.0] * (len(g_s) - 1)
    for n in range(len(g_s[0])):
        below = None
        for stage, (f_s, f_t) in enumerate(zip(g_s, g_t, strict=True)):
            (s_t, v_t), (_, v_s) = vectors(f_t[n], k), vectors(f_s[n], k + 3)
            weight = s_t / s_t.square().sum().sqrt()
            nearest = [max(v_s, key=lambda v, t=t: abs(float(v @ t))) for t in v_t]
            now = [torch.stack([w * v * (v @ t).sign() for w, v, t in zip(weight, nearest, v_t, strict=True)]),
                   torch.stack([w * t for w, t in zip(weight, v_t, strict=True)])]
            if below is not None:
                r_s, r_t = (torch.exp(-(a[:, :, None] - b[:, None]) ** 2 / 8) for a, b in zip(now, below, strict=True))
                losses[stage - 1] += (r_s - r_t).square().sum() / len(g_s[0])
            below = now
    return losses


VID = make_vid()
FORMULAS = {  # the loss, its formula, the student's features, the teacher's
    "vid": (VID, lambda s, t: vid_formula(VID, s, t), draw(2, 3, 4, 4), draw(2, 4, 2, 2, seed=1)),
    "vid_up": (VID, lambda s, t: vid_formula(VID, s, t), draw(2, 3, 2, 2), draw(2, 4, 4, 4, seed=1)),
    "kdsvd": (KDSVD(), lambda s, t: kdsvd_formula(1, s, t), maps(0, (4, 6, 5), (3, 2, 4)),
              maps(5, (4, 6, 5), (3, 4, 2))),
    "kdsvd_k2": (KDSVD(k=2), lambda s, t: kdsvd_formula(2, s, t), maps(0, (6, 7), (3, 2)), maps(5, (6, 7), (3, 4))),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_value_and_gradient_match_the_formula(name):
    loss, formula, f_s, f_t = FORMULAS[name]
    torch.testing.assert_close(loss(f_s, f_t), formula(f_s, f_t), rtol=1e-9, atol=0)
    leaves = [f.clone().requires_grad_() for f in (f_s if isinstance(f_s, list) else [f_s])]

    def value(*args):  # the parameters are leaves of the loss, gradcheck shifts them in place
        features = list(args[:len(leaves)])
        return total(loss(features if isinstance(f_s, list) else features[0], f_t))
    assert torch.autograd.gradcheck(value, (*leaves, *loss.parameters()))


def test_vid_starts_at_the_given_variance():
    loss = VIDLoss(3, 4, 5, init_pred_var=2.5, eps=1e-3)
    torch.testing.assert_close(torch.log1p(torch.exp(loss.log_scale)) + 1e-3, torch.full((5,), 2.5))


SHAPES_S = [(3, 2, 8, 8), (3, 3, 4, 4), (3, 4, 2, 2), (3, 5)]
SHAPES_T = [(3, 4, 8, 8), (3, 6, 8, 8), (3, 2, 4, 4), (3, 3)]


def test_reviewkd_is_hcl_of_the_fused_features():
    pair = pair_of_shapes(SHAPES_S, SHAPES_T)
    method = distiller_dict["reviewkd"](options("reviewkd", reviewkd_warmup=0), pair).double()
    feat_s, feat_t = ([draw(*s, seed=i + seed) for i, s in enumerate(side)]
                      for seed, side in ((0, SHAPES_S), (20, SHAPES_T)))
    s, t = ([*side[1:-1], side[-1][:, :, None, None]] for side in (feat_s, feat_t))
    expected = HCL()(reviewed(method, s, t), t)
    torch.testing.assert_close(method.kd_loss((feat_s, None), (feat_t, None), None), expected)
    names = [name for name, _ in ABF(3, 4, 5, True).named_parameters()]
    assert names == ["conv1.0.weight", "conv1.1.weight", "conv1.1.bias", "conv2.0.weight", "conv2.1.weight",
                     "conv2.1.bias", "att_conv.0.weight", "att_conv.0.bias"]


# Constant inputs, half precision --------------------------------------------------------------------------------------

TARGET, LOGITS = torch.tensor([4, 0, 2]), (2 * draw(3, 5), 2 * draw(3, 5, seed=1))
LOSSES = {  # loss, the student's inputs, the teacher's
    "hint": (HintLoss(), draw(2, 3, 4, 4), draw(2, 3, 4, 4, seed=1)),
    "attention": (Attention(), maps(0, (3, 4), (4, 2)), maps(5, (5, 2), (2, 4))),
    "similarity": (Similarity(), maps(0, (3, 4), (4, 2)), maps(5, (5, 2), (2, 4))),
    "correlation": (Correlation(), draw(4, 5), draw(4, 5, seed=1)),
    "rkd": (RKDLoss(), draw(5, 4), draw(5, 6, seed=1) * 3),
    "pkt": (PKT(), draw(5, 4), draw(5, 6, seed=1)),
    "nst": (NSTLoss(), maps(0, (3, 6), (4, 2)), maps(5, (5, 7), (2, 4))),
    "vid": (VID, *FORMULAS["vid"][2:]),
    "kdsvd": (KDSVD(), *FORMULAS["kdsvd"][2:]),
    "ab": (ABLoss(3, 0.8), maps(0, (3, 4, 2), (4, 2, 2)), maps(9, (3, 4, 2), (4, 2, 2))),
    "ft": (FactorTransfer(), draw(2, 3, 4, 4), draw(2, 5, 2, 2, seed=1)),
    "fsp": (FSP(*[[(2, 3, 4, 4), (2, 4, 2, 2)]] * 2), maps(0, (3, 4), (4, 2)), maps(9, (3, 4), (8, 8))),
    "hcl": (HCL(), maps(0, (3, 4), (8, 1)), maps(9, (3, 4), (8, 1))),
    "kl": (DistillKL(4), *LOGITS), "dist": (DISTLoss(1.5, 0.5, 2), *LOGITS), "lskd": (LSKDLoss(3), *LOGITS),
    "dkd": (lambda s, t: DKDLoss(0.7, 8, 4)(s, t, TARGET), *LOGITS),
    "mixstd": (lambda s, t: MIXSTDLoss(Namespace(gamma=0.1, alpha=0.9))(s, t, torch.eye(5, dtype=s.dtype)[TARGET]),
               *LOGITS),
}


def changed(x, change):
    return [change(f) for f in x] if isinstance(x, list) else change(x)


CHANGES = {"zeros": torch.zeros_like, "constant": lambda f: torch.full_like(f, 3.3), "same": lambda f: f,
           "first of zeros": lambda f: torch.cat([torch.zeros_like(f[:1]), f[1:]]),
           "one image repeated": lambda f: f[:1].expand_as(f).clone()}


@pytest.mark.parametrize("name", LOSSES)
def test_constant_inputs_give_finite_values_and_gradients(name):
    """Of student, teacher or both; gradients stay below 1e4."""
    loss, s, t = LOSSES[name]
    single = loss.float() if isinstance(loss, torch.nn.Module) else loss
    try:
        for who_s, who_t in (("zeros", "zeros"), ("zeros", "same"), ("same", "zeros"), ("constant", "same"),
                             ("constant", "constant"), ("first of zeros", "same"), ("one image repeated",) * 2):
            f_s = changed(s, lambda f, who=who_s: CHANGES[who](f).float().requires_grad_())
            value = total(single(f_s, changed(t, lambda f, who=who_t: CHANGES[who](f).float())))
            value.backward()
            assert torch.isfinite(value), (who_s, who_t)
            for f in f_s if isinstance(f_s, list) else [f_s]:
                assert torch.isfinite(f.grad).all() and f.grad.abs().max() < 1e4, (who_s, who_t)
    finally:
        VID.double()


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_inputs_are_computed_in_single(name):
    loss, s, t = LOSSES[name]
    single = loss.float() if isinstance(loss, torch.nn.Module) else loss
    s, t = (changed(f, lambda x: (20 * x).bfloat16()) for f in (s, t))
    try:
        with torch.autocast("cpu", torch.bfloat16):
            half = total(single(s, t))
        full = total(single(changed(s, torch.Tensor.float), changed(t, torch.Tensor.float)))
    finally:
        VID.double()
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0.05 if name == "vid" else 1e-6, atol=0)  # vid's regressor stays half


def test_large_half_precision_features_and_confident_logits_do_not_overflow():
    f_s, f_t = (draw(3, 64, 8, 8, seed=i).mul(30).half() for i in (0, 1))
    with torch.autocast("cpu", torch.float16):
        assert torch.isfinite(total(Similarity()([f_s], [f_t])))
    confident, unsure = torch.tensor([[1000.0, 0, 0], [0, 0, -1e4]]), draw(2, 3).float()
    for z_s, z_t in ((confident, unsure), (unsure, confident), (confident, confident)):
        z_s = z_s.clone().requires_grad_()
        loss = DKDLoss()(z_s, z_t, torch.tensor([0, 1]))
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(z_s.grad).all()


# kdsvd's right singular vectors against torch's SVD -------------------------------------------------------------------

def by_svd(x, n):
    """First n singular values and right vectors by torch's SVD, with its gradient; the largest entry positive."""
    _, s, vh = torch.linalg.svd(x, full_matrices=False)
    v = vh.mT[:, :, :n]
    return s[:, :n], v * v.detach().gather(1, v.detach().abs().argmax(1, keepdim=True)).sign()


@pytest.mark.parametrize("shape, n", [((3, 7, 4), 2), ((3, 4, 7), 4), ((3, 5, 5), 1), ((8, 256, 16), 4)], ids=str)
def test_right_vectors_and_gradient_match_torchs_svd(shape, n):
    x, weight = draw(*shape).requires_grad_(), draw(shape[0], shape[2], n, seed=1)
    (s, v), (s_svd, v_svd) = RightVectors.apply(x, n), by_svd(x, n)
    torch.testing.assert_close((s, v), (s_svd.detach(), v_svd.detach()))
    torch.testing.assert_close(*(torch.autograd.grad((vectors * weight).sum(), x)[0] for vectors in (v, v_svd)),
                               rtol=1e-6, atol=1e-8)


def with_values(values, size, seed):
    """Matrices (2, size, size) with the given singular values and random singular vectors."""
    left, right = (torch.linalg.qr(draw(2, size, size, seed=seed + i))[0] for i in (0, 1))
    return left * torch.tensor(values + [0.0] * (size - len(values)), dtype=left.dtype) @ right.mT


@pytest.mark.parametrize("values", [[3.0, 2.9997, 2.9994, 1.0, 0.99], [1e-20, 8e-21, 5e-21, 3e-21, 1e-21],
                                    [3.0, 2.0]], ids=str)
def test_close_small_and_zero_singular_values(values):
    """Vectors of zero values are zero; the gradient of the others matches finite differences of torch's SVD."""
    x, rank = with_values(values, 8, seed=3).requires_grad_(), min(4, len(values))
    (s, v), (s_svd, v_svd) = RightVectors.apply(x, 4), by_svd(x.detach(), rank)
    torch.testing.assert_close(s[:, :rank], s_svd, rtol=1e-7, atol=0)
    torch.testing.assert_close(v[:, :, :rank], v_svd, rtol=0, atol=1e-7)
    assert not s[:, rank:].any() and not v[:, :, rank:].any()
    weight, shift = draw(2, 8, 4, seed=9), draw(*x.shape, seed=5) * values[rank - 1] * 1e-6
    grad, = torch.autograd.grad((v * weight).sum(), x)
    up, down = ((by_svd(x.detach() + sign * shift, rank)[1] * weight[:, :, :rank]).sum() for sign in (1, -1))
    torch.testing.assert_close((grad * shift).sum(), (up - down) / 2, rtol=1e-4, atol=0)


@pytest.mark.parametrize("values", [[1.0] * 8, [1.0, 1.0, 0.5, 0.5, 0.5, 0.1]], ids=str)
def test_equal_singular_values_give_finite_results(values):
    """Their vectors are not unique: any orthonormal ones are right, and the gradient is finite."""
    x = with_values(values, 8, seed=4).float().requires_grad_()
    s, v = RightVectors.apply(x, 4)
    torch.testing.assert_close(s.detach(), torch.tensor([values[:4]] * 2))
    torch.testing.assert_close(v.mT @ v, torch.eye(4).expand(2, 4, 4), rtol=0, atol=1e-5)
    grad, = torch.autograd.grad((v * draw(2, 8, 4, seed=1).float()).sum(), x)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("values, n", [([1.0] * 4, 1), ([5.0, 4.0, 3.0, 1.0, 1.0, 1.0], 4)])
def test_equal_values_at_the_last_place_give_a_small_gradient(values, n):
    """Its part between equal values is 0; divided by a gap of rounding size it would be 1e8."""
    x = torch.diag(torch.tensor(values)).expand(2, -1, -1).clone().requires_grad_()
    _, v = RightVectors.apply(x, n)
    grad, = torch.autograd.grad((v * draw(2, len(values), n, seed=1).float()).sum(), x)
    assert grad.abs().max() < (0.01 if n == 1 else 5)


def test_non_finite_features_propagate():
    """The affected images have NaN, as with any other loss; the other images of the batch do not."""
    x = draw(3, 6, 4)
    x[1, 2, 3], x[2, 0, 0] = torch.nan, torch.inf
    s, v = RightVectors.apply(x.requires_grad_(), 3)
    assert v[1:].isnan().all() and s[1:, 0].isnan().all() and s[0].isfinite().all() and v[0].isfinite().all()
    grad, = torch.autograd.grad(v.sum(), x)
    assert grad[0].isfinite().all() and not grad[1:].isfinite().any()
