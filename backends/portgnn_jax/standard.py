"""Functions of the array API standard 2024.12 where jax.numpy does otherwise than it says: dtypes, zeros, errors."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from portgnn.parts import FloatInfo
from portgnn_jax.gradients import with_slope

Axis = int | tuple[int, ...] | None


def finfo(type: Any, /) -> FloatInfo:
    """The limits of a floating dtype, or of an array's; a complex one's are of its parts."""
    of = jnp.finfo(getattr(type, "dtype", type))
    eps, most, least, normal = (float(getattr(of, name)) for name in ("eps", "max", "min", "smallest_normal"))
    return FloatInfo(int(of.bits), eps, most, least, normal, jnp.dtype(of.dtype))


class Info:
    """jax.numpy's inspection, whose devices are a list that holds the default one."""

    def __init__(self) -> None:
        self._own = jnp.__array_namespace_info__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def devices(self) -> list[Any]:
        return list(jax.devices())

    def default_device(self) -> Any:
        return jax.devices()[0]


def __array_namespace_info__() -> Info:
    """The inspection interface (array API standard 2024.12, "inspection")."""
    return Info()


def _floor_divide(a: Any, b: Any) -> Any:
    # The standard's special values are those of floor(a / b), whose last digit is not: 1 / 0.1 rounds to 10.
    special = ~jnp.isfinite(a) | ~jnp.isfinite(b) | (a == 0) | (b == 0)
    return jnp.where(special, jnp.floor(jnp.divide(a, b)), jnp.floor_divide(a, b))


def _remainder(a: Any, b: Any) -> Any:
    rest = jnp.remainder(a, b)
    return jnp.where(rest == 0, jnp.copysign(jnp.zeros_like(rest), b), rest)


floor_divide = with_slope(
    "floor_divide", lambda y, a, b: (jnp.zeros_like, jnp.zeros_like), _floor_divide, jnp.floor_divide
)
remainder = with_slope(
    "remainder", lambda y, a, b: (lambda d: d, lambda d: -d * jnp.floor(a / b)), _remainder, jnp.remainder
)


def searchsorted(x1: Any, x2: Any, /, *, side: str = "left", sorter: Any = None) -> Any:
    """The standard's searchsorted, in the default dtype of indices."""
    places = jnp.searchsorted(x1, x2, side=side, sorter=sorter)
    return places.astype(f"int{_width()}")


def cumulative_prod(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
    """The standard's cumulative_prod: small integers are multiplied in the default integer."""
    if dtype is None and x.dtype.kind in "iu":
        dtype = f"{'u' if x.dtype.kind == 'u' else ''}int{max(_width(), 8 * x.dtype.itemsize)}"
    return jnp.cumulative_prod(x, axis=axis, dtype=dtype, include_initial=include_initial)


def _width() -> int:
    """Bits of the default integer."""
    return 64 if jax.config.read("jax_enable_x64") else 32


def expand_dims(x: Any, /, axis: int | tuple[int, ...]) -> Any:
    """The standard's expand_dims. Raises IndexError for an axis that the result has not."""
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    result = x.ndim + len(axes)
    wrong = next((each for each in axes if not -result <= each < result), None)
    if wrong is not None:
        raise IndexError(f"axis {wrong} is not among the {result} of the result")
    return jnp.expand_dims(x, axis)


def broadcast_arrays(*arrays: Any) -> list[Any]:
    """The standard's broadcast_arrays, as a list."""
    return list(jnp.broadcast_arrays(*arrays))


def meshgrid(*arrays: Any, indexing: str = "xy") -> list[Any]:
    """The standard's meshgrid, as a list."""
    return list(jnp.meshgrid(*arrays, indexing=indexing))
