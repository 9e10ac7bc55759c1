"""Functions of the bits of a floating number: its sign and its neighbours."""

from __future__ import annotations

import mlx.core as mx

from portgnn_mlx.array_api import slopes
from portgnn_mlx.array_api.dtypes import Operand, pair

_WORDS = {2: mx.int16, 4: mx.int32, 8: mx.int64}


def _word(x: mx.array) -> mx.array:
    """The bits of a floating array as signed integers. MLX has no derivative of a view."""
    return mx.view(mx.stop_gradient(x), _WORDS[x.itemsize])


def signbit(x: mx.array, /) -> mx.array:
    """Whether the sign bit is set, also of -0 and of a NaN."""
    return _word(x) < 0


def _copysign(x1: mx.array, x2: mx.array) -> mx.array:
    return mx.where((_word(x1) ^ _word(x2)) < 0, -x1, x1)


_copysign_with_gradient = slopes.binary(
    _copysign,
    lambda x1, x2, out: mx.where(x1 == 0, 0.0, mx.where((_word(x1) ^ _word(x2)) < 0, -1.0, 1.0)).astype(x1.dtype),
    lambda x1, x2, out: mx.zeros_like(x2),
)


def copysign(x1: Operand, x2: Operand, /) -> mx.array:
    """The magnitude of x1 with the sign bit of x2."""
    return _copysign_with_gradient(*pair(x1, x2))


def nextafter(x1: Operand, x2: Operand, /) -> mx.array:
    """The next number that the dtype has, from x1 towards x2. No gradient goes through."""
    left, right = mx.broadcast_arrays(*pair(x1, x2))
    bits = _word(left)
    away = (left > 0) == (right > left)
    moved = bits + mx.where(away, 1, -1).astype(bits.dtype)
    smallest = mx.where(_word(right) < 0, _lowest(bits), mx.zeros_like(bits)) + 1
    result = mx.view(mx.where(left == 0, smallest, moved), left.dtype)
    result = mx.where(left == right, mx.stop_gradient(right), result)
    return mx.where(mx.isnan(left) | mx.isnan(right), mx.array(float("nan"), left.dtype), result)


def _lowest(bits: mx.array) -> mx.array:
    """The sign bit alone."""
    return mx.array(-(2 ** (8 * bits.itemsize - 1)), bits.dtype)
