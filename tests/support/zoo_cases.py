"""Shared by the tests of all methods: small pairs of networks, their flags, random outputs, a run."""
import re
from argparse import Namespace

import torch
from torch import nn

from dataset import Batch
from distiller_zoo import Pair, distiller_dict
from helper.engine import Engine
from helper.fit import Fit
from helper.options import parse_student
from models import model_dict
from tests.support.draws import draw

N, CLASSES = 60, 10
LABELS = torch.arange(N) % CLASSES
SHAPES_S = [(4, 3, 8, 8), (4, 4, 8, 8), (4, 6, 4, 4), (4, 5, 2, 2), (4, 7)]
WIDER = [(4, 3, 8, 8), (4, 4, 8, 8), (4, 8, 4, 4), (4, 6, 2, 2), (4, 9)]


def pair_of_shapes(shapes_s, shapes_t, seed=3):
    return Pair([torch.Size(s) for s in shapes_s], [torch.Size(t) for t in shapes_t], N, CLASSES, LABELS, seed)


def advised_flags(name, pair, *flags):
    """The method's flags for this pair, reduced as its refusal advises where the defaults need more images."""
    flags = ["--distill", name, *flags]
    reason = distiller_dict[name].unsupported(parse_student(flags), pair)
    if advice := re.match(r"--(\w+) .*; give (\d+) or less", reason):
        flags += [f"--{advice[1]}", str(min(20, int(advice[2])))]
    return flags


def small_method(name, *flags):
    """(method in float64, teacher's shapes) for small features, wider in the teacher where the method supports it."""
    cls = distiller_dict[name]
    for shapes_t in (WIDER, SHAPES_S):
        pair = pair_of_shapes(SHAPES_S, shapes_t)
        opt = parse_student(advised_flags(name, pair, *flags))
        if not cls.unsupported(opt, pair):
            break
    torch.manual_seed(1)
    method = cls(opt, pair).double()
    method.begin_epoch(7)
    return method, shapes_t


def outputs(shapes, seed, grad=False):
    """Random features and logits in float64."""
    f = [draw(*shape, seed=seed + i) for i, shape in enumerate(shapes)]
    z = 2 * draw(shapes[0][0], CLASSES, seed=seed + 9)
    return [x.requires_grad_(grad) for x in f], z.requires_grad_(grad)


def batch_of(n=4, seed=50):
    """A mixed batch without images, whose indices in the training set agree with the labels."""
    targets = (3 * draw(n, CLASSES, seed=seed)).softmax(1)
    labels = targets.argmax(1)
    return Namespace(targets=targets, labels=labels, index=labels + CLASSES * (torch.arange(n) % (N // CLASSES)))


def enter(method, stage):
    """Put the method in the mode of a stage; returns its parameters that the stage trains, by name."""
    student = model_dict["resnet8"](num_classes=CLASSES)
    trained = {id(p) for p in method.enter(stage, student)}
    return {name: p for name, p in method.named_parameters() if id(p) in trained}


def stages_of(name):
    return ["init", "main"] if distiller_dict[name].two_stage else ["main"]


def cancelled_biases(module):
    """Ids of the biases that a batch norm after their layer cancels: their gradient is zero."""
    pairs = [pair for m in module.modules() for pair in zip(list(m.children()), list(m.children())[1:], strict=False)]
    return {id(a.bias) for a, b in pairs if isinstance(b, nn.BatchNorm2d) and getattr(a, "bias", None) is not None}


# A run --------------------------------------------------------------------------------------------------------------

def network_shapes(name="resnet8"):
    with torch.device("meta"):
        features, _ = model_dict[name](num_classes=CLASSES).eval()(torch.empty(2, 3, 32, 32), is_feat=True)
    return [f.shape for f in features]


def fit_of(name, seed=0, precision="fp32", flags=()):
    """A Fit of a resnet8 from a resnet8, without weight decay, so that weights without a gradient stay the same."""
    pair = pair_of_shapes(network_shapes(), network_shapes(), seed)
    opt = parse_student(advised_flags(name, pair, "--model_s", "resnet8", "--batch_size", "6", "--init_epochs", "1",
                                      "--weight_decay", "0", *flags))
    opt.step, opt.precision = "eager", precision
    torch.manual_seed(seed)
    model = model_dict["resnet8"](num_classes=CLASSES)
    return Fit(opt, Engine(opt, model, distiller_dict[name](opt, pair)), None, None, {})


def step(fit, seed, n=6):
    """One step on a random batch, with a fixed random network as the teacher."""
    torch.manual_seed(99)
    teacher = model_dict["resnet8"](num_classes=CLASSES).eval()
    given = batch_of(n, seed)
    batch = Batch(draw(n, 3, 32, 32, seed=seed).float(), given.targets.float(), given.labels, given.index,
                  torch.ones(n, dtype=torch.bool), n)
    method = fit.engine.method
    with torch.no_grad():
        features, logits = teacher(batch.images, is_feat=True, preact=method.teacher_preact())
    fit.engine.teacher = lambda _: (features if method.needs_features else [], logits)
    fit.engine.step(batch)
    fit.step += 1
