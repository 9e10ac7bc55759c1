"""Elementwise powers, exponentials, logarithms, and functions of angles."""

from __future__ import annotations

from collections.abc import Callable

import mlx.core as mx

from portgnn_mlx.array_api import complexes, precise, slopes
from portgnn_mlx.array_api.dtypes import INTEGERS, Operand, is_complex, pair


def _function(
    name: str, native: Callable[[mx.array], mx.array], says: str, double: Callable[[mx.array], mx.array] | None = None
) -> Callable[[mx.array], mx.array]:
    """A function that MLX has. double: for float64 where MLX's is not of double precision, or its derivative."""

    def function(x: mx.array, /) -> mx.array:
        if double is not None and x.dtype == mx.float64:
            return double(x)
        return native(x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = says
    return function


def _sin(x: mx.array) -> mx.array:
    return mx.sin(x) if is_complex(x) else mx.where(x == 0, x, mx.sin(x))  # MLX's of -0 is +0


def _expm1(x: mx.array) -> mx.array:
    return complexes.expm1(x) if is_complex(x) else mx.expm1(x)


def _asinh_slope(x: mx.array, out: mx.array) -> mx.array:
    return 1.0 / _hypot(mx.ones_like(x), x)


def _acosh_slope(x: mx.array, out: mx.array) -> mx.array:
    return 1.0 / (mx.sqrt(x - 1.0) * mx.sqrt(x + 1.0))


# MLX's own derivatives square the argument, which overflows where the function does not.
_real_asinh = slopes.unary(mx.arcsinh, _asinh_slope)
_real_acosh = slopes.unary(mx.arccosh, _acosh_slope)


def _asinh(x: mx.array) -> mx.array:
    return mx.arcsinh(x) if is_complex(x) else _real_asinh(x)


def _acosh(x: mx.array) -> mx.array:
    return mx.arccosh(x) if is_complex(x) else _real_acosh(x)


exp = _function("exp", mx.exp, "e^x.", precise.exp)
expm1 = _function("expm1", _expm1, "e^x - 1, right near 0.", precise.expm1)
log = _function("log", mx.log, "The natural logarithm.")
log1p = _function("log1p", mx.log1p, "log(1 + x), right near 0.")
log2 = _function("log2", mx.log2, "The logarithm to base 2.", precise.log2)
log10 = _function("log10", mx.log10, "The logarithm to base 10.", precise.log10)
sqrt = _function("sqrt", mx.sqrt, "The square root.")
sin = _function("sin", _sin, "The sine of x in radians.", precise.sin)
cos = _function("cos", mx.cos, "The cosine of x in radians.", precise.cos)
tan = _function("tan", mx.tan, "The tangent of x in radians.", precise.tan)
asin = _function("asin", mx.arcsin, "The inverse of the sine, in [-π/2, π/2].")
acos = _function("acos", mx.arccos, "The inverse of the cosine, in [0, π].")
atan = _function("atan", mx.arctan, "The inverse of the tangent, in [-π/2, π/2].")
sinh = _function("sinh", mx.sinh, "The hyperbolic sine.")
cosh = _function("cosh", mx.cosh, "The hyperbolic cosine.")
tanh = _function("tanh", mx.tanh, "The hyperbolic tangent.")
asinh = _function("asinh", _asinh, "The inverse of the hyperbolic sine.")
acosh = _function("acosh", _acosh, "The inverse of the hyperbolic cosine, 0 or more.")
atanh = _function("atanh", mx.arctanh, "The inverse of the hyperbolic tangent.")


def _hypot(x1: mx.array, x2: mx.array) -> mx.array:
    """Scaled by the larger, so that no square overflows."""
    a, b = mx.abs(x1), mx.abs(x2)
    large, small = mx.maximum(a, b), mx.minimum(a, b)
    part = small / mx.where(large == 0, mx.ones_like(large), large)
    length = large * mx.sqrt(1.0 + part * part)
    return mx.where(mx.isinf(a) | mx.isinf(b), mx.array(float("inf"), a.dtype), length)


def _part_of(side: mx.array, length: mx.array) -> mx.array:
    return mx.where(length == 0, mx.zeros_like(side), side / mx.where(length == 0, mx.ones_like(length), length))


_hypot_with_gradient = slopes.binary(
    _hypot, lambda x1, x2, out: _part_of(x1, out), lambda x1, x2, out: _part_of(x2, out)
)


def hypot(x1: Operand, x2: Operand, /) -> mx.array:
    """sqrt(x1² + x2²) without overflow. Its gradient at 0 is 0."""
    return _hypot_with_gradient(*pair(x1, x2))


def _atan2_slope(other: mx.array, x1: mx.array, x2: mx.array) -> mx.array:
    length = _hypot(x1, x2)
    return other / length / length


_atan2 = slopes.binary(
    mx.arctan2, lambda x1, x2, out: _atan2_slope(x2, x1, x2), lambda x1, x2, out: -_atan2_slope(x1, x1, x2)
)


def atan2(x1: Operand, x2: Operand, /) -> mx.array:
    """The angle of the point (x2, x1), in [-π, π]."""
    return _atan2(*pair(x1, x2))


def _logaddexp(x1: mx.array, x2: mx.array) -> mx.array:
    distance = mx.where(x1 == x2, mx.zeros_like(x1), mx.abs(x1 - x2))
    return mx.maximum(x1, x2) + mx.log1p(mx.exp(-distance))


def _share(x1: mx.array, x2: mx.array) -> mx.array:
    return 1.0 / (1.0 + mx.exp(mx.where(x1 == x2, mx.zeros_like(x1), x2 - x1)))


_single_logaddexp = slopes.binary(_logaddexp, lambda x1, x2, out: _share(x1, x2), lambda x1, x2, out: _share(x2, x1))


def logaddexp(x1: Operand, x2: Operand, /) -> mx.array:
    """log(e^x1 + e^x2) without overflow."""
    left, right = pair(x1, x2)
    return precise.logaddexp(left, right) if left.dtype == mx.float64 else _single_logaddexp(left, right)


def _base_slope(x1: mx.array, x2: mx.array, out: mx.array) -> mx.array:
    return mx.where(x2 == 0, mx.zeros_like(x1), x2 * mx.power(x1, x2 - 1.0))


def _exponent_slope(x1: mx.array, x2: mx.array, out: mx.array) -> mx.array:
    still = (x1 == 0) & (x2 >= 0)
    return mx.where(still, mx.zeros_like(x2), out * mx.log(mx.where(still, mx.ones_like(x1), x1)))


_pow = slopes.binary(mx.power, _base_slope, _exponent_slope)


def pow(x1: Operand, x2: Operand, /) -> mx.array:
    """x1 to the power x2. An integer to a negative power is not defined; what does not fit the dtype wraps."""
    left, right = pair(x1, x2)
    if left.dtype in INTEGERS or is_complex(left):
        return mx.power(left, right)
    return _pow(left, right)
