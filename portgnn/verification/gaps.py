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


GAPS: tuple[Gap, ...] = ()


def gap(backend: Backend, check: str) -> Gap | None:
    """The row that expects a check to fail on this backend, if there is one.

    A backend may bring rows of its own as `gaps`, pattern of check names -> reason; those of the gradients of `xp` are
    "gradient." and the case's name.
    """
    own = (Gap(backend.name, "*", "*", pattern, reason) for pattern, reason in getattr(backend, "gaps", {}).items())
    for row in (*GAPS, *own):
        if (
            row.backend == backend.name
            and row.device in ("*", device_kind(backend.device))
            and row.dtype in ("*", backend.dtype)
            and fnmatchcase(check, row.check)
        ):
            return row
    return None
