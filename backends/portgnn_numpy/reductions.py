"""Gradients of the array API's sums, products, extremes and spreads. Conventions at ties: docs/gradients.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portgnn_numpy import sums
from portgnn_numpy.arrays import Array
from portgnn_numpy.tape import unary, value_of


def _axes(axis: Any, ndim: int) -> tuple[int, ...]:
    """Axes as numbers from 0; all for None."""
    given = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tuple(a % ndim for a in given)


def _kept(xp: Any, reduced: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """What a reduction gave, with the axes that it removed as axes of length 1."""
    return xp.reshape(reduced, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def _count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    count = 1
    for a in axes:
        count *= shape[a]
    return count


def sum(t: Any, x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    raw, xp = value_of(x), t.raw
    if dtype is None or dtype == raw.dtype:
        value = sums.along(xp, raw, _axes(axis, raw.ndim), keepdims)
    else:
        value = xp.sum(raw, axis=axis, dtype=dtype, keepdims=keepdims)

    def pull(grad: Array) -> Array:
        if axis is not None and not keepdims:
            grad = _kept(xp, grad, raw.shape, _axes(axis, raw.ndim))
        return xp.broadcast_to(grad, raw.shape)

    return unary(x, value, pull)


def mean(t: Any, x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    return sum(t, x, axis=axis, keepdims=keepdims) / float(_count(x.shape, _axes(axis, x.ndim)))


def _extreme(name: str) -> Callable[..., Any]:
    """max and min: equal values share the gradient evenly, and with NaN among the values all get NaN."""

    def function(t: Any, x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
        raw, xp = value_of(x), t.raw
        value = getattr(xp, name)(raw, axis=axis, keepdims=keepdims)
        axes = _axes(axis, raw.ndim)

        def pull(grad: Array) -> Array:
            best = _kept(xp, value, raw.shape, axes)
            mask = (raw == best) | xp.isnan(best)
            share = _kept(xp, grad, raw.shape, axes) / xp.sum(xp.astype(mask, grad.dtype), axis=axes, keepdims=True)
            return xp.where(mask, xp.where(xp.isnan(best), best, share), xp.zeros_like(raw))

        return unary(x, value, pull)

    return function


def var(t: Any, x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    raw, xp = value_of(x), t.raw
    axes = _axes(axis, raw.ndim)
    free = _count(raw.shape, axes) - correction

    def pull(grad: Array) -> Array:
        apart = raw - xp.mean(raw, axis=axes, keepdims=True)
        return _kept(xp, grad, raw.shape, axes) * (2 * apart / free)

    return unary(x, _variance(xp, raw, axes, correction, keepdims), pull)


def _variance(xp: Any, raw: Array, axes: tuple[int, ...], correction: float, keepdims: bool) -> Array:
    """The library's own where it adds in pairs."""
    if sums.as_it_lies(xp, raw, axes) or not xp.isdtype(raw.dtype, "real floating"):
        return xp.var(raw, axis=axes, correction=correction, keepdims=keepdims)
    count = _count(raw.shape, axes)
    apart = raw - sums.along(xp, raw, axes, keepdims=True) / float(count)
    return sums.along(xp, apart * apart, axes, keepdims) / float(max(count - correction, 0.0))


def std(t: Any, x: Any, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """Where all values are equal the gradient is 0."""
    raw, xp = value_of(x), t.raw
    axes = _axes(axis, raw.ndim)
    free = _count(raw.shape, axes) - correction
    value = xp.sqrt(_variance(xp, raw, axes, correction, keepdims))

    def pull(grad: Array) -> Array:
        apart = raw - xp.mean(raw, axis=axes, keepdims=True)
        spread = _kept(xp, value, raw.shape, axes)
        return _kept(xp, grad, raw.shape, axes) * (apart / xp.where(spread == 0, xp.ones_like(spread), spread) / free)

    return unary(x, value, pull)


def cumulative_sum(
    t: Any, x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    raw, xp = value_of(x), t.raw
    along = 0 if axis is None else axis

    def pull(grad: Array) -> Array:
        total = xp.flip(xp.cumulative_sum(xp.flip(grad, axis=along), axis=along), axis=along)
        return xp.take(total, xp.arange(1, total.shape[along]), axis=along) if include_initial else total

    return unary(x, xp.cumulative_sum(raw, axis=axis, dtype=dtype, include_initial=include_initial), pull)


def _by_others(xp: Any, grad: Array, raw: Array) -> Array:
    """From the gradients of the running products along axis 0 (the initial 1 not among them), that in the factors.

    Of factor i it is (the product before i) * r[i], with r[i] = grad[i] + x[i + 1] r[i + 1]: nothing is divided, so
    zeros are factors like others.
    """
    count = raw.shape[0]
    before = xp.cumulative_prod(raw, axis=0, include_initial=True)[:count]
    parts: list[Array] = []
    for i in reversed(range(count)):
        parts.append(grad[i] + raw[i + 1] * parts[-1] if parts else grad[i])
    return before * xp.stack(parts[::-1]) if parts else xp.zeros_like(raw)


def cumulative_prod(
    t: Any, x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    raw, xp = value_of(x), t.raw
    along = 0 if axis is None else axis

    def pull(grad: Array) -> Array:
        first = xp.moveaxis(grad, along, 0)
        return xp.moveaxis(
            _by_others(xp, first[1:] if include_initial else first, xp.moveaxis(raw, along, 0)), 0, along
        )

    return unary(x, xp.cumulative_prod(raw, axis=axis, dtype=dtype, include_initial=include_initial), pull)


def prod(t: Any, x: Any, /, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    """The gradient of a factor is the product of those before it and those after it."""
    raw, xp = value_of(x), t.raw
    axes = _axes(axis, raw.ndim)
    options = {} if dtype is None else {"dtype": dtype}

    def pull(grad: Array) -> Array:
        to_front = tuple(range(len(axes)))
        front = xp.moveaxis(raw, axes, to_front)
        factors = xp.reshape(front, (_count(raw.shape, axes), *front.shape[len(axes) :]))
        count = factors.shape[0]
        before = xp.cumulative_prod(factors, axis=0, include_initial=True)[:count]
        after = xp.flip(xp.cumulative_prod(xp.flip(factors, axis=0), axis=0, include_initial=True)[:count], axis=0)
        others = xp.moveaxis(xp.reshape(before * after, front.shape), to_front, axes)
        return _kept(xp, grad, raw.shape, axes) * others

    return unary(x, xp.prod(raw, axis=axis, keepdims=keepdims, **options), pull)


RULES: dict[str, Callable[..., Any]] = {
    "max": _extreme("max"),
    "min": _extreme("min"),
    **{rule.__name__: rule for rule in (cumulative_prod, cumulative_sum, mean, prod, std, sum, var)},
}

ALWAYS = {"sum": ("axis", "keepdims"), "mean": ("axis", "keepdims"), "std": ("axis", "correction", "keepdims"),
          "var": ("axis", "correction", "keepdims")}  # fmt: skip
"""Rules for plain arrays as well, where no other option is given: the library's own are less accurate."""
