"""Every method of ``--distill``: its kd term and its first stage's loss, connectors and choice of features in numpy.

REFERENCES maps a method's name to a function of (method, student, teacher, batch), the networks' outputs as
Namespace(f, z) of numpy features and logits, that returns the unweighted terms {'kd': ...} and {'init': ...} it has.
"""
import copy

import numpy as np
import torch

import distiller_zoo as zoo
from tests.references import features, modern
from tests.references.crd import Reference as CRDReference
from tests.references.modern import kl, softmax


def cross_entropy(z, targets):
    """Batch mean of -sum_c y_c log softmax(z)_c."""
    return -sum(y * np.log(p) for row, target in zip(z, targets, strict=True)
                for y, p in zip(target, softmax(row), strict=True)) / len(z)


def divergence(z_s, z_t, T):
    """T^2 KL(teacher || student), batch mean."""
    return T**2 * sum(kl(softmax(t / T), softmax(s / T)) for s, t in zip(z_s, z_t, strict=True)) / len(z_s)


def std_scaled(z):
    """Rows over their standard deviation, the sum of squares over K - 1."""
    return np.array([row / (sum((x - row.mean()) ** 2 for x in row) / (len(row) - 1)) ** 0.5 for row in z])


def weights(module):
    return {name: value.detach().numpy() for name, value in module.named_parameters()}


def leaky(x):
    return np.where(x > 0, x, 0.1 * x)


def regressed(module, x, relu):
    """ConvReg between maps of one size: 1x1 convolution, batch norm and ReLU."""
    w = weights(module)
    x = modern.batch_norm(modern.conv(x, w["conv.weight"], w["conv.bias"]))
    return np.maximum(x, 0) if relu else x


def embedded(module, x):
    w = weights(module)
    return np.array([w["linear.weight"] @ row + w["linear.bias"] for row in x])


def convolved(sequential, x, norm=False, transposed=False):
    """Three 3x3 convolutions, each with batch norm (or none) and a leaky ReLU."""
    for place in (0, 3, 6):
        w = weights(sequential[place])
        kernel = w["weight"].swapaxes(0, 1)[:, :, ::-1, ::-1] if transposed else w["weight"]
        x = modern.conv(x, kernel, w["bias"])
        x = leaky(modern.batch_norm(x) if norm else x)
    return x


# The methods --------------------------------------------------------------------------------------------------------

def no_term(method, s, t, batch):
    return {}


def value(loss, *args):
    """Of a loss class, which golden/ and the tests of losses have checked, on features as numpy."""
    def tensors(x):
        return [tensors(f) for f in x] if isinstance(x, list) else torch.from_numpy(x)
    found = loss(*map(tensors, args))
    return float(sum(found) if isinstance(found, list) else found)


def hint(method, s, t, batch):
    return {"kd": value(zoo.HintLoss(), regressed(method.regress, s.f[2], relu=True), t.f[2])}


def stages(loss):
    return lambda method, s, t, batch: {"kd": value(loss, s.f[1:4], t.f[1:4])}


def pooled(loss):
    return lambda method, s, t, batch: {"kd": value(loss, s.f[4], t.f[4])}


def similarity(method, s, t, batch):
    return {"kd": value(zoo.Similarity(), s.f[3:4], t.f[3:4])}


def correlation(method, s, t, batch):
    return {"kd": value(zoo.Correlation(), embedded(method.embed_s, s.f[4]), embedded(method.embed_t, t.f[4]))}


def vid(method, s, t, batch):
    return {"kd": sum(features.vid(method.criterion[i], s.f[1 + i], t.f[1 + i]) for i in range(3))}


def kdsvd(method, s, t, batch):
    return {"kd": sum(features.kdsvd(s.f[1:4], t.f[1:4], 1))}


def abound(method, s, t, batch):
    connected = [regressed(module, f, relu=False) if len(module.state_dict()) else f
                 for module, f in zip(method.connector.connectors, s.f[1:4], strict=True)]
    return {"init": value(zoo.ABLoss(3), connected, t.f[1:4])}


def factor(method, s, t, batch):
    code = convolved(method.paraphraser.encoder, t.f[3])
    rebuilt = convolved(method.paraphraser.decoder, code, transposed=True)
    translated = convolved(method.translator.encoder, s.f[3], norm=True)
    return {"kd": value(zoo.FactorTransfer(), translated, code), "init": ((rebuilt - t.f[3]) ** 2).mean()}


def fsp(method, s, t, batch):
    return {"init": value(zoo.FSP([f.shape for f in s.f[:4]], [f.shape for f in t.f[:4]]), s.f[:4], t.f[:4])}


def crd(method, s, t, batch):
    places = copy.deepcopy(method.criterion.contrast.sampler)(batch.index)  # the draws are tested in test_sampling
    return {"kd": CRDReference(method.criterion).step(s.f[4], t.f[4], places.numpy())}


def dkd(method, s, t, batch):
    return {"kd": value(zoo.DKDLoss(1, 8, 4), s.z, t.z, batch.labels.numpy()) * float(method.warmup.factor)}


def dist(method, s, t, batch):
    return {"kd": value(zoo.DISTLoss(1, 1, 4), s.z, t.z)}


def lskd(method, s, t, batch):
    return {"kd": value(zoo.LSKDLoss(2), s.z, t.z)}


def reviewkd(method, s, t, batch):
    f_s, f_t = ([*side.f[1:4], side.f[4][:, :, None, None]] for side in (s, t))
    fused = modern.reviewed(method, f_s, [f.shape[2] for f in f_t])
    return {"kd": value(zoo.HCL(), fused, f_t) * float(method.warmup.factor)}


REFERENCES = {
    "kd": no_term, "mixstd": no_term, "hint": hint, "attention": stages(zoo.Attention()), "similarity": similarity,
    "correlation": correlation, "vid": vid, "rkd": pooled(zoo.RKDLoss()), "pkt": pooled(zoo.PKT()),
    "nst": stages(zoo.NSTLoss()), "kdsvd": kdsvd, "abound": abound, "factor": factor, "fsp": fsp, "crd": crd,
    "dkd": dkd, "dist": dist, "lskd": lskd, "reviewkd": reviewkd,
}
