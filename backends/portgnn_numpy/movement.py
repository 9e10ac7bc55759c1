"""Gradients of the array API's functions that move values: shapes, indices, joins, orders.

What moves values has one rule: the same function, applied to the numbers of the elements, says where each one went,
and the gradient is added up there. Frequent ones have shorter rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from portgnn_numpy.arrays import Array
from portgnn_numpy.tape import Var, moved, unary, unbroadcast, value_of


def _by_numbers(name: str) -> Callable[..., Any]:
    """The recording form of a function of one array that moves values."""

    def function(t: Any, x: Any, /, *args: Any, **kwargs: Any) -> Any:
        plain = tuple(value_of(arg) for arg in args)
        return moved(t.raw, x, lambda raw: getattr(t.raw, name)(raw, *plain, **kwargs))

    return function


def _reshaping(name: str) -> Callable[..., Any]:
    """The recording form of a function of one array that keeps the order of its elements."""

    def function(t: Any, x: Any, /, *args: Any, **kwargs: Any) -> Any:
        raw = value_of(x)
        return unary(x, getattr(t.raw, name)(raw, *args, **kwargs), lambda g: t.raw.reshape(g, raw.shape))

    return function


def _masking(name: str) -> Callable[..., Any]:
    """tril and triu: of the gradient they keep what they keep of the value."""

    def function(t: Any, x: Any, /, *, k: int = 0) -> Any:
        part = getattr(t.raw, name)
        return unary(x, part(value_of(x), k=k), lambda g: part(g, k=k))

    return function


def broadcast_to(t: Any, x: Any, /, shape: tuple[int, ...]) -> Any:
    raw = value_of(x)
    return unary(x, t.raw.broadcast_to(raw, shape), lambda g: unbroadcast(g, raw.shape))


def broadcast_arrays(t: Any, *arrays: Any) -> list[Any]:
    shape = t.raw.broadcast_arrays(*map(value_of, arrays))[0].shape
    return [broadcast_to(t, x, shape) for x in arrays]


def full(t: Any, shape: int | tuple[int, ...], fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    return broadcast_to(t, astype(t, fill_value, dtype), (shape,) if isinstance(shape, int) else shape)


def full_like(t: Any, x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Any:
    if not isinstance(fill_value, Var):
        return t.raw.full_like(value_of(x), fill_value, dtype=dtype)
    return full(t, x.shape, fill_value, dtype=dtype or x.dtype)


def astype(t: Any, x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Between floating dtypes; what becomes an integer or boolean is a plain array."""
    raw = value_of(x)
    if dtype is None or dtype == raw.dtype:
        return x
    if t.raw.isdtype(dtype, "complex floating"):
        raise TypeError("xp.astype makes a recorded array complex, and the tape takes no gradients of complex numbers")
    value = t.raw.astype(raw, dtype)
    return unary(x, value, lambda g: t.raw.astype(g, raw.dtype)) if t.raw.isdtype(dtype, "real floating") else value


def asarray(t: Any, obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Any:
    """A recorded array is nobody's to write to, so it is its own copy. A list of them is stacked."""
    if isinstance(obj, Sequence):
        return asarray(t, stack(t, [asarray(t, x) if _holds(x) else t.raw.asarray(x) for x in obj]), dtype=dtype)
    return astype(t, obj, dtype)


def _holds(x: Any) -> bool:
    return isinstance(x, Var) or (isinstance(x, Sequence) and any(map(_holds, x)))


def concat(t: Any, arrays: Sequence[Any], /, *, axis: int | None = 0) -> Any:
    if axis is None:
        return concat(t, [t.reshape(x, (-1,)) for x in arrays])
    values = [value_of(x) for x in arrays]
    spans, start = [], 0
    for x in values:
        spans.append((start, start + x.shape[axis]))
        start = spans[-1][1]
    recorded = [(x, span) for x, span in zip(arrays, spans, strict=True) if isinstance(x, Var)]
    joined = t.raw.concat(values, axis=axis)
    before = (slice(None),) * (axis % len(joined.shape))

    def vjp(grad: Array) -> tuple[Array | None, ...]:
        return tuple(grad[(*before, slice(*span))] for _, span in recorded)

    return Var(joined, tuple(x for x, _ in recorded), vjp)


def stack(t: Any, arrays: Sequence[Any], /, *, axis: int = 0) -> Any:
    return concat(t, [t.expand_dims(x, axis=axis) for x in arrays], axis=axis)


def unstack(t: Any, x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    before = (slice(None),) * (axis % x.ndim)
    return tuple(x[(*before, i)] for i in range(x.shape[axis]))


def flip(t: Any, x: Any, /, *, axis: Any = None) -> Any:
    return unary(x, t.raw.flip(value_of(x), axis=axis), lambda g: t.raw.flip(g, axis=axis))


def roll(t: Any, x: Any, /, shift: Any, *, axis: Any = None) -> Any:
    back = tuple(-s for s in shift) if isinstance(shift, tuple) else -shift
    return unary(x, t.raw.roll(value_of(x), shift, axis=axis), lambda g: t.raw.roll(g, back, axis=axis))


def permute_dims(t: Any, x: Any, /, axes: tuple[int, ...]) -> Any:
    back = [0] * len(axes)
    for to, source in enumerate(axes):
        back[source] = to
    return unary(x, t.raw.permute_dims(value_of(x), axes), lambda g: t.raw.permute_dims(g, tuple(back)))


def moveaxis(t: Any, x: Any, source: Any, destination: Any, /) -> Any:
    return unary(
        x, t.raw.moveaxis(value_of(x), source, destination), lambda g: t.raw.moveaxis(g, destination, source)
    )  # fmt: skip


def matrix_transpose(t: Any, x: Any, /) -> Any:
    return unary(x, t.raw.matrix_transpose(value_of(x)), t.raw.matrix_transpose)


def meshgrid(t: Any, *arrays: Any, indexing: str = "xy") -> list[Any]:
    places = t.raw.meshgrid(*(t.raw.arange(x.shape[0]) for x in arrays), indexing=indexing)
    return [x[at] for x, at in zip(arrays, places, strict=True)]


def sort(t: Any, x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """Equal values keep their order whatever is asked for, so that their gradients do."""
    order = t.raw.argsort(value_of(x), axis=axis, descending=descending, stable=True)
    return t.take_along_axis(x, order, axis=axis)


def diff(t: Any, x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    parts = [part for part in (prepend, x, append) if part is not None]
    x = concat(t, parts, axis=axis) if len(parts) > 1 else x
    before = (slice(None),) * (axis % x.ndim)
    for _ in range(n):
        x = x[(*before, slice(1, None))] - x[(*before, slice(None, -1))]
    return x


def _of_set(name: str) -> Callable[..., Any]:
    """unique_*: the values are those of the first places that hold them."""

    def function(t: Any, x: Any, /) -> Any:
        raw = value_of(x)
        found, whole = getattr(t.raw, name)(raw), t.raw.unique_all(raw)
        values = t.reshape(x, (-1,))[whole.indices]
        return values if name == "unique_values" else found._replace(values=values)

    return function


RULES: dict[str, Callable[..., Any]] = {
    **{name: _by_numbers(name) for name in ("repeat", "take", "take_along_axis", "tile")},
    **{name: _reshaping(name) for name in ("expand_dims", "reshape", "squeeze")},
    **{name: _masking(name) for name in ("tril", "triu")},
    **{f"unique_{what}": _of_set(f"unique_{what}") for what in ("all", "counts", "inverse", "values")},
    **{
        rule.__name__: rule
        for rule in (
            asarray, astype, broadcast_arrays, broadcast_to, concat, diff, flip, full, full_like, matrix_transpose,
            meshgrid, moveaxis, permute_dims, roll, sort, stack, unstack,
        )
    },
}  # fmt: skip
