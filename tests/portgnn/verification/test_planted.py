"""Planted bugs are rejected by `verify` and by the kit; a backend that only adds in another order passes.

All of them take a quarter of an hour: `python tools/planted.py --json bench/results/planted.json` runs them, and
here the record is held against the list, and a few are planted anew. PORTGNN_PLANTED=SEED draws others.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from planted import PLANTED, OtherOrder, Planted

from portgnn.testing._properties import hold, require
from portgnn.verification import CHECKS, verify
from portgnn.verification.cases import Recipe
from portgnn.verification.draw import Draw

RECORD = Path(__file__).parents[3] / "bench" / "results" / "planted.json"
DRAWN = random.Random(int(os.environ.get("PORTGNN_PLANTED", "0"))).sample(PLANTED, 6)


def kit(backend: Any, epochs: int = 5) -> None:
    """The kit's tests in order, with few draws; raises at the first that fails."""
    draw = Draw(0, backend.dtype)
    for check in CHECKS:
        if backend.dtype not in check.dtypes:
            continue
        if check.full is None:
            hold(backend, check, 3, draw, shrink=False)
        for case in check.all_of(draw):
            require(backend, check, replace(case, epochs=epochs) if isinstance(case, Recipe) else case)


def named(planted: Planted) -> str:
    return planted.name.replace(" ", "-")


def test_every_bug_that_is_planted_was_caught() -> None:
    record = json.loads(RECORD.read_text())
    assert {row["fault"] for row in record["faults"]} == {planted.name for planted in PLANTED}
    assert [row["fault"] for row in record["faults"] if not row["caught_by"]] == []
    assert record["harmless"] == {"float64": True, "float32": True}
    assert len(PLANTED) >= 98  # 68 of the first list, and 30 of other kinds


@pytest.mark.parametrize("planted", DRAWN, ids=named)
def test_verify_rejects_it(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.patch(monkeypatch)
    report = verify(planted.backend(planted.dtype), stop_at_first=True)
    assert not report.passed


@pytest.mark.parametrize("planted", DRAWN[:2], ids=named)
def test_the_kit_rejects_it(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.patch(monkeypatch)
    # Whatever a broken backend raises fails a test of the kit.
    with pytest.raises(Exception):  # noqa: B017, PT011
        kit(planted.backend(planted.dtype))


def test_another_order_of_summation_passes() -> None:
    report = verify(OtherOrder("cpu", "float64"))
    assert report.passed, report
