"""`portgnn verify`: what a backend computes on this machine, held against an independent float64 statement of it.

Inputs are drawn from a seed, another one in each run unless it is given; edge sizes are always among them. The
conformance kit, `portgnn.testing`, draws more of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from portgnn.models import Network
from portgnn.protocol import Backend
from portgnn.verification import (
    _batches,
    _edges,
    _gradients,
    _leaks,
    _library,
    _links,
    _loop,
    _namespace,
    _network,
    _optimizer,
    _optimizers,
    _randomness,
    _reductions,
    _sets,
    _tasks,
    _verbs,
    _waiting,
    _whole,
)
from portgnn.verification._models import checks as network_checks
from portgnn.verification.check import Check, checks_of
from portgnn.verification.draw import Draw, fresh_seed
from portgnn.verification.gaps import gap
from portgnn.verification.measure import Departure, Measured
from portgnn.verification.resolve import resolve
from portgnn.verification.tolerances import tolerance

__all__ = ["CHECKS", "CheckResult", "VerifyReport", "network_checks", "run_check", "verify"]

CHECKS: tuple[Check, ...] = (
    *(
        one
        for module in (
            _verbs,
            _reductions,
            _namespace,
            _gradients,
            _randomness,
            _edges,
            _optimizer,
            _library,
            _network,
            _optimizers,
            _links,
            _tasks,
            _loop,
            _whole,
            _batches,
            _sets,
        )
        for one in checks_of(module)
    ),
    *(one for module in (_leaks, _waiting) for one in checks_of(module)),
    *_network.TRAJECTORIES,
)
"""All checks, in the order in which one builds on another: the first that fails is nearest to the cause."""


@dataclass(frozen=True)
class CheckResult:
    """One check. max_error: None where there is no number: wrong in kind, or the backend raised."""

    name: str
    max_error: float | None
    tolerance: float
    passed: bool
    hint: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class VerifyReport:
    """What `verify` found."""

    backend: str
    device: str
    dtype: str
    checks: tuple[CheckResult, ...]
    draw: int = 0
    """The seed from which the inputs were drawn."""

    def __repr__(self) -> str:
        """One line; `to_dict` and notebooks have every check."""
        failed = [check.name for check in self.checks if not check.passed]
        said = f"{len(failed)} fail, first {failed[0]}" if failed else "all pass"
        return f"VerifyReport: {self.backend} on {self.device} in {self.dtype}: {len(self.checks)} checks, {said}"

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def first_failure(self) -> str | None:
        """The name of the first operation that departs."""
        return next((check.name for check in self.checks if not check.passed), None)

    def to_dict(self) -> dict[str, Any]:
        """The report as one JSON document."""
        return {
            "backend": self.backend,
            "device": self.device,
            "dtype": self.dtype,
            "draw": self.draw,
            "passed": self.passed,
            "first_failure": self.first_failure,
            "checks": [
                {
                    "name": check.name,
                    "max_error": check.max_error,
                    "tolerance": check.tolerance,
                    "passed": check.passed,
                    "hint": check.hint,
                }
                for check in self.checks
            ],
        }

    def _repr_html_(self) -> str:
        """The report as a notebook shows it: the verdict, the failures, and every check on demand."""
        from portgnn.report.cells import verification_cell

        return verification_cell(self.to_dict())


def verify(
    backend: str | Backend = "numpy",
    *,
    device: str | None = None,
    dtype: str = "float32",
    only: Callable[[str], bool] | None = None,
    stop_at_first: bool = False,
    draw: int | None = None,
    model: str | type[Network] | list[str | type[Network]] | None = None,
    on_check: Callable[[CheckResult], None] | None = None,
) -> VerifyReport:
    """Runs every check on drawn inputs, in seconds.

    backend: a registered name, "package.module:Class" of one that is not registered, or a Backend.
    only: whether to run the check of a name. stop_at_first: leave out what follows the first failure.
    draw: the seed that sizes, rates, hyperparameters and values are drawn from; None takes a fresh one, which the
    report holds, so that a run can be repeated.
    model: a network, several, or "all": checks of these in place of those of single operations. A name, a class, or
    "package.module:Class".
    on_check: called with each result as it comes.

    Raises BackendError for a backend, device or dtype that cannot be had. What the backend itself raises in a
    check is that check's failure.
    """
    made = resolve(backend, device, dtype)
    drawn = Draw(fresh_seed() if draw is None else draw, made.dtype)
    results: list[CheckResult] = []
    for check in CHECKS if model is None else network_checks(model):
        cases = check.of(drawn) if only is None or only(check.name) else ()
        if not cases:
            continue
        results.append(run_check(made, check, cases))
        if on_check:
            on_check(results[-1])
        if stop_at_first and not results[-1].passed:
            break
    return VerifyReport(made.name, made.device, made.dtype, tuple(results), drawn.seed)


def _quietly() -> np.errstate:
    """Special values are meant, whatever a caller's `np.seterr` makes of them."""
    return np.errstate(all="ignore")


def run_check(backend: Backend, check: Check, cases: tuple[object, ...]) -> CheckResult:
    """One check on some cases: the largest error of them; ends at the first case that fails."""
    allowed = tolerance(check.name, backend.dtype, backend.device).value
    clock = time.perf_counter()
    largest, hint, note, number = 0.0, "", "", True
    for case in cases:
        try:
            with _quietly():
                measured = check(backend, case)
            largest = max(largest, measured.error)
            note = measured.note or note
            if not measured.error <= allowed:
                hint = _explained(measured)
                break
        except Departure as departure:
            hint, number = str(departure), False
            break
        # An adapter may fail in any way; that is a finding, not a crash.
        except Exception as error:
            hint, number = f"{type(error).__name__}: {error}", False
            break
    passed = number and largest <= allowed
    expected = None if passed else gap(backend, check.name)
    if expected is not None:
        hint = f"known: {expected.reason}"
    hint = note if passed else hint
    finite = number and math.isfinite(largest)
    return CheckResult(
        check.name, largest if finite else None, allowed, passed, hint, time.perf_counter() - clock
    )  # fmt: skip


def _explained(measured: Measured) -> str:
    try:
        return measured.explain()
    except Exception as error:  # a broken backend may break the search for the cause as well
        return f"{type(error).__name__}: {error}"
