"""Every planted bug is rejected by `verify` and by the kit; a backend that only adds in another order passes both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from planted import PLANTED, OtherOrder, Planted

from portgnn.testing.properties import hold, require
from portgnn.verification import CHECKS, verify
from portgnn.verification.cases import Recipe

rows = pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name.replace(" ", "-"))


def kit(backend: Any, epochs: int = 5) -> None:
    """The kit's tests in order, with few draws; raises at the first that fails."""
    for check in CHECKS:
        if backend.dtype not in check.dtypes:
            continue
        if check.full is None:
            hold(backend, check, 3, shrink=False)
        for case in check.full or ():
            require(backend, check, replace(case, epochs=epochs) if isinstance(case, Recipe) else case)


def test_there_are_at_least_25_bugs_of_different_names() -> None:
    assert len({planted.name for planted in PLANTED}) == len(PLANTED) >= 25


@rows
def test_verify_rejects_it_and_names_the_operation(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.patch(monkeypatch)
    report = verify(planted.backend(planted.dtype), stop_at_first=True)
    assert not report.passed
    assert report.first_failure in planted.first.split("|"), report.checks[-1]
    assert planted.hint in report.checks[-1].hint


@rows
def test_the_kit_rejects_it(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.patch(monkeypatch)
    # Whatever a broken backend raises fails a test of the kit.
    with pytest.raises(Exception):  # noqa: B017, PT011
        kit(planted.backend(planted.dtype))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_another_order_of_summation_passes(dtype: str) -> None:
    backend = OtherOrder("cpu", dtype)
    report = verify(backend)
    assert report.passed, report
    kit(backend)
