"""abound, factor, fsp, crd, dkd, dist, lskd, reviewkd as methods: stages, warm-up, flags, published pairs."""
import argparse
from argparse import Namespace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from distiller_zoo import FSP, DistillError, DISTLoss, DKDLoss, LSKDLoss, Pair, distiller_dict, soft_cross_entropy
from distiller_zoo.ranges import number
from helper.setup import make_engine
from models import model_dict
from tests.references.features import draw
from tests.support.feature_cases import EQUAL_CHANNELS, PAIRS, options, outputs, shapes
from tests.support.training import options as run_options

NAMES = ["abound", "factor", "fsp", "crd", "dkd", "dist", "lskd", "reviewkd"]
LABELS = torch.arange(60) % 10


def pair_of_shapes(shapes_s, shapes_t):
    return Pair([torch.Size(s) for s in shapes_s], [torch.Size(t) for t in shapes_t], 60, 10, LABELS, seed=3)


def own(name, **changes):
    return options(name, **({"nce_k": 20, "feat_dim": 8} if name == "crd" else {}) | changes)


def batch_of(n):
    targets = draw(n, 10, seed=50).softmax(1).float()
    return Namespace(targets=targets, labels=targets.argmax(1), index=torch.arange(n) * 2)


@pytest.mark.parametrize("name", NAMES)
def test_smallest_batch(name):
    cls = distiller_dict[name]
    both = pair_of_shapes(shapes("resnet20"), shapes("resnet32"))
    out_s, out_t = (outputs([(cls.min_batch, *s[1:]) for s in side], seed)
                    for side, seed in ((both.shapes_s, 0), (both.shapes_t, 20)))
    method = cls(own(name), both)
    batch = batch_of(cls.min_batch)
    losses = [*method(out_s, out_t, batch).values()]
    losses += [method.init_loss(out_s, out_t, batch)] if cls.two_stage else []
    assert all(torch.isfinite(loss) and loss.shape == () for loss in losses)


@pytest.mark.parametrize("pair", PAIRS, ids=">".join)
def test_published_pairs_run_or_say_why_not(pair):
    both = pair_of_shapes(shapes(pair[1]), shapes(pair[0]))
    for name in NAMES:
        cls, opt = distiller_dict[name], own(name)
        reason = cls.unsupported(opt, both)
        assert bool(reason) == (name == "fsp" and pair not in EQUAL_CHANNELS), (name, reason)
        if not reason:
            terms = faked(cls, opt, both)
            assert all(loss.shape == () for loss in terms)


def faked(cls, opt, both):
    """Losses of both stages after a backward pass, on tensors without values: a read of one on the host raises."""
    real = cls(opt, both) if "nce_k" in cls.flags else None  # counts the labels of each class when it is made
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


def test_published_weights():
    """Of the papers that no configuration file of tests/test_settings.py covers."""
    expected = {"abound": (1, 0, 0), "factor": (1, 0, 200), "fsp": (1, 0, 0), "dkd": (1, 0, 1), "dist": (1, 0, 2),
                "reviewkd": (1, 0, 5)}
    assert {name: distiller_dict[name].weights for name in expected} == expected
    assert {name for name in NAMES if distiller_dict[name].two_stage} == {"abound", "factor", "fsp"}
    assert {name for name in NAMES if not distiller_dict[name].adds_loss()} == {"abound", "fsp"}
    assert not any(distiller_dict[name].uncapturable for name in NAMES)
    for name, flags in {"dkd": {"dkd_alpha": 1, "dkd_beta": 8, "dkd_T": 4, "dkd_warmup": 20}, "lskd": {"lskd_T": 2},
                        "dist": {"dist_beta": 1, "dist_gamma": 1, "dist_T": 4},
                        "reviewkd": {"reviewkd_warmup": 20, "reviewkd_preact": 0},
                        "crd": {"feat_dim": 128, "mode": "exact", "nce_k": 16384, "nce_t": 0.07, "nce_m": 0.5}}.items():
        assert {flag: kwargs["default"] for flag, kwargs in distiller_dict[name].flags.items()} == flags


def test_terms_are_the_losses_times_their_weights():
    both = pair_of_shapes(shapes("resnet20"), shapes("resnet32"))
    (f_s, z_s), (f_t, z_t) = outputs(both.shapes_s, 0), outputs(both.shapes_t, 20)
    batch = batch_of(2)
    for name, loss in {"dkd": 0.25 * DKDLoss(1, 8, 4)(z_s, z_t, batch.labels), "dist": 2 * DISTLoss(1, 1, 4)(z_s, z_t),
                       "lskd": 9 * LSKDLoss(2)(z_s, z_t)}.items():
        method = distiller_dict[name](own(name), both)
        method.begin_epoch(5)
        terms = method((f_s, z_s), (f_t, z_t), batch)
        cls = distiller_dict[name].weights[0] * soft_cross_entropy(z_s, batch.targets)
        torch.testing.assert_close(terms, {"cls": cls, "kd": loss})


@pytest.mark.parametrize("name", ["dkd", "reviewkd"])
def test_warmup(name):
    both = pair_of_shapes(shapes("resnet20"), shapes("resnet32"))
    out_s, out_t, batch = outputs(both.shapes_s, 0), outputs(both.shapes_t, 20), batch_of(2)
    method = distiller_dict[name](own(name), both)
    factor = method.warmup.factor

    def loss(epoch):
        method.begin_epoch(epoch)
        return float(method.kd_loss(out_s, out_t, batch).detach())
    assert loss(5) == pytest.approx(loss(20) / 4, rel=1e-5)
    assert loss(240) == loss(20) and method.warmup.factor is factor  # in place, so that a captured step sees it
    resumed = distiller_dict[name](own(name), both)
    method.begin_epoch(7)
    resumed.load_state_dict(method.state_dict())
    assert float(resumed.warmup.factor) == pytest.approx(7 / 20)
    at_once = distiller_dict[name](own(name, **{f"{name}_warmup": 0}), both)
    at_once.begin_epoch(1)
    assert float(at_once.warmup.factor) == 1


def teacher_of(name):
    return "resnet8" if name == "fsp" else "wrn_16_2"  # fsp needs equal channels


def training(module):
    return {m.training for m in module.modules()}


def two_stage(name):
    torch.manual_seed(0)
    student = model_dict["resnet8"](num_classes=10)
    method = distiller_dict[name](own(name), pair_of_shapes(shapes("resnet8"), shapes(teacher_of(name))))
    parts = {"feat": student.get_feat_modules(), "connector": getattr(method, "connector", None),
             "paraphraser": getattr(method, "paraphraser", None)}
    wanted = {"abound": ["connector", "feat"], "factor": ["paraphraser"], "fsp": ["feat"]}[name]
    return student, method, [parts[part] for part in wanted]


@pytest.mark.parametrize("name", ["abound", "factor", "fsp"])
def test_stages(name):
    """RepDistiller: all but the trained modules is in evaluation mode; later what stage one alone trained is."""
    student, method, trained = two_stage(name)
    got = method.enter("init", student)
    ids = {id(p) for module in trained for p in module.parameters()}
    assert {id(p) for p in got} == ids and len(got) == len(ids)
    wanted = {id(m) for module in trained for m in module.modules()}
    assert all(m.training == (id(m) in wanted) for m in (*student.modules(), *method.modules()) if not
               isinstance(m, nn.ModuleList))
    images = draw(3, 3, 32, 32).float()
    out_s = student(images, is_feat=True, preact=method.preact)
    out_t = outputs([(3, *s[1:]) for s in shapes(teacher_of(name))], 20)
    method.init_loss(out_s, out_t, None).backward()
    assert all((p.grad is not None) == (id(p) in ids) for p in (*student.parameters(), *method.parameters()))

    main = {id(p) for p in method.enter("main", student)}
    assert training(student) == {True}
    idle = [p for p in method.parameters() if id(p) not in main]
    assert {id(p) for p in student.parameters()} <= main
    assert {id(p) for p in idle} == (set() if name == "fsp" else ids - main)
    if name == "factor":
        assert training(method.paraphraser) == {False} and training(method.translator) == {True}
        assert {id(p) for p in method.translator.parameters()} <= main
    if name == "abound":
        assert training(method.connector) == {False}


@pytest.mark.parametrize("preact", [0, 1])
def test_reviewkd_reads_a_student_before_its_relu_where_asked(preact):
    """mdistiller's STU_PREACT, which its ImageNet settings have."""
    both, images = pair_of_shapes(shapes("resnet20"), shapes("resnet32")), draw(2, 3, 32, 32).float()
    opt = run_options(reviewkd_warmup=1, reviewkd_preact=preact, gamma=1.0, alpha=0.0, beta=5.0)
    engine = make_engine(opt, "resnet20", 10, torch.device("cpu"), lambda seed: distiller_dict["reviewkd"](opt, both))
    features, _ = engine.student(images)
    wanted, _ = engine.model(images, is_feat=True, preact=bool(preact))
    assert all(map(torch.equal, features, wanted))
    assert all(bool((f < 0).any()) == bool(preact) for f in features[1:-1])


def test_rate_of_the_first_stage():
    for model_s, rate in (("resnet20", 0.01), ("wrn_40_1", 0.01), ("resnet8x4", 0.01), ("ResNet50", 0.05),
                          ("vgg8", 0.05), ("ShuffleV1", 0.05)):
        opt = Namespace(model_s=model_s, learning_rate=0.05)
        assert distiller_dict["factor"].init_learning_rate(opt) == rate
        assert distiller_dict["abound"].init_learning_rate(opt) == distiller_dict["fsp"].init_learning_rate(opt) == 0.05


def test_networks_without_what_a_method_needs_are_refused():
    short, long = [(2, 3, 8, 8), (2, 4, 8, 8), (2, 4)], [(2, 3, 8, 8), (2, 4, 8, 8), (2, 4, 4, 4), (2, 4)]
    for name in ("abound", "reviewkd"):
        assert "as many stages" in distiller_dict[name].unsupported(own(name), pair_of_shapes(short, long))
    odd = [(2, 3, 9, 9), (2, 5, 9, 9), (2, 4)], [(2, 3, 9, 9), (2, 4, 11, 11), (2, 4)]
    assert "feature f1: " in distiller_dict["abound"].unsupported(own("abound"), pair_of_shapes(*odd))
    flat = pair_of_shapes([(2, 3, 8, 8), (2, 4), (2, 4)], [(2, 3, 8, 8), (2, 4), (2, 4)])
    for name in ("factor", "fsp", "reviewkd"):
        assert "feature maps (N, C, H, W)" in distiller_dict[name].unsupported(own(name), flat)
    one = pair_of_shapes(short, [(2, 3, 8, 8), (2, 1, 8, 8), (2, 4)])
    assert "only one" in distiller_dict["factor"].unsupported(own("factor"), one)
    for name in ("dkd", "dist", "lskd"):
        assert "two classes" in distiller_dict[name].unsupported(own(name), Pair(short, short, 60, 1))
    with pytest.raises(DistillError, match=r"student has \[3, 4\], the teacher \[3, 5\]"):
        FSP([(2, 3, 8, 8), (2, 4, 8, 8)], [(2, 3, 8, 8), (2, 5, 8, 8)])


@pytest.mark.parametrize(("flag", "good", "bad"), [
    ("dkd_alpha", "0", "-1"), ("dkd_beta", "6", "six"), ("dkd_T", "0.5", "0"), ("dkd_warmup", "0", "1.5"),
    ("dist_T", "1", "inf"), ("dist_beta", "2", "nan"), ("dist_gamma", "2", "-0.1"), ("lskd_T", "3", "0"),
    ("reviewkd_warmup", "1", "-1"), ("nce_k", "1", "0"), ("nce_t", "0.1", "0.01"), ("nce_m", "1", "1.1")])
def test_flag_ranges(flag, good, bad, capsys):
    parser, known = argparse.ArgumentParser(), {k: v for name in NAMES for k, v in distiller_dict[name].flags.items()}
    parser.add_argument(f"--{flag}", **known[flag])
    assert getattr(parser.parse_args([f"--{flag}", good]), flag) == float(good)
    with pytest.raises(SystemExit):
        parser.parse_args([f"--{flag}={bad}"])
    assert f"argument --{flag}: must be a" in (error := capsys.readouterr().err) and f"not '{bad}'" in error


def test_number_without_bounds():
    assert number(float)("-3.5") == -3.5
    with pytest.raises(argparse.ArgumentTypeError, match="must be a whole number >= 1 and <= 9, not '10'"):
        number(int, 1, 9)("10")
