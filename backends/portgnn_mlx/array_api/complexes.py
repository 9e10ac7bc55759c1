"""Parts of complex numbers, and the elementwise functions that MLX has not, or not rightly, for complex64."""

from __future__ import annotations

from typing import Any, cast

import mlx.core as mx

from portgnn_mlx.array_api.dtypes import is_complex


@mx.custom_function
def _joined(real: mx.array, imag: mx.array) -> mx.array:
    return mx.view(mx.stack([real, imag], axis=-1), mx.complex64).squeeze(-1)


@_joined.vjp
def _parts(primals: Any, cotangent: mx.array, output: mx.array) -> tuple[mx.array, mx.array]:
    return mx.real(cotangent), mx.imag(cotangent)


def joined(real: mx.array, imag: mx.array) -> mx.array:
    """real + imag·i for float32 arrays. A sum would make NaN of an infinite part."""
    return cast(mx.array, _joined(*mx.broadcast_arrays(real, imag)))


def real(x: mx.array, /) -> mx.array:
    """The real part; x itself where it is real."""
    return mx.real(x) if is_complex(x) else x


def imag(x: mx.array, /) -> mx.array:
    """The imaginary part; zeros for a real x."""
    return mx.imag(x) if is_complex(x) else mx.zeros_like(x)


def conj(x: mx.array, /) -> mx.array:
    """The complex conjugate; x itself where it is real."""
    return mx.conj(x) if is_complex(x) else x


def expm1(x: mx.array) -> mx.array:
    """e^(a + bi) - 1 = expm1(a) cos b - 2 sin²(b/2) + e^a sin b i, without cancellation near 0."""
    a, b = mx.real(x), mx.imag(x)
    half = mx.sin(b * 0.5)
    real, imag = mx.expm1(a) * mx.cos(b) - 2.0 * half * half, mx.exp(a) * mx.sin(b)
    # A real number stays one; a -0 becomes +0, as the standard has it for complex numbers alone.
    real, imag = mx.where(b == 0, mx.expm1(a) + 0.0, real), mx.where(b == 0, b, imag)
    nowhere = mx.isinf(a) & ~mx.isfinite(b)  # e^±∞ times a direction that is not known
    real = mx.where(nowhere, mx.expm1(a), real)
    return joined(real, mx.where(nowhere & (a < 0), mx.zeros_like(b), imag))


def sign(x: mx.array) -> mx.array:
    """x / |x|, and 0 at 0."""
    size = mx.abs(x)
    return mx.where(size == 0, mx.zeros_like(x), x / mx.where(size == 0, 1.0, size))
