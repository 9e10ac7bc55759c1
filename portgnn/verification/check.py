"""A check: a name, a function and what it computes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeAlias

from portgnn.protocol import Backend
from portgnn.verification.cases import Case, Recipe
from portgnn.verification.measure import Measured

Function: TypeAlias = Callable[[Backend, Any], Measured]

SHAPES = (
    Case(7, 5, 3, seed=1),
    Case(30, 30, 8, density=0.1, seed=2),
    Case(1, 1, 1, density=1.0, seed=3),
    Case(300, 120, 16, density=0.05, seed=5),
)
"""What `verify` computes the verbs on: rectangular, square, one of everything, one column, and a larger one."""


@dataclass(frozen=True)
class Check:
    """`function(backend, case)` measures an error, or raises Departure.

    cases: what `verify` runs. full: what the conformance kit runs; None where it draws cases of the same type.
    dtypes: where the check means something.
    """

    name: str
    function: Function
    cases: tuple[Any, ...]
    full: tuple[Any, ...] | None
    dtypes: tuple[str, ...]

    def __call__(self, backend: Backend, case: Any) -> Measured:
        return self.function(backend, case)


def check(
    name: str,
    cases: tuple[Case | Recipe | int, ...] = SHAPES,
    full: tuple[Case | Recipe | int, ...] | None = None,
    dtypes: tuple[str, ...] = ("float64", "float32", "bfloat16"),
) -> Callable[[Function], Check]:
    """Makes a Check of a function."""
    return lambda function: Check(name, function, cases, full, dtypes)


def checks_of(module: ModuleType) -> tuple[Check, ...]:
    """A module's checks, in the order in which they are written."""
    return tuple(value for value in vars(module).values() if isinstance(value, Check))
