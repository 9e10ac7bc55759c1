"""Names and signatures of the array API standard 2024.12, as data, and what of them a namespace keeps."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import numpy as np

from portgnn.protocol import Namespace

_UNARY = """
abs acos acosh asin asinh atan atanh bitwise_invert ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan
log log1p log2 log10 logical_not negative positive real reciprocal round sign signbit sin sinh sqrt square tan tanh
trunc matrix_transpose nonzero unique_all unique_counts unique_inverse unique_values"""
_BINARY = """
add atan2 bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor copysign divide equal
floor_divide greater greater_equal hypot less less_equal logaddexp logical_and logical_or logical_xor matmul maximum
minimum multiply nextafter not_equal pow remainder subtract"""
_OTHERS = """
all(x, /, *, axis, keepdims) any(x, /, *, axis, keepdims) arange(start, /, stop, step, *, dtype, device)
argmax(x, /, *, axis, keepdims) argmin(x, /, *, axis, keepdims) argsort(x, /, *, axis, descending, stable)
asarray(obj, /, *, dtype, device, copy) astype(x, dtype, /, *, copy, device) broadcast_to(x, /, shape)
can_cast(from_, to, /) clip(x, /, min, max) concat(arrays, /, *, axis) count_nonzero(x, /, *, axis, keepdims)
cumulative_prod(x, /, *, axis, dtype, include_initial) cumulative_sum(x, /, *, axis, dtype, include_initial)
diff(x, /, *, axis, n, prepend, append) empty(shape, *, dtype, device) empty_like(x, /, *, dtype, device)
expand_dims(x, /, *, axis) eye(n_rows, n_cols, /, *, k, dtype, device) finfo(type, /) flip(x, /, *, axis)
from_dlpack(x, /, *, device, copy) full(shape, fill_value, *, dtype, device)
full_like(x, /, fill_value, *, dtype, device) iinfo(type, /) isdtype(dtype, kind)
linspace(start, stop, /, num, *, dtype, device, endpoint) max(x, /, *, axis, keepdims) mean(x, /, *, axis, keepdims)
min(x, /, *, axis, keepdims) moveaxis(x, source, destination, /) ones(shape, *, dtype, device)
ones_like(x, /, *, dtype, device) permute_dims(x, /, axes) prod(x, /, *, axis, dtype, keepdims)
repeat(x, repeats, /, *, axis) reshape(x, /, shape, *, copy) roll(x, /, shift, *, axis)
searchsorted(x1, x2, /, *, side, sorter) sort(x, /, *, axis, descending, stable) squeeze(x, /, axis)
stack(arrays, /, *, axis) std(x, /, *, axis, correction, keepdims) sum(x, /, *, axis, dtype, keepdims)
take(x, indices, /, *, axis) take_along_axis(x, indices, /, *, axis) tensordot(x1, x2, /, *, axes)
tril(x, /, *, k) triu(x, /, *, k) unstack(x, /, *, axis) tile(x, repetitions, /)
var(x, /, *, axis, correction, keepdims)
vecdot(x1, x2, /, *, axis) where(condition, x1, x2, /) zeros(shape, *, dtype, device) zeros_like(x, /, *, dtype, device)
"""
ANY_NUMBER = ("broadcast_arrays", "meshgrid", "result_type")
CONSTANTS = ("e", "inf", "nan", "newaxis", "pi", "bool", "int32", "float32", "__array_namespace_info__")


def _signatures() -> Iterator[tuple[str, tuple[int, tuple[str, ...]]]]:
    for count, names in ((1, _UNARY), (2, _BINARY)):
        for name in names.split():
            yield name, (count, ())
    for text in _OTHERS.replace("\n", " ").split(")"):
        name, _, inside = text.strip().partition("(")
        given = [part.strip() for part in inside.split(",")]
        if name:
            count = given.index("/") if "/" in given else 0
            yield name, (count, tuple(part for part in given[count:] if part not in ("/", "*")))


SIGNATURES: dict[str, tuple[int, tuple[str, ...]]] = dict(_signatures())
"""name -> how many arguments come first without a name, and which can be given by theirs."""

DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float32", "float64")


def missing(xp: Namespace) -> list[str]:
    """Names of the standard that a namespace lacks."""
    return [name for name in (*SIGNATURES, *ANY_NUMBER, *CONSTANTS) if not hasattr(xp, name)]


def wrong_signatures(xp: Namespace) -> list[str]:
    """What a function does not take that the standard says it does. Functions in C that tell nothing are left out."""
    wrong = []
    for name, (count, keywords) in SIGNATURES.items():
        try:
            found = inspect.signature(getattr(xp, name))
        except (AttributeError, TypeError, ValueError):
            continue
        try:
            found.bind(*[None] * count, **dict.fromkeys(keywords))
        except TypeError as error:
            wrong.append(f"xp.{name}{found}: {error}")
    return wrong


def dtypes_of(xp: Namespace) -> list[str]:
    """Numeric dtypes that a namespace says it has."""
    has = xp.__array_namespace_info__().dtypes()
    return [name for name in DTYPES if name in has]


def joined(a: str, b: str) -> str | None:
    """The dtype of two, by the standard's tables; None where it leaves that open (uint64 with signed, mixed kinds)."""
    if a.startswith("float") != b.startswith("float"):
        return None
    found = np.promote_types(a, b).name
    return found if found.startswith("float") == a.startswith("float") else None


TWO = ("add", "maximum", "multiply", "subtract")


def promotion_fault(xp: Namespace, a: str, b: str) -> str | None:
    """What comes of arrays of two dtypes in place of the standard's dtype, in a sentence."""
    want = joined(a, b)
    if want is None:
        return None
    left, right = (xp.asarray([2, 1], dtype=getattr(xp, name)) for name in (a, b))
    # 0-d arrays count as much as others do, and a Python number takes the array's dtype.
    results = {name: getattr(xp, name)(left, right).dtype for name in TWO}
    results |= {"an operator": (left * right).dtype, "result_type": xp.result_type(left, getattr(xp, b))}
    results |= {"concat": xp.concat([left, right]).dtype, "where": xp.where(left > 1, left, right).dtype}
    results |= {"multiply of a 0-d array": xp.multiply(left, xp.sum(right[:1], dtype=getattr(xp, b))).dtype}
    for name, found in results.items():
        if found != getattr(xp, want):
            return f"{name} of {a} and {b} has dtype {found}, not {want}"
    number = (left + 1).dtype
    return None if number == getattr(xp, a) else f"{a} + 1 has dtype {number}"
