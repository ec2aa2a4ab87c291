"""Every loss class against values and gradients computed in float64 with the originals' own code.

golden/upstream.npz holds for each case its inputs, the values and the gradients of their sum; upstream.json how each
was called. The originals are RepDistiller, MIX-KD, mdistiller, DIST and logit-standardization-KD.
"""
import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from distiller_zoo import (
    FSP,
    HCL,
    PKT,
    ABLoss,
    Attention,
    Correlation,
    DistillKL,
    DISTLoss,
    DKDLoss,
    FactorTransfer,
    HintLoss,
    LSKDLoss,
    MIXSTDLoss,
    NSTLoss,
    RKDLoss,
    Similarity,
)

GOLDEN = Path(__file__).with_name("golden")
DATA = np.load(GOLDEN / "upstream.npz")
CASES = json.loads((GOLDEN / "upstream.json").read_text())


def two_lists(loss):
    """The first half of the inputs is the student's, the second the teacher's."""
    return lambda *x: loss([*x[:len(x) // 2]], [*x[len(x) // 2:]])


CALLS = {
    "DistillKL_T4": DistillKL(4), "HintLoss": HintLoss(), "Attention": two_lists(Attention()),
    "Similarity": two_lists(Similarity()), "NSTLoss": two_lists(NSTLoss()), "Correlation": Correlation(),
    "RKDLoss": RKDLoss(), "PKT": PKT(), "ABLoss": two_lists(ABLoss(1)), "FactorTransfer": FactorTransfer(),
    "FSP": lambda *x: two_lists(FSP([f.shape for f in x[:3]], [f.shape for f in x[3:]]))(*x),
    "MIXSTDLoss": MIXSTDLoss(Namespace(gamma=0.1, alpha=0.9)), "DKD_1_8_4": DKDLoss(1, 8, 4),
    "DKD_1_2_4": DKDLoss(1, 2, 4), "DIST_1_1_4": DISTLoss(1, 1, 4), "LSKD_T2": LSKDLoss(2), "HCL": two_lists(HCL()),
}


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_are_the_originals(case):
    part = {key.split("/")[1]: torch.from_numpy(DATA[key]) for key in DATA.files if key.startswith(f"{case}/")}
    inputs = [part[f"in{i}"] for i in range(sum(name.startswith("in") for name in part))]
    inputs = [x.double() if x.is_floating_point() else x for x in inputs]
    expected = {name: x for name, x in part.items() if name.startswith("grad")}
    wanted = [inputs[int(name.removeprefix("grad"))].requires_grad_() for name in expected]
    loss = CALLS[case](*inputs)
    values = torch.stack([*loss]) if isinstance(loss, (list, tuple)) else loss.reshape(1)
    torch.testing.assert_close(values, part["values"], rtol=1e-12, atol=1e-14)
    for got, gradient in zip(torch.autograd.grad(values.sum(), wanted), expected.values(), strict=True):
        torch.testing.assert_close(got, gradient, rtol=1e-10, atol=1e-12 * float(gradient.abs().max()))


def test_the_papers_loss_has_one_home(monkeypatch):
    """An edit of MIXSTDLoss changes mixstd, every method under --rescale std and the test loss alike."""
    from argparse import Namespace

    from distiller_zoo import KD, MIXSTD, MIXSTDLoss
    opt = Namespace(gamma=0.1, alpha=0.9, beta=0.0, rescale="std", kd_T=4.0)
    monkeypatch.setattr(MIXSTDLoss, "scale", staticmethod(lambda logits: 3 * logits))
    logits, targets = torch.randn(4, 10), torch.softmax(torch.randn(4, 10), 1)
    expected = -0.1 * (targets * torch.log_softmax(3 * logits, 1)).sum(1).mean()
    for method in (MIXSTD, KD):
        method = method(opt, None)
        terms = method(([], logits), ([], logits), Namespace(targets=targets))
        torch.testing.assert_close(terms["cls"], expected)
        torch.testing.assert_close(method.scale(logits), 3 * logits)
