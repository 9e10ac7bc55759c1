"""Elementwise arithmetic, rounding, comparisons, logic and bits."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx

from portgnn_mlx.array_api import complexes, slopes
from portgnn_mlx.array_api.bits import copysign
from portgnn_mlx.array_api.dtypes import INTEGERS, SIGNED, Operand, is_complex, is_floating, pair, scalar
from portgnn_mlx.array_api.sums import together


def _binary(name: str, native: Callable[..., mx.array], says: str) -> Callable[[Operand, Operand], mx.array]:
    """A function of the standard that MLX computes as it asks, on operands of one dtype."""

    def function(x1: Operand, x2: Operand, /) -> mx.array:
        both = pair(x1, x2)
        # A Python number has no gradient to sum.
        return native(*(together(*both) if isinstance(x1, mx.array) and isinstance(x2, mx.array) else both))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = says
    return function


add = _binary("add", mx.add, "x1 + x2.")
subtract = _binary("subtract", mx.subtract, "x1 - x2.")
multiply = _binary("multiply", mx.multiply, "x1 · x2.")
equal = _binary("equal", mx.equal, "Whether x1 = x2.")
not_equal = _binary("not_equal", mx.not_equal, "Whether x1 ≠ x2.")
less = _binary("less", mx.less, "Whether x1 < x2.")
less_equal = _binary("less_equal", mx.less_equal, "Whether x1 ≤ x2.")
greater = _binary("greater", mx.greater, "Whether x1 > x2.")
greater_equal = _binary("greater_equal", mx.greater_equal, "Whether x1 ≥ x2.")
logical_and = _binary("logical_and", mx.logical_and, "Whether both are true.")
logical_or = _binary("logical_or", mx.logical_or, "Whether one or both are true.")
logical_xor = _binary("logical_xor", mx.not_equal, "Whether exactly one is true.")
bitwise_and = _binary("bitwise_and", mx.bitwise_and, "The bits that both have.")
bitwise_or = _binary("bitwise_or", mx.bitwise_or, "The bits that one or both have.")
bitwise_xor = _binary("bitwise_xor", mx.bitwise_xor, "The bits that exactly one has.")


def _beyond(x1: mx.array, x2: mx.array) -> mx.array:
    """Whether a shift leaves no bit in its place. The processor counts modulo the width."""
    return x2 >= 8 * x1.itemsize


def bitwise_left_shift(x1: Operand, x2: Operand, /) -> mx.array:
    """x1 · 2**x2, in the bits that the dtype has."""
    left, right = pair(x1, x2)
    return mx.where(_beyond(left, right), mx.zeros_like(left), mx.left_shift(left, right))


def bitwise_right_shift(x1: Operand, x2: Operand, /) -> mx.array:
    """floor(x1 / 2**x2)."""
    left, right = pair(x1, x2)
    gone = mx.where(left < 0, mx.full((), -1), mx.full((), 0)).astype(left.dtype)
    return mx.where(_beyond(left, right), gone, mx.right_shift(left, right))


def bitwise_invert(x: mx.array, /) -> mx.array:
    """Each bit turned over."""
    return mx.bitwise_invert(x)


def logical_not(x: mx.array, /) -> mx.array:
    """Whether x is false."""
    return mx.logical_not(x)


# MLX's own derivative divides by x2², which overflows where x2 does not.
_divide = slopes.binary(mx.divide, lambda x1, x2, out: 1.0 / x2, lambda x1, x2, out: -out / x2)


def divide(x1: Operand, x2: Operand, /) -> mx.array:
    """x1 / x2; float32 for integers."""
    left, right = pair(x1, x2)
    return _divide(left, right) if left.dtype in (mx.float32, mx.float64) else mx.divide(left, right)


def _safe_divisor(x1: mx.array, x2: mx.array) -> mx.array:
    """x2 without -1: the smallest integer over it ends the process, since the quotient has no place in the dtype."""
    return mx.where(x2 == -1, mx.ones_like(x2), x2)


def _floored(x1: mx.array, x2: mx.array) -> mx.array:
    """As Python's // for finite numbers; by an infinite one it is a zero, in the standard and in C."""
    quotient = mx.divide(x1, x2)
    part = _remainder(x1, x2)
    whole = mx.floor(quotient)
    # (x1 - remainder) / x2 is an integer but for rounding, where the floor of a rounded quotient can be one too many.
    exact = mx.round((x1 - part) / x2)
    finite = mx.isfinite(x1) & mx.isfinite(x2) & (x2 != 0) & mx.isfinite(exact)
    result = mx.where(finite, exact, whole)
    return mx.where(result == 0, copysign(mx.zeros_like(result), quotient), result)


def floor_divide(x1: Operand, x2: Operand, /) -> mx.array:
    """floor(x1 / x2), as Python has it. An integer over 0 is 0. Its gradient is 0."""
    left, right = pair(x1, x2)
    if is_floating(left):
        return mx.stop_gradient(_floored(left, right))
    if left.dtype in SIGNED:
        return mx.where(right == -1, -left, mx.floor_divide(left, _safe_divisor(left, right)))
    return mx.floor_divide(left, right)


def _remainder(x1: mx.array, x2: mx.array) -> mx.array:
    """Of the sign of x2, a zero too; a finite number over an infinite one as Python has it."""
    part = mx.remainder(x1, x2)
    infinite = mx.isfinite(x1) & mx.isinf(x2)
    same = (x1 < 0) == (x2 < 0)
    part = mx.where(infinite, mx.where(same | (x1 == 0), x1, x2), part)
    return mx.where(part == 0, copysign(mx.zeros_like(part), x2), part)


_remainder_with_gradient = slopes.binary(
    _remainder, lambda x1, x2, out: mx.ones_like(x1), lambda x1, x2, out: -_floored(x1, x2)
)


def remainder(x1: Operand, x2: Operand, /) -> mx.array:
    """x1 - x2·floor(x1 / x2), of the sign of x2. The remainder of an integer by 0 is not defined."""
    left, right = pair(x1, x2)
    if is_floating(left):
        return _remainder_with_gradient(left, right)
    if left.dtype in SIGNED:
        return mx.where(right == -1, mx.zeros_like(left), mx.remainder(left, _safe_divisor(left, right)))
    return mx.remainder(left, right)


_maximum = slopes.binary(
    mx.maximum,
    lambda x1, x2, out: _taken(x1 > x2, x1 == x2, x1.dtype),
    lambda x1, x2, out: _taken(x2 > x1, x1 == x2, x1.dtype),
)
_minimum = slopes.binary(
    mx.minimum,
    lambda x1, x2, out: _taken(x1 < x2, x1 == x2, x1.dtype),
    lambda x1, x2, out: _taken(x2 < x1, x1 == x2, x1.dtype),
)


def _taken(alone: mx.array, tied: mx.array, dtype: mx.Dtype) -> mx.array:
    """1 where an operand alone was taken, half where both are equal."""
    return (alone.astype(dtype) + tied.astype(dtype) * 0.5).astype(dtype)


def maximum(x1: Operand, x2: Operand, /) -> mx.array:
    """The larger, NaN where one is. Equal ones get half of the gradient each."""
    left, right = pair(x1, x2)
    return _maximum(left, right) if is_floating(left) else mx.maximum(left, right)


def minimum(x1: Operand, x2: Operand, /) -> mx.array:
    """The smaller, NaN where one is. Equal ones get half of the gradient each."""
    left, right = pair(x1, x2)
    return _minimum(left, right) if is_floating(left) else mx.minimum(left, right)


def clip(x: mx.array, /, min: Operand | None = None, max: Operand | None = None) -> mx.array:
    """x within [min, max]: minimum(maximum(x, min), max), also for its gradient at a bound. Keeps x's dtype."""
    for bound, kept in ((min, maximum), (max, minimum)):
        if bound is not None:
            limit = bound if isinstance(bound, mx.array) else scalar(bound, x.dtype)
            x = kept(x, limit.astype(x.dtype))
    return x


def abs(x: mx.array, /) -> mx.array:
    """The absolute value; real for a complex x."""
    return mx.abs(x) if x.dtype != mx.bool_ else x


def negative(x: mx.array, /) -> mx.array:
    """-x."""
    return mx.negative(x)


def positive(x: mx.array, /) -> mx.array:
    """+x, a new array."""
    return mx.array(x)


def square(x: mx.array, /) -> mx.array:
    """x · x."""
    return x * x if is_complex(x) else mx.square(x)


def reciprocal(x: mx.array, /) -> mx.array:
    """1 / x."""
    return divide(1, x)


def sign(x: mx.array, /) -> mx.array:
    """-1, 0 or 1, NaN for NaN; x / |x| for a complex x."""
    if is_complex(x):
        return complexes.sign(x)
    if x.dtype in INTEGERS:
        return mx.sign(x)
    return mx.where(mx.isnan(x), mx.array(float("nan"), x.dtype), mx.sign(x))


def _rounding(name: str, native: Callable[[mx.array], mx.array], says: str) -> Callable[[mx.array], mx.array]:
    def function(x: mx.array, /) -> mx.array:
        return native(x) if is_floating(x) else x

    function.__name__ = function.__qualname__ = name
    function.__doc__ = says
    return function


floor = _rounding("floor", mx.floor, "The largest whole number up to x.")
ceil = _rounding("ceil", mx.ceil, "The smallest whole number from x on.")
trunc = _rounding("trunc", mx.trunc, "x without its fraction.")


def round(x: mx.array, /) -> mx.array:
    """The nearest whole number, the even one of two."""
    if is_complex(x):
        return complexes.joined(mx.round(mx.real(x)), mx.round(mx.imag(x)))
    return mx.round(x) if is_floating(x) else x


def isnan(x: mx.array, /) -> mx.array:
    """Whether x is NaN, or one of its parts is."""
    return mx.isnan(x)


def isinf(x: mx.array, /) -> mx.array:
    """Whether x is infinite, or one of its parts is."""
    return mx.isinf(mx.real(x)) | mx.isinf(mx.imag(x)) if is_complex(x) else mx.isinf(x)


def isfinite(x: mx.array, /) -> mx.array:
    """Whether x is neither infinite nor NaN, nor one of its parts."""
    return mx.isfinite(mx.real(x)) & mx.isfinite(mx.imag(x)) if is_complex(x) else mx.isfinite(x)
