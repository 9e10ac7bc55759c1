"""Expected failures of the conformance kit, as data. A gap that closes fails the run until its row goes."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from portgnn.protocol import Backend
from portgnn.verification.tolerances import device_kind


@dataclass(frozen=True)
class Gap:
    backend: str
    device: str
    """Kind of device: "cpu", "gpu" or "*"."""
    dtype: str
    """A dtype or "*"."""
    check: str
    """A pattern of check names."""
    reason: str


_OPERATORS = "an operator is the framework's own and takes no rule of ours; "

GAPS: tuple[Gap, ...] = (
    Gap("jax", "*", "*", "gradient.operator abs, 0", _OPERATORS + "JAX gives 1 at 0: use xp.abs"),
    Gap("jax", "*", "*", "gradient.operator [*][*], base 0", _OPERATORS + "JAX gives NaN for x**0 at 0: use xp.pow"),
    Gap(
        "jax", "*", "*", "gradient.operator /, large",
        _OPERATORS + "JAX multiplies with the inverse square, 0 where that underflows: use xp.divide",
    ),
    Gap("torch", "*", "*", "gradient.indexing, slices backwards", "torch has no slices of negative step: use xp.flip"),
)  # fmt: skip
"""Also of the gradients of `xp`, as "gradient." and the case's name."""


def gap(backend: Backend, check: str) -> Gap | None:
    """The row that expects a check to fail on this backend, if there is one."""
    for row in GAPS:
        if (
            row.backend == backend.name
            and row.device in ("*", device_kind(backend.device))
            and row.dtype in ("*", backend.dtype)
            and fnmatchcase(check, row.check)
        ):
            return row
    return None
