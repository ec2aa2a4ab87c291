"""The first right singular vectors of a batch of matrices, with their gradient."""
import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Eigen:
    """The first n eigenvalues (B, n) and vectors (B, K, n) of positive semidefinite matrices (B, K, K).

    By torch.linalg.eigh, which reads its status on the host: a CUDA graph can't hold it. Values, and differences of
    values, within ``noise`` (B, 1), the rounding of a zero, count as 0. Of a matrix that is not finite all is NaN;
    eigh would raise.
    """

    def __init__(self, matrix: Tensor, n: int):
        finite = matrix.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
        values, vectors = torch.linalg.eigh(torch.where(finite, matrix, 0))
        values = torch.where(finite.squeeze(-1), values, math.nan).flip(-1)
        vectors = torch.where(finite, vectors, math.nan).flip(-1)
        self.noise = _noise(matrix, values[..., :1])
        values = torch.where(values <= self.noise, 0, values)
        self.values, self.vectors = values[..., :n], vectors[..., :n]
        self.other_values, self.other_vectors = values[..., n:], vectors[..., n:]

    def solve_beyond(self, c: Tensor) -> Tensor:
        """(value_i - matrix)^-1 c_i for each column of c (B, K, n), in the space of the vectors beyond the n-th."""
        gap = _gaps(self.values, self.other_values, self.noise)
        return self.other_vectors @ _quotient(self.other_vectors.mT @ c, gap)


class RightVectors(torch.autograd.Function):
    """First n singular values (B, n) and right singular vectors (B, N, n) of x (B, M, N).

    apply(x, n): n at most the smaller of M and N. From the eigenvectors of the smaller Gram matrix, x'x or xx': torch
    has a batched decomposition for those, where its SVD on CUDA goes matrix by matrix. Squaring costs half the digits,
    so all is computed in float64. Of each vector, whose sign a decomposition leaves open, the entry of largest
    magnitude is positive.

    Values that differ from 0 by rounding alone are 0 and so are their vectors. The gradient divides by differences of
    squared singular values; where they are none (within ``noise``) that part of it is 0. torch's own is NaN there for
    the whole matrix, as with the zeros of two dead channels, though their vectors are not used.
    """

    @staticmethod
    def forward(ctx, x: Tensor, n: int) -> tuple[Tensor, Tensor]:
        y = x.double()
        ctx.tall = x.shape[-2] >= x.shape[-1]
        ctx.gram = _Eigen(y.mT @ y if ctx.tall else y @ y.mT, n)
        s = ctx.gram.values.sqrt().unsqueeze(-2)
        v = ctx.gram.vectors * (s > 0) if ctx.tall else _quotient(y.mT @ ctx.gram.vectors, s)
        v = v * v.gather(-2, v.abs().argmax(-2, keepdim=True)).sign()
        ctx.save_for_backward(y, v)
        s = s.squeeze(-2).to(x.dtype)
        ctx.mark_non_differentiable(s)
        return s, v.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, _, grad_v: Tensor) -> tuple[Tensor, None]:
        """Of v_i, an eigenvector of x'x with the value l_i: dv_i = (l_i - x'x)^+ d(x'x) v_i, + the pseudoinverse."""
        y, v = ctx.saved_tensors
        gram, dtype, grad_v = ctx.gram, grad_v.dtype, grad_v.double()
        across = (grad_v - v * (v * grad_v).sum(-2, keepdim=True)) * (gram.values > 0).unsqueeze(-2)
        if ctx.tall:
            z = _solve(gram, across)
        else:  # (l - x'x)^-1 = (1 + x' (l - xx')^-1 x) / l
            z = _quotient(across + y.mT @ _solve(gram, y @ across), gram.values.unsqueeze(-2))
        return ((y @ z) @ v.mT + (y @ v) @ z.mT).to(dtype), None


def _solve(gram: _Eigen, c: Tensor) -> Tensor:
    """(value_i - matrix)^+ c_i of each column of c (B, K, n)."""
    within = _quotient(gram.vectors.mT @ c, _gaps(gram.values, gram.values, gram.noise))
    beyond = gram.solve_beyond(_without(c, gram.vectors))
    return gram.vectors @ within + _without(beyond, gram.vectors)


def _quotient(x: Tensor, y: Tensor) -> Tensor:
    """x / y, and 0 where y is 0."""
    return torch.where(y == 0, 0, x / torch.where(y == 0, 1, y))


def _gaps(values: Tensor, others: Tensor, noise: Tensor) -> Tensor:
    """(B, m, n): values (B, n) less others (B, m), 0 where it is within ``noise``."""
    gap = values.unsqueeze(-2) - others.unsqueeze(-1)
    return torch.where(gap.abs() > noise.unsqueeze(-2), gap, 0)


def _without(c: Tensor, vectors: Tensor) -> Tensor:
    """c (B, K, m) less its part in the space of the orthonormal ``vectors`` (B, K, n)."""
    return c - vectors @ (vectors.mT @ c)


def _noise(matrix: Tensor, largest: Tensor) -> Tensor:
    """What rounding leaves of a value of 0 in matrices (B, K, K) whose largest is (B, 1)."""
    return 8 * torch.finfo(matrix.dtype).eps * matrix.shape[-1] * largest
