"""Functions of the shape, the order and the joining of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import mlx.core as mx
import numpy as np

from portgnn_mlx.array_api import dtypes as dt

Axes: TypeAlias = int | Sequence[int]


def axis_numbers(axis: Axes | None, ndim: int) -> tuple[int, ...]:
    """Axes counted from 0; all of them for None. Raises ValueError for one that is not there or comes twice."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    for each in axes:
        if not -ndim <= each < ndim:
            raise ValueError(f"no axis {each} in an array of {ndim} dimensions")
    found = tuple(each % ndim for each in axes)
    if len(set(found)) < len(found):
        raise ValueError(f"an axis comes twice in {axes}")
    return found


def reduced(shape: Sequence[int], axis: Axes | None, keepdims: bool) -> list[int]:
    """What is left of a shape where axes are reduced: of them a side of 1, or none."""
    axes = axis_numbers(axis, len(shape))
    sides = [1 if number in axes else side for number, side in enumerate(shape)]
    return sides if keepdims else [side for number, side in enumerate(sides) if number not in axes]


def broadcast_arrays(*arrays: mx.array) -> list[mx.array]:
    """The arrays, each in the shape that all of them together have."""
    return list(mx.broadcast_arrays(*arrays)) if arrays else []


def broadcast_to(x: mx.array, /, shape: Sequence[int]) -> mx.array:
    """x in a shape that it broadcasts to."""
    return mx.broadcast_to(x, tuple(shape))


def _one_dtype(arrays: Sequence[mx.array]) -> list[mx.array]:
    common = dt.result_type(*arrays)
    return [each if each.dtype == common else each.astype(common) for each in arrays]


def concat(arrays: Sequence[mx.array], /, *, axis: int | None = 0) -> mx.array:
    """The arrays one after the other along an axis; axis None flattens them first."""
    parts = _one_dtype(arrays)
    if axis is None:
        return mx.concatenate([each.reshape(-1) for each in parts], axis=0)
    return mx.concatenate(parts, axis=axis)


def stack(arrays: Sequence[mx.array], /, *, axis: int = 0) -> mx.array:
    """The arrays along a new axis."""
    return mx.stack(_one_dtype(arrays), axis=axis)


def unstack(x: mx.array, /, *, axis: int = 0) -> tuple[mx.array, ...]:
    """The parts of x along an axis, without it."""
    (axis,) = axis_numbers(axis, x.ndim)
    before = (slice(None),) * axis
    return tuple(x[(*before, i)] for i in range(x.shape[axis]))


def expand_dims(x: mx.array, /, axis: int) -> mx.array:
    """x with a new axis of length 1. Raises IndexError for a place that is not there."""
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise IndexError(f"no place {axis} for an axis in an array of {x.ndim} dimensions")
    return mx.expand_dims(x, axis)


def squeeze(x: mx.array, /, axis: Axes) -> mx.array:
    """x without axes of length 1. Raises ValueError for another length."""
    axes = axis_numbers(axis, x.ndim)
    for each in axes:
        if x.shape[each] != 1:
            raise ValueError(f"axis {each} has length {x.shape[each]}, not 1")
    return x.reshape([side for number, side in enumerate(x.shape) if number not in axes])


def flip(x: mx.array, /, *, axis: Axes | None = None) -> mx.array:
    """x in reversed order along axes, all by default."""
    axes = axis_numbers(axis, x.ndim)
    if not axes:
        return mx.array(x)
    return x[tuple(slice(None, None, -1) if number in axes else slice(None) for number in range(x.ndim))]


def moveaxis(x: mx.array, source: Axes, destination: Axes, /) -> mx.array:
    """x with axes moved to other places; the others keep their order."""
    sources, places = axis_numbers(source, x.ndim), axis_numbers(destination, x.ndim)
    if len(sources) != len(places):
        raise ValueError(f"{len(sources)} axes for {len(places)} places")
    order = [number for number in range(x.ndim) if number not in sources]
    for place, moved in sorted(zip(places, sources, strict=True)):
        order.insert(place, moved)
    return mx.transpose(x, order)


def permute_dims(x: mx.array, /, axes: Sequence[int]) -> mx.array:
    """x with its axes in another order."""
    if len(axis_numbers(tuple(axes), x.ndim)) != x.ndim:
        raise ValueError(f"{len(axes)} axes for an array of {x.ndim} dimensions")
    return mx.transpose(x, tuple(axes)) if axes else mx.array(x)


def reshape(x: mx.array, /, shape: Sequence[int], *, copy: bool | None = None) -> mx.array:
    """x in another shape; one side may be -1. copy=False is as None: MLX arrays share what they can."""
    return mx.reshape(mx.array(x) if copy else x, tuple(shape))


def repeat(x: mx.array, repeats: int | mx.array, /, *, axis: int | None = None) -> mx.array:
    """Each element several times; of the flattened x for axis None.

    repeats as an array is evaluated: the shape depends on it.
    """
    if axis is None:
        x, axis = x.reshape(-1), 0
    (axis,) = axis_numbers(axis, x.ndim)
    if isinstance(repeats, mx.array):
        counts = np.broadcast_to(np.array(repeats), (x.shape[axis],))
        return mx.take(x, mx.array(np.repeat(np.arange(x.shape[axis], dtype=np.int32), counts)), axis=axis)
    return mx.repeat(x, repeats, axis=axis)


def roll(x: mx.array, /, shift: Axes, *, axis: Axes | None = None) -> mx.array:
    """x moved on along axes, what leaves at the end comes in at the start; of the flattened x for axis None."""
    if axis is None:
        total = shift if isinstance(shift, int) else sum(shift)
        return _rolled(x.reshape(-1), total, 0).reshape(x.shape)
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    shifts = (shift,) * len(axes) if isinstance(shift, int) else tuple(shift)
    if len(shifts) != len(axes):
        raise ValueError(f"{len(shifts)} shifts for {len(axes)} axes")
    for by, each in zip(shifts, axes, strict=True):
        x = _rolled(x, by, axis_numbers(each, x.ndim)[0])
    return x


def _rolled(x: mx.array, shift: int, axis: int) -> mx.array:
    return mx.roll(x, shift % x.shape[axis], axis) if x.size else x


def tile(x: mx.array, repetitions: Sequence[int], /) -> mx.array:
    """x laid side by side, several times along each axis."""
    missing = max(len(repetitions) - x.ndim, 0)
    sides = (1,) * missing + tuple(x.shape)
    counts = (1,) * (len(sides) - len(repetitions)) + tuple(repetitions)
    spread: list[int] = []
    shown: list[int] = []
    for count, side in zip(counts, sides, strict=True):
        spread += [1, side]
        shown += [count, side]
    tiled = mx.broadcast_to(x.reshape(spread), shown)
    return tiled.reshape([count * side for count, side in zip(counts, sides, strict=True)])


def take(x: mx.array, indices: mx.array, /, *, axis: int | None = None) -> mx.array:
    """The elements of x along an axis that the indices name. axis None: for one dimension alone."""
    if axis is None:
        if x.ndim != 1:
            raise ValueError("take needs an axis where x has not exactly one dimension")
        axis = 0
    (axis,) = axis_numbers(axis, x.ndim)
    sides = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    if not x.size and 0 in sides:  # MLX gives nothing, and has no gradient of that
        return mx.zeros(sides, x.dtype)
    return mx.take(x, mx.stop_gradient(indices), axis=axis)


def take_along_axis(x: mx.array, indices: mx.array, /, *, axis: int = -1) -> mx.array:
    """For each place of `indices`, the element of x with that number along the axis."""
    (axis,) = axis_numbers(axis, x.ndim)
    sides: Any = list(np.broadcast_shapes(_without(x.shape, axis), _without(indices.shape, axis)))
    x = mx.broadcast_to(x, [*sides[:axis], x.shape[axis], *sides[axis:]])
    indices = mx.broadcast_to(indices, [*sides[:axis], indices.shape[axis], *sides[axis:]])
    return mx.take_along_axis(x, mx.stop_gradient(indices), axis=axis)


def _without(shape: Sequence[int], axis: int) -> tuple[int, ...]:
    return tuple(side for number, side in enumerate(shape) if number != axis)
