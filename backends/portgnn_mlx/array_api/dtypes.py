"""Dtypes, which are MLX's own, and the rules by which they mix."""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import mlx.core as mx
import numpy as np

from portgnn.parts import FloatInfo, IntegerInfo
from portgnn_mlx.array_api.devices import Device, on_gpu, placed

Scalar: TypeAlias = bool | int | float | complex
Operand: TypeAlias = mx.array | Scalar

boolean = mx.bool_
int8, int16, int32, int64 = mx.int8, mx.int16, mx.int32, mx.int64
uint8, uint16, uint32, uint64 = mx.uint8, mx.uint16, mx.uint32, mx.uint64
float16, bfloat16, float32, float64 = mx.float16, mx.bfloat16, mx.float32, mx.float64
complex64 = mx.complex64

SIGNED = (int8, int16, int32, int64)
UNSIGNED = (uint8, uint16, uint32, uint64)
INTEGERS = SIGNED + UNSIGNED
REAL_FLOATS = (float32, float64)
FLOATS = (float16, bfloat16, *REAL_FLOATS)
FLOATING = frozenset({*FLOATS, complex64})
KINDS: dict[str, tuple[mx.Dtype, ...]] = {
    "bool": (boolean,),
    "signed integer": SIGNED,
    "unsigned integer": UNSIGNED,
    "integral": INTEGERS,
    "real floating": FLOATS,
    "complex floating": (complex64,),
    "numeric": (*INTEGERS, *FLOATS, complex64),
}
NAMES: dict[str, mx.Dtype] = {
    "bool": boolean,
    **{str(each).rpartition(".")[2]: each for each in (*INTEGERS, *REAL_FLOATS, complex64)},
}
"""The standard's names. float16 and bfloat16 are MLX's beside it."""


def is_complex(x: mx.array) -> bool:
    return bool(x.dtype == complex64)


def is_floating(x: mx.array) -> bool:
    """Real or complex."""
    return x.dtype in FLOATING


def allowed(dtype: mx.Dtype | None, device: mx.Device | None = None) -> None:
    """Raises ValueError for float64 where it cannot be computed with."""
    if dtype == float64 and on_gpu(device):
        raise ValueError(
            "float64 is on MLX's CPU device alone: its GPU kernels have no double precision. "
            "Give device=mx.cpu and work under mx.stream(mx.cpu), or take float32"
        )


def host_name(dtype: mx.Dtype) -> str:
    """NumPy's name of a dtype that NumPy has."""
    return str(dtype).rpartition(".")[2]


def scalar_dtype(value: Scalar) -> mx.Dtype:
    """The default dtype of a Python number's kind; int64 or uint64 for what int32 cannot hold."""
    if isinstance(value, bool | np.bool_):
        return boolean
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return int32
        return int64 if value < 2**63 else uint64
    return float32 if isinstance(value, float) else complex64


def scalar(value: Scalar, like: mx.Dtype) -> mx.array:
    """A Python number as an array that does not widen the dtype of its partner, except to its own kind."""
    own = scalar_dtype(value)
    ranks = (boolean, *INTEGERS, *FLOATS, complex64)
    kind = [1 if each in INTEGERS else 2 if each in FLOATS else 3 if each == complex64 else 0 for each in (own, like)]
    if kind[0] > kind[1]:
        if kind[0] == 3 and like == float64:
            _no_complex128()
        return mx.array(value, own)
    assert like in ranks
    if isinstance(value, int) and value >= 2**63:
        return mx.array(np.asarray(value, np.uint64), like)
    return mx.array(value, like)


def pair(x1: Operand, x2: Operand) -> tuple[mx.array, mx.array]:
    """Both operands of a function as arrays of one dtype by the standard's table, one of them a Python number or not.

    Raises TypeError for dtypes that no dtype of MLX can hold together.
    """
    if not isinstance(x1, mx.array):
        if not isinstance(x2, mx.array):
            raise TypeError("one of the operands must be an array")
        x1 = scalar(x1, x2.dtype)
    elif not isinstance(x2, mx.array):
        x2 = scalar(x2, x1.dtype)
    if x1.dtype != x2.dtype:
        common = promoted(x1.dtype, x2.dtype)
        return x1.astype(common), x2.astype(common)
    return x1, x2


def _no_complex128() -> None:
    raise TypeError("float64 with complex64 needs complex128, which MLX has not; cast one with astype")


@cache
def promoted(left: mx.Dtype, right: mx.Dtype) -> mx.Dtype:
    """The dtype of the standard's promotion table; for integers with floats, the float's, as MLX has it."""
    both = {left, right}
    if both == {float64, complex64}:
        _no_complex128()
    if uint64 in both and both & set(SIGNED):
        raise TypeError(f"no integer dtype holds both {host_name(left)} and {host_name(right)}; cast one with astype")
    return mx.result_type(left, right)


def result_type(*arrays_and_dtypes: mx.array | Scalar | mx.Dtype) -> mx.Dtype:
    """The dtype that an operation on these gives. Python numbers count by their kind."""
    strong: mx.Dtype | None = None
    weak: list[Scalar] = []
    for each in arrays_and_dtypes:
        if isinstance(each, (mx.array, mx.Dtype)):
            dtype = each.dtype if isinstance(each, mx.array) else each
            strong = dtype if strong is None else promoted(strong, dtype)
        else:
            weak.append(each)
    if strong is None:
        raise ValueError("result_type needs an array or a dtype")
    for each in weak:
        strong = promoted(strong, scalar(each, strong).dtype)
    return strong


def astype(x: mx.array, dtype: mx.Dtype, /, *, copy: bool = True, device: Device = None) -> mx.array:
    """x in another dtype. Raises TypeError for complex numbers as real ones: take `real` or `abs`."""
    where = placed(device)
    allowed(dtype, where)
    if x.dtype == dtype:
        return mx.array(x) if copy else x
    if is_complex(x) and dtype != boolean:
        raise TypeError("a complex array has no real dtype; take xp.real or xp.abs of it")
    return x.astype(dtype, stream=where)


def can_cast(from_: mx.Dtype | mx.array, to: mx.Dtype, /) -> bool:
    """Whether a cast by the promotion rules keeps each value."""
    source = from_.dtype if isinstance(from_, mx.array) else from_
    if source == to:
        return True
    names = [host_name(each) for each in (source, to)]
    if "bfloat16" in names:
        return (source, to) in {(bfloat16, wide) for wide in (float32, float64, complex64)}
    return np.can_cast(names[0], names[1])


def isdtype(dtype: mx.Dtype, kind: mx.Dtype | str | tuple[mx.Dtype | str, ...]) -> bool:
    """Whether the dtype is of a kind, by the standard's names for them, or of any of several."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, each) for each in kind)
    if isinstance(kind, str):
        if kind not in KINDS:
            raise ValueError(f"no kind of dtype is called {kind!r}; there are {', '.join(KINDS)}")
        return dtype in KINDS[kind]
    return dtype == kind


def finfo(type: mx.Dtype | mx.array, /) -> FloatInfo:
    """The limits of a floating dtype; a complex one's are of its parts."""
    dtype = type.dtype if isinstance(type, mx.array) else type
    dtype = float32 if dtype == complex64 else dtype
    if dtype not in FLOATS:
        raise TypeError(f"{dtype} is not a floating dtype")
    if dtype == bfloat16:  # float32 without its last 16 bits
        largest = 2.0**127 * (2 - 2.0**-7)
        return FloatInfo(16, 2.0**-7, largest, -largest, 2.0**-126, dtype)
    of = np.finfo(host_name(dtype))
    return FloatInfo(of.bits, float(of.eps), float(of.max), float(of.min), float(of.smallest_normal), dtype)


def iinfo(type: mx.Dtype | mx.array, /) -> IntegerInfo:
    """The limits of an integer dtype."""
    dtype = type.dtype if isinstance(type, mx.array) else type
    if dtype not in INTEGERS:
        raise TypeError(f"{dtype} is not an integer dtype")
    of = np.iinfo(host_name(dtype))
    return IntegerInfo(of.bits, int(of.max), int(of.min), dtype)
