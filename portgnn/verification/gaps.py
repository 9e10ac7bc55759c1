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


@dataclass(frozen=True)
class NameGap:
    """Functions of `Backend.xp` that depart from the standard. Strict as well: one that is right fails the check."""

    backend: str
    dtype: str
    """A dtype or "*"."""
    check: str
    names: tuple[str, ...]
    reason: str


GAPS: tuple[Gap, ...] = ()
_METHODS = "tinygrad's methods are not the standard's functions"
NAMES: tuple[NameGap, ...] = (
    NameGap(
        "tinygrad",
        "*",
        "xp.elementwise",
        ("abs", "acos", "asin", "asinh", "atan", "atanh", "clip", "copysign", "cos", "logaddexp", "maximum", "minimum",
         "pow", "round", "sign", "sin", "sinh", "tanh"),
        f"{_METHODS}: zeros lose their signs, NaN and infinities their rules, acos, sin and cos digits",
    ),
    NameGap(
        "tinygrad",
        "*",
        "xp.statistics",
        ("sum", "prod", "max", "min", "mean", "var", "std"),
        f"{_METHODS}: what the standard calls keepdims is keepdim there",
    ),
    NameGap(
        "tinygrad",
        "*",
        "xp.reductions.axes",
        ("sum", "add"),
        "tinygrad adds along an axis one number after the other, and so do the gradients of what broadcasts",
    ),
)  # fmt: skip


def name_gap(backend: Backend, check: str) -> NameGap | None:
    """The row of names that one of the checks of the namespace passes over on this backend, if there is one."""
    return next(
        (
            row
            for row in NAMES
            if (row.backend, row.check) == (backend.name, check) and row.dtype in ("*", backend.dtype)
        ),
        None,
    )


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
