"""Fourier transforms, in single precision: MLX has no complex128, and float64 is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx

from portgnn_mlx.array_api import dtypes as dt
from portgnn_mlx.array_api.devices import Device, placed
from portgnn_mlx.array_api.manipulation import Axes, axis_numbers, roll

__all__ = [
    "fft",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]

_NORMS = ("backward", "ortho", "forward")


def _single(x: mx.array) -> mx.array:
    if x.dtype == dt.float64:
        raise TypeError("MLX transforms in single precision alone; cast to float32 if that will do")
    return x


def _norm(norm: str) -> str:
    if norm not in _NORMS:
        raise ValueError(f"norm is one of {', '.join(_NORMS)}, not {norm!r}")
    return norm


def _one(name: str, native: Callable[..., mx.array], says: str) -> Callable[..., mx.array]:
    def transform(x: mx.array, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> mx.array:
        return native(_single(x), n=n, axis=axis, norm=_norm(norm))

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = says
    return transform


def _many(name: str, native: Callable[..., mx.array], says: str) -> Callable[..., mx.array]:
    def transform(
        x: mx.array,
        /,
        *,
        s: Sequence[int] | None = None,
        axes: Sequence[int] | None = None,
        norm: str = "backward",
    ) -> mx.array:
        if axes is None and s is not None:
            axes = range(x.ndim - len(s), x.ndim)
        numbers = axis_numbers(None if axes is None else tuple(axes), x.ndim)
        return native(_single(x), s=s if s is None else tuple(s), axes=list(numbers), norm=_norm(norm))

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = says
    return transform


fft = _one("fft", mx.fft.fft, "The discrete Fourier transform along an axis, of n elements.")
ifft = _one("ifft", mx.fft.ifft, "The inverse of `fft`.")
rfft = _one("rfft", mx.fft.rfft, "The first half of `fft` of real numbers, which says all.")
irfft = _one("irfft", mx.fft.irfft, "The inverse of `rfft`; n: elements of the result.")
fftn = _many("fftn", mx.fft.fftn, "`fft` along several axes, all by default.")
ifftn = _many("ifftn", mx.fft.ifftn, "The inverse of `fftn`.")
rfftn = _many("rfftn", mx.fft.rfftn, "`fftn` of real numbers, half of the last axis.")
irfftn = _many("irfftn", mx.fft.irfftn, "The inverse of `rfftn`.")

_TURNED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def hfft(x: mx.array, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> mx.array:
    """The real transform of a signal of which the Hermitian half is given."""
    return irfft(mx.conj(x), n=n, axis=axis, norm=_TURNED[_norm(norm)])


def ihfft(x: mx.array, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> mx.array:
    """The inverse of `hfft`."""
    return mx.conj(rfft(x, n=n, axis=axis, norm=_TURNED[_norm(norm)]))


def _frequencies(numbers: Any, n: int, d: float, dtype: mx.Dtype | None, device: Device) -> mx.array:
    where = placed(device)
    found = dt.float32 if dtype is None else dtype
    dt.allowed(found, where)
    with mx.stream(where or mx.default_device()):
        return mx.array([number / (n * d) for number in numbers], dtype=found)


def fftfreq(n: int, /, *, d: float = 1.0, dtype: mx.Dtype | None = None, device: Device = None) -> mx.array:
    """The frequencies of the elements of an `fft` of n samples, d apart."""
    half = (n - 1) // 2 + 1
    return _frequencies([*range(half), *range(-(n // 2), 0)], n, d, dtype, device)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: mx.Dtype | None = None, device: Device = None) -> mx.array:
    """The frequencies of the elements of an `rfft` of n samples, d apart."""
    return _frequencies(range(n // 2 + 1), n, d, dtype, device)


def fftshift(x: mx.array, /, *, axes: Axes | None = None) -> mx.array:
    """Frequency 0 moved to the middle of the axes, all by default."""
    numbers = axis_numbers(axes, x.ndim)
    return roll(x, [x.shape[each] // 2 for each in numbers], axis=numbers)


def ifftshift(x: mx.array, /, *, axes: Axes | None = None) -> mx.array:
    """The inverse of `fftshift`."""
    numbers = axis_numbers(axes, x.ndim)
    return roll(x, [-(x.shape[each] // 2) for each in numbers], axis=numbers)
