"""ReviewKD's fusion, DKD's identity, constant inputs and half precision of the newer losses."""

import pytest
import torch

from distiller_zoo import FSP, HCL, ABLoss, DISTLoss, DKDLoss, FactorTransfer, LSKDLoss, distiller_dict
from distiller_zoo.ReviewKD import ABF
from tests.references import modern as ref
from tests.references.features import draw
from tests.support.feature_cases import options, pair_of_shapes


def maps(seed, channels=(3, 4, 2), sizes=(4, 2, 2), n=2):
    return [draw(n, c, s, s, seed=seed + i) for i, (c, s) in enumerate(zip(channels, sizes, strict=True))]


TARGET = torch.tensor([4, 0, 2])
LOGITS = 2 * draw(3, 5), 2 * draw(3, 5, seed=1)
CASES = {  # loss, student's, teacher's
    "ab": (ABLoss(3, 0.8), maps(0), maps(9)),
    "ft": (FactorTransfer(), draw(2, 3, 4, 4), draw(2, 5, 2, 2, seed=1)),
    "fsp": (FSP(*[[(2, 3, 4, 4), (2, 4, 2, 2), (2, 2, 2, 2)]] * 2), maps(0), maps(9, sizes=(8, 8, 4))),
    "dkd": (lambda s, t: DKDLoss(0.7, 8, 4)(s, t, TARGET), *LOGITS),
    "dist": (DISTLoss(1.5, 0.5, 2), *LOGITS),
    "lskd": (LSKDLoss(3), *LOGITS),
    "hcl": (HCL(), maps(0, sizes=(8, 4, 1)), maps(9, sizes=(8, 4, 1))),
}


def listed(x):
    return x if isinstance(x, list) else [x]


def unlisted(xs, like):
    return list(xs) if isinstance(like, list) else xs[0]


def test_dkd_with_the_teachers_weight_is_kd():
    """Zhao et al., eq. 5: KD = TCKD + (1 - p_t of the target) NCKD, image by image."""
    z_s, z_t = LOGITS
    for i in range(3):
        s, t, y = z_s[i:i + 1], z_t[i:i + 1], TARGET[i:i + 1]
        others = 1 - float((t / 4).softmax(1)[0, y])
        kd = 16 * ref.kl(ref.softmax(t[0].numpy() / 4), ref.softmax(s[0].numpy() / 4))
        assert float(DKDLoss(1, others, 4)(s, t, y)) == pytest.approx(kd, rel=1e-10)


def test_dkd_is_finite_for_a_certain_network():
    certain, unsure = torch.tensor([[1000.0, 0, 0], [0, 0, -1e4]]), draw(2, 3).float()
    for z_s, z_t in ((certain, unsure), (unsure, certain), (certain, certain)):
        z_s = z_s.clone().requires_grad_()
        loss = DKDLoss()(z_s, z_t, torch.tensor([0, 1]))
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(z_s.grad).all()


# ReviewKD's fusion --------------------------------------------------------------------------------------------------

SHAPES_S = [(3, 2, 8, 8), (3, 3, 4, 4), (3, 4, 2, 2), (3, 5)]
SHAPES_T = [(3, 4, 8, 8), (3, 6, 8, 8), (3, 2, 4, 4), (3, 3)]


def review():
    pair = pair_of_shapes(SHAPES_S, SHAPES_T)
    method = distiller_dict["reviewkd"](options("reviewkd", reviewkd_warmup=0), pair).double()
    feat_s, feat_t = ([draw(*s, seed=i + seed) for i, s in enumerate(side)]
                      for seed, side in ((0, SHAPES_S), (20, SHAPES_T)))
    return method, feat_s, feat_t


def test_reviewkd_is_the_formulas():
    method, feat_s, feat_t = review()
    s, t = ([*(f.numpy() for f in side[1:-1]), side[-1].numpy()[:, :, None, None]] for side in (feat_s, feat_t))
    fused = ref.reviewed(method, s, [f.shape[2] for f in t])
    expected = float(HCL()(*([torch.from_numpy(f) for f in side] for side in (fused, t))))
    loss = method.kd_loss((feat_s, None), (feat_t, None), None)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-10)


def test_reviewkd_gradient_is_the_values():
    method, feat_s, feat_t = review()
    leaves = [f.requires_grad_() for f in feat_s[1:]]
    assert torch.autograd.gradcheck(lambda *_: method.kd_loss((feat_s, None), (feat_t, None), None),
                                    (*leaves, *method.parameters()), fast_mode=True)


def test_fusion_module_has_the_authors_parameters():
    names = [name for name, _ in ABF(3, 4, 5, True).named_parameters()]
    assert names == ["conv1.0.weight", "conv1.1.weight", "conv1.1.bias", "conv2.0.weight", "conv2.1.weight",
                     "conv2.1.bias", "att_conv.0.weight", "att_conv.0.bias"]
    wide = pair_of_shapes([(2, 8, 4, 4), (2, 8, 4, 4), (2, 600)], [(2, 8, 4, 4), (2, 8, 4, 4), (2, 9)])
    assert distiller_dict["reviewkd"](options("reviewkd"), wide).abfs[-1].conv1[0].weight.shape == (512, 600, 1, 1)


# Degenerate inputs and precision ------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("value", [0.0, 3.3])
@pytest.mark.parametrize("who", ["student", "teacher", "both"])
@pytest.mark.parametrize("name", CASES)
def test_constant_inputs_stay_finite(name, who, value, dtype):
    loss, s, t = CASES[name]
    s, t = ([(torch.full_like(f, value) if who in (side, "both") else f).to(dtype) for f in listed(x)]
            for side, x in (("student", s), ("teacher", t)))
    s = [f.requires_grad_() for f in s]
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
        out = sum(listed(loss(unlisted(s, CASES[name][1]), unlisted(t, CASES[name][2]))))
    out.backward()
    assert out.dtype == torch.float32 and torch.isfinite(out)
    assert all(torch.isfinite(f.grad).all() for f in s)
