"""Every method of ``--distill``, whatever they are: a new one fails here until zoo_references has its formula."""
import csv
import json
import math
import re
from argparse import Namespace
from functools import cache

import pytest
import torch
from zoo_cases import (
    CLASSES,
    SHAPES_S,
    advised,
    batch_of,
    cancelled,
    enter,
    learner_of,
    outputs,
    pair_of,
    small_method,
    stages_of,
    step,
)
from zoo_references import REFERENCES, cross_entropy, divergence, std_scaled

import dataset
import train_student_mixstd
from distiller_zoo import Distiller, distiller_dict
from helper import checkpoint
from helper.options import parse_student
from helper.record import Run
from helper.util import UserError
from models import model_dict

METHODS = list(distiller_dict)
MIXES = {"none": ["--mix", "none"], "partial": ["--mix", "mixup"], "full": ["--mix", "mixup", "--no-pmixup"],
         "cutmix": ["--mix", "cutmix"]}
WEIGHTS = ["-r", "0.3", "-a", "0.7", "-b", "2.5"]  # every term there is


def numpy(out):
    return Namespace(f=[f.detach().numpy() for f in out[0]], z=out[1].detach().numpy())


def loss_of(method, stage, out_s, out_t, batch):
    return method.init_loss(out_s, out_t, batch) if stage == "init" else sum(method(out_s, out_t, batch).values())


# Values and gradients -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("rescale", ["none", "std"])
@pytest.mark.parametrize("name", METHODS)
def test_terms_are_the_formulas(name, rescale):
    method, shapes_t = small_method(name, *WEIGHTS, "--rescale", rescale, "--kd_T", "3")
    out_s, out_t, batch = outputs(SHAPES_S, 0), outputs(shapes_t, 20), batch_of()
    s, t = numpy(out_s), numpy(out_t)
    assert name in REFERENCES, f"write the formula of {name} into tests/zoo_references.py"
    own = REFERENCES[name](method, s, t, batch)
    z_s, z_t, T = (std_scaled(s.z), std_scaled(t.z), 1) if rescale == "std" else (s.z, t.z, 3)
    expected = {"cls": 0.3 * cross_entropy(z_s, batch.targets.numpy()), "div": 0.7 * divergence(z_s, z_t, T)}
    if "kd" in own:
        expected["kd"] = 2.5 * own["kd"]
    assert list(expected) == method.term_names() and ("init" in own) == method.two_stage
    if method.two_stage:
        enter(method, "init")
        assert float(method.init_loss(out_s, out_t, batch).detach()) == pytest.approx(own["init"], rel=1e-6)
    enter(method, "main")
    got = {term: float(value.detach()) for term, value in method(out_s, out_t, batch).items()}
    assert got == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_the_values(name):
    """To the student's features and logits and to every learned parameter; of the latter none is zero."""
    method, shapes_t = small_method(name, *WEIGHTS)
    (f_s, z_s), out_t, batch = outputs(SHAPES_S, 0, grad=True), outputs(shapes_t, 20), batch_of()
    trained = set()
    for stage in stages_of(name):
        parameters = enter(method, stage)
        loss_of(method, stage, (f_s, z_s), out_t, batch)  # crd fixes its constants in its first batch
        before = {key: buffer.clone() for key, buffer in method.named_buffers()}

        def value(*_, stage=stage, before=before):
            for key, buffer in method.named_buffers():
                if "running" not in key and not torch.equal(buffer, before[key]):
                    buffer.copy_(before[key])  # crd's memories move with every call
            return loss_of(method, stage, (f_s, z_s), out_t, batch)

        leaves = [*f_s, z_s, *parameters.values()]
        assert torch.autograd.gradcheck(value, leaves, fast_mode=True)
        gradients = dict(zip(parameters, torch.autograd.grad(value(), [*parameters.values(), z_s], allow_unused=True),
                             strict=False))
        for key, gradient in gradients.items():
            zero = id(parameters[key]) in cancelled(method)
            assert (gradient.abs().max() < 1e-9) == zero, (stage, key)
        trained |= parameters.keys()
    assert trained == {key for key, _ in method.named_parameters()}


@pytest.mark.parametrize("name", METHODS)
def test_one_step_trains_every_parameter(name):
    """Through a real learner: what its stages' steps leave alone is nothing but what a batch norm takes away."""
    learner, moved = learner_of(name), set()
    fixed = cancelled(learner.method)
    for stage in stages_of(name):
        assert learner.stage == stage
        owners = {f"student.{k}": p for k, p in learner.model.named_parameters()}
        owners |= {k: p for k, p in learner.method.named_parameters() if id(p) not in fixed}
        before = {k: p.detach().clone() for k, p in owners.items()}
        learner.begin_epoch()
        step(learner, 0)
        in_stage = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
        for key, p in owners.items():
            assert torch.equal(p, before[key]) == (id(p) not in in_stage), (stage, key)
        moved |= {k for k, p in owners.items() if id(p) in in_stage}
        learner.end_epoch({})
    assert moved == owners.keys()


# What can go wrong --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("who", ["student", "teacher", "both"])
@pytest.mark.parametrize("rescale", ["none", "std"])
@pytest.mark.parametrize("name", METHODS)
def test_zero_features_and_constant_logits_are_finite(name, rescale, who):
    """Values and gradients, in single precision; no gradient so far out of scale that it would ruin the network."""
    method, shapes_t = small_method(name, "-a", "0.5", "--rescale", rescale)
    method.float()
    # a batch norm makes a constant's gradient 1 / sqrt(eps) = 316 times larger, each time
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


@pytest.mark.parametrize("rescale", ["none", "std"])
@pytest.mark.parametrize("name", METHODS)
def test_half_precision_is_finite(name, rescale):
    learner = learner_of(name, precision="bf16", flags=["--rescale", rescale, "--mix", "none"])
    for _ in stages_of(name):
        learner.begin_epoch()
        step(learner, 0)
        assert math.isfinite(learner.averages()["train_loss"]) and learner.sound()
        learner.end_epoch({})


def flat(value, place=""):
    """All that a nested state holds, by place."""
    if isinstance(value, dict):
        return {k: v for name, part in value.items() for k, v in flat(part, f"{place}/{name}").items()}
    if isinstance(value, (list, tuple)):
        return {k: v for i, part in enumerate(value) for k, v in flat(part, f"{place}/{i}").items()}
    return {place: value}


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_learner_goes_on_bit_for_bit(name, tmp_path):
    """A checkpoint in the middle of each stage; the learner that reads it was born with other weights."""
    straight = learner_of(name)
    for stage in stages_of(name):
        straight.begin_epoch()
        step(straight, 1)
        step(straight, 2, n=3)  # an epoch's short last batch
        checkpoint.save(straight.state_dict(), tmp_path / "state.pth")
        resumed = learner_of(name, seed=7)
        resumed.load_state_dict(checkpoint.load(tmp_path / "state.pth", ours=True))
        assert resumed.stage == stage
        for learner in (straight, resumed):
            learner.begin_epoch()
            step(learner, 3)
            step(learner, 4)
            learner.end_epoch({"train_loss": learner.averages()["train_loss"]})
            learner.begin_epoch()
            step(learner, 5)
        ours, theirs = (flat(learner.state_dict()) for learner in (straight, resumed))
        assert ours.keys() == theirs.keys()
        for place, value in ours.items():
            same = torch.equal(value, theirs[place]) if isinstance(value, torch.Tensor) else value == theirs[place]
            assert same, (stage, place)
        straight.step = 0


# From the command line ----------------------------------------------------------------------------------------------

@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("teacher") / "resnet8.pth"
    torch.manual_seed(0)
    checkpoint.save({"model": model_dict["resnet8"](num_classes=CLASSES).state_dict(), "arch": "resnet8"}, file)
    return file


@pytest.fixture
def command(teacher_file, tmp_path, monkeypatch):
    """Runs the training script on a few digits, without its picture; returns the run's folder."""
    monkeypatch.setattr(dataset, "load", load_once)
    monkeypatch.setattr(Run, "write_curves", lambda run, history: None)

    def run(name, *flags):
        data = load_once("digits", "data", 40, 0.05)
        labels = data.train.labels
        pair = Namespace(**{**vars(pair_of(SHAPES_S, SHAPES_S)), "n_data": len(labels), "labels": labels})
        words = advised(name, pair, "--path_t", str(teacher_file), "--model_s", "resnet8", "--dataset", "digits",
                        "--train_fraction", "0.05", "--holdout", "40", "--batch_size", "32", "--epochs", "1",
                        "--init_epochs", "1", "--save_dir", str(tmp_path), *flags)
        train_student_mixstd.main(words)
        return next((tmp_path / "student_model").iterdir())
    return run


@cache
def load_once(*args):
    return dataset.reduced(digits(), *args[2:])


@cache
def digits():
    return dataset.digits.load()


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("name", METHODS)
def test_an_epoch_from_the_command_line(name, mix, command, capsys):
    method = distiller_dict[name]
    kind = MIXES[mix][1]
    if kind in method.refuses_mix:
        with pytest.raises(UserError, match=re.escape(f"--distill {name} with --mix {kind}: ") + ".{10,}"):
            command(name, *MIXES[mix])
        return
    folder = command(name, *MIXES[mix])
    rows = list(csv.DictReader((folder / "log.csv").read_text().splitlines()))
    assert [row["stage"] for row in rows] == stages_of(name)
    mixed = float(rows[-1]["mixed_fraction"])
    assert {"none": mixed == 0, "full": mixed == 1}.get(mix, 0 < mixed < 1)
    opt = parse_student(["--distill", name])
    kept = [term for term, weight in (("cls", opt.gamma), ("div", opt.alpha), ("kd", opt.beta)) if weight]
    assert [c for c in rows[-1] if c.startswith("train_loss_")] == [f"train_loss_{term}" for term in kept]
    terms = [float(rows[-1][f"train_loss_{term}"]) for term in kept]
    assert all(map(math.isfinite, terms)) and sum(terms) == pytest.approx(float(rows[-1]["train_loss"]), rel=1e-5)
    assert json.loads((folder / "summary.json").read_text())["epochs"] == 1
    capsys.readouterr()


def test_a_refused_mixing_says_why(monkeypatch):
    monkeypatch.setattr(distiller_dict["crd"], "refuses_mix", {"cutmix": "a box has no anchor; use --mix mixup"})
    assert parse_student(["--distill", "crd", "--mix", "mixup"]).mix == "mixup"
    with pytest.raises(UserError, match="^--distill crd with --mix cutmix: a box has no anchor; use --mix mixup$"):
        parse_student(["--distill", "crd", "--mix", "cutmix"])


# What a method says of itself ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", METHODS)
def test_a_method_describes_itself(name):
    method = distiller_dict[name]
    assert issubclass(method, Distiller) and method.__doc__ and method.__doc__ != Distiller.__doc__
    assert re.search(r"\w+, .*(arXiv|[A-Z]{4}|NeurIPS).* (19|20)\d\d$", method.paper)
    assert len(method.mixed) > 20 and "target" in method.mixed and "\n" not in method.mixed
    assert len(method.weights) == 3 and all(type(w) is float and w >= 0 for w in method.weights) and any(method.weights)
    assert method.rescale in ("none", "std") and method.min_batch >= 1 and isinstance(method.two_stage, bool)
    assert all(kind in ("mixup", "cutmix") and why for kind, why in method.refuses_mix.items())
    for flag, kwargs in method.flags.items():
        assert re.fullmatch(r"\w+", flag) and kwargs["help"] and "default" in kwargs
        assert "type" in kwargs or "choices" in kwargs
