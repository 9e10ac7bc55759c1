"""The guard: a step that lost its speed is named, and noise alone is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import guard
from portgnn.benchmark.timing import Plan

ROW = "numpy, karate, rows=needed"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    monkeypatch.setattr(Plan, "within", classmethod(lambda cls, seconds: plan))


def test_a_kept_result_is_compared_with_itself_and_a_loss_is_measured_twice(
    short: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "guard.json"
    how = ["--backends", "numpy", "--dataset", "karate", "--results", str(results)]
    assert guard.main([*how, "--update"]) == 0
    kept = json.loads(results.read_text())
    (own,) = kept["processors"].values()
    assert set(own["ratios"]) == {ROW, "numpy, karate, rows=all"}
    assert all(0.01 < ratio < 1000 for ratio in own["ratios"].values())
    own["ratios"] = dict.fromkeys(own["ratios"], 1e-6)  # as if it had been a million times faster
    results.write_text(json.dumps(kept))
    capsys.readouterr()
    assert guard.main(how) == 1
    said, told = capsys.readouterr()
    assert f"LOST {ROW}: 0.000 ->" in said
    assert "measuring again: numpy" in told


def test_what_is_lost_is_more_than_the_tolerance() -> None:
    found = guard.compared({"a": 1.0, "b": 1.0, "gone": 1.0}, {"a": 1.09, "b": 1.11, "new": 3.0}, {"c": "died"}, 1.10)
    assert {each.row: each.problem for each in found} == {
        "a": "", "b": "1.11 times slower than before (allowed 1.1)", "new": "", "c": "died",
    }  # fmt: skip
    assert guard.report(found, same=True) == 1
    assert guard.report(found[:1], same=True) == 0
    assert guard.report([found[2]], same=True) == 2


def test_another_processors_results_are_shown_and_fail_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    kept = guard.updated({}, {"processor": "one"}, {"commit": "x"}, {"a": 1.0})
    ratios, same = guard.baseline(kept, "another")
    assert (ratios, same) == ({"a": 1.0}, False)
    assert guard.report(guard.compared(ratios, {"a": 2.0}, {}, 1.1), same) == 0
    assert "No kept result of this processor" in capsys.readouterr().out
    assert guard.baseline(kept, "one") == ({"a": 1.0}, True)
    assert guard.baseline({}, "one") == ({}, False)
    more = guard.updated(kept, {"processor": "another"}, {"commit": "y"}, {"a": 3.0})
    assert set(more["processors"]) == {"one", "another"}


def test_a_wrong_call_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        guard.main(["--tolerance", "0.5"])
    assert caught.value.code == 2
    assert "--tolerance must be 1 or more" in capsys.readouterr().err
