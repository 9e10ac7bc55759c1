"""Sums of floating numbers whose error does not grow with their count.

TensorFlow adds the numbers of a column one after the other, and those of a whole array in blocks that grow with it.
Sums of up to BLOCK are its own; others of float32 go through float64, and of float64 in blocks whose sums are added in
blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

BLOCK = 64
"""Numbers that are added one after the other."""


def summed(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """The sum along axes, in x's dtype."""
    rank = len(x.shape)
    axes = range(rank) if axis is None else [axis] if isinstance(axis, int) else axis
    axes = sorted(each % rank for each in axes)
    if not x.dtype.is_floating or math.prod(x.shape[each] for each in axes) <= BLOCK:
        return tf.reduce_sum(x, axis=axes, keepdims=keepdims)
    if x.dtype != tf.float64:
        return tf.cast(tf.reduce_sum(tf.cast(x, tf.float64), axis=axes, keepdims=keepdims), x.dtype)
    kept = [each for each in range(rank) if each not in axes]
    shape = [1 if each in axes else x.shape[each] for each in range(rank)]
    rows = tf.reshape(tf.transpose(x, [*axes, *kept]), [-1, math.prod(x.shape[each] for each in kept)])
    while rows.shape[0] > BLOCK:
        # The numbers of a block lie `count` rows apart, so that its additions run over memory in order.
        count = rows.shape[0] // BLOCK
        head = tf.reduce_sum(tf.reshape(rows[: count * BLOCK], [BLOCK, count, rows.shape[1]]), axis=0)
        rows = tf.concat([head, rows[count * BLOCK :]], axis=0)
    total = tf.reduce_sum(rows, axis=0)
    return tf.reshape(total, shape if keepdims else [x.shape[each] for each in kept])


def together(a: Any, b: Any) -> tuple[Any, Any]:
    """Two arrays in the shape that both broadcast to, such as rows and a bias, whose gradient is then `summed`."""
    if a.shape == b.shape or not a.dtype.is_floating:
        return a, b
    shape = tuple(tf.broadcast_static_shape(a.shape, b.shape))
    return _spread(a, shape), _spread(b, shape)


def _spread(x: Any, shape: tuple[int, ...]) -> Any:
    if tuple(x.shape) == shape or math.prod(shape) <= BLOCK * max(1, math.prod(x.shape)):
        return x
    own = (1,) * (len(shape) - len(x.shape)) + tuple(x.shape)
    axes = [number for number, side in enumerate(own) if side != shape[number]]

    @tf.custom_gradient
    def shown(x: Any) -> Any:
        return tf.broadcast_to(x, shape), lambda grad: tf.reshape(summed(grad, axes, keepdims=True), x.shape)

    return shown(x)
