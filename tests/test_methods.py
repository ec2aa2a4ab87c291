"""Methods on the published pairs of networks: support, gradients, warm-up, first stages, refusals, flags."""
from argparse import Namespace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from distiller_zoo import FSP, Attention, DistillError, Pair, distiller_dict
from helper.setup import make_engine
from models import model_dict
from tests.support.draws import draw, total
from tests.support.feature_cases import EQUAL_CHANNELS, IMAGENET_PAIRS, PAIRS, options, outputs, shapes
from tests.support.training import options as run_options
from tests.support.zoo_cases import pair_of_shapes

# stages of other widths than the teacher's: right singular vectors of different lengths have no cosine
NO_KDSVD = {("wrn_40_2", "wrn_40_1"), ("vgg13", "MobileNetV2"), ("ResNet50", "MobileNetV2"), ("ResNet50", "vgg8"),
            ("resnet32x4", "ShuffleV1"), ("resnet32x4", "ShuffleV2"), ("wrn_40_2", "ShuffleV1"),
             ("resnet50", "mobilenet_v1")}
FSP_PAIRS = {*EQUAL_CHANNELS, ("resnet34", "resnet18")}


def own(name, **changes):
    return options(name, **({"nce_k": 20, "feat_dim": 8} if name == "crd" else {}) | changes)


@pytest.mark.parametrize("pair", [*PAIRS, *IMAGENET_PAIRS], ids=">".join)
def test_methods_refuse_unsupported_pairs(pair):
    both = pair_of_shapes(shapes(pair[1]), shapes(pair[0]))
    refused = {name for name, cls in distiller_dict.items() if cls.unsupported(own(name), both)}
    assert refused == {*(["kdsvd"] if pair in NO_KDSVD else []), *([] if pair in FSP_PAIRS else ["fsp"])}


QUICK = [("resnet32x4", "resnet8x4"), ("wrn_40_2", "ShuffleV1"), *IMAGENET_PAIRS]
SLOW = [pytest.param(pair, marks=pytest.mark.slow) for pair in PAIRS if pair not in [*QUICK, *EQUAL_CHANNELS]]


@pytest.mark.parametrize("pair", [*QUICK, *SLOW], ids=">".join)
def test_losses_of_published_pairs_have_a_gradient(pair):
    """Forward and backward of every method on fake tensors, which raise when the host reads a value."""
    both = pair_of_shapes(shapes(pair[1]), shapes(pair[0]))
    for name, cls in distiller_dict.items():
        if not cls.unsupported(own(name), both):
            assert all(loss.shape == () for loss in losses_on_fake_tensors(cls, own(name), both)), name


def losses_on_fake_tensors(cls, opt, both):
    """Losses of both stages after a backward pass, on fake tensors."""
    real = cls(opt, both) if "nce_k" in cls.flags else None  # its constructor counts the labels per class
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        method = real or cls(opt, both)
        for module in method.modules():
            for store in (module._buffers, module._parameters):
                store.update({k: mode.from_tensor(v) for k, v in store.items() if v is not None})
        f_s, f_t = ([torch.randn(s) for s in side] for side in (both.shapes_s, both.shapes_t))
        f_s, logits = [f.requires_grad_() for f in f_s], torch.randn(2, 10, requires_grad=True)
        batch = Namespace(targets=torch.rand(2, 10), labels=torch.zeros(2, dtype=torch.int64),
                          index=torch.ones(2, dtype=torch.int64))
        terms = [sum(method((f_s, logits), (f_t, torch.randn(2, 10)), batch).values())]
        terms += [method.init_loss((f_s, logits), (f_t, torch.randn(2, 10)), batch)] if cls.two_stage else []
        for term in terms:
            term.backward()
    return terms


def test_hint_supports_every_layer_but_the_pooled_one():
    both, cls = pair_of_shapes(shapes("vgg8"), shapes("ResNet50")), distiller_dict["hint"]
    for layer in range(len(both.shapes_s)):
        opt = options("hint", hint_layer=layer)
        pooled = layer == len(both.shapes_s) - 1
        assert bool(cls.unsupported(opt, both)) == pooled
        if not pooled:
            regress = cls(opt, both).regress
            assert regress(torch.zeros(both.shapes_s[layer])).shape[1:] == both.shapes_t[layer][1:]


def test_the_longer_list_of_stages_is_shortened():
    both = pair_of_shapes(shapes("resnet20"), shapes("vgg13"))
    out_s, out_t = outputs(both.shapes_s, 0), outputs(both.shapes_t, 20)
    loss = distiller_dict["attention"](options("attention"), both).kd_loss(out_s, out_t, None)
    torch.testing.assert_close(loss, total(Attention()(out_s[0][1:4], out_t[0][1:4])))


def test_published_weights():
    """Those of papers without a configuration file in tests/test_settings.py."""
    expected = {"abound": (1, 0, 0), "factor": (1, 0, 200), "fsp": (1, 0, 0), "dkd": (1, 0, 1), "dist": (1, 0, 2),
                "reviewkd": (1, 0, 5), "correlation": (1, 0, 0.02)}
    assert {name: distiller_dict[name].weights for name in expected} == expected
    for name, flags in {"dkd": {"dkd_alpha": 1, "dkd_beta": 8, "dkd_T": 4, "dkd_warmup": 20}, "lskd": {"lskd_T": 2},
                        "dist": {"dist_beta": 1, "dist_gamma": 1, "dist_T": 4},
                        "reviewkd": {"reviewkd_warmup": 20, "reviewkd_preact": 0},
                        "crd": {"feat_dim": 128, "mode": "exact", "nce_k": 16384, "nce_t": 0.07, "nce_m": 0.5}}.items():
        assert {flag: kwargs["default"] for flag, kwargs in distiller_dict[name].flags.items()} == flags


@pytest.mark.parametrize("name", ["dkd", "reviewkd"])
def test_warmup(name):
    both = pair_of_shapes(shapes("resnet20"), shapes("resnet32"))
    out_s, out_t, targets = outputs(both.shapes_s, 0), outputs(both.shapes_t, 20), draw(2, 10).softmax(1)
    batch = Namespace(targets=targets, labels=targets.argmax(1))
    method = distiller_dict[name](own(name), both)
    factor = method.warmup.factor

    def loss(epoch):
        method.begin_epoch(epoch)
        return float(method.kd_loss(out_s, out_t, batch).detach())
    assert loss(5) == pytest.approx(loss(20) / 4, rel=1e-5)
    assert loss(240) == loss(20) and method.warmup.factor is factor  # in place, as a captured step needs it
    at_once = distiller_dict[name](own(name, **{f"{name}_warmup": 0}), both)
    at_once.begin_epoch(1)
    assert float(at_once.warmup.factor) == 1


# First stages ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["abound", "factor", "fsp"])
def test_parts_trained_in_each_stage(name):
    """As in RepDistiller, only trained modules are in training mode; modules that only the first stage trains are in
    evaluation mode later."""
    torch.manual_seed(0)
    teacher = "resnet8" if name == "fsp" else "wrn_16_2"  # fsp needs equal channels
    student = model_dict["resnet8"](num_classes=10)
    method = distiller_dict[name](own(name), pair_of_shapes(shapes("resnet8"), shapes(teacher)))
    trained = {"abound": lambda: [method.connector, student.get_feat_modules()],
               "factor": lambda: [method.paraphraser], "fsp": lambda: [student.get_feat_modules()]}[name]()
    got = method.enter("init", student)
    ids = {id(p) for module in trained for p in module.parameters()}
    assert {id(p) for p in got} == ids and len(got) == len(ids)
    wanted = {id(m) for module in trained for m in module.modules()}
    assert all(m.training == (id(m) in wanted) for m in (*student.modules(), *method.modules()) if not
               isinstance(m, nn.ModuleList))
    main = {id(p) for p in method.enter("main", student)}
    assert all(m.training for m in student.modules()) and {id(p) for p in student.parameters()} <= main
    idle = {"abound": ["connector"], "factor": ["paraphraser"], "fsp": []}[name]
    for part, module in method.named_children():
        assert not any(m.training for m in module.modules()) or part not in idle
        assert part not in idle or not main & {id(p) for p in module.parameters()}
    assert name != "factor" or {id(p) for p in method.translator.parameters()} <= main


@pytest.mark.parametrize("preact", [0, 1])
def test_reviewkd_preact_uses_student_features_before_the_relu(preact):
    """mdistiller's STU_PREACT, which its ImageNet settings have."""
    both, images = pair_of_shapes(shapes("resnet20"), shapes("resnet32")), draw(2, 3, 32, 32).float()
    opt = run_options(reviewkd_warmup=1, reviewkd_preact=preact, gamma=1.0, alpha=0.0, beta=5.0)
    engine = make_engine(opt, "resnet20", 10, torch.device("cpu"), lambda seed: distiller_dict["reviewkd"](opt, both))
    features, _ = engine.student(images)
    wanted, _ = engine.model(images, is_feat=True, preact=bool(preact))
    assert all(map(torch.equal, features, wanted))
    assert all(bool((f < 0).any()) == bool(preact) for f in features[1:-1])


def test_rate_of_the_first_stage():
    for model_s, rate in (("resnet20", 0.01), ("wrn_40_1", 0.01), ("resnet8x4", 0.01), ("resnet18", 0.05),
                          ("ResNet50", 0.05), ("vgg8", 0.05), ("ShuffleV1", 0.05)):
        opt = Namespace(model_s=model_s, learning_rate=0.05)
        assert distiller_dict["factor"].init_learning_rate(opt) == rate
        assert distiller_dict["abound"].init_learning_rate(opt) == distiller_dict["fsp"].init_learning_rate(opt) == 0.05


# Refusals -------------------------------------------------------------------------------------------------------------

FLAT = [(2, 3, 8, 8), (2, 4), (2, 4)]
SHORT, LONG = [(2, 3, 8, 8), (2, 4, 8, 8), (2, 4)], [(2, 3, 8, 8), (2, 4, 8, 8), (2, 4, 4, 4), (2, 4)]


@pytest.mark.parametrize("names, shapes_s, shapes_t, words", [
    (["attention", "vid", "nst", "kdsvd"], FLAT[:1] + FLAT[2:], FLAT[:1] + FLAT[2:], "stage features"),
    (["attention", "vid", "nst", "kdsvd"], FLAT, FLAT, "stage features"),
    (["factor", "fsp", "reviewkd"], FLAT, FLAT, "feature maps (N, C, H, W)"),
    (["kdsvd"], SHORT, SHORT, "next"), (["abound", "reviewkd"], SHORT, LONG, "as many stages"),
    (["hint"], LONG, [LONG[0], LONG[1], (2, 4, 7, 7), LONG[3]], "from 4x4 (student) to 7x7"),
    (["abound"], [(2, 3, 9, 9), (2, 5, 9, 9), (2, 4)], [(2, 3, 9, 9), (2, 4, 11, 11), (2, 4)], "feature f1: "),
    (["factor"], SHORT, [(2, 3, 8, 8), (2, 1, 8, 8), (2, 4)], "only one")])
def test_unsupported_features_are_refused(names, shapes_s, shapes_t, words):
    for name in names:
        assert words in distiller_dict[name].unsupported(own(name), pair_of_shapes(shapes_s, shapes_t)), name


def test_other_refusals():
    for name in ("dkd", "dist", "lskd"):
        assert "two classes" in distiller_dict[name].unsupported(own(name), Pair(SHORT, SHORT, 60, 1))
    with pytest.raises(DistillError, match=r"student has \[3, 4\], the teacher \[3, 5\]"):
        FSP([(2, 3, 8, 8), (2, 4, 8, 8)], [(2, 3, 8, 8), (2, 5, 8, 8)])
