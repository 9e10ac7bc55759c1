"""Products of matrices and vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import mlx.core as mx

from portgnn_mlx.array_api import dtypes as dt
from portgnn_mlx.array_api.complexes import conj
from portgnn_mlx.array_api.manipulation import axis_numbers
from portgnn_mlx.array_api.reductions import sum as _sum


def matmul(x1: mx.array, x2: mx.array, /) -> mx.array:
    """x1 [..., m, k] @ x2 [..., k, n], or vectors of k; of integers too, through all m · k · n products in memory.

    Raises ValueError for an array without axes or for lengths that differ.
    """
    left, right = dt.pair(x1, x2)
    if not left.ndim or not right.ndim:
        raise ValueError("matmul needs arrays with an axis")
    inner = right.shape[-2] if right.ndim > 1 else right.shape[0]
    if left.shape[-1] != inner:
        raise ValueError(f"matmul of shapes {left.shape} and {right.shape}: {left.shape[-1]} and {inner} differ")
    if left.dtype in dt.INTEGERS or left.dtype == dt.boolean:
        return _whole_numbers(left, right)
    return mx.matmul(left, right)


def _whole_numbers(left: mx.array, right: mx.array) -> mx.array:
    """MLX multiplies matrices of floating numbers alone."""
    rows = left[..., None, :] if left.ndim > 1 else left[None, None, :]
    columns = mx.swapaxes(right, -1, -2)[..., None, :, :] if right.ndim > 1 else right[None, None, :]
    product = _sum(rows * columns, axis=-1).astype(left.dtype)
    if left.ndim == 1:
        product = product.squeeze(-2)
    return product.squeeze(-1) if right.ndim == 1 else product


def matrix_transpose(x: mx.array, /) -> mx.array:
    """x with its last two axes swapped."""
    if x.ndim < 2:
        raise ValueError(f"a matrix has two axes, not {x.ndim}")
    return mx.swapaxes(x, -1, -2)


def tensordot(x1: mx.array, x2: mx.array, /, *, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> mx.array:
    """The sum of products over axes: the last ones of x1 with the first ones of x2, or those named."""
    if isinstance(axes, int):
        left = tuple(range(x1.ndim - axes, x1.ndim))
        right = tuple(range(axes))
    else:
        left, right = axis_numbers(axes[0], x1.ndim), axis_numbers(axes[1], x2.ndim)
    kept1 = [number for number in range(x1.ndim) if number not in left]
    kept2 = [number for number in range(x2.ndim) if number not in right]
    sides = [x1.shape[number] for number in kept1] + [x2.shape[number] for number in kept2]
    inner = math.prod(x1.shape[number] for number in left)
    first = mx.transpose(x1, [*kept1, *left]).reshape(math.prod(sides[: len(kept1)]), inner)
    second = mx.transpose(x2, [*right, *kept2]).reshape(inner, math.prod(sides[len(kept1) :]))
    return matmul(first, second).reshape(sides)


def vecdot(x1: mx.array, x2: mx.array, /, *, axis: int = -1) -> mx.array:
    """The sum along an axis of x1, conjugated, times x2."""
    left, right = dt.pair(x1, x2)
    if (
        not (-left.ndim <= axis < left.ndim and -right.ndim <= axis < right.ndim)
        or left.shape[axis] != right.shape[axis]
    ):
        raise ValueError(f"vecdot of shapes {left.shape} and {right.shape} along axis {axis}: the lengths differ")
    product = conj(left) * right
    return _sum(product, axis=axis, dtype=product.dtype)


def outer(x1: mx.array, x2: mx.array, /) -> mx.array:
    """Each element of x1 [m] times each of x2 [n] -> [m, n]."""
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError("outer takes vectors")
    left, right = dt.pair(x1, x2)
    return left[:, None] * right[None, :]
