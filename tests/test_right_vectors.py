"""kdsvd's right singular vectors against torch's SVD in double precision."""
import pytest
import torch

from distiller_zoo.right_vectors import RightVectors
from tests.references.features import draw


def by_svd(x):
    """Singular values and right vectors by torch's SVD, with its gradient; the largest entry of a vector positive."""
    _, s, vh = torch.linalg.svd(x, full_matrices=False)
    v = vh.mT
    return s, v * v.detach().gather(1, v.detach().abs().argmax(1, keepdim=True)).sign()


@pytest.mark.parametrize("shape", [(3, 7, 4), (3, 4, 7), (3, 5, 5)], ids=str)
def test_vectors_and_their_gradient_are_those_of_torchs_svd(shape):
    x, weight = draw(*shape).requires_grad_(), draw(shape[0], shape[2], min(shape[1:]), seed=1)
    (s, v), (s_svd, v_svd) = RightVectors.apply(x), by_svd(x)
    torch.testing.assert_close((s, v), (s_svd.detach(), v_svd.detach()))
    torch.testing.assert_close(*(torch.autograd.grad((vectors * weight).sum(), x)[0] for vectors in (v, v_svd)))
    assert torch.autograd.gradcheck(lambda x: RightVectors.apply(x)[1], x)


@pytest.mark.parametrize("shape", [(2, 9, 6), (2, 6, 9)], ids=str)
def test_of_features_of_low_rank(shape):
    """Vectors of values that are 0 are 0; those of the others, and their gradient, are torch's of any such matrix."""
    x = (draw(shape[0], shape[1], 3) @ draw(shape[0], 3, shape[2], seed=1)).requires_grad_()
    s, v = RightVectors.apply(x)
    assert not s[:, 3:].any() and not v[:, :, 3:].any()
    s_svd, v_svd = by_svd(x.detach())
    torch.testing.assert_close((s[:, :3], v[:, :, :3]), (s_svd[:, :3], v_svd[:, :, :3]))
    weight, shift = draw(shape[0], shape[2], 3, seed=2), draw(*shape, seed=3) * 1e-6
    grad, = torch.autograd.grad((v[:, :, :3] * weight).sum(), x)
    up, down = ((by_svd(x.detach() + sign * shift)[1][:, :, :3] * weight).sum() for sign in (1, -1))
    torch.testing.assert_close((grad * shift).sum(), (up - down) / 2, rtol=1e-5, atol=0)


def test_in_single_precision_is_near_double():
    x, weight = draw(4, 64, 16).relu(), draw(4, 16, 4, seed=1)
    grads = []
    for dtype in (torch.float32, torch.float64):
        leaf = x.to(dtype).requires_grad_()
        v = RightVectors.apply(leaf)[1][:, :, :4]
        assert v.dtype == dtype and (v[:, :, 0] >= 0).all()
        grads.append(torch.autograd.grad((v * weight.to(dtype)).sum(), leaf)[0].double())
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)
