"""Functions with derivatives of our own: where MLX's are of single precision, overflow, or break ties another way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mlx.core as mx

from portgnn_mlx.array_api.sums import together

Unary = Callable[[mx.array], mx.array]
Binary = Callable[[mx.array, mx.array], mx.array]


def pulled(forward: Callable[..., mx.array], pull: Callable[..., Any]) -> Any:
    """forward, with pull(arguments, cotangent, output) for the cotangents of its arguments."""
    function: Any = mx.custom_function(forward)
    function.vjp(pull)
    return function


def unary(forward: Unary, slope: Callable[[mx.array, mx.array], mx.array]) -> Unary:
    """forward, with slope(x, forward(x)) for its derivative."""
    function = pulled(forward, lambda x, cotangent, out: cotangent * slope(x, out))
    return lambda x: function(x)


def binary(
    forward: Binary,
    first: Callable[[mx.array, mx.array, mx.array], mx.array],
    second: Callable[[mx.array, mx.array, mx.array], mx.array],
) -> Binary:
    """forward of two arrays that broadcast, with first(x1, x2, out) and second(x1, x2, out) for its derivatives."""

    def pull(primals: Any, cotangent: mx.array, output: mx.array) -> tuple[mx.array, mx.array]:
        x1, x2 = primals
        return cotangent * first(x1, x2, output), cotangent * second(x1, x2, output)

    function = pulled(forward, pull)

    def broadcast(x1: mx.array, x2: mx.array) -> mx.array:
        return function(*together(x1, x2))

    return broadcast
