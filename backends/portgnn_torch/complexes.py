"""Functions of complex numbers at the standard's special values, where torch has others.

Each row says for which real parts a and imaginary parts b, and what the two parts of the result are. The rows are those
of the array API standard 2024.12, which are C's (C17, annex G.6), with the symmetries that it names.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

Tensor = torch.Tensor
Part = Callable[[Tensor, Tensor], Tensor]
Row = tuple[Part, Part, Part]


def _always(value: float) -> Part:
    return lambda a, b: torch.full_like(a, value)


def _boundless(a: Tensor, b: Tensor) -> Tensor:
    return torch.isinf(a) & ~torch.isfinite(b)


ROWS: dict[str, tuple[Row, ...]] = {
    "acos": ((lambda a, b: (a == 0) & (b == 0), _always(torch.pi / 2), lambda a, b: -b),),
    "expm1": (
        (lambda a, b: b == 0, lambda a, b: torch.expm1(a) + 0.0, lambda a, b: b),
        (_boundless, lambda a, b: a.clamp(min=-1.0), lambda a, b: torch.where(a > 0, torch.nan, 0.0).to(a.dtype)),
    ),
    "log1p": (
        (
            lambda a, b: (torch.isinf(a) & torch.isnan(b)) | (torch.isnan(a) & torch.isinf(b)),
            _always(torch.inf),
            _always(torch.nan),
        ),
    ),
    "tanh": (
        (
            lambda a, b: torch.isinf(a) & torch.isfinite(b),
            lambda a, b: torch.sign(a),
            lambda a, b: torch.copysign(torch.zeros_like(a), b),
        ),
    ),
}


def mended(name: str) -> Callable[[Tensor], Tensor]:
    """torch's function with the rows of its name. Of real numbers it is torch's."""
    plain, rows = getattr(torch, name), ROWS[name]

    def call(x: Tensor, /) -> Tensor:
        value: Tensor = plain(x)
        if not x.is_complex():
            return value
        a, b, real, imag = x.real, x.imag, value.real, value.imag
        for holds, of_real, of_imag in rows:
            here = holds(a, b)
            real, imag = torch.where(here, of_real(a, b), real), torch.where(here, of_imag(a, b), imag)
        return torch.complex(real, imag)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"The standard's {name}, with its special values of complex numbers."
    return call
