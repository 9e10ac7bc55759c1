"""Functions of complex numbers at the standard's special values, where jax.numpy has others (mostly NaN twice).

Each row says for which real parts a and imaginary parts b, and what the two parts of the result are. The rows are those
of the array API standard 2024.12, which are C's (C17, annex G.6), with the symmetries that it names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax

Part = Callable[[Any, Any], Any]
Row = tuple[Part, Part, Part]


def _boundless(a: Any, b: Any) -> Any:
    return jnp.isinf(a) & ~jnp.isfinite(b)


def _on_axis(a: Any, b: Any) -> Any:
    return (a == 0) & ~jnp.isfinite(b)


def _of_an_infinity(a: Any, b: Any) -> Any:
    return (jnp.isinf(a) & jnp.isnan(b)) | (jnp.isnan(a) & jnp.isinf(b))


def _first(a: Any, b: Any) -> Any:
    return a


def _second(a: Any, b: Any) -> Any:
    return b


def _always(value: float) -> Part:
    return lambda a, b: jnp.full_like(a, value)


_inf, _nan, _none = _always(jnp.inf), _always(jnp.nan), _always(0.0)
_half_turn = _always(jnp.pi / 2)

ROWS: dict[str, tuple[Row, ...]] = {
    "acos": ((lambda a, b: (a == 0) & jnp.isnan(b), _half_turn, _nan),),
    "acosh": (
        (lambda a, b: jnp.isfinite(a) & jnp.isnan(b), _nan, lambda a, b: jnp.where(a == 0, jnp.pi / 2, jnp.nan)),
    ),
    "asinh": ((lambda a, b: jnp.isnan(a) & (b == 0), _nan, _second),),
    "atanh": (
        (lambda a, b: jnp.isnan(a) & ~jnp.isinf(b), _nan, _nan),
        (lambda a, b: jnp.isnan(b), lambda a, b: jnp.where(jnp.isinf(a), jnp.copysign(0.0, a), jnp.nan), _nan),
        (lambda a, b: (a == 0) & jnp.isnan(b), _first, _nan),
    ),
    "cosh": ((_on_axis, _nan, _none), (_boundless, _inf, _nan)),
    "exp": ((_boundless, lambda a, b: jnp.where(a > 0, a, 0.0), lambda a, b: jnp.where(a > 0, jnp.nan, 0.0)),),
    "expm1": ((_boundless, lambda a, b: jnp.where(a > 0, a, -1.0), lambda a, b: jnp.where(a > 0, jnp.nan, 0.0)),),
    "log": ((_of_an_infinity, _inf, _nan),),
    "log1p": ((_of_an_infinity, _inf, _nan),),
    "sinh": ((lambda a, b: _on_axis(a, b) | _boundless(a, b), _first, _nan),),
    "sqrt": (
        (
            lambda a, b: jnp.isinf(a) & jnp.isnan(b),
            lambda a, b: jnp.where(a > 0, a, jnp.nan),
            lambda a, b: jnp.where(a > 0, jnp.nan, jnp.inf),
        ),
    ),
    "tanh": (
        (_on_axis, _first, _nan),
        (lambda a, b: jnp.isinf(a) & jnp.isfinite(b), lambda a, b: jnp.sign(a), lambda a, b: jnp.copysign(0.0, b)),
    ),
}


def mended(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    """`plain` with the rows of its name. Of real numbers it is `plain`."""
    rows = ROWS[name]

    def call(x: Any, /) -> Any:
        value = plain(x)
        if not jnp.iscomplexobj(value):
            return value
        x = jnp.asarray(x, value.dtype)
        a, b = jnp.real(x), jnp.imag(x)
        real, imag = jnp.real(value), jnp.imag(value)
        for holds, of_real, of_imag in rows:
            here = holds(a, b)
            real, imag = jnp.where(here, of_real(a, b), real), jnp.where(here, of_imag(a, b), imag)
        # Not real + 1j * imag, whose product makes NaN of an infinity.
        return lax.complex(real, imag)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"The standard's {name}, with its special values of complex numbers."
    return call
