"""RepDistiller's networks as figures: names and shapes of their states, and their outputs.

networks.json holds for every name: ``parameters``, their number with 100 classes; ``state``, the first digits of the
sha256 over a line "key (shape)" for each entry of the state_dict, in order, and ``entries``, how many there are;
``outputs``, mean and mean square of f0, f1, ..., of the same before their last ReLU, and the first four logits, for
one image, in double precision. Weights and image come from :func:`drawn`. The figures were computed from a description
of each network as plain convolutions and sums, apart from models/, whose keys RepDistiller's files fit.
"""
import hashlib
import json
from pathlib import Path

import numpy as np
import torch

GOLDEN = json.loads(Path(__file__).with_name("networks.json").read_text())


def drawn(place, shape):
    """Numbers in [0, 1), float64, by integer arithmetic: the same with any version of any library."""
    n = int(np.prod(shape, dtype=np.int64))
    bits = (np.arange(n, dtype=np.uint64) + np.uint64(1_000_003 * (place + 1))) * np.uint64(2654435761)
    for _ in range(2):
        bits = bits & np.uint64(0xFFFFFFFF)
        bits = (bits ^ (bits >> np.uint64(16))) * np.uint64(0x45D9F3B)
    bits = (bits & np.uint64(0xFFFFFFFF)) ^ ((bits & np.uint64(0xFFFFFFFF)) >> np.uint64(16))
    return torch.from_numpy(bits.astype(np.float64) / 2**32).reshape(shape)


def entry(place, key, shape):
    """Golden weights for ``key``, the ``place``-th entry of a state, scaled to keep features near 1."""
    if key.endswith("num_batches_tracked"):
        return torch.tensor(187680)
    uniform = drawn(place, shape)
    if key.endswith("running_var"):
        return uniform + 0.5
    centred = (uniform - 0.5) * 12**0.5
    if len(shape) == 1:
        return 0.2 * centred + (1.0 if key.endswith("weight") else 0.0)
    return centred * (0.1 if len(shape) == 2 else (shape[1] * shape[2] * shape[3]) ** -0.5)


def state_like(state):
    """The golden weights for a state_dict of these names and shapes."""
    return {key: entry(place, key, tuple(value.shape)) for place, (key, value) in enumerate(state.items())}


def image():
    return drawn(10**6, (1, 3, 32, 32)) * 4 - 2


def digest(state):
    lines = "".join(f"{key} {tuple(value.shape)}\n" for key, value in state.items())
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def figures(features):
    return [[f.mean().item(), f.square().mean().item()] for f in features]
