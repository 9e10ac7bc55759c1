"""Sums, products, extremes and moments along axes, and running ones."""

from __future__ import annotations

import math
from typing import Any

import mlx.core as mx

from portgnn_mlx.array_api import dtypes as dt
from portgnn_mlx.array_api import slopes
from portgnn_mlx.array_api.manipulation import Axes, axis_numbers, reduced
from portgnn_mlx.array_api.sums import floating_sum


def sum(x: mx.array, /, *, axis: Axes | None = None, dtype: mx.Dtype | None = None, keepdims: bool = False) -> mx.array:
    """The sum along axes, all by default. Integers are summed in int32 or uint32 at least.

    On the CPU a float32 sum is off by at most 64 · 2**-24 times the sum of the terms' sizes, whatever their number,
    and a float64 sum of n terms by 64·ceil(log64 n) · 2**-53 times that. On a GPU MLX's own threads share the work.
    """
    if dtype is not None and dtype != x.dtype:
        x = dt.astype(x, dtype)
    if x.dtype in dt.FLOATING:
        return floating_sum(x, axis, keepdims)
    return _counted(_reduced(mx.sum, 0, x, axis, keepdims), x.dtype, dtype)


def _reduced(native: Any, nothing: float, x: mx.array, axis: Axes | None, keepdims: bool) -> mx.array:
    """native's reduction of x. nothing: what it is of no elements, of which MLX makes another value, or no end."""
    if not x.size:
        return mx.full(reduced(x.shape, axis, keepdims), nothing, dtype=x.dtype)
    found: mx.array = native(x, axis=axis, keepdims=keepdims)
    return found


_WIDER = {
    dt.boolean: dt.int32,
    dt.int8: dt.int32,
    dt.int16: dt.int32,
    dt.uint8: dt.uint32,
    dt.uint16: dt.uint32,
}
"""What small integers are added and multiplied in. MLX does so too, but not where nothing is to add."""


def _counted(total: mx.array, source: mx.Dtype, dtype: mx.Dtype | None) -> mx.array:
    if dtype is None:
        dtype = _WIDER.get(source, source)
    return total if total.dtype == dtype else total.astype(dtype)


def prod(
    x: mx.array, /, *, axis: Axes | None = None, dtype: mx.Dtype | None = None, keepdims: bool = False
) -> mx.array:
    """The product along axes, all by default; of integers in int32 or uint32 at least."""
    if dtype is not None and dtype != x.dtype:
        x = dt.astype(x, dtype)
    return _counted(_reduced(mx.prod, 1, x, axis, keepdims), x.dtype, dtype)


def max(x: mx.array, /, *, axis: Axes | None = None, keepdims: bool = False) -> mx.array:
    """The largest along axes, NaN where one is. Equal ones share the gradient evenly."""
    return mx.max(x, axis=axis, keepdims=keepdims)


def min(x: mx.array, /, *, axis: Axes | None = None, keepdims: bool = False) -> mx.array:
    """The smallest along axes, NaN where one is. Equal ones share the gradient evenly."""
    return mx.min(x, axis=axis, keepdims=keepdims)


def mean(x: mx.array, /, *, axis: Axes | None = None, keepdims: bool = False) -> mx.array:
    """The mean along axes, with the error of `sum`; NaN of nothing."""
    if x.dtype not in dt.FLOATING:
        x = x.astype(mx.float32)
    return floating_sum(x, axis, keepdims) / _count(x, axis)


def _count(x: mx.array, axis: Axes | None) -> float:
    count = x.size if axis is None else math.prod(x.shape[each] for each in axis_numbers(axis, x.ndim))
    return float(count) if count else math.nan


def var(x: mx.array, /, *, axis: Axes | None = None, correction: float = 0.0, keepdims: bool = False) -> mx.array:
    """The mean square distance from the mean along axes, over the count less the correction."""
    distance = x - mean(x, axis=axis, keepdims=True)
    freedom = _count(x, axis) - correction
    total = floating_sum(distance * distance, axis, keepdims)
    return total / freedom if freedom > 0 else total * math.nan


_root = slopes.unary(mx.sqrt, lambda x, out: mx.where(out == 0, mx.zeros_like(out), 0.5 / out))


def std(x: mx.array, /, *, axis: Axes | None = None, correction: float = 0.0, keepdims: bool = False) -> mx.array:
    """The root of `var`. Its gradient is 0 where all values are equal."""
    return _root(var(x, axis=axis, correction=correction, keepdims=keepdims))


def all(x: mx.array, /, *, axis: Axes | None = None, keepdims: bool = False) -> mx.array:
    """Whether all along axes are true or not 0."""
    return _reduced(mx.all, True, x if x.dtype == dt.boolean else x != 0, axis, keepdims)


def any(x: mx.array, /, *, axis: Axes | None = None, keepdims: bool = False) -> mx.array:
    """Whether one along axes is true or not 0."""
    return _reduced(mx.any, False, x if x.dtype == dt.boolean else x != 0, axis, keepdims)


def _running(
    x: mx.array, native: Any, first: int, axis: int | None, dtype: mx.Dtype | None, include_initial: bool
) -> mx.array:
    if axis is None:
        if x.ndim > 1:
            raise ValueError("an axis must be given where there is more than one")
        axis = 0
    (axis,) = axis_numbers(axis, x.ndim)
    if dtype is None:
        dtype = _WIDER.get(x.dtype, x.dtype)
    running = native(x if x.dtype == dtype else dt.astype(x, dtype), axis=axis)
    if not include_initial:
        return running
    sides = [1 if number == axis else side for number, side in enumerate(x.shape)]
    return mx.concatenate([mx.full(sides, first, dtype=running.dtype), running], axis=axis)


def cumulative_sum(
    x: mx.array,
    /,
    *,
    axis: int | None = None,
    dtype: mx.Dtype | None = None,
    include_initial: bool = False,
) -> mx.array:
    """Sums up to each element along an axis, with a 0 before them where `include_initial`."""
    return _running(x, mx.cumsum, 0, axis, dtype, include_initial)


def cumulative_prod(
    x: mx.array,
    /,
    *,
    axis: int | None = None,
    dtype: mx.Dtype | None = None,
    include_initial: bool = False,
) -> mx.array:
    """Products up to each element along an axis, with a 1 before them where `include_initial`."""
    return _running(x, mx.cumprod, 1, axis, dtype, include_initial)


def diff(
    x: mx.array,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: mx.array | None = None,
    append: mx.array | None = None,
) -> mx.array:
    """The n-th differences of neighbours along an axis, of x between `prepend` and `append`."""
    (axis,) = axis_numbers(axis, x.ndim)
    parts = [each for each in (prepend, x, append) if each is not None]
    x = mx.concatenate(parts, axis=axis) if len(parts) > 1 else x
    before = (slice(None),) * axis
    for _ in range(n):
        later, earlier = x[(*before, slice(1, None))], x[(*before, slice(None, -1))]
        x = later != earlier if x.dtype == dt.boolean else later - earlier
    return x
