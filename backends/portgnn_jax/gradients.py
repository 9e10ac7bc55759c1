"""Functions of the array API whose gradient in JAX is not that of docs/gradients.md, with that gradient.

Some differ by convention (abs, copysign, norms and std at 0, sort), others are faults: the gradient of hypot where both
legs are equal, that of logaddexp at infinity, and that of a quotient whose divisor's square overflows.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def _of_arrays(count: int) -> Signature:
    """(x, /) or (x1, x2, /), as the standard has it."""
    names = ["x"] if count == 1 else [f"x{i + 1}" for i in range(count)]
    return Signature([Parameter(name, Parameter.POSITIONAL_ONLY) for name in names])


def with_slope(
    name: str,
    slopes: Callable[..., tuple[Any, ...]],
    of_floats: Callable[..., Any] | None = None,
    of_others: Callable[..., Any] | None = None,
) -> Callable[..., Any]:
    """A function of arrays (jax.numpy's, unless given), whose slope in each is slopes(result, *arguments)."""
    plain = of_others or getattr(jnp, name)

    @jax.custom_jvp
    def sloped(*arguments: Any) -> Any:
        return (of_floats or plain)(*arguments)

    @sloped.defjvp
    def _(primals: Any, tangents: Any) -> tuple[Any, Any]:
        value = sloped(*primals)
        moved = sum(multiply(tangent) for multiply, tangent in zip(slopes(value, *primals), tangents, strict=True))
        return value, moved

    def call(*arguments: Any) -> Any:
        dtype = jnp.result_type(*arguments)
        if not jnp.issubdtype(dtype, jnp.floating):
            return plain(*arguments)
        return sloped(*jnp.broadcast_arrays(*(jnp.asarray(x, dtype) for x in arguments)))

    call.__name__ = call.__qualname__ = name
    call.__signature__ = _of_arrays(len(signature(slopes).parameters) - 1)  # type: ignore[attr-defined]
    call.__doc__ = f"The standard's {name}, with the gradient of docs/gradients.md."
    return call


def _times(*factors: Any) -> Callable[[Any], Any]:
    """A slope as what multiplies a tangent, factor by factor, so that no product of them overflows first."""

    def multiply(tangent: Any) -> Any:
        for factor in factors:
            tangent = tangent * factor
        return tangent

    return multiply


def _over(*divisors: Any) -> Callable[[Any], Any]:
    def divide(tangent: Any) -> Any:
        for divisor in divisors:
            # Not a / b: its own rule would come in where this one is differentiated again.
            tangent = lax.div(tangent, divisor)
        return tangent

    return divide


def _of_hypot(y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    long = jnp.where(y == 0, jnp.ones_like(y), y)
    return _times(lax.div(a, long)), _times(lax.div(b, long))


def _of_atan2(y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    long = hypot(a, b)
    return lambda d: _over(long)(d * lax.div(b, long)), lambda d: -_over(long)(d * lax.div(a, long))


def _of_logaddexp(y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    same = a == b
    lead = jnp.where(same, 0.0, jnp.where(same, 0.0, a) - jnp.where(same, 0.0, b))
    return _times(jax.nn.sigmoid(lead)), _times(jax.nn.sigmoid(-lead))


def _of_pow(y: Any, x: Any, p: Any) -> tuple[Any, Any]:
    falls, still = p < 0, (x == 0) & (p >= 0)
    exponent = jnp.where(falls, p, jnp.where(p == 0, 0.0, p - 1))
    in_base = jnp.power(x, exponent)
    logarithm = jnp.log(jnp.where(still, 1.0, x))
    return (
        lambda d: _over(jnp.where(falls, x, 1.0))(d * p * in_base),
        lambda d: jnp.where(still, 0.0, d * y * logarithm),
    )  # fmt: skip


abs = with_slope("abs", lambda y, x: (_times(jnp.sign(x)),))
acosh = with_slope("acosh", lambda y, x: (_over(jnp.sqrt(x - 1), jnp.sqrt(x + 1)),))
asinh = with_slope("asinh", lambda y, x: (_over(jnp.hypot(x, jnp.ones_like(x))),))
atan2 = with_slope("atan2", _of_atan2)
copysign = with_slope("copysign", lambda y, a, b: (_times(jnp.sign(a) * jnp.copysign(1.0, b)), _times(0.0)))
divide = with_slope("divide", lambda y, a, b: (_over(b), lambda d: _over(b)(-d * y)))
hypot = with_slope("hypot", _of_hypot)
logaddexp = with_slope("logaddexp", _of_logaddexp)
pow = with_slope("pow", _of_pow)


def std(x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False, **options: Any) -> Any:
    """The standard's std; of equal values the gradient is 0."""
    spread = jnp.var(x, axis=axis, correction=correction, keepdims=keepdims, **options)
    none = spread == 0
    return jnp.where(none, jnp.zeros_like(spread), jnp.sqrt(jnp.where(none, jnp.ones_like(spread), spread)))


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The standard's sort; equal values keep their order, descending too, and so do their gradients."""
    if not descending:
        return jnp.sort(x, axis=axis, stable=stable)
    order = jnp.argsort(lax.stop_gradient(x), axis=axis, descending=True, stable=True)
    return jnp.take_along_axis(x, order, axis=axis)


def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """The standard's vector_norm; of a vector of zeros the gradient is 0."""
    if ord in (0, 1, jnp.inf, -jnp.inf):
        return jnp.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)
    empty = jnp.all(x == 0, axis=axis, keepdims=True)
    norm = jnp.linalg.vector_norm(jnp.where(empty, jnp.ones_like(x), x), axis=axis, keepdims=keepdims, ord=ord)
    return jnp.where(jnp.reshape(empty, norm.shape), jnp.zeros_like(norm), norm)
