"""Functions that make arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import mlx.core as mx
import numpy as np

from portgnn_mlx.array_api import dtypes as dt
from portgnn_mlx.array_api.devices import Device, placed
from portgnn_mlx.array_api.dtypes import Scalar, allowed, scalar_dtype

Shape: TypeAlias = int | Sequence[int]


def _sides(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def asarray(obj: Any, /, *, dtype: mx.Dtype | None = None, device: Device = None, copy: bool | None = None) -> mx.array:
    """An array of a number, nested sequences of them, a buffer (a NumPy array keeps its dtype), or an array.

    Python's numbers take the default dtypes: bool, int32 (int64 or uint64 where it does not hold them), float32,
    complex64. copy=False raises ValueError for all that is not an MLX array of that dtype. Raises TypeError for
    complex128, which MLX has not, unless a dtype is given.
    """
    where = placed(device)
    if isinstance(obj, mx.array):
        return _from_array(obj, dtype, where, copy)
    if copy is False:
        raise ValueError(f"a {type(obj).__name__} cannot become an MLX array without a copy")
    host = _on_host(obj)
    native = not hasattr(obj, "dtype")
    found = _found_dtype(host, native) if dtype is None else dtype
    allowed(found, where)
    with mx.stream(where or mx.default_device()):
        if found == dt.bfloat16:
            return mx.array(host.astype(np.float32)).astype(found)
        if host.dtype.kind == "c" and found not in (dt.complex64, dt.boolean):
            raise TypeError("complex numbers have no real dtype; take their real parts first")
        return mx.array(host.astype(dt.host_name(found), copy=False), dtype=found)


def _from_array(x: mx.array, dtype: mx.Dtype | None, where: mx.Device | None, copy: bool | None) -> mx.array:
    if dtype is not None and dtype != x.dtype:
        if copy is False:
            raise ValueError(f"{x.dtype} becomes {dtype} by a copy alone")
        return dt.astype(x, dtype, device=where)
    allowed(x.dtype, where)
    return mx.array(x) if copy else x


def _on_host(obj: Any) -> Any:
    """As NumPy reads it. MLX would make float32 of a NumPy array in float64."""
    if isinstance(obj, Sequence) and not isinstance(obj, str | bytes | bytearray):
        obj = _unpacked(obj)
    elif hasattr(obj, "__dlpack__") and not hasattr(obj, "__array__"):
        obj = np.from_dlpack(obj)
    host = np.asarray(obj)
    if host.dtype.kind not in "biufc":
        raise TypeError(f"{type(obj).__name__} of {host.dtype} is not numbers")
    return host


def _unpacked(obj: Any) -> Any:
    """Nested sequences with the arrays among them as NumPy's."""
    if isinstance(obj, mx.array):
        return np.array(obj.astype(mx.float32) if obj.dtype == mx.bfloat16 else obj)
    return [_unpacked(each) for each in obj] if isinstance(obj, list | tuple) else obj


def _found_dtype(host: Any, native: bool) -> mx.Dtype:
    """The dtype for NumPy's reading of an object; native: of Python's own numbers."""
    kind = host.dtype.kind
    if host.dtype == np.complex128 and not native:
        raise TypeError("MLX has no complex128; give dtype=complex64 to round")
    if kind == "f" and (native or host.dtype.itemsize > 8):
        return dt.float32
    if kind in "iu" and native:
        fits = host.size == 0 or (host.min() >= -(2**31) and host.max() < 2**31)
        return dt.int32 if fits else dt.uint64 if kind == "u" else dt.int64
    if kind == "c":
        return dt.complex64
    return dt.boolean if kind == "b" else getattr(mx, host.dtype.name)


def from_dlpack(x: Any, /, *, device: Device = None, copy: bool | None = None) -> mx.array:
    """An array of one from another library. copy=False raises BufferError where MLX would have to copy."""
    where = placed(device)
    if isinstance(x, mx.array):
        allowed(x.dtype, where)
        return mx.array(x) if copy else x
    if copy is False:
        raise BufferError(f"MLX copies what it takes over from a {type(x).__name__}")
    return asarray(np.from_dlpack(x), device=device)


def zeros(shape: Shape, *, dtype: mx.Dtype | None = None, device: Device = None) -> mx.array:
    """Zeros, float32 by default."""
    return full(shape, 0, dtype=dt.float32 if dtype is None else dtype, device=device)


def ones(shape: Shape, *, dtype: mx.Dtype | None = None, device: Device = None) -> mx.array:
    """Ones, float32 by default."""
    return full(shape, 1, dtype=dt.float32 if dtype is None else dtype, device=device)


def empty(shape: Shape, *, dtype: mx.Dtype | None = None, device: Device = None) -> mx.array:
    """Zeros: a lazy array has no memory to leave as it is."""
    return zeros(shape, dtype=dtype, device=device)


def full(shape: Shape, fill_value: Scalar, *, dtype: mx.Dtype | None = None, device: Device = None) -> mx.array:
    """One value; by default in the default dtype of its kind."""
    where = placed(device)
    found = scalar_dtype(fill_value) if dtype is None else dtype
    allowed(found, where)
    value = dt.scalar(fill_value, found).astype(found, stream=where)
    return mx.full(_sides(shape), value, stream=where)


def zeros_like(x: mx.array, /, *, dtype: mx.Dtype | None = None, device: Device = None) -> mx.array:
    """Zeros of x's shape and dtype."""
    return zeros(x.shape, dtype=x.dtype if dtype is None else dtype, device=device)


def ones_like(x: mx.array, /, *, dtype: mx.Dtype | None = None, device: Device = None) -> mx.array:
    """Ones of x's shape and dtype."""
    return ones(x.shape, dtype=x.dtype if dtype is None else dtype, device=device)


def empty_like(x: mx.array, /, *, dtype: mx.Dtype | None = None, device: Device = None) -> mx.array:
    """As `empty`, of x's shape and dtype."""
    return zeros_like(x, dtype=dtype, device=device)


def full_like(x: mx.array, /, fill_value: Scalar, *, dtype: mx.Dtype | None = None, device: Device = None) -> mx.array:
    """One value in x's shape and dtype."""
    return full(x.shape, fill_value, dtype=x.dtype if dtype is None else dtype, device=device)


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: mx.Dtype | None = None,
    device: Device = None,
) -> mx.array:
    """start, start + step, … below stop; integers for whole numbers. Each element is computed from its number:
    MLX adds step after step, and its rounding errors with them."""
    if stop is None:
        start, stop = 0, start
    where = placed(device)
    found = dtype
    if found is None:
        whole = all(isinstance(each, int) for each in (start, stop, step))
        found = scalar_dtype(max(start, stop, key=abs)) if whole else dt.float32
    allowed(found, where)
    count = max(math.ceil((stop - start) / step), 0)
    if found in dt.INTEGERS:
        numbers = mx.arange(count, dtype=mx.int64, stream=where)
        with mx.stream(where or mx.default_device()):
            return (numbers * _word(step) + _word(start)).astype(found)
    numbers = mx.arange(count, dtype=mx.int32, stream=where).astype(found, stream=where)
    with mx.stream(where or mx.default_device()):
        return numbers * mx.array(step, found) + mx.array(start, found)


def _word(value: float) -> mx.array:
    """A whole number modulo 2**64, so that uint64 can be counted in int64."""
    return mx.array((int(value) + 2**63) % 2**64 - 2**63, mx.int64)


def linspace(
    start: complex,
    stop: complex,
    /,
    num: int,
    *,
    dtype: mx.Dtype | None = None,
    device: Device = None,
    endpoint: bool = True,
) -> mx.array:
    """num values in equal steps, the last of them stop unless endpoint is False."""
    where = placed(device)
    if dtype is None:
        dtype = dt.complex64 if isinstance(start, complex) or isinstance(stop, complex) else dt.float32
    allowed(dtype, where)
    work = dtype if dtype in (*dt.FLOATS, dt.complex64) else dt.float32
    steps = max(num - 1 if endpoint else num, 1)
    with mx.stream(where or mx.default_device()):
        real = dt.float32 if work == dt.complex64 else work
        part = mx.arange(num, dtype=mx.int32).astype(real) / mx.array(float(steps), real)
        first, last = mx.array(start, work), mx.array(stop, work)
        return (first * (1 - part) + last * part).astype(dtype)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: mx.Dtype | None = None,
    device: Device = None,
) -> mx.array:
    """Ones on the k-th diagonal of a matrix [n_rows, n_cols], zeros elsewhere."""
    where = placed(device)
    found = dt.float32 if dtype is None else dtype
    allowed(found, where)
    columns = n_rows if n_cols is None else n_cols
    k = max(-n_rows, min(k, columns))
    rows = mx.arange(n_rows, dtype=mx.int32, stream=where)[:, None]
    return mx.equal(rows + k, mx.arange(columns, dtype=mx.int32, stream=where), stream=where).astype(found)


def meshgrid(*arrays: mx.array, indexing: str = "xy") -> list[mx.array]:
    """Coordinate arrays of a grid. indexing: "xy", with the first two axes swapped, or "ij"."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f'indexing is "xy" or "ij", not {indexing!r}')
    flat = [each.reshape(-1) for each in arrays]
    order = list(range(len(flat)))
    if indexing == "xy" and len(flat) > 1:
        order[0], order[1] = 1, 0
    shape = [0] * len(flat)
    for axis, each in zip(order, flat, strict=True):
        shape[axis] = each.size
    made = []
    for axis, each in zip(order, flat, strict=True):
        sides = [1] * len(flat)
        sides[axis] = each.size
        made.append(mx.broadcast_to(each.reshape(sides), shape))
    return made


def tril(x: mx.array, /, *, k: int = 0) -> mx.array:
    """x with zeros above its k-th diagonal."""
    return mx.tril(x, k)


def triu(x: mx.array, /, *, k: int = 0) -> mx.array:
    """x with zeros below its k-th diagonal."""
    return mx.triu(x, k)
