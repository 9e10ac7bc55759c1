"""Sums of floating numbers whose error does not grow with their count.

MLX adds one number after the other on the CPU, and three digits of float32 are gone at a million of them; on a GPU its
threads share them. Blocks of 64 are summed here first, their sums in float64. NumPy's pairwise sum through the shared
buffer would be as right, and end the lazy graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import mlx.core as mx
import numpy as np

from portgnn_mlx.array_api.devices import on_gpu
from portgnn_mlx.array_api.manipulation import Axes, axis_numbers, reduced

BLOCK = 64
"""Numbers that are added one after the other."""
FEW = 2**15
"""Up to so many float32 numbers become float64 at once; of more, sums of blocks do."""
HALF = frozenset({mx.float16, mx.bfloat16})
SUMMED = HALF | {mx.float32, mx.float64}
MANY = 1024
"""Of up to so many numbers a gradient is summed by MLX: it is right to some 200 roundings, and no slower for it."""


def floating_sum(x: mx.array, axis: Axes | None, keepdims: bool) -> mx.array:
    """The sum of a floating x along axes, in its dtype."""
    if not x.size:
        return _of_nothing(x, axis, keepdims)
    if x.size <= BLOCK or on_gpu():
        return mx.sum(x, axis=axis, keepdims=keepdims)
    dtype = x.dtype
    axes = sorted(axis_numbers(axis, x.ndim))
    sides = [x.shape[each] for each in axes]
    if math.prod(sides) <= BLOCK:
        return mx.sum(x, axis=axes, keepdims=keepdims)
    if dtype == mx.float32 and x.size <= FEW:
        return _widened(x, axes, keepdims)
    if axis is None and not keepdims and dtype == mx.float32 and x.ndim > 1 and 4 <= x.shape[-1] <= BLOCK:
        # Large weights: the rows are blocks as they lie, and no slice costs a gradient of its own.
        return mx.sum(mx.sum(x, axis=-1).astype(mx.float64)).astype(mx.float32)
    total = _middle(_in_three(x.astype(mx.float32) if dtype in HALF else x, axes)).astype(dtype)
    return total.reshape(reduced(x.shape, axes, keepdims))


def _of_nothing(x: mx.array, axis: Axes | None, keepdims: bool) -> mx.array:
    """Zeros, which depend on x all the same: a gradient that waits for other processes has to be asked for by all.

    x itself is not reduced: MLX 0.32 ends the process then, now and then, or never ends.
    """
    shape = reduced(x.shape, axis, keepdims)
    if not math.prod(shape):
        return x.reshape(shape)
    one = mx.pad(x, [(0, int(not side)) for side in x.shape])
    return mx.sum(one, axis=axis, keepdims=keepdims)


def _widened(x: mx.array, axes: Sequence[int], keepdims: bool) -> mx.array:
    """The sum of a float32 x in float64: of few numbers the fewest operations, and of their gradient."""
    return mx.sum(x.astype(mx.float64), axis=axes, keepdims=keepdims).astype(mx.float32)


def _in_three(x: mx.array, axes: Sequence[int]) -> mx.array:
    """x [before, summed, after]."""
    if axes[-1] - axes[0] + 1 != len(axes):
        kept = [number for number in range(x.ndim) if number not in axes]
        x = mx.transpose(x, [*kept, *axes])
        axes = range(len(kept), x.ndim)
    before, after = x.shape[: axes[0]], x.shape[axes[-1] + 1 :]
    return x.reshape(math.prod(before), -1 if x.size else 0, math.prod(after))


def _sum_of_middle(x: mx.array) -> mx.array:
    length = x.shape[1]
    if x.dtype == mx.float32 and length <= FEW:
        return _widened(x, [1], keepdims=True)
    dtype = x.dtype
    while length > BLOCK:
        # The numbers of a block lie `count` apart, so that its additions run over memory in order.
        count = length // BLOCK
        head = x[:, : count * BLOCK].reshape(x.shape[0], BLOCK, count, x.shape[2])
        sums, rest = mx.sum(head, axis=1), x[:, count * BLOCK :]
        x = sums if rest.shape[1] == 0 else mx.concatenate([sums, rest], axis=1)
        length = x.shape[1]
        if dtype == mx.float32:
            x = x.astype(mx.float64)
            break
    return mx.sum(x, axis=1, keepdims=True).astype(dtype)


_middle: Any = mx.custom_function(_sum_of_middle)
_middle.vjp(lambda x, cotangent, out: mx.broadcast_to(cotangent, x.shape))


def spread(x: mx.array, shape: Sequence[int]) -> mx.array:
    """x in a shape that it broadcasts to. Of many numbers the gradient is summed as `floating_sum` does, not by MLX."""
    shape = tuple(shape)
    if not x.size or math.prod(shape) // x.size <= MANY or x.dtype not in SUMMED or on_gpu():
        return mx.broadcast_to(x, shape)
    own = (1,) * (len(shape) - x.ndim) + tuple(x.shape)
    axes = tuple(number for number, side in enumerate(own) if side != shape[number])

    @mx.custom_function
    def shown(x: mx.array) -> mx.array:
        return mx.broadcast_to(x, shape)

    @shown.vjp
    def pull(x: mx.array, cotangent: mx.array, output: mx.array) -> mx.array:
        # Nobody asks for a gradient of this one, so that it needs no rule of its own.
        summed = _widened if x.dtype == mx.float32 and math.prod(shape) // x.size <= FEW else floating_sum
        return summed(cotangent, axes, keepdims=True).reshape(x.shape)

    return cast(mx.array, shown(x))


def together(x1: mx.array, x2: mx.array) -> tuple[mx.array, mx.array]:
    """Two arrays in the shape that both broadcast to."""
    if x1.shape == x2.shape:
        return x1, x2
    shape = np.broadcast_shapes(tuple(x1.shape), tuple(x2.shape))
    first, second = (x if tuple(x.shape) == shape else spread(x, shape) for x in (x1, x2))
    return first, second
