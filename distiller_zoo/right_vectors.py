"""The right singular vectors of a batch of matrices, with their gradient."""
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def _quotient(x: Tensor, y: Tensor) -> Tensor:
    """x / y, and 0 where y is 0."""
    return torch.where(y == 0, 0, x / torch.where(y == 0, 1, y))


class RightVectors(torch.autograd.Function):
    """Singular values (B, K) and right singular vectors (B, N, K) of x (B, M, N), K the smaller of M and N.

    From the eigenvectors of the smaller Gram matrix, x'x or xx', K x K: torch has a batched decomposition for those,
    where its SVD on CUDA goes matrix by matrix. Squaring costs half the digits, so all is computed in float64. Of each
    vector, whose sign a decomposition leaves open, the entry of largest magnitude is positive.

    Values that rounding alone tells from 0 are 0 and so are their vectors. The gradient divides by differences of
    squared singular values; where rounding alone tells them from 0 that part of it is 0. torch's own is NaN there for
    the whole matrix, as with the zeros of two dead channels, though nobody uses their vectors.
    """

    @staticmethod
    def forward(ctx, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.double()
        tall = x.shape[-2] >= x.shape[-1]
        squares, vectors = torch.linalg.eigh(y.mT @ y if tall else y @ y.mT)
        squares, vectors = squares.flip(-1), vectors.flip(-1)
        noise = torch.finfo(torch.float64).eps * squares.shape[-1] * squares[..., :1]
        squares = torch.where(squares > noise, squares, 0)
        s = squares.sqrt().unsqueeze(-2)
        v = vectors * (s > 0) if tall else _quotient(y.mT @ vectors, s)
        v = v * _sign(v)
        ctx.save_for_backward(y, squares, noise, v)
        s = s.squeeze(-2).to(x.dtype)
        ctx.mark_non_differentiable(s)
        return s, v.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, _, grad_v: Tensor) -> Tensor:
        y, squares, noise, v = ctx.saved_tensors
        dtype, grad_v = grad_v.dtype, grad_v.double()
        us, inside = y @ v, v.mT @ grad_v  # left vectors times singular values
        gap = squares.unsqueeze(-2) - squares.unsqueeze(-1)
        gap = torch.where(gap.abs() > noise.unsqueeze(-1), gap, 0)
        outside = grad_v.mT - inside.mT @ v.mT  # the part beyond the space that the vectors span
        grad = us @ _quotient(inside - inside.mT, gap) @ v.mT + _quotient(us, squares.unsqueeze(-2)) @ outside
        return grad.to(dtype)


def _sign(v: Tensor) -> Tensor:
    """(B, 1, K): the sign of each column's entry of largest magnitude."""
    return v.gather(-2, v.abs().argmax(-2, keepdim=True)).sign()
