"""Methods on features: the published pairs of networks, what each reads, trains and refuses, no host reads."""
from argparse import Namespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from distiller_zoo import (
    KDSVD,
    PKT,
    Attention,
    Correlation,
    DistillError,
    HintLoss,
    NSTLoss,
    RKDLoss,
    Similarity,
    distiller_dict,
)
from tests.references.features import total
from tests.support.feature_cases import PAIRS, options, outputs, pair_of_shapes, shapes

NAMES = ["hint", "attention", "similarity", "correlation", "vid", "rkd", "pkt", "nst", "kdsvd"]
# stages of other widths than the teacher's: a right singular vector of one has no cosine with that of the other
NO_KDSVD = {("wrn_40_2", "wrn_40_1"), ("vgg13", "MobileNetV2"), ("ResNet50", "MobileNetV2"), ("ResNet50", "vgg8"),
            ("resnet32x4", "ShuffleV1"), ("resnet32x4", "ShuffleV2"), ("wrn_40_2", "ShuffleV1")}


@pytest.mark.parametrize("pair", PAIRS, ids=">".join)
def test_published_pairs_run_or_say_why_not(pair):
    both = pair_of_shapes(shapes(pair[1]), shapes(pair[0]))
    for name in NAMES:
        cls, opt = distiller_dict[name], options(name)
        reason = cls.unsupported(opt, both)
        assert bool(reason) == (name == "kdsvd" and pair in NO_KDSVD), (name, reason)
        if not reason:
            with FakeTensorMode(allow_non_fake_inputs=True):  # shapes alone: the values are tested above
                features_s, features_t = ([torch.randn(shape) for shape in s] for s in (both.shapes_s, both.shapes_t))
                for f in features_s:
                    f.requires_grad_()
                logits = torch.randn(2, 10)
                loss = cls(opt, both).kd_loss((features_s, logits), (features_t, logits), None)
                loss.backward()
                assert loss.shape == () and any(f.grad is not None for f in features_s), name


@pytest.mark.parametrize("layer", range(5))
@pytest.mark.parametrize("pair", PAIRS, ids=">".join)
def test_hint_layers_run_or_say_why_not(pair, layer):
    both, opt = pair_of_shapes(shapes(pair[1]), shapes(pair[0])), options("hint", hint_layer=layer)
    cls = distiller_dict["hint"]
    pooled_layer = layer == len(both.shapes_s) - 1
    assert bool(cls.unsupported(opt, both)) == pooled_layer
    if pooled_layer:
        with pytest.raises(DistillError, match="feature maps"):
            cls(opt, both)
    else:
        regress = cls(opt, both).regress
        assert regress(torch.zeros(both.shapes_s[layer])).shape[1:] == both.shapes_t[layer][1:]


def test_each_method_reads_its_features():
    """The weighted term equals the bare loss on RepDistiller's choice of features."""
    shapes_s = [(4, 3, 8, 8), (4, 4, 8, 8), (4, 6, 4, 4), (4, 5, 2, 2), (4, 7)]
    out_s, out_t = outputs(shapes_s, 0), outputs(shapes_s, 20)
    (f_s, _), (f_t, _) = out_s, out_t
    expected = {
        "hint": lambda m: HintLoss()(m.regress(f_s[2]), f_t[2]),
        "attention": lambda m: total(Attention()(f_s[1:4], f_t[1:4])),
        "similarity": lambda m: Similarity()([f_s[3]], [f_t[3]])[0],
        "correlation": lambda m: Correlation()(m.embed_s(f_s[4]), m.embed_t(f_t[4])),
        "vid": lambda m: total([m.criterion[i](f_s[1 + i], f_t[1 + i]) for i in range(3)]),
        "rkd": lambda m: RKDLoss()(f_s[4], f_t[4]),
        "pkt": lambda m: PKT()(f_s[4], f_t[4]),
        "nst": lambda m: total(NSTLoss()(f_s[1:4], f_t[1:4])),
        "kdsvd": lambda m: total(KDSVD()(f_s[1:4], f_t[1:4])),
    }
    betas = {"hint": 100, "attention": 1000, "similarity": 3000, "correlation": 0.02, "vid": 1, "rkd": 1, "pkt": 30000,
             "nst": 50, "kdsvd": 1}
    batch = Namespace(targets=torch.eye(10)[:4])
    for name in NAMES:
        opt, pair = options(name), pair_of_shapes(shapes_s, shapes_s)
        assert (opt.gamma, opt.alpha, opt.beta) == (1, 0, betas[name])
        method = distiller_dict[name](opt, pair)
        terms = method(out_s, out_t, batch)
        assert list(terms) == ["cls", "kd"]
        torch.testing.assert_close(terms["kd"], betas[name] * expected[name](method), msg=name)


def test_what_a_method_trains():
    both = pair_of_shapes(shapes("resnet20"), shapes("resnet8x4"))
    trained = {name: [k for k, _ in distiller_dict[name](options(name), both).named_parameters()]
               for name in NAMES if name != "kdsvd"}
    assert trained["hint"] == ["regress.conv.weight", "regress.conv.bias", "regress.bn.weight", "regress.bn.bias"]
    assert trained["correlation"] == [f"embed_{n}.linear.{p}" for n in "st" for p in ("weight", "bias")]
    assert len(trained["vid"]) == 3 * 4
    assert not any(trained[name] for name in ("attention", "similarity", "rkd", "pkt", "nst"))


@pytest.mark.parametrize("name", [name for name in NAMES if not distiller_dict[name].uncapturable])
def test_a_captured_step_reads_no_value_on_the_host(name):
    """Fake tensors have no values: anything that asks for one, or for a shape that hangs on one, raises."""
    both = pair_of_shapes(shapes("resnet20"), shapes("resnet32"))
    cls = distiller_dict[name]
    with FakeTensorMode():
        method = cls(options(name, step="graph"), both)
        (f_s, z_s), (f_t, z_t) = (([torch.randn(s) for s in side], torch.randn(2, 10)) for side in
                                  (both.shapes_s, both.shapes_t))
        f_s = [f.requires_grad_() for f in f_s]
        terms = method((f_s, z_s.requires_grad_()), (f_t, z_t), Namespace(targets=torch.rand(2, 10)))
        sum(terms.values()).backward()


def test_kdsvd_alone_is_not_captured():
    assert [name for name, method in distiller_dict.items() if method.uncapturable] == ["kdsvd"]


def test_networks_without_what_a_method_needs_are_refused():
    stem_only = pair_of_shapes([(2, 3, 8, 8), (2, 4)], [(2, 3, 8, 8), (2, 4)])
    one_stage = pair_of_shapes([(2, 3, 8, 8), (2, 4, 8, 8), (2, 4)], [(2, 3, 8, 8), (2, 4, 8, 8), (2, 4)])
    flat = pair_of_shapes([(2, 3, 8, 8), (2, 4), (2, 4)], [(2, 3, 8, 8), (2, 4), (2, 4)])
    for name in ("attention", "vid", "nst", "kdsvd"):
        cls = distiller_dict[name]
        assert "stage features" in cls.unsupported(options(name), stem_only)
        assert "stage features" in cls.unsupported(options(name), flat)
    assert "next" in distiller_dict["kdsvd"].unsupported(options("kdsvd"), one_stage)
    assert not distiller_dict["nst"].unsupported(options("nst"), one_stage)
    assert "0 to 2 only" in distiller_dict["hint"].unsupported(options("hint", hint_layer=3), one_stage)
    odd = pair_of_shapes([(2, 3, 8, 8), (2, 4, 5, 5), (2, 4)], [(2, 3, 8, 8), (2, 4, 7, 7), (2, 4)])
    assert "from 5x5 (student) to 7x7" in distiller_dict["hint"].unsupported(options("hint", hint_layer=1), odd)


def test_longer_lists_of_stages_are_cut():
    both = pair_of_shapes(shapes("resnet20"), shapes("vgg13"))
    out_s, out_t = outputs(both.shapes_s, 0), outputs(both.shapes_t, 20)
    loss = distiller_dict["attention"](options("attention"), both).kd_loss(out_s, out_t, None)
    torch.testing.assert_close(loss, total(Attention()(out_s[0][1:4], out_t[0][1:4])))
