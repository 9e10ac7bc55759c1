"""Gradients of the array API's matrix products and of its `linalg` extension.

Rules of decompositions are those of Giles 2008 (An extended collection of matrix derivative results) and, for QR and
the eigenvalue problem, of Walter & Lehmann 2012 (Algorithmic differentiation of linear algebra functions).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portgnn_numpy.arrays import Array
from portgnn_numpy.movement import matrix_transpose
from portgnn_numpy.tape import Var, moved, unary, unbroadcast, value_of


def matmul(t: Any, a: Any, b: Any, /) -> Any:
    """a @ b for operands of any number of axes, of which any may be recorded; leading axes broadcast."""
    x, y = value_of(a), value_of(b)
    if len(x.shape) == 1:
        return t.squeeze(matmul(t, t.expand_dims(a, axis=0), b), axis=-2 if len(y.shape) > 1 else 0)
    if len(y.shape) == 1:
        return t.squeeze(matmul(t, a, t.expand_dims(b, axis=1)), axis=-1)
    to_a: Callable[[Array], Array]
    to_b: Callable[[Array], Array]
    if len(x.shape) == len(y.shape) == 2:
        to_a, to_b = (lambda g: g @ y.T), (lambda g: x.T @ g)
    else:
        turn = t.raw.matrix_transpose
        to_a, to_b = (lambda g: unbroadcast(g @ turn(y), x.shape)), (lambda g: unbroadcast(turn(x) @ g, y.shape))
    if not isinstance(b, Var):
        return unary(a, x @ y, to_a)
    if not isinstance(a, Var):
        return unary(b, x @ y, to_b)
    return Var(x @ y, (a, b), lambda g: (to_a(g), to_b(g)))


def tensordot(t: Any, a: Any, b: Any, /, *, axes: Any = 2) -> Any:
    if isinstance(axes, int):
        axes = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    left, right = (tuple(i % x.ndim for i in given) for x, given in zip((a, b), axes, strict=True))
    rows = tuple(i for i in range(a.ndim) if i not in left)
    columns = tuple(i for i in range(b.ndim) if i not in right)
    inner = 1
    for i in left:
        inner *= a.shape[i]
    shape = (*(a.shape[i] for i in rows), *(b.shape[i] for i in columns))
    first = t.reshape(t.permute_dims(a, (*rows, *left)), (_size(a.shape, rows), inner))
    second = t.reshape(t.permute_dims(b, (*right, *columns)), (inner, _size(b.shape, columns)))
    return t.reshape(t.matmul(first, second), shape)


def _size(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    size = 1
    for i in axes:
        size *= shape[i]
    return size


def vecdot(t: Any, a: Any, b: Any, /, *, axis: int = -1) -> Any:
    return t.sum(a * b, axis=axis)


def outer(t: Any, a: Any, b: Any, /) -> Any:
    return t.expand_dims(a, axis=1) * t.expand_dims(b, axis=0)


def cross(t: Any, a: Any, b: Any, /, *, axis: int = -1) -> Any:
    a, b = t.broadcast_arrays(a, b)
    (x, y, z), (u, v, w) = t.unstack(a, axis=axis), t.unstack(b, axis=axis)
    return t.stack([y * w - z * v, z * u - x * w, x * v - y * u], axis=axis)


def diagonal(t: Any, x: Any, /, *, offset: int = 0) -> Any:
    return moved(t.raw, x, lambda raw: t.raw.linalg.diagonal(raw, offset=offset))


def trace(t: Any, x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return t.sum(diagonal(t, x, offset=offset), axis=-1, dtype=dtype)


def _wide(t: Any, g: Array) -> Array:
    """A number for each matrix of a stack, as a factor of it."""
    return t.raw.expand_dims(t.raw.expand_dims(g, axis=-1), axis=-1)


def det(t: Any, x: Any, /) -> Any:
    raw, xp = value_of(x), t.raw
    value = xp.linalg.det(raw)
    return unary(x, value, lambda g: _wide(t, g * value) * xp.matrix_transpose(xp.linalg.inv(raw)))


def slogdet(t: Any, x: Any, /) -> Any:
    raw, xp = value_of(x), t.raw
    found = xp.linalg.slogdet(raw)
    logarithm = unary(x, found.logabsdet, lambda g: _wide(t, g) * xp.matrix_transpose(xp.linalg.inv(raw)))
    return found._replace(logabsdet=logarithm)


def inv(t: Any, x: Any, /) -> Any:
    value = t.raw.linalg.inv(value_of(x))
    turned = t.raw.matrix_transpose(value)
    return unary(x, value, lambda g: -turned @ g @ turned)


def solve(t: Any, a: Any, b: Any, /) -> Any:
    """The gradient in b is what solves the transposed equations for that of x."""
    if b.ndim == 1:
        return t.squeeze(solve(t, a, t.expand_dims(b, axis=1)), axis=-1)
    x, y, xp = value_of(a), value_of(b), t.raw
    value = xp.linalg.solve(x, y)

    def vjp(grad: Array) -> tuple[Array | None, ...]:
        right = xp.linalg.solve(xp.matrix_transpose(x), grad)
        of_a = unbroadcast(-right @ xp.matrix_transpose(value), x.shape) if isinstance(a, Var) else None
        return tuple(pulled for v, pulled in ((a, of_a), (b, unbroadcast(right, y.shape))) if isinstance(v, Var))

    return Var(value, tuple(v for v in (a, b) if isinstance(v, Var)), vjp)


def cholesky(t: Any, x: Any, /, *, upper: bool = False) -> Any:
    """The gradient is symmetric, as the argument has to be."""
    if upper:
        return matrix_transpose(t, cholesky(t, x))
    xp = t.raw
    factor = xp.linalg.cholesky(value_of(x))

    def pull(grad: Array) -> Array:
        lower = xp.tril(xp.matrix_transpose(factor) @ grad)
        eye = xp.eye(factor.shape[-1], dtype=factor.dtype)
        back = xp.linalg.inv(factor)
        whole = xp.matrix_transpose(back) @ (lower * (1 - 0.5 * eye)) @ back
        return (whole + xp.matrix_transpose(whole)) / 2

    return unary(x, factor, pull)


def eigvalsh(t: Any, x: Any, /) -> Any:
    return eigh(t, x).eigenvalues


def eigh(t: Any, x: Any, /) -> Any:
    """Equal eigenvalues have no eigenvectors of their own: their gradient is infinite or NaN."""
    xp = t.raw
    found = xp.linalg.eigh(value_of(x))
    values, vectors = found
    turned = xp.matrix_transpose(vectors)

    def of_vectors(grad: Array) -> Array:
        eye = xp.eye(values.shape[-1], dtype=values.dtype)
        gaps = xp.expand_dims(values, axis=-2) - xp.expand_dims(values, axis=-1) + eye
        return vectors @ ((turned @ grad) * ((1 - eye) / gaps)) @ turned

    return found._replace(
        eigenvalues=unary(x, values, lambda g: (vectors * xp.expand_dims(g, axis=-2)) @ turned),
        eigenvectors=unary(x, vectors, of_vectors),
    )


def svdvals(t: Any, x: Any, /) -> Any:
    xp = t.raw
    left, values, right = xp.linalg.svd(value_of(x), full_matrices=False)
    return unary(x, values, lambda g: (left * xp.expand_dims(g, axis=-2)) @ right)


def qr(t: Any, x: Any, /, *, mode: str = "reduced") -> Any:
    """Of matrices with no more columns than rows, reduced."""
    raw, xp = value_of(x), t.raw
    if mode != "reduced" or raw.shape[-2] < raw.shape[-1]:
        raise TypeError(
            "xp.linalg.qr of a recorded array has a gradient where mode is 'reduced' and there are no more columns "
            "than rows; else use the QR of the transpose, or xp.linalg.solve"
        )
    found = xp.linalg.qr(raw)
    q, r = found
    back = xp.matrix_transpose(xp.linalg.inv(r))

    def pulled(of_q: Array, inner: Array) -> Array:
        low = xp.tril(inner, k=-1)
        both = xp.tril(inner) + xp.matrix_transpose(low)
        return (of_q + q @ both) @ back

    return found._replace(
        Q=unary(x, q, lambda g: pulled(g, -xp.matrix_transpose(g) @ q)),
        R=unary(x, r, lambda g: pulled(xp.zeros_like(q), r @ xp.matrix_transpose(g))),
    )


def pinv(t: Any, x: Any, /, *, rtol: Any = None) -> Any:
    """Where the rank stays (Golub & Pereyra 1973)."""
    raw, xp = value_of(x), t.raw
    value = xp.linalg.pinv(raw, rtol=rtol)

    def pull(grad: Array) -> Array:
        back, turned = xp.matrix_transpose(value), xp.matrix_transpose(grad)
        rows = xp.eye(raw.shape[-2], dtype=raw.dtype) - raw @ value
        columns = xp.eye(raw.shape[-1], dtype=raw.dtype) - value @ raw
        return -back @ grad @ back + rows @ turned @ value @ back + back @ value @ turned @ columns

    return unary(x, value, pull)


def matrix_power(t: Any, x: Any, n: int, /) -> Any:
    if n < 0:
        return matrix_power(t, inv(t, x), -n)
    power, square = None, x
    while n:
        if n % 2:
            power = square if power is None else t.matmul(power, square)
        n //= 2
        square = t.matmul(square, square) if n else square
    return t.raw.linalg.matrix_power(value_of(x), 0) if power is None else power


def vector_norm(t: Any, x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """Of a vector of zeros the gradient is 0."""
    raw, xp = value_of(x), t.raw
    if ord in (float("inf"), float("-inf")):
        return (t.max if ord > 0 else t.min)(t.abs(x), axis=axis, keepdims=keepdims)
    value = xp.linalg.vector_norm(raw, axis=axis, keepdims=keepdims, ord=ord)
    if ord == 0:
        return value

    def pull(grad: Array) -> Array:
        whole = xp.linalg.vector_norm(raw, axis=axis, keepdims=True, ord=ord)
        share = xp.abs(raw) / xp.where(whole == 0, xp.ones_like(whole), whole)
        slope = xp.sign(raw) * (share if ord == 2 else share ** (ord - 1))
        return xp.reshape(grad, whole.shape) * xp.where(raw == 0, xp.zeros_like(raw), slope)

    return unary(x, value, pull)


def matrix_norm(t: Any, x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    if ord == "fro":
        return vector_norm(t, x, axis=(-2, -1), keepdims=keepdims)
    best = t.min if ord in (-1, -2, float("-inf")) else t.max
    if ord in (2, -2, "nuc"):
        norm = (t.sum if ord == "nuc" else best)(svdvals(t, x), axis=-1)
    else:
        norm = best(t.sum(t.abs(x), axis=-2 if abs(ord) == 1 else -1), axis=-1)
    return t.expand_dims(t.expand_dims(norm, axis=-1), axis=-1) if keepdims else norm


SHARED: dict[str, Callable[..., Any]] = {rule.__name__: rule for rule in (matmul, matrix_transpose, tensordot, vecdot)}
"""Those that the main namespace has too."""

LINALG: dict[str, Callable[..., Any]] = SHARED | {
    rule.__name__: rule
    for rule in (
        cholesky, cross, det, diagonal, eigh, eigvalsh, inv, matrix_norm, matrix_power, outer, pinv, qr, slogdet, solve,
        svdvals, trace, vector_norm,
    )
}  # fmt: skip
