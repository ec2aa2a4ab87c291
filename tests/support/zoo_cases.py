"""What the tests of the whole zoo share: small pairs of networks, their flags, random outputs, a run."""
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


def advised(name, pair, *flags):
    """The method's flags for this pair, changed as it advises where its defaults want more images than there are."""
    flags = ["--distill", name, *flags]
    reason = distiller_dict[name].unsupported(parse_student(flags), pair)
    if advice := re.match(r"--(\w+) .*; give (\d+) or less", reason):
        flags += [f"--{advice[1]}", str(min(20, int(advice[2])))]
    return flags


def small_method(name, *flags):
    """The method in float64 for small features, the teacher's wider than the student's where it can serve that."""
    cls = distiller_dict[name]
    for shapes_t in (WIDER, SHAPES_S):
        pair = pair_of_shapes(SHAPES_S, shapes_t)
        opt = parse_student(advised(name, pair, *flags))
        if not cls.unsupported(opt, pair):
            break
    torch.manual_seed(1)
    method = cls(opt, pair).double()
    method.begin_epoch(7)
    return method, shapes_t


def outputs(shapes, seed, grad=False):
    """Random features and logits in float64, of images that a network might have seen."""
    f = [draw(*shape, seed=seed + i) for i, shape in enumerate(shapes)]
    z = 2 * draw(shapes[0][0], CLASSES, seed=seed + 9)
    return [x.requires_grad_(grad) for x in f], z.requires_grad_(grad)


def batch_of(n=4, seed=50):
    """A mixed batch without images; the places in the training set agree with the labels."""
    targets = (3 * draw(n, CLASSES, seed=seed)).softmax(1)
    labels = targets.argmax(1)
    return Namespace(targets=targets, labels=labels, index=labels + CLASSES * (torch.arange(n) % (N // CLASSES)))


def enter(method, stage):
    """Parameters of the method that a stage trains, by name; the method is put in the stage's mode."""
    student = model_dict["resnet8"](num_classes=CLASSES)
    trained = {id(p) for p in method.enter(stage, student)}
    return {name: p for name, p in method.named_parameters() if id(p) in trained}


def stages_of(name):
    return ["init", "main"] if distiller_dict[name].two_stage else ["main"]


def cancelled(module):
    """Ids of the biases that the batch norm behind their layer takes away again: their gradient is zero."""
    pairs = [pair for m in module.modules() for pair in zip(list(m.children()), list(m.children())[1:], strict=False)]
    return {id(a.bias) for a, b in pairs if isinstance(b, nn.BatchNorm2d) and getattr(a, "bias", None) is not None}


# A real run --------------------------------------------------------------------------------------------------------

def network_shapes(name="resnet8"):
    with torch.device("meta"):
        features, _ = model_dict[name](num_classes=CLASSES).eval()(torch.empty(2, 3, 32, 32), is_feat=True)
    return [f.shape for f in features]


def fit_of(name, seed=0, precision="fp32", flags=()):
    """resnet8 learning from a resnet8, without weight decay: what has no gradient doesn't move."""
    pair = pair_of_shapes(network_shapes(), network_shapes(), seed)
    opt = parse_student(advised(name, pair, "--model_s", "resnet8", "--batch_size", "6", "--init_epochs", "1",
                                "--weight_decay", "0", *flags))
    opt.step, opt.precision = "eager", precision
    torch.manual_seed(seed)
    model = model_dict["resnet8"](num_classes=CLASSES)
    return Fit(opt, Engine(opt, model, distiller_dict[name](opt, pair)), None, None, {})


def step(fit, seed, n=6):
    """One step on a random batch, the teacher a fixed random network."""
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
