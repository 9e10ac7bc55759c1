"""exp, sin, cos and what is built on them in float64, which MLX 0.32 computes as float32 (ml-explore/mlx issue 3047).

Its expm1 and tan go to the C library in double precision, and its log1p too. Each function here is made of those, so
that it stays lazy and inside a compiled graph; NumPy on the shared buffer would be as right, and end the graph.
"""

from __future__ import annotations

import math

import mlx.core as mx

from portgnn_mlx.array_api import slopes


def _exp(x: mx.array) -> mx.array:
    """As e^(|x|/2), inverted for a negative x, squared: expm1 + 1 has all its digits where x is positive alone, and
    the half keeps its inverse from overflow before exp itself is 0."""
    root = mx.expm1(mx.abs(x) * 0.5) + 1.0
    root = mx.where(x < 0, 1.0 / root, root)
    return root * root


def _sin(x: mx.array) -> mx.array:
    """By tangents of the half angle: 2t / (1 + t²). t is infinite at no double, and relatively right at each.

    Near 0 the sine is its argument, to x² / 6 of it; and half of the smallest numbers is no half.
    """
    t = mx.tan(x * 0.5)
    value = 2.0 * t / (1.0 + t * t)
    return mx.where(mx.abs(x) < 2.0**-27, x, value)


def _cos(x: mx.array) -> mx.array:
    """(1 - t²) / (1 + t²); near its zeros, where 1 - t² cancels, sin / tan."""
    t = mx.tan(x * 0.5)
    square = t * t
    near = mx.abs(1.0 - square) < 0.5 * (1.0 + square)
    return mx.where(near, 2.0 * t / ((1.0 + square) * mx.tan(x)), (1.0 - square) / (1.0 + square))


def _logaddexp(x1: mx.array, x2: mx.array) -> mx.array:
    """The larger and log1p(e^-distance); equal infinities have no distance."""
    distance = mx.where(x1 == x2, 0.0, mx.abs(x1 - x2))
    return mx.maximum(x1, x2) + mx.log1p(_exp(-distance))


def share(x1: mx.array, x2: mx.array) -> mx.array:
    """e^x1 / (e^x1 + e^x2) in float64: the derivative of logaddexp in x1; half for equal infinities."""
    return 1.0 / (1.0 + _exp(mx.where(x1 == x2, 0.0, x2 - x1)))


exp: slopes.Unary = slopes.unary(_exp, lambda x, out: out)
expm1 = slopes.unary(mx.expm1, lambda x, out: exp(x))
sin: slopes.Unary = slopes.unary(_sin, lambda x, out: cos(x))
cos: slopes.Unary = slopes.unary(_cos, lambda x, out: -sin(x))
# The factors in MLX's own derivatives of these are of single precision.
log2 = slopes.unary(mx.log2, lambda x, out: (1.0 / math.log(2.0)) / x)
log10 = slopes.unary(mx.log10, lambda x, out: (1.0 / math.log(10.0)) / x)
tan = slopes.unary(mx.tan, lambda x, out: 1.0 + out * out)
logaddexp = slopes.binary(_logaddexp, lambda x1, x2, out: share(x1, x2), lambda x1, x2, out: share(x2, x1))
