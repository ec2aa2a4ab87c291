"""The first right singular vectors of a batch of matrices, with their gradient."""
import math

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .features import unit

SQUARINGS = 26  # a value 1e-6 smaller than the first, squared so often, is exp(-67) beside it
MORE = 3  # products with that power: a vector is of the power 2^28
BEFORE_OVERFLOW = 6  # squarings between two scalings; of values up to K, K^64 is still a number


class ByEigh:
    """The first n eigenvalues (B, n) and vectors (B, K, n) of positive semidefinite matrices (B, K, K).

    By torch.linalg.eigh, which reads its status on the host: a CUDA graph can't hold it. Values below ``noise``
    (B, 1), which rounding alone tells from 0, are 0; differences of values below ``unresolved`` (B, 1 or n) count as
    0, here where rounding alone tells them from it. Of a matrix that is not finite all is NaN; eigh would raise.
    """

    def __init__(self, matrix: Tensor, n: int):
        finite = matrix.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
        values, vectors = torch.linalg.eigh(torch.where(finite, matrix, 0))
        values = torch.where(finite.squeeze(-1), values, math.nan).flip(-1)
        vectors = torch.where(finite, vectors, math.nan).flip(-1)
        self.noise = self.unresolved = _noise(matrix, values[..., :1])
        values = torch.where(values <= self.noise, 0, values)
        self.values, self.vectors = values[..., :n], vectors[..., :n]
        self.other_values, self.other_vectors = values[..., n:], vectors[..., n:]

    def solve_beyond(self, c: Tensor) -> Tensor:
        """(value_i - matrix)^-1 c_i for each column of c (B, K, n), in the space of the vectors beyond the n-th."""
        gap = _gaps(self.values, self.other_values, self.unresolved)
        return self.other_vectors @ _quotient(self.other_vectors.mT @ c, gap)


class ByPowers:
    """The same as :class:`ByEigh`, by products of matrices alone, which a CUDA graph can hold.

    A matrix squared 26 times is the projection on its first vector, times a number; the next vector is the first of
    what the projection away from it leaves of the matrix. The numbers are those of eigh where values differ by 1e-6 of
    their size and are above 1e-10 of the first. Nearer to each other than 5e-8 of their size, their vectors become any
    of the space that they span; below 3e-7 the gradient's terms of their difference are damped, towards 0.
    """

    def __init__(self, matrix: Tensor, n: int):
        values: list[Tensor] = []
        vectors = matrix[..., :0]
        for _ in range(n):
            vector = unit(_without(self._first(matrix), vectors), -2)
            value = (vector.mT @ matrix @ vector).squeeze(-1)
            values.append(torch.where(value <= _noise(matrix, values[0]), 0, value) if values else value)
            vector = vector * (values[-1] > 0).unsqueeze(-1)
            matrix = _without(_without(matrix, vector).mT, vector)
            vectors = torch.cat([vectors, vector], -1)
        self.values, self.vectors = torch.cat(values, -1), vectors
        self.noise = _noise(matrix, values[0])
        self.unresolved = self.noise + self.values / 2**SQUARINGS
        self.left = matrix * (self.values[..., -1:] > 0).unsqueeze(-1)

    @staticmethod
    def _first(matrix: Tensor) -> Tensor:
        """The vector (B, K, 1) of the largest value; 0 for a matrix of zeros."""
        power = matrix
        for i in range(SQUARINGS):
            if i % BEFORE_OVERFLOW == 0:
                largest = torch.linalg.vector_norm(power, math.inf, (-2, -1), keepdim=True)
                power = power / largest.clamp_min(torch.finfo(power.dtype).tiny)
            power = power @ power
        place = power.diagonal(dim1=-2, dim2=-1).argmax(-1).view(-1, 1, 1).expand(-1, power.shape[-1], 1)
        vector = power.gather(-1, place)
        for _ in range(MORE):
            vector = power @ vector
        return unit(vector, -2)

    def solve_beyond(self, c: Tensor) -> Tensor:
        """As that of :class:`ByEigh`: (v - m)^-1 = (1 + m/v) (1 + (m/v)^2) (1 + (m/v)^4) ... / v, where m < v.

        m is what is left of the matrix, v a value; by what rounding may have added to m, v is enlarged. Times
        (1 - (m/v)^N)^2, N = 2^26, which is 0 for values of m that are v and 1 for those that differ.
        """
        values = (self.values + self.noise).unsqueeze(-2)
        last = values[..., -1:]
        power, ratio, y = _quotient(self.left, last), _quotient(last, values), _quotient(c, values)
        for _ in range(SQUARINGS):
            y = torch.addcmul(y, ratio, power @ y)
            power, ratio = power @ power, ratio.square()
        for _ in range(2):
            y = y - ratio * (power @ y)
        return y


class RightVectors(torch.autograd.Function):
    """First n singular values (B, n) and right singular vectors (B, N, n) of x (B, M, N).

    apply(x, n, way): n at most the smaller of M and N; way is :class:`ByEigh` or :class:`ByPowers`. From the
    eigenvectors of the smaller Gram matrix, x'x or xx': torch has a batched decomposition for those, where its SVD on
    CUDA goes matrix by matrix. Squaring costs half the digits, so all is computed in float64. Of each vector, whose
    sign a decomposition leaves open, the entry of largest magnitude is positive.

    Values that rounding alone tells from 0 are 0 and so are their vectors. The gradient divides by differences of
    squared singular values; where they are none (see ``unresolved``) that part of it is 0. torch's own is NaN there for
    the whole matrix, as with the zeros of two dead channels, though nobody uses their vectors.
    """

    @staticmethod
    def forward(ctx, x: Tensor, n: int, way: type[ByEigh] | type[ByPowers]) -> tuple[Tensor, Tensor]:
        y = x.double()
        ctx.tall = x.shape[-2] >= x.shape[-1]
        ctx.gram = way(y.mT @ y if ctx.tall else y @ y.mT, n)
        s = ctx.gram.values.sqrt().unsqueeze(-2)
        v = ctx.gram.vectors * (s > 0) if ctx.tall else _quotient(y.mT @ ctx.gram.vectors, s)
        v = v * v.gather(-2, v.abs().argmax(-2, keepdim=True)).sign()
        ctx.save_for_backward(y, v)
        s = s.squeeze(-2).to(x.dtype)
        ctx.mark_non_differentiable(s)
        return s, v.to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, _, grad_v: Tensor) -> tuple[Tensor, None, None]:
        """Of v_i, an eigenvector of x'x with the value l_i: dv_i = (l_i - x'x)^+ d(x'x) v_i, + the pseudoinverse."""
        y, v = ctx.saved_tensors
        gram, dtype, grad_v = ctx.gram, grad_v.dtype, grad_v.double()
        across = (grad_v - v * (v * grad_v).sum(-2, keepdim=True)) * (gram.values > 0).unsqueeze(-2)
        if ctx.tall:
            z = _solve(gram, across)
        else:  # (l - x'x)^-1 = (1 + x' (l - xx')^-1 x) / l
            z = _quotient(across + y.mT @ _solve(gram, y @ across), gram.values.unsqueeze(-2))
        return ((y @ z) @ v.mT + (y @ v) @ z.mT).to(dtype), None, None


def _solve(gram: ByEigh | ByPowers, c: Tensor) -> Tensor:
    """(value_i - matrix)^+ c_i of each column of c (B, K, n)."""
    within = _quotient(gram.vectors.mT @ c, _gaps(gram.values, gram.values, gram.unresolved))
    beyond = gram.solve_beyond(_without(c, gram.vectors))
    return gram.vectors @ within + _without(beyond, gram.vectors)


def _quotient(x: Tensor, y: Tensor) -> Tensor:
    """x / y, and 0 where y is 0."""
    return torch.where(y == 0, 0, x / torch.where(y == 0, 1, y))


def _gaps(values: Tensor, others: Tensor, unresolved: Tensor) -> Tensor:
    """(B, m, n): values (B, n) less others (B, m), 0 where it is not above ``unresolved``."""
    gap = values.unsqueeze(-2) - others.unsqueeze(-1)
    return torch.where(gap.abs() > unresolved.unsqueeze(-2), gap, 0)


def _without(c: Tensor, vectors: Tensor) -> Tensor:
    """c (B, K, m) less its part in the space of the orthonormal ``vectors`` (B, K, n)."""
    return c - vectors @ (vectors.mT @ c)


def _noise(matrix: Tensor, largest: Tensor) -> Tensor:
    """What rounding leaves of a value of 0 in matrices (B, K, K) whose largest is (B, 1)."""
    return 8 * torch.finfo(matrix.dtype).eps * matrix.shape[-1] * largest
