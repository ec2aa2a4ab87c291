"""Networks with norms as after training, their outputs as a list, random images."""
import torch
from torch import nn

SIGNATURES = ((False, False), (True, False), (True, True))  # is_feat, preact


def with_trained_norms(model):
    """The model, its batch norms with random statistics, scales and shifts, as after training."""
    gen = torch.Generator().manual_seed(2)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.3, generator=gen)
            m.running_var.uniform_(0.3, 3, generator=gen)
            m.weight.data.uniform_(-1, 1.5, generator=gen)
            m.bias.data.normal_(0, 0.3, generator=gen)
    return model


def images(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=dtype)


def flat(output):
    """Features and logits, or logits alone, as one list."""
    return [*output[0], output[1]] if isinstance(output, tuple) else [output]


def assert_same_function(net, other, x, tol, signatures=SIGNATURES):
    """Every feature and the logits of both networks, to `tol` of their norm."""
    with torch.no_grad():
        for is_feat, preact in signatures:
            pairs = zip(flat(net(x, is_feat, preact)), flat(other(x.double(), is_feat, preact)), strict=True)
            for found, want in pairs:
                assert found.shape == want.shape and (found - want).norm() <= tol * want.norm(), (is_feat, preact)
