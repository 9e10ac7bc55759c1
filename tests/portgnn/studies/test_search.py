"""The search: the same draws however often it is cut, given up by validation, and never guided by the test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import portgnn
from portgnn.errors import ConfigError, MissingLibraryError
from portgnn.studies import Range
from portgnn.studies.plan import Reading, Run, Splits, planned
from portgnn.studies.search import searched

SPACE = "epochs=4; hidden=2..16; learning_rate=1e-3..1e-1 log; bias=none,after"


def _plan(values: dict[str, Any], seeds: Sequence[int]) -> Any:
    return planned(
        ["karate"], [None], [None], ["numpy"], None, ["float32"], values, seeds, Splits(), Reading(), lambda said: None
    )


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MissingLibraryError, match=r'pip install "portgnn\[search\]"'):
        portgnn.study("karate", values=SPACE, search=3)


def test_a_search_finds_the_best_of_a_known_landscape() -> None:
    """In place of trainings a parabola in dropout: no draw of weights is in it."""
    pytest.importorskip("optuna")
    asked: list[Run] = []

    def outcomes(runs: Sequence[Run]) -> list[float | None]:
        asked.extend(runs)
        return [(run.setting.values["dropout"] - 0.3) ** 2 + 1e-3 * run.seed for run in runs]

    plan = _plan({"dropout": Range(0.0, 0.9)}, range(4))
    found = searched(plan.rows[0], plan.space, 40, range(4), outcomes)
    best = min(found, key=lambda each: abs(each.values["dropout"] - 0.3))
    assert abs(best.values["dropout"] - 0.3) < 0.05
    # Given up early: not every trial has all four seeds, and those that are returned have.
    assert len(asked) < 40 * 4
    for each in found:
        assert sorted({run.seed for run in asked if run.setting.said == each.said}) == [0, 1, 2, 3]
    later = [each.values["dropout"] for each in found[len(found) // 2 :]]
    assert sum(abs(value - 0.3) < 0.2 for value in later) > len(later) / 2, "the draws do not learn"


def test_a_trial_that_fails_is_not_found() -> None:
    pytest.importorskip("optuna")
    plan = _plan({"dropout": (0.1, 0.5)}, [0])
    found = searched(
        plan.rows[0],
        plan.space,
        8,
        [0],
        lambda runs: [None if r.setting.values["dropout"] == 0.5 else 1.0 for r in runs],
    )
    assert [each.values for each in found] == [{"dropout": 0.1}]


def test_an_interrupted_search_draws_the_same(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    options: dict[str, Any] = {"values": SPACE, "search": 10, "seeds": 2, "jobs": 1}
    whole = portgnn.study("karate", folder=tmp_path / "whole", **options)

    def stop(told: Any) -> None:
        if told.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        portgnn.study("karate", folder=tmp_path / "cut", on_run=stop, **options)
    again = portgnn.study("karate", folder=tmp_path / "cut", **options)
    assert 0 < again.data["new_runs"] < whole.data["new_runs"]
    (one,), (other,) = whole.rows, again.rows
    assert one["values"] == other["values"]
    assert one["candidates"] == other["candidates"]
    assert [run["test"] for run in one["runs"]] == [run["test"] for run in other["runs"]]
    assert whole.data["tried"]["learning_rate"] == "0.001..0.1 log"
    assert json.dumps(other["candidates"]).count("test") == 0
    best = max(each["validation"] for each in one["candidates"])
    assert next(each for each in one["candidates"] if each["validation"] == best)["values"] == one["values"]


def test_what_cannot_be_searched() -> None:
    pytest.importorskip("optuna")
    with pytest.raises(ConfigError, match="--search needs what to draw"):
        portgnn.study("karate", search=3, values="epochs=4")
    with pytest.raises(ConfigError, match="--each shows every setting of a grid"):
        portgnn.study("karate", search=3, values=SPACE, each=True)
    with pytest.raises(ConfigError, match="search=0 must be an integer, 1 or more"):
        portgnn.study("karate", search=0, values=SPACE)
