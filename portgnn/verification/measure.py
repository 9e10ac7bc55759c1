"""How far a result is from what it should be, and why it might be.

Errors are normwise and relative, max|got - want| / scale, so that elements near zero do not dominate. The scale
is by default max|want|; a check whose terms can cancel gives the size of the terms instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from portgnn.protocol import Array, Backend

Floats: TypeAlias = NDArray[np.float64]
Suspects: TypeAlias = Mapping[str, Callable[[], Floats]]
"""A known mistake -> what a backend that makes it would have computed."""

CLOSER = 0.03
"""A suspect is named where the result lies this much closer to it than to what was wanted."""


class Departure(AssertionError):
    """A result that is wrong in kind: its shape, dtype, device, or that it is there at all."""


@dataclass(frozen=True)
class Measured:
    """The largest error of a check, and how to find its cause; `explain` is called where the error is too large.

    note: what to say where it is not.
    """

    error: float
    explain: Callable[[], str] = field(default=lambda: "")
    note: str = ""


def largest(x: Floats) -> float:
    """The largest size of a number; 0 of none."""
    return float(np.abs(x).max(initial=0.0))


def distance(got: Floats, want: Floats, scale: float | None = None) -> float:
    """max|got - want| / scale; infinite where either holds NaN or infinities that the other has not."""
    if not want.size or np.array_equal(got, want):
        return 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.where(got == want, 0.0, np.abs(got - want))
    if np.isnan(difference).any():
        return float("inf")
    size = float(np.max(np.abs(want))) if scale is None else scale
    return float(np.max(difference)) / (size or 1.0)


def compare(
    what: str,
    got: NDArray[np.generic],
    want: NDArray[np.generic],
    scale: float | None = None,
    suspects: Suspects | None = None,
) -> Measured:
    """The error of one array, both on the host. Raises Departure where the shapes differ."""
    if got.shape != want.shape:
        raise Departure(f"{what} has shape {list(got.shape)}, not {list(want.shape)}")
    result, wanted = got.astype(np.float64), want.astype(np.float64)
    error = distance(result, wanted, scale)

    def explain() -> str:
        for reason, alternative in (suspects or {}).items():
            other = alternative()
            if other.shape == result.shape and distance(result, other, scale) <= CLOSER * min(error, 1e9):
                return reason
        if not np.isfinite(result).all():
            bad = np.argwhere(~np.isfinite(result))
            return f"{what} holds NaN or infinity in {len(bad)} of {result.size} places, first at {bad[0].tolist()}"
        return ""

    return Measured(error, explain)


def worst(*measured: Measured) -> Measured:
    """The one with the largest error."""
    return max(measured, key=lambda one: one.error)


_NAMES = {"bool", "bfloat16", *(f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64))}


def dtype_name(backend: Backend, x: Array) -> str:
    """The standard's name of an array's dtype; empty where it has none. Libraries may call theirs "float" or "long"."""
    name = str(getattr(x, "dtype", "")).rpartition(".")[2]
    return name if name in _NAMES or not name else backend.to_numpy(x).dtype.name


def fetch(backend: Backend, x: Array, what: str, kind: str = "float") -> NDArray[np.generic]:
    """An array on the host. Raises Departure unless it has the backend's dtype and lies on its device.

    kind: "float" for the instance's dtype, else the name of a dtype.
    """
    expected = backend.dtype if kind == "float" else kind
    name = dtype_name(backend, x)
    if name != expected:
        raise Departure(f"{what} has dtype {name or 'none'}, not {expected}")
    # Frameworks whose arrays belong to no device (MLX) have nothing to ask here.
    home, here = (getattr(array, "device", None) for array in (backend.asarray(np.zeros(1)), x))
    if home is not None and not callable(home) and str(here) != str(home):
        raise Departure(f"{what} lies on {here}, not on {home}")
    host = backend.to_numpy(x)
    if not isinstance(host, np.ndarray):
        raise Departure(f"to_numpy of {what} gives {type(host).__name__}, not numpy.ndarray")
    wanted = "float32" if expected == "bfloat16" else expected
    if host.dtype != np.dtype(wanted):
        raise Departure(f"to_numpy of {what} has dtype {host.dtype}, not {wanted}")
    return host
