"""kdsvd's right singular vectors against torch's SVD in double precision."""
import pytest
import torch

from distiller_zoo.right_vectors import RightVectors
from tests.references.features import draw


def by_svd(x, n):
    """First n singular values and right vectors by torch's SVD, with its gradient; the largest entry positive."""
    _, s, vh = torch.linalg.svd(x, full_matrices=False)
    v = vh.mT[:, :, :n]
    return s[:, :n], v * v.detach().gather(1, v.detach().abs().argmax(1, keepdim=True)).sign()


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.parametrize("shape", [(3, 7, 4), (3, 4, 7), (3, 5, 5)], ids=str)
def test_vectors_and_their_gradient_are_those_of_torchs_svd(shape, n):
    x, weight = draw(*shape).requires_grad_(), draw(shape[0], shape[2], n, seed=1)
    (s, v), (s_svd, v_svd) = RightVectors.apply(x, n), by_svd(x, n)
    torch.testing.assert_close((s, v), (s_svd.detach(), v_svd.detach()))
    torch.testing.assert_close(*(torch.autograd.grad((vectors * weight).sum(), x)[0] for vectors in (v, v_svd)))
    assert torch.autograd.gradcheck(lambda x: RightVectors.apply(x, n)[1], x)


@pytest.mark.parametrize("shape", [(8, 256, 16), (8, 64, 64), (4, 16, 128)], ids=str)
def test_features_of_a_networks_size(shape):
    x, weight = draw(*shape).relu().requires_grad_(), draw(shape[0], shape[2], 4, seed=1)
    (s, v), (s_svd, v_svd) = RightVectors.apply(x, 4), by_svd(x, 4)
    torch.testing.assert_close((s, v), (s_svd.detach(), v_svd.detach()))
    grads = [torch.autograd.grad((vectors * weight).sum(), x)[0] for vectors in (v, v_svd)]
    torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-8)


def with_values(values, size, seed):
    """A matrix (2, size, size) with the given singular values, between random directions."""
    left, right = (torch.linalg.qr(draw(2, size, size, seed=seed + i))[0] for i in (0, 1))
    return left * torch.tensor(values + [0.0] * (size - len(values)), dtype=left.dtype) @ right.mT


@pytest.mark.parametrize("values", [[3.0, 2.9997, 2.9994, 1.0, 0.99], [1.0, 1e-2, 1e-3, 1e-4, 5e-5],
                                    [1e-20, 8e-21, 5e-21, 3e-21, 1e-21], [1e20, 8e19, 5e19, 3e19, 1e19]], ids=str)
def test_values_that_are_near_far_small_and_large(values):
    x, weight = with_values(values, 8, seed=3).requires_grad_(), draw(2, 8, 4, seed=9)
    (s, v), (s_svd, v_svd) = RightVectors.apply(x, 4), by_svd(x, 4)
    torch.testing.assert_close(s, s_svd.detach(), rtol=1e-7, atol=0)
    torch.testing.assert_close(v, v_svd.detach(), rtol=0, atol=1e-7)
    shift = draw(*x.shape, seed=5) * values[3] * 1e-6
    grad, = torch.autograd.grad((v * weight).sum(), x)
    up, down = ((by_svd(x.detach() + sign * shift, 4)[1] * weight).sum() for sign in (1, -1))
    torch.testing.assert_close((grad * shift).sum(), (up - down) / 2, rtol=1e-4, atol=0)


@pytest.mark.parametrize("rank", range(4))
@pytest.mark.parametrize("shape", [(2, 9, 6), (2, 6, 9)], ids=str)
def test_features_of_low_rank(shape, rank):
    """Vectors of values that are 0 are 0; those of the others, and their gradient, are torch's of any such matrix."""
    x = (draw(shape[0], shape[1], rank) @ draw(shape[0], rank, shape[2], seed=1)).requires_grad_()
    s, v = RightVectors.apply(x, 4)
    assert not s[:, rank:].any() and not v[:, :, rank:].any()
    s_svd, v_svd = by_svd(x.detach(), rank)
    torch.testing.assert_close((s[:, :rank], v[:, :, :rank]), (s_svd, v_svd))
    weight, shift = draw(shape[0], shape[2], 4, seed=2), draw(*shape, seed=3) * 1e-6
    grad, = torch.autograd.grad((v * weight).sum(), x)
    up, down = ((by_svd(x.detach() + sign * shift, rank)[1] * weight[:, :, :rank]).sum() for sign in (1, -1))
    torch.testing.assert_close((grad * shift).sum(), (up - down) / 2, rtol=1e-5, atol=0)


@pytest.mark.parametrize("values", [[1.0] * 8, [5.0] + [1.0] * 7, [1.0, 1.0, 0.5, 0.5, 0.5, 0.1]], ids=str)
def test_equal_values_leave_numbers(values):
    """Nothing fixes their vectors: any of unit length that span their space, and a gradient that is a number."""
    x = with_values(values, 8, seed=4).float().requires_grad_()
    s, v = RightVectors.apply(x, 4)
    torch.testing.assert_close(s.detach(), torch.tensor([values[:4]] * 2))
    torch.testing.assert_close(v.mT @ v, torch.eye(4).expand(2, 4, 4), rtol=0, atol=1e-5)
    grad, = torch.autograd.grad((v * draw(2, 8, 4, seed=1).float()).sum(), x)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("values, n", [([1.0] * 4, 1), ([5.0, 4.0, 3.0, 1.0, 1.0, 1.0], 4), ([3.0, 2.0, 1.0, 1.0], 3)])
def test_equal_values_at_the_last_place_give_no_large_gradient(values, n):
    """The part of it between them is 0: with a vector that nothing else moves, all of it."""
    x = torch.diag(torch.tensor(values)).expand(2, -1, -1).clone().requires_grad_()
    _, v = RightVectors.apply(x, n)
    weight = draw(2, len(values), n, seed=1).float()
    grad, = torch.autograd.grad((v * weight).sum(), x)
    assert grad.abs().max() < 5  # the rest has gaps of 1 and more; those of rounding would make it 1e8
    if n == 1:
        assert grad.abs().max() < 0.01


def test_a_feature_that_is_not_finite_is_not_hidden():
    """Its image has NaN, as any other loss has, and no other image of the batch."""
    x = draw(3, 6, 4)
    x[1, 2, 3] = torch.nan
    x[2, 0, 0] = torch.inf
    s, v = RightVectors.apply(x.requires_grad_(), 3)
    assert v[1:].isnan().all() and s[1:, 0].isnan().all() and s[0].isfinite().all() and v[0].isfinite().all()
    grad, = torch.autograd.grad(v.sum(), x)
    assert grad[0].isfinite().all() and not grad[1:].isfinite().any()


def test_single_precision_is_near_double():
    x, weight = draw(4, 64, 16).relu(), draw(4, 16, 4, seed=1)
    grads = []
    for dtype in (torch.float32, torch.float64):
        leaf = x.to(dtype).requires_grad_()
        v = RightVectors.apply(leaf, 4)[1]
        assert v.dtype == dtype and (v[:, :, 0] >= 0).all()
        grads.append(torch.autograd.grad((v * weight.to(dtype)).sum(), leaf)[0].double())
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-6)
