"""CRD compared with plain loops: values, memories, constants. For its gradients see test_zoo.py, for its negatives
test_sampling.py."""
from argparse import Namespace

import numpy as np
import pytest
import torch

from distiller_zoo import CRDLoss, Pair, distiller_dict
from distiller_zoo.CRD import ContrastMemory
from tests.references.crd import Reference
from tests.support.draws import draw
from tests.support.feature_cases import options, shapes

N, K, CLASSES = 60, 20, 6
LABELS = torch.from_numpy(np.random.default_rng(0).permutation(np.arange(N) % CLASSES))


def opt(**changes):
    return Namespace(**{"s_dim": 5, "t_dim": 7, "feat_dim": 4, "n_data": N, "nce_k": K, "nce_t": 0.07, "nce_m": 0.5,
                        **changes})


def indices(rows, seed=0, n=N, k=K):
    """Distinct indices per row, the first of which is the row's own."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(n)[:rows]
    negatives = [rng.permutation(np.delete(np.arange(n), i))[:k] for i in y]
    return torch.from_numpy(y), torch.from_numpy(np.concatenate([y[:, None], negatives], axis=1))


# Plain loops ----------------------------------------------------------------------------------------------------------


def test_steps_equal_the_loops():
    """Values, Z from the first batch only, memories and their order, over batches of two sizes."""
    torch.manual_seed(0)
    loss = CRDLoss(opt()).double()
    reference = Reference(loss)
    for step, rows in enumerate((6, 6, 3)):
        y, idx = indices(rows, step)
        f_s, f_t = draw(rows, 5, seed=step), draw(rows, 7, seed=step + 9)
        value = loss(f_s, f_t, y, idx)
        assert value.shape == (1,)
        assert float(value.detach()) == pytest.approx(reference.step(f_s.numpy(), f_t.numpy(), idx.numpy()), rel=1e-10)
        np.testing.assert_allclose(loss.contrast.Z, reference.Z, rtol=1e-10)
        for got, expected in zip((loss.contrast.memory_v1, loss.contrast.memory_v2), reference.memories, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_backward_uses_the_memory_of_its_forward():
    """Though the memories have been updated when backward runs, even by a second step."""
    torch.manual_seed(0)
    losses = [CRDLoss(opt()).double() for _ in range(2)]
    losses[1].load_state_dict(losses[0].state_dict())
    y, idx = indices(4)
    gradients = []
    for loss, further in zip(losses, (False, True), strict=True):
        f_s = draw(4, 5).requires_grad_()
        value = loss(f_s, draw(4, 7, seed=1), y, idx)
        if further:
            loss(draw(4, 5, seed=2), draw(4, 7, seed=3), y, idx)
        value.backward()
        gradients.append(f_s.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


# The memories -------------------------------------------------------------------------------------------------------

def test_the_last_row_of_an_image_updates_its_memory():
    torch.manual_seed(0)
    memory = ContrastMemory(4, N, K).double()
    before = memory.memory_v1.clone()
    y = torch.tensor([7, 3, 7, 9, 3, 7])
    v = torch.nn.functional.normalize(draw(6, 4), dim=1)
    memory(v, v, y)
    for place, row in ((7, 5), (3, 4), (9, 3)):
        new = 0.5 * before[place] + 0.5 * v[row]
        torch.testing.assert_close(memory.memory_v1[place], new / new.norm())
    untouched = [i for i in range(N) if i not in (3, 7, 9)]
    assert torch.equal(memory.memory_v1[untouched], before[untouched])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 6])
def test_zero_features_and_half_precision_stay_finite(rows, dtype):
    torch.manual_seed(0)
    loss = CRDLoss(opt(nce_t=0.02), LABELS)
    for linear in (loss.embed_s.linear, loss.embed_t.linear):
        torch.nn.init.zeros_(linear.bias)
    for f_s in (draw(rows, 5), torch.zeros(rows, 5)):
        f_s, f_t = f_s.to(dtype).requires_grad_(), torch.zeros(rows, 7, dtype=dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
            value = loss(f_s, f_t, torch.arange(rows))
        value.sum().backward()
        assert value.dtype == torch.float32 and torch.isfinite(value).all() and torch.isfinite(f_s.grad).all()
    assert all(torch.isfinite(v).all() for v in loss.state_dict().values())


# The method ---------------------------------------------------------------------------------------------------------

def test_too_few_negatives_are_refused():
    crd, both = distiller_dict["crd"], Pair(shapes("resnet20"), shapes("resnet32"), N, CLASSES, LABELS)
    assert crd.unsupported(options("crd", nce_k=50), both) == ""
    assert "--nce_k 51 is more" in (why := crd.unsupported(options("crd", nce_k=51), both)) and "50 or less" in why
    one_class = Pair(both.shapes_s, both.shapes_t, N, 1, torch.zeros(N, dtype=torch.int64))
    assert "two classes" in crd.unsupported(options("crd"), one_class)
    assert "labels" in crd.unsupported(options("crd"), Pair(both.shapes_s, both.shapes_t, N, CLASSES))
