"""Linear algebra. Factorisations run on the CPU: MLX has them there alone. Those of complex numbers that MLX has not
are evaluated by NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import mlx.core as mx
import numpy as np

from portgnn_mlx.array_api import dtypes as dt
from portgnn_mlx.array_api import slopes
from portgnn_mlx.array_api.creation import asarray
from portgnn_mlx.array_api.devices import linalg_stream
from portgnn_mlx.array_api.manipulation import Axes, axis_numbers
from portgnn_mlx.array_api.products import matmul, matrix_transpose, outer, tensordot, vecdot
from portgnn_mlx.array_api.reductions import max as _max
from portgnn_mlx.array_api.reductions import min as _min
from portgnn_mlx.array_api.reductions import sum as _sum

__all__ = [
    "cholesky",
    "cross",
    "det",
    "diagonal",
    "eigh",
    "eigvalsh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "tensordot",
    "trace",
    "vecdot",
    "vector_norm",
]


class EighResult(NamedTuple):
    """What `eigh` gives."""

    eigenvalues: mx.array
    eigenvectors: mx.array


class QRResult(NamedTuple):
    """What `qr` gives."""

    Q: mx.array
    R: mx.array


class SlogdetResult(NamedTuple):
    """What `slogdet` gives."""

    sign: mx.array
    logabsdet: mx.array


class SVDResult(NamedTuple):
    """What `svd` gives."""

    U: mx.array
    S: mx.array
    Vh: mx.array


def _matrices(x: mx.array, square: bool = True) -> None:
    if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
        raise ValueError(f"{'square ' if square else ''}matrices are needed, not an array of shape {x.shape}")


def _by_numpy(function: Callable[..., Any], *arrays: mx.array) -> Any:
    """A function of NumPy on the values of the arrays, evaluated here."""
    return function(*(np.array(each) for each in arrays))


def _placed(host: Any) -> mx.array:
    return asarray(np.asarray(host))


def _on_host(x: mx.array) -> Any:
    """Whether MLX's factorisations take an array of this dtype and shape not."""
    return dt.is_complex(x) or x.size == 0


def cross(x1: mx.array, x2: mx.array, /, *, axis: int = -1) -> mx.array:
    """The vector product of vectors of 3 along an axis."""
    left, right = mx.broadcast_arrays(*dt.pair(x1, x2))
    (axis,) = axis_numbers(axis, left.ndim)
    if x1.shape[axis - left.ndim] != 3 or x2.shape[axis - left.ndim] != 3:
        raise ValueError(f"cross takes vectors of 3, not shapes {x1.shape} and {x2.shape} along axis {axis}")
    ahead, behind = mx.array([1, 2, 0]), mx.array([2, 0, 1])

    def turned(x: mx.array, places: mx.array) -> mx.array:
        return mx.take(x, places, axis=axis)

    return turned(left, ahead) * turned(right, behind) - turned(left, behind) * turned(right, ahead)


def diagonal(x: mx.array, /, *, offset: int = 0) -> mx.array:
    """The diagonal of matrices, the last axis of the result."""
    _matrices(x, square=False)
    rows, columns = x.shape[-2:]
    length = min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns)
    if length <= 0 or not x.size:
        return mx.zeros((*x.shape[:-2], max(length, 0)), x.dtype)
    return mx.diagonal(x, offset, -2, -1)


def trace(x: mx.array, /, *, offset: int = 0, dtype: mx.Dtype | None = None) -> mx.array:
    """The sum of the diagonal of matrices, in the dtype of `sum`."""
    return _sum(diagonal(x, offset=offset), axis=-1, dtype=dtype)


def _inverse(x: mx.array) -> mx.array:
    return mx.linalg.inv(x, stream=linalg_stream())


def _pull_inverse(x: mx.array, cotangent: mx.array, output: mx.array) -> mx.array:
    turned = mx.swapaxes(output, -1, -2)
    return -mx.matmul(mx.matmul(turned, cotangent), turned)


_inverse_with_gradient = slopes.pulled(_inverse, _pull_inverse)


def inv(x: mx.array, /) -> mx.array:
    """The inverses of square matrices. Evaluates a complex x, without a gradient."""
    _matrices(x)
    return _placed(_by_numpy(np.linalg.inv, x)) if _on_host(x) else _inverse_with_gradient(x)


def _solution(x1: mx.array, x2: mx.array) -> mx.array:
    return mx.linalg.solve(x1, x2, stream=linalg_stream())


def _pull_solution(primals: Any, cotangent: mx.array, output: mx.array) -> tuple[mx.array, mx.array]:
    right = _solution(mx.swapaxes(primals[0], -1, -2), cotangent)
    return -mx.matmul(right, mx.swapaxes(output, -1, -2)), right


_solution_with_gradient = slopes.pulled(_solution, _pull_solution)


def solve(x1: mx.array, x2: mx.array, /) -> mx.array:
    """The solution of x1 @ x = x2; x2 a vector or matrices. Evaluates complex ones, without a gradient."""
    _matrices(x1)
    left, right = dt.pair(x1, x2)
    vector = right.ndim == 1
    right = right[:, None] if vector else right
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(f"no solutions for shapes {x1.shape} and {x2.shape}")
    stacked = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = mx.broadcast_to(left, (*stacked, *left.shape[-2:]))
    right = mx.broadcast_to(right, (*stacked, *right.shape[-2:]))
    if _on_host(left) or not right.size:
        found = _placed(_by_numpy(np.linalg.solve, left, right))
    else:
        found = _solution_with_gradient(left, right)
    return found.squeeze(-1) if vector else found


def det(x: mx.array, /) -> mx.array:
    """The determinants of square matrices. Evaluates a complex x, without a gradient."""
    _matrices(x)
    if _on_host(x):
        return _placed(_by_numpy(np.linalg.det, x)).astype(x.dtype)
    return mx.linalg.det(x, stream=linalg_stream()).reshape(x.shape[:-2])


def slogdet(x: mx.array, /) -> SlogdetResult:
    """Sign and logarithm of the size of determinants. Evaluates a complex x, without a gradient."""
    _matrices(x)
    if _on_host(x):
        return SlogdetResult(*(_placed(each) for each in _by_numpy(np.linalg.slogdet, x)))
    return SlogdetResult(*(each.reshape(x.shape[:-2]) for each in mx.linalg.slogdet(x, stream=linalg_stream())))


def _lower(x: mx.array) -> mx.array:
    return mx.linalg.cholesky(x, stream=linalg_stream())


def _pull_lower(x: mx.array, cotangent: mx.array, output: mx.array) -> mx.array:
    """Iain Murray, "Differentiation of the Cholesky decomposition" (2016), equation 10."""
    inverse = _inverse(output)
    middle = mx.tril(mx.matmul(mx.swapaxes(output, -1, -2), cotangent))
    middle = middle - 0.5 * middle * mx.eye(x.shape[-1], dtype=x.dtype)
    whole = mx.matmul(mx.matmul(mx.swapaxes(inverse, -1, -2), middle), inverse)
    return 0.5 * (whole + mx.swapaxes(whole, -1, -2))


_lower_with_gradient = slopes.pulled(_lower, _pull_lower)


def cholesky(x: mx.array, /, *, upper: bool = False) -> mx.array:
    """L with L @ Lᴴ = x for positive definite x, or Lᴴ. Evaluates a complex x, without a gradient."""
    _matrices(x)
    lower = _placed(_by_numpy(np.linalg.cholesky, x)) if _on_host(x) else mx.tril(_lower_with_gradient(x))
    return mx.conj(mx.swapaxes(lower, -1, -2)) if upper else lower


def qr(x: mx.array, /, *, mode: str = "reduced") -> QRResult:
    """Q with orthonormal columns and an upper R with Q @ R = x. mode: "reduced", or "complete" for a square Q.

    Evaluates a complex x.
    """
    _matrices(x, square=False)
    if mode not in ("reduced", "complete"):
        raise ValueError(f'mode is "reduced" or "complete", not {mode!r}')
    if _on_host(x):
        return QRResult(*(_placed(each) for each in np.linalg.qr(np.array(x), mode=cast(Any, mode))))
    rows, columns = x.shape[-2:]
    if mode == "reduced" or rows <= columns:
        return QRResult(*mx.linalg.qr(x, stream=linalg_stream()))
    # The first columns of Q for [x | 1] are those for x, and the others complete them.
    unit = mx.broadcast_to(mx.eye(rows, dtype=x.dtype), (*x.shape[:-2], rows, rows))
    q, r = mx.linalg.qr(mx.concatenate([x, unit], axis=-1), stream=linalg_stream())
    return QRResult(q, r[..., :columns])


def eigh(x: mx.array, /) -> EighResult:
    """Eigenvalues in ascending order and eigenvectors in columns, of symmetric or Hermitian matrices."""
    _matrices(x)
    if not x.size:
        return EighResult(*(_placed(each) for each in _by_numpy(np.linalg.eigh, x)))
    return EighResult(*mx.linalg.eigh(x, stream=linalg_stream()))


def _values(x: mx.array) -> mx.array:
    return mx.linalg.eigvalsh(x, stream=linalg_stream())


def _pull_values(x: mx.array, cotangent: mx.array, output: mx.array) -> mx.array:
    vectors = eigh(x).eigenvectors
    return mx.matmul(vectors * cotangent[..., None, :], mx.conj(mx.swapaxes(vectors, -1, -2)))


_values_with_gradient = slopes.pulled(_values, _pull_values)


def eigvalsh(x: mx.array, /) -> mx.array:
    """Eigenvalues of symmetric or Hermitian matrices in ascending order."""
    _matrices(x)
    if not x.size:
        return _placed(_by_numpy(np.linalg.eigvalsh, x))
    return _values(x) if dt.is_complex(x) else _values_with_gradient(x)


def svd(x: mx.array, /, *, full_matrices: bool = True) -> SVDResult:
    """U, the singular values in descending order, and Vᴴ, with U @ diag(S) @ Vᴴ = x."""
    _matrices(x, square=False)
    if not x.size:
        found = np.linalg.svd(np.array(x), full_matrices=full_matrices)
        return SVDResult(*(_placed(each) for each in found))
    u, s, vh = mx.linalg.svd(x, stream=linalg_stream())
    if not full_matrices:
        u, vh = u[..., : s.shape[-1]], vh[..., : s.shape[-1], :]
    return SVDResult(u, s, vh)


def svdvals(x: mx.array, /) -> mx.array:
    """The singular values in descending order."""
    return svd(x, full_matrices=False).S


def _cut(s: mx.array, x: mx.array, rtol: float | mx.array | None) -> mx.array:
    """Singular values up to this count as 0, [..., 1]."""
    if rtol is None:
        rtol = max(x.shape[-2:]) * dt.finfo(s.dtype).eps
    if isinstance(rtol, mx.array):
        rtol = rtol[..., None]
    return mx.max(s, axis=-1, keepdims=True) * rtol


def matrix_rank(x: mx.array, /, *, rtol: float | mx.array | None = None) -> mx.array:
    """How many singular values are above rtol times the largest; rtol: max(m, n) · eps by default."""
    _matrices(x, square=False)
    if not x.size:
        return mx.zeros(x.shape[:-2], mx.int32)
    s = svdvals(x)
    return mx.sum(s > _cut(s, x, rtol), axis=-1).astype(mx.int32)


def pinv(x: mx.array, /, *, rtol: float | mx.array | None = None) -> mx.array:
    """The Moore-Penrose inverse, with singular values up to rtol times the largest as 0."""
    _matrices(x, square=False)
    if not x.size:
        return mx.zeros((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)
    u, s, vh = svd(x, full_matrices=False)
    kept = s > _cut(s, x, rtol)
    inverse = mx.where(kept, 1.0 / mx.where(kept, s, mx.ones_like(s)), mx.zeros_like(s))
    turned, back = (mx.conj(mx.swapaxes(each, -1, -2)) for each in (u, vh))
    return mx.matmul(back * inverse[..., None, :], turned)


def matrix_power(x: mx.array, n: int, /) -> mx.array:
    """Square matrices to a whole power; a negative one of the inverse."""
    _matrices(x)
    if n < 0:
        x, n = inv(x), -n
    power = mx.broadcast_to(mx.eye(x.shape[-1], dtype=mx.float32).astype(x.dtype), x.shape)
    while n:
        power = matmul(power, x) if n % 2 else power
        x, n = matmul(x, x) if n > 1 else x, n // 2
    return power


_root = slopes.unary(mx.sqrt, lambda x, out: mx.where(out == 0, mx.zeros_like(out), 0.5 / out))


def vector_norm(x: mx.array, /, *, axis: Axes | None = None, keepdims: bool = False, ord: float = 2) -> mx.array:
    """The norm of vectors along axes, of all of x by default. The gradient of the 2-norm at 0 is 0."""
    size = mx.abs(x)
    if ord == math.inf:
        return _max(size, axis=axis, keepdims=keepdims)
    if ord == -math.inf:
        return _min(size, axis=axis, keepdims=keepdims)
    if ord == 0:
        return _sum((size != 0).astype(size.dtype), axis=axis, keepdims=keepdims)
    if ord == 1:
        return _sum(size, axis=axis, keepdims=keepdims)
    if ord == 2:
        real = mx.square(mx.real(x)) + mx.square(mx.imag(x)) if dt.is_complex(x) else mx.square(x)
        return _root(_sum(real, axis=axis, keepdims=keepdims))
    return _sum(size**ord, axis=axis, keepdims=keepdims) ** (1.0 / ord)


def matrix_norm(x: mx.array, /, *, keepdims: bool = False, ord: float | str | None = "fro") -> mx.array:
    """The norm of matrices: "fro", "nuc", or by ord 1, 2, inf and their negatives."""
    _matrices(x, square=False)
    if ord == "fro" or ord is None:
        return vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        values = svdvals(x)
        found = _sum(values, axis=-1) if ord == "nuc" else (_max if ord == 2 else _min)(values, axis=-1)
        return found[..., None, None] if keepdims else found
    if ord not in (1, -1, math.inf, -math.inf):
        raise ValueError(f"no norm of matrices is called {ord!r}")
    lines = _sum(mx.abs(x), axis=-2 if ord in (1, -1) else -1)
    assert not isinstance(ord, str)
    found = (_max if ord > 0 else _min)(lines, axis=-1)
    return found[..., None, None] if keepdims else found
