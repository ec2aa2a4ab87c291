"""The formulas of AB, FT, FSP, DKD, DIST, LSKD and ReviewKD as plain loops over numpy, and their networks' shapes."""
import math

import numpy as np

from tests.references.features import length, pooled


def softmax(z):
    e = [math.exp(x - max(z)) for x in z]
    return [x / sum(e) for x in e]


def kl(p, q):
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def ab(g_s, g_t, margin):
    losses = []
    for i, (s, t) in enumerate(zip(g_s, g_t, strict=True)):
        loss = 0.0
        for a, b in zip(s.ravel(), t.ravel(), strict=True):
            if b > 0 and a <= margin:
                loss += (a - margin) ** 2
            elif b <= 0 and a > -margin:
                loss += (a + margin) ** 2
        losses.append(loss * 2 ** (i + 1 - len(g_s)) / len(s) / 1000 * 3)
    return losses


def ft(f_s, f_t, p1, p2):
    size = min(f_s.shape[2], f_t.shape[2])
    maps = []
    for f in (pooled(f_s, size), pooled(f_t, size)):
        rows = [sum(channel**p1 for channel in image).ravel() / len(image) for image in f]
        maps.append(np.array([row / length(row) for row in rows]))
    return (abs(maps[0] - maps[1]) ** p2).mean()


def fsp(g_s, g_t):
    def matrix(bot, top):
        size = min(bot.shape[2], top.shape[2])
        bot, top = pooled(bot, size), pooled(top, size)
        return np.array([[[(b * a).mean() for a in x] for b in y] for x, y in zip(bot, top, strict=True)])
    return [((matrix(*g_s[i:i + 2]) - matrix(*g_t[i:i + 2])) ** 2).mean() for i in range(len(g_s) - 1)]


def dkd(z_s, z_t, target, alpha, beta, T):
    loss = 0.0
    for s, t, y in zip(z_s / T, z_t / T, target, strict=True):
        p_s, p_t = softmax(s)[y], softmax(t)[y]
        others_s, others_t = (softmax(np.delete(z, y)) for z in (s, t))
        loss += alpha * kl([p_t, 1 - p_t], [p_s, 1 - p_s]) + beta * kl(others_t, others_s)
    return loss * T**2 / len(z_s)


def dist(z_s, z_t, beta, gamma, T):
    p_s, p_t = (np.array([softmax(row / T) for row in z]) for z in (z_s, z_t))
    inter, intra = (np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(s, t, strict=True)])
                    for s, t in ((p_s, p_t), (p_s.T, p_t.T)))
    return T**2 * (beta * (1 - inter) + gamma * (1 - intra))


def lskd(z_s, z_t, T):
    z_s, z_t = ([(row - row.mean()) / (row.std(ddof=1) + 1e-7) / T for row in z] for z in (z_s, z_t))
    return T**2 * sum(kl(softmax(t), softmax(s)) for s, t in zip(z_s, z_t, strict=True)) / len(z_s)


def hcl(g_s, g_t):
    loss = 0.0
    for s, t in zip(g_s, g_t, strict=True):
        sizes = [s.shape[2], *(size for size in (4, 2, 1) if size < s.shape[2])]
        weights = [0.5**i for i in range(len(sizes))]
        errors = [((pooled(s, size) - pooled(t, size)) ** 2).mean() for size in sizes]
        loss += np.dot(weights, errors) / sum(weights)
    return loss


def conv(x, weight, bias=None):
    out, pad = np.zeros((len(x), len(weight), *x.shape[2:])), weight.shape[2] // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            patch = x[:, :, i:i + 2 * pad + 1, j:j + 2 * pad + 1]
            out[:, :, i, j] = np.einsum("bchw,dchw->bd", patch, weight)
    return out if bias is None else out + bias[:, None, None]


def batch_norm(x):
    return (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)


def nearest(x, size):
    picks = [i * x.shape[2] // size for i in range(size)]
    return x[:, :, picks][:, :, :, picks]


def reviewed(method, feat_s, sizes_t):
    w = {name: value.detach().numpy() for name, value in method.named_parameters()}
    reviewed, residual = [], None
    for i in reversed(range(len(feat_s))):
        x = batch_norm(conv(feat_s[i], w[f"abfs.{i}.conv1.0.weight"]))
        if residual is not None:
            residual = nearest(residual, x.shape[2])
            z = conv(np.concatenate([x, residual], 1), w[f"abfs.{i}.att_conv.0.weight"], w[f"abfs.{i}.att_conv.0.bias"])
            z = 1 / (1 + np.exp(-z))
            x = x * z[:, :1] + residual * z[:, 1:]
        residual = nearest(x, sizes_t[i])
        reviewed.insert(0, batch_norm(conv(residual, w[f"abfs.{i}.conv2.0.weight"])))
    return reviewed
