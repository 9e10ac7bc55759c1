"""Functions that look for places: of the largest, of what is not 0, of where a value belongs."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx
import numpy as np

from portgnn_mlx.array_api import dtypes as dt
from portgnn_mlx.array_api import reductions
from portgnn_mlx.array_api.dtypes import Operand
from portgnn_mlx.array_api.manipulation import Axes, axis_numbers, reduced


def _index(x: mx.array, places: mx.array) -> mx.array:
    """MLX counts places in uint32, the standard in a signed integer."""
    return places.astype(mx.int32 if x.size < 2**31 else mx.int64)


def _place(x: mx.array, native: Callable[..., mx.array], axis: int | None, keepdims: bool) -> mx.array:
    if axis is not None and not x.size:
        (axis,) = axis_numbers(axis, x.ndim)
        if x.shape[axis]:  # no line to look along, which MLX refuses
            return mx.zeros(reduced(x.shape, axis, keepdims), mx.int32)
    return _index(x, native(x, axis=axis, keepdims=keepdims))


def argmax(x: mx.array, /, *, axis: int | None = None, keepdims: bool = False) -> mx.array:
    """The place of the largest value along an axis, the first of equal ones; of the flattened x for None."""
    return _place(x, mx.argmax, axis, keepdims)


def argmin(x: mx.array, /, *, axis: int | None = None, keepdims: bool = False) -> mx.array:
    """The place of the smallest value along an axis, the first of equal ones; of the flattened x for None."""
    return _place(x, mx.argmin, axis, keepdims)


def count_nonzero(x: mx.array, /, *, axis: Axes | None = None, keepdims: bool = False) -> mx.array:
    """How many elements are not 0."""
    return _index(x, reductions.sum(x != 0, axis=axis, keepdims=keepdims))


def nonzero(x: mx.array, /) -> tuple[mx.array, ...]:
    """The places of the elements that are not 0, an array of indices for each axis. Evaluates x: the shape depends
    on it. Raises ValueError for an array without axes."""
    if x.ndim == 0:
        raise ValueError("nonzero needs an array with an axis")
    return tuple(mx.array(each.astype(np.int32)) for each in np.nonzero(np.array(x != 0)))


def searchsorted(x1: mx.array, x2: mx.array, /, *, side: str = "left", sorter: mx.array | None = None) -> mx.array:
    """Where each value of x2 belongs in x1, sorted or brought into order by `sorter`: before equal ones or after."""
    if side not in ("left", "right"):
        raise ValueError(f'side is "left" or "right", not {side!r}')
    ordered = x1 if sorter is None else mx.take(x1, sorter, axis=0)
    left, right = dt.pair(ordered, x2)
    return _index(x1, mx.searchsorted(left, right, side=side))


def where(condition: mx.array, x1: Operand, x2: Operand, /) -> mx.array:
    """x1 where the condition is true, else x2. The other side's gradient is 0."""
    if not isinstance(x1, mx.array) and not isinstance(x2, mx.array):
        common = dt.promoted(dt.scalar_dtype(x1), dt.scalar_dtype(x2))
        x1, x2 = dt.scalar(x1, common), dt.scalar(x2, common)
    left, right = dt.pair(x1, x2)
    return mx.where(condition, left, right)
