"""A check: a name, a function and what it computes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

from portgnn.protocol import Backend
from portgnn.verification.draw import Cases, Draw, shapes
from portgnn.verification.measure import Measured

Function: TypeAlias = Callable[[Backend, Any], Measured]


@dataclass(frozen=True)
class Check:
    """`function(backend, case)` measures an error, or raises Departure.

    cases: what `verify` runs, or what makes it of a draw. full: what the conformance kit runs; None where it draws
    cases of the same type.
    dtypes: where the check means something.
    """

    name: str
    function: Function
    cases: Cases
    full: Cases | None
    dtypes: tuple[str, ...]

    def of(self, draw: Draw) -> tuple[Any, ...]:
        """The cases of a draw; none where the check means nothing in its dtype."""
        if draw.dtype not in self.dtypes:
            return ()
        return self.cases(draw) if callable(self.cases) else self.cases

    def all_of(self, draw: Draw) -> tuple[Any, ...]:
        """What the conformance kit runs of a draw, where it draws no cases itself."""
        if self.full is None or draw.dtype not in self.dtypes:
            return ()
        return self.full(draw) if callable(self.full) else self.full

    def __call__(self, backend: Backend, case: object) -> Measured:
        return self.function(backend, case)


def check(
    name: str,
    cases: Cases = shapes,
    full: Cases | None = None,
    dtypes: tuple[str, ...] = ("float64", "float32", "bfloat16"),
) -> Callable[[Function], Check]:
    """Makes a Check of a function."""
    return lambda function: Check(name, function, cases, full, dtypes)


def checks_of(module: ModuleType) -> tuple[Check, ...]:
    """A module's checks, in the order in which they are written."""
    return tuple(value for value in vars(module).values() if isinstance(value, Check))
