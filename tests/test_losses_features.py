"""Losses on features: values against plain loops, gradients against differences, zeros, half precision."""
import numpy as np
import pytest
import torch

from distiller_zoo import KDSVD, PKT, Attention, Correlation, HintLoss, NSTLoss, RKDLoss, Similarity, VIDLoss
from tests.references import features as ref
from tests.references.features import draw, total


def maps(seed, channels=(3, 4), sizes=(4, 2), n=3):
    return [draw(n, c, h, h, seed=seed + i) for i, (c, h) in enumerate(zip(channels, sizes, strict=True))]


def vid(c_s=3, c_t=4):
    torch.manual_seed(0)
    loss = VIDLoss(c_s, c_t, c_t).double()
    torch.nn.init.normal_(loss.log_scale, 1.0)
    return loss


CASES = {  # loss, its reference on numpy arrays, the student's features, the teacher's
    "hint": (HintLoss(), None, draw(2, 3, 4, 4), draw(2, 3, 4, 4, seed=1)),
    "attention": (Attention(), None, maps(0), maps(5, (5, 2), (2, 4))),
    "similarity": (Similarity(), None, maps(0), maps(5, (5, 2), (2, 4))),
    "correlation": (Correlation(), None, draw(4, 5), draw(4, 5, seed=1)),
    "vid": (vid(), lambda s, t: ref.vid(CASES["vid"][0], s, t), draw(2, 3, 4, 4), draw(2, 4, 2, 2, seed=1)),
    "vid_up": (vid(), lambda s, t: ref.vid(CASES["vid_up"][0], s, t), draw(2, 3, 2, 2), draw(2, 4, 4, 4, seed=1)),
    "rkd": (RKDLoss(), None, draw(5, 4), draw(5, 6, seed=1) * 3),
    "pkt": (PKT(), None, draw(5, 4), draw(5, 6, seed=1)),
    "nst": (NSTLoss(), None, maps(0, (3, 6)), maps(5, (5, 7), (2, 4))),
    "kdsvd": (KDSVD(), lambda s, t: ref.kdsvd(s, t, 1), maps(0, (4, 6, 5), (3, 2, 4)), maps(5, (4, 6, 5), (3, 4, 2))),
    "kdsvd_k2": (KDSVD(k=2), lambda s, t: ref.kdsvd(s, t, 2), maps(0, (6, 7), (3, 2)), maps(5, (6, 7), (3, 4))),
}
LOSSES = list(CASES)
FORMULAS = [name for name in CASES if CASES[name][1]]  # of the others golden/ has values and gradients


def numpy(features):
    return [f.numpy() for f in features] if isinstance(features, list) else features.numpy()


def changed(features, change):
    return [change(f) for f in features] if isinstance(features, list) else change(features)


@pytest.mark.parametrize("name", FORMULAS)
def test_value_is_the_formulas(name):
    loss, reference, f_s, f_t = CASES[name]
    expected, value = reference(numpy(f_s), numpy(f_t)), loss(f_s, f_t)
    if isinstance(value, list):
        assert len(value) == len(expected) and all(v.shape == () for v in value)
        value = [float(v) for v in value]
    else:
        assert value.shape == ()
        value = float(value.detach())
    np.testing.assert_allclose(value, expected, rtol=1e-9)


@pytest.mark.parametrize("name", FORMULAS)
def test_gradient_is_the_values(name):
    loss, _, f_s, f_t = CASES[name]
    listed = isinstance(f_s, list)
    inputs = [f.clone().requires_grad_() for f in (f_s if listed else [f_s])]

    def value(*args):  # the parameters are leaves of the loss, gradcheck shifts them in place
        features = list(args[:len(inputs)])
        return total(loss(features if listed else features[0], f_t))

    assert torch.autograd.gradcheck(value, (*inputs, *loss.parameters()))


def test_nst_is_the_same_from_either_gram_matrix():
    a, b = draw(2, 5, 3), draw(2, 4, 3, seed=1)  # 9 < 20: pixels
    wide_a, wide_b = (torch.cat([f, torch.zeros(2, f.shape[1], 6, dtype=f.dtype)], 2) for f in (a, b))  # 81: channels
    torch.testing.assert_close(NSTLoss.poly_kernel(a, b), NSTLoss.poly_kernel(wide_a, wide_b))


def test_vid_starts_at_the_given_variance():
    loss = VIDLoss(3, 4, 5, init_pred_var=2.5, eps=1e-3)
    variance = torch.log1p(torch.exp(loss.log_scale)) + 1e-3
    torch.testing.assert_close(variance, torch.full((5,), 2.5))
    assert list(loss.state_dict()) == ["log_scale", "regressor.0.weight", "regressor.2.weight", "regressor.4.weight"]
    assert VIDLoss(3, 4, 5).eps == 1e-5


def test_kdsvd_dead_channels_keep_the_gradient_of_the_others():
    """Two zero channels make torch's gradient NaN; the others' must be what it is without them."""
    loss, alive = KDSVD(), [0, 1, 2, 3]
    g_t = [draw(2, 6, 3, 3, seed=i) for i in (1, 2)]
    for f in g_t:
        f[:, 4:] = 0
    g_s = [draw(2, 6, 3, 3, seed=i).index_fill(1, torch.tensor([4, 5]), 0).requires_grad_() for i in (3, 4)]
    total(loss(g_s, g_t)).backward()
    assert all(torch.isfinite(f.grad).all() for f in g_s)
    shift = draw(2, 6, 3, 3, seed=9).index_fill(1, torch.tensor([4, 5]), 0) * 1e-6
    with torch.no_grad():
        up, down = (total(loss([g_s[0] + sign * shift, g_s[1]], g_t)) for sign in (1, -1))
    slope = (g_s[0].grad * shift)[:, alive].sum()
    torch.testing.assert_close(slope, (up - down) / 2, rtol=1e-5, atol=0)


# Robustness ---------------------------------------------------------------------------------------------------------

def zero(f):
    return torch.zeros_like(f)


def first_zero(f):
    return torch.cat([torch.zeros_like(f[:1]), f[1:]])


def repeated(f):
    return f[:1].expand_as(f).clone()


@pytest.mark.parametrize(("change_s", "change_t"), [(zero, zero), (zero, torch.clone), (torch.clone, zero),
                                                   (first_zero, torch.clone), (repeated, repeated)])
@pytest.mark.parametrize("name", LOSSES)
def test_degenerate_features_stay_finite(name, change_s, change_t):
    """Finite, and no gradient out of scale that would throw a network off."""
    dtype = torch.float32
    loss, _, f_s, f_t = CASES[name]
    f_s = changed(f_s, lambda f: change_s(f).to(dtype).requires_grad_())
    value = total(loss.to(dtype)(f_s, changed(f_t, lambda f: change_t(f).to(dtype))))
    value.backward()
    loss.double()
    assert torch.isfinite(value)
    for f in f_s if isinstance(f_s, list) else [f_s]:
        assert torch.isfinite(f.grad).all() and f.grad.abs().max() < 1e4


@pytest.mark.parametrize("name", [n for n in LOSSES if n.split("_")[0] not in ("correlation", "rkd")])
def test_batch_of_one(name):
    loss, _, f_s, f_t = CASES[name]
    f_s = changed(f_s, lambda f: f[:1].clone().requires_grad_())
    value = total(loss(f_s, changed(f_t, lambda f: f[:1])))
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(f.grad).all() for f in (f_s if isinstance(f_s, list) else [f_s]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_inputs_are_computed_in_single(name, dtype):
    loss, _, f_s, f_t = CASES[name]
    f_s, f_t = (changed(f, lambda x: (20 * x).to(dtype)) for f in (f_s, f_t))
    loss.float()
    with torch.autocast("cpu", dtype):
        half = total(loss(f_s, f_t))
    single = total(loss(changed(f_s, torch.Tensor.float), changed(f_t, torch.Tensor.float)))
    loss.double()
    assert half.dtype == torch.float32
    # the regressor of vid is the network's, it stays in half precision
    torch.testing.assert_close(half, single, rtol=0.05 if name.startswith("vid") else 1e-6, atol=0)


def test_gram_matrix_of_large_half_features_does_not_overflow():
    f_s, f_t = (draw(3, 64, 8, 8, seed=i).mul(30).half() for i in (0, 1))
    with torch.autocast("cpu", torch.float16):
        assert torch.isfinite(total(Similarity()([f_s], [f_t])))


def test_maps_need_not_be_square_nor_contiguous():
    g_s = [draw(2, 3, 4, 6).to(memory_format=torch.channels_last)]
    g_t = [draw(2, 3, 2, 6, seed=1).to(memory_format=torch.channels_last)]
    halved = [g_s[0].unflatten(2, (2, 2)).mean(3)]
    for loss in (Attention(), NSTLoss(), lambda s, t: [vid(3, 3)(s[0], t[0])]):
        torch.testing.assert_close(total(loss(g_s, g_t)), total(loss(halved, g_t)))
    two = [g_s[0], draw(2, 5, 2, 3)]
    assert torch.isfinite(total(KDSVD()(two, [g_t[0], draw(2, 5, 2, 3, seed=4)])))
    assert torch.isfinite(total(Similarity()(g_s, g_t)))
