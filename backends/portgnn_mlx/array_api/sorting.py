"""Sorting."""

from __future__ import annotations

import mlx.core as mx

from portgnn_mlx.array_api.manipulation import flip


def argsort(x: mx.array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> mx.array:
    """The places of the elements in order along an axis. Equal ones keep their order in both directions."""
    if not descending:
        return mx.argsort(x, axis=axis).astype(mx.int32)
    # The last of equal ones must come first before the result is turned round.
    places = flip(mx.argsort(flip(x, axis=axis), axis=axis).astype(mx.int32), axis=axis)
    return (x.shape[axis] - 1) - places


def sort(x: mx.array, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> mx.array:
    """The elements in order along an axis, NaN as the largest. Gradients of equal ones keep their order."""
    return mx.take_along_axis(x, mx.stop_gradient(argsort(x, axis=axis, descending=descending)), axis=axis)
