"""Functions of the array API standard 2024.12 where array-api-compat's over torch do otherwise than it says."""

from __future__ import annotations

from functools import reduce
from typing import Any, Literal, NamedTuple

import array_api_compat.torch as compat
import torch

from portgnn.parts import FloatInfo, IntegerInfo
from portgnn_torch.devices import accelerators
from portgnn_torch.gradients import with_slope

Tensor = torch.Tensor
Axis = int | tuple[int, ...] | None


def finfo(type: torch.dtype | Tensor, /) -> FloatInfo:
    """The limits of a floating dtype, or of an array's; a complex one's are of its parts."""
    dtype = type.dtype if isinstance(type, Tensor) else type
    of = torch.finfo(dtype)
    real = dtype.to_real() if dtype.is_complex else dtype
    return FloatInfo(of.bits, of.eps, of.max, of.min, of.smallest_normal, real)


def iinfo(type: torch.dtype | Tensor, /) -> IntegerInfo:
    """The limits of an integer dtype, or of an array's."""
    dtype = type.dtype if isinstance(type, Tensor) else type
    of = torch.iinfo(dtype)
    return IntegerInfo(of.bits, of.max, of.min, dtype)


class Info:
    """array-api-compat's inspection, whose devices are a list of those that compute."""

    def __init__(self) -> None:
        self._own = compat.__dict__["__array_namespace_info__"]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def devices(self) -> list[torch.device]:
        return [torch.device("cpu"), *accelerators()]


def __array_namespace_info__() -> Info:
    """The inspection interface (array API standard 2024.12, "inspection")."""
    return Info()


def _floor_divide(x1: Any, x2: Any) -> Tensor:
    whole: Tensor = compat.floor_divide(x1, x2)
    if not whole.is_floating_point():
        return whole
    # The standard's special values are those of floor(x1 / x2), whose last digit is not: 1 / 0.1 rounds to 10.
    ratio = compat.divide(x1, x2)
    special = ~torch.isfinite(whole) | (whole == 0) | ~torch.isfinite(torch.as_tensor(x2, device=whole.device))
    return torch.where(special, torch.floor(ratio), whole)


def floor_divide(x1: Any, x2: Any, /) -> Tensor:
    """The standard's floor_divide: a step, whose gradient is 0."""
    return _floor_divide(*(x.detach() if isinstance(x, Tensor) else x for x in (x1, x2)))


def _remainder(x1: Any, x2: Any) -> Tensor:
    rest: Tensor = compat.remainder(x1, x2)
    if not rest.is_floating_point():
        return rest
    sign = torch.as_tensor(x2, dtype=rest.dtype, device=rest.device)
    return torch.where(rest == 0, torch.copysign(torch.zeros_like(rest), sign), rest)


remainder = with_slope("remainder", _remainder, lambda g, a, b: (g, -g * torch.floor(a / b)), _remainder)


def std(x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The standard's std, of any correction; of equal values the gradient is 0."""
    if float(correction).is_integer():
        made: Tensor = compat.std(x, axis=axis, correction=correction, keepdims=keepdims)
        return made
    spread: Tensor = compat.var(x, axis=axis, correction=correction, keepdims=keepdims)
    none = spread == 0
    return torch.where(none, torch.zeros_like(spread), torch.sqrt(torch.where(none, torch.ones_like(spread), spread)))


def broadcast_arrays(*arrays: Tensor) -> list[Tensor]:
    """The standard's broadcast_arrays, as a list."""
    return list(compat.broadcast_arrays(*arrays))


def meshgrid(*arrays: Tensor, indexing: Literal["xy", "ij"] = "xy") -> list[Tensor]:
    """The standard's meshgrid, as a list."""
    return list(compat.meshgrid(*arrays, indexing=indexing))


class UniqueAll(NamedTuple):
    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Tensor, /) -> UniqueAll:
    """The standard's unique_all: sorted values (complex ones by real part first), where each stands first, and how
    often. Each NaN is a value of its own, as in the standard. The result's shape depends on the values.
    """
    flat = x.reshape(-1)
    if flat.is_complex():
        order = torch.argsort(flat.imag, stable=True)
        order = order[torch.argsort(flat.real[order], stable=True)]
    else:
        order = torch.argsort(flat, stable=True)
    ordered = flat[order]
    begins = torch.ones(len(flat), dtype=torch.bool, device=x.device)
    begins[1:] = ordered[1:] != ordered[:-1]
    starts = torch.nonzero(begins).reshape(-1)
    inverse = torch.empty_like(order)
    inverse[order] = torch.cumsum(begins, 0) - 1
    ends = torch.cat([starts[1:], starts.new_tensor([len(flat)])[: len(starts)]])
    return UniqueAll(ordered[starts], order[starts], inverse.reshape(x.shape), ends - starts)


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """Sorted values and how often each is there."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """Sorted values and, for each element of x, which of them it is."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Tensor, /) -> Tensor:
    """Sorted values."""
    return unique_all(x).values


_BITS = {
    (signed, bits): getattr(torch, f"{'int' if signed else 'uint'}{bits}")
    for signed in (True, False)
    for bits in (8, 16, 32, 64)
}
_LATE = frozenset((torch.uint16, torch.uint32, torch.uint64))
"""Unsigned dtypes that torch does not promote."""


def _joined(a: torch.dtype, b: torch.dtype) -> torch.dtype:
    """What holds the values of both, by the standard's table of integers; other pairs are array-api-compat's."""
    if a == b or not ({a, b} & _LATE and {a, b} <= set(_BITS.values())):
        return a if a == b else compat.result_type(a, b)
    signed = [x for x in (a, b) if x.is_signed]
    bits = max(8 * x.itemsize * (1 if x.is_signed or not signed else 2) for x in (a, b))
    if bits > 64:
        raise TypeError(f"no integer dtype holds the values of {a} and {b}")
    return _BITS[bool(signed), bits]


def result_type(*arrays_and_dtypes: Any) -> torch.dtype:
    """The standard's result_type, of unsigned integers too. Raises TypeError where no dtype holds the values of two."""
    numbers = [x for x in arrays_and_dtypes if isinstance(x, bool | int | float | complex)]
    dtypes = [getattr(x, "dtype", x) for x in arrays_and_dtypes if not isinstance(x, bool | int | float | complex)]
    if not _LATE & set(dtypes):
        plain: torch.dtype = compat.result_type(*arrays_and_dtypes)
        return plain
    joined = reduce(_joined, dtypes)
    return joined if all(isinstance(x, int) for x in numbers) else compat.result_type(joined, *numbers)
