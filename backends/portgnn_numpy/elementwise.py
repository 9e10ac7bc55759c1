"""Gradients of the array API's elementwise functions, as data: name -> rules.

No rule divides by a square or forms a product that overflows before the function itself does: a gradient would be
0, or NaN, without a word. Conventions at ties are those of docs/gradients.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from portgnn_numpy.arrays import Array
from portgnn_numpy.tape import Var, binary, unary, value_of

Unary = Callable[[Any, Array, Array, Array], Array]
"""rule(xp, g, x, y): the gradient in x of y = f(x), whose own is g."""

Binary = Callable[[Any, Array, Any, Any], Array]
"""rule(xp, g, a, b): the gradient in one of two operands."""

UNARY: dict[str, Unary] = {
    "abs": lambda xp, g, x, y: g * xp.sign(x),
    "acos": lambda xp, g, x, y: -g / xp.sqrt((1 - x) * (1 + x)),
    "acosh": lambda xp, g, x, y: g / (xp.sqrt(x - 1) * xp.sqrt(x + 1)),
    "asin": lambda xp, g, x, y: g / xp.sqrt((1 - x) * (1 + x)),
    "asinh": lambda xp, g, x, y: g / xp.hypot(x, xp.ones_like(x)),
    "atan": lambda xp, g, x, y: _over_square(g, xp.hypot(x, xp.ones_like(x))),
    "atanh": lambda xp, g, x, y: g / ((1 - x) * (1 + x)),
    "conj": lambda xp, g, x, y: g,
    "cos": lambda xp, g, x, y: -g * xp.sin(x),
    "cosh": lambda xp, g, x, y: g * xp.sinh(x),
    "exp": lambda xp, g, x, y: g * y,
    "expm1": lambda xp, g, x, y: g * xp.exp(x),
    "log": lambda xp, g, x, y: g / x,
    "log10": lambda xp, g, x, y: g / x / math.log(10.0),
    "log1p": lambda xp, g, x, y: g / (1 + x),
    "log2": lambda xp, g, x, y: g / x / math.log(2.0),
    "negative": lambda xp, g, x, y: -g,
    "positive": lambda xp, g, x, y: g,
    "real": lambda xp, g, x, y: g,
    "reciprocal": lambda xp, g, x, y: -(g * y) * y,
    "sin": lambda xp, g, x, y: g * xp.cos(x),
    "sinh": lambda xp, g, x, y: g * xp.cosh(x),
    "sqrt": lambda xp, g, x, y: g / (2 * y),
    "square": lambda xp, g, x, y: (g * x) * 2,
    "tan": lambda xp, g, x, y: g * (1 + y * y),
    "tanh": lambda xp, g, x, y: g * ((1 - y) * (1 + y)),
}


def _over_square(x: Array, divisor: Array) -> Array:
    return x / divisor / divisor


def _chosen(xp: Any, g: Array, mask: Array) -> Array:
    """g where the mask is set, and 0 elsewhere whatever g holds."""
    return xp.where(mask, g, xp.zeros_like(g))


def _greater(xp: Any, g: Array, a: Any, b: Any) -> Array:
    """What `maximum` sends to its first operand."""
    return _chosen(xp, xp.where(a == b, g / 2, g), a >= b)


def _power_in_base(xp: Any, g: Array, x: Any, p: Any) -> Array:
    """p x**(p - 1), and 0 for p = 0. For p < 0 as p x**p / x: x**(p - 1) could underflow to nothing."""
    one = xp.ones_like(g)
    falls = p * one < 0
    exponent = xp.where(falls, p, xp.where(p * one == 0, 0 * one, p - one))
    return g * p * x**exponent / xp.where(falls, x, one)


def _power_in_exponent(xp: Any, g: Array, x: Any, p: Any) -> Array:
    """x**p log(x), which is 0 for x = 0 unless p < 0."""
    base = x * xp.ones_like(g)
    still = (base == 0) & (p >= 0)
    return _chosen(xp, g * x**p * xp.log(xp.where(still, xp.ones_like(g), base)), ~still)


def _leg(xp: Any, g: Array, a: Any, b: Any) -> Array:
    """A leg's share of the hypotenuse, 0 where there is none."""
    long = xp.hypot(a, b)
    return g * (a / xp.where(long == 0, xp.ones_like(long), long))


def _softmax_of_two(xp: Any, g: Array, a: Any, b: Any) -> Array:
    """exp(a) / (exp(a) + exp(b)), without overflow; half where a = b, infinities too."""
    zero = xp.zeros_like(g)
    lead = xp.where(a == b, zero, a) - xp.where(a == b, zero, b)
    return g * xp.exp(xp.minimum(lead, zero)) / (1 + xp.exp(-xp.abs(lead)))


def _around(xp: Any, g: Array, a: Any, b: Any) -> Array:
    """b / (a² + b²): what atan2 sends to its first operand, and less it, with a and b changed, to its second."""
    long = xp.hypot(a, b)
    return g * (b / long) / long


BINARY: dict[str, tuple[Binary, Binary]] = {
    "add": (lambda xp, g, a, b: g, lambda xp, g, a, b: g),
    "atan2": (_around, lambda xp, g, a, b: -_around(xp, g, b, a)),
    "copysign": (
        lambda xp, g, a, b: g * xp.sign(a) * xp.copysign(xp.ones_like(g), b),
        lambda xp, g, a, b: xp.zeros_like(g),
    ),
    "divide": (lambda xp, g, a, b: g / b, lambda xp, g, a, b: -g * (a / b) / b),
    "hypot": (_leg, lambda xp, g, a, b: _leg(xp, g, b, a)),
    "logaddexp": (_softmax_of_two, lambda xp, g, a, b: _softmax_of_two(xp, g, b, a)),
    "maximum": (_greater, lambda xp, g, a, b: _greater(xp, g, b, a)),
    "minimum": (lambda xp, g, a, b: _greater(xp, g, b, a), _greater),
    "multiply": (lambda xp, g, a, b: g * b, lambda xp, g, a, b: g * a),
    "pow": (_power_in_base, _power_in_exponent),
    "remainder": (lambda xp, g, a, b: g, lambda xp, g, a, b: -g * (a // b)),
    "subtract": (lambda xp, g, a, b: g, lambda xp, g, a, b: -g),
}

FLAT = ("ceil", "floor", "floor_divide", "imag", "round", "sign", "trunc")
"""Functions whose gradient is 0 everywhere: their results are plain arrays."""


def of_one(name: str) -> Callable[..., Any]:
    """The recording form of an elementwise function of one array."""
    rule = UNARY[name]

    def function(t: Any, x: Any, /) -> Any:
        raw = value_of(x)
        value = getattr(t.raw, name)(raw)
        return unary(x, value, lambda g: rule(t.raw, g, raw, value))

    return function


def of_two(name: str) -> Callable[..., Any]:
    """The recording form of an elementwise function of two, of which one may be a number."""
    left, right = BINARY[name]

    def function(t: Any, x1: Any, x2: Any, /) -> Any:
        forward = getattr(t.raw, name)
        return binary(x1, x2, forward, lambda *given: left(t.raw, *given), lambda *given: right(t.raw, *given))

    return function


def power(t: Any, x1: Any, x2: Any, /) -> Any:
    """pow; the common case of a number above it as exponent costs two operations."""
    if not isinstance(x2, int | float):
        return of_two("pow")(t, x1, x2)
    raw = value_of(x1)
    value = raw**x2
    if x2 == 0:
        return value
    return unary(x1, value, lambda g: g * x2 * value / raw if x2 < 0 else g * (x2 * raw ** (x2 - 1)))


def where(t: Any, condition: Any, x1: Any, x2: Any, /) -> Any:
    """The side that is not taken gets exactly 0, whatever the gradient holds."""
    mask = value_of(condition)
    if not isinstance(x1, Var) and not isinstance(x2, Var):
        return t.raw.where(mask, x1, x2)
    return binary(
        x1, x2, lambda a, b: t.raw.where(mask, a, b),
        lambda g, a, b: _chosen(t.raw, g, mask), lambda g, a, b: _chosen(t.raw, g, ~mask),
    )  # fmt: skip


def clip(t: Any, x: Any, /, min: Any = None, max: Any = None) -> Any:
    """minimum(maximum(x, min), max)."""
    at_least = x if min is None else t.maximum(x, min)
    return at_least if max is None else t.minimum(at_least, max)


RULES: dict[str, Callable[..., Any]] = {
    **{name: of_one(name) for name in UNARY},
    **{name: of_two(name) for name in BINARY},
    "pow": power,
    "where": where,
    "clip": clip,
}
