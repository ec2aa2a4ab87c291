"""VID and KDSVD, which golden/ lacks, in plain loops over float64 numpy arrays, and what tests share."""
import math

import numpy as np
import torch


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def total(losses):
    return sum(losses) if isinstance(losses, list) else losses


def pooled(f, size):
    """Average pooling of (B, C, H, W) to a size that divides it."""
    step = f.shape[2] // size
    out = np.zeros((*f.shape[:2], size, size))
    for i in range(size):
        for j in range(size):
            out[:, :, i, j] = f[:, :, i * step:(i + 1) * step, j * step:(j + 1) * step].mean((2, 3))
    return out


def same_size(f_s, f_t):
    size = min(f_s.shape[2], f_t.shape[2])
    return pooled(f_s, size), pooled(f_t, size)


def length(v):
    return math.sqrt(sum(float(x) ** 2 for x in np.ravel(v)))


def vid(loss, f_s, f_t):
    f_s, f_t = same_size(f_s, f_t)
    weights = [w.detach().numpy()[:, :, 0, 0] for w in loss.regressor.parameters()]
    value = 0.0
    for n, i, j in np.ndindex(f_s.shape[0], *f_s.shape[2:]):
        h = f_s[n, :, i, j]
        for layer, w in enumerate(weights):
            h = w @ (np.maximum(h, 0) if layer else h)
        for c, scale in enumerate(loss.log_scale.tolist()):
            v = math.log(1 + math.exp(scale)) + loss.eps
            value += 0.5 * ((h[c] - f_t[n, c, i, j]) ** 2 / v + math.log(v))
    return value / f_t.size


def top_vectors(f, n, k):
    """Eigenvectors (C, n) of X'X, the largest eigenvalue first, and the k largest singular values of unit length."""
    x = f.reshape(len(f), -1).T
    values, vectors = np.linalg.eigh(x.T @ x)
    s = np.sqrt(np.maximum(values[::-1][:k], 0))
    return vectors[:, ::-1][:, :min(n, *x.shape)], s / length(s)  # the rest are not in the matrix


def kdsvd(g_s, g_t, k):
    """The signs of the teacher's vectors, which nothing fixes, make their largest entry positive."""
    losses = [0.0] * (len(g_s) - 1)
    for n in range(len(g_s[0])):
        below = None
        for stage, (f_s, f_t) in enumerate(zip(g_s, g_t, strict=True)):
            v_t, s_t = top_vectors(f_t[n], k, k)
            v_s, _ = top_vectors(f_s[n], k + 3, k)
            a_s, a_t = np.zeros_like(v_t), np.zeros_like(v_t)
            for c in range(k):
                t = v_t[:, c] * np.sign(v_t[np.abs(v_t[:, c]).argmax(), c])
                cosines = [float(v_s[:, m] @ t) for m in range(v_s.shape[1])]
                best = int(np.argmax(np.abs(cosines)))
                a_s[:, c] = v_s[:, best] * np.sign(cosines[best]) * s_t[c]
                a_t[:, c] = t * s_t[c]
            if below is not None:
                for i, j, c in np.ndindex(len(a_s), len(below[0]), k):
                    r_s, r_t = (math.exp(-(a[i, c] - b[j, c]) ** 2 / 8) for a, b in ((a_s, below[0]), (a_t, below[1])))
                    losses[stage - 1] += (r_s - r_t) ** 2
            below = a_s, a_t
    return [loss / len(g_s[0]) for loss in losses]
