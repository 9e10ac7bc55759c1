"""Results that others send in: what `portgnn bench --share` writes is taken, and what is not so is named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench import community
from portgnn.benchmark.sharing import shared

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def public(run: dict[str, Any]) -> dict[str, Any]:
    """A result as it is passed on, with an absent backend and one that failed."""
    for row in run["rows"]:
        row["verification"] = {"passed": True, "largest_error": 1.2e-7}
        row.get("graph", {}).update({"classes": 7})
    run["rows"].append({"contender": "mlx", "label": "portgnn mlx", "status": "refused", "reason": "a loss"})
    run["machine"] |= {"portgnn": "0.2.0", "system": "Darwin", "machine": "arm64", "processor": "Apple M3 Max"}
    return shared(run)


def _file(folder: Path, document: Any) -> Path:
    path = folder / "result.json"
    path.write_text(json.dumps(document))
    return path


def test_what_share_writes_is_taken(public: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {row["status"] for row in public["rows"]} == {"timed", "refused"}
    assert community.problem(_file(tmp_path, public)) == ""
    assert community.main([str(tmp_path / "result.json")]) == 0
    out = capsys.readouterr().out
    assert "| Apple M3 Max, 2 cores | numpy | cpu | pyg | needed | 0.500 | 0.750 |" in out


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda d: d["machine"].update(hostname="alices-laptop"), "hostname"),
        (lambda d: d["machine"].update(processor="/home/alice"), "machine/processor"),
        (lambda d: d.update(made="2026-11-27T10:11:12"), "made"),
        (lambda d: d["rows"][0].update(reason="x"), "rows/0"),
        (lambda d: d["rows"][0]["train_ms"].update(median=0), "rows/0/train_ms/median"),
        (lambda d: d["rows"][0].pop("evaluate_ms"), "evaluate_ms"),
        (lambda d: d["rows"][0].update(verified_to=0.5), "verified_to"),
        (lambda d: d["rows"][-1].update(reason="died in /home/alice"), "rows/4/reason"),
        (lambda d: d.update(rows=[d["rows"][-1]]), "rows"),
        (lambda d: d.update(version=2), "version"),
        (lambda d: d.update(interrupted=True), "ended early"),
        (lambda d: d["versions"].update(numpy={"path": "1.0"}), "path"),
    ],
)
def test_what_is_not_so_is_named(
    spoil: Callable[[Any], Any], said: str, public: dict[str, Any], tmp_path: Path
) -> None:
    spoilt = copy.deepcopy(public)
    spoil(spoilt)
    assert said in community.problem(_file(tmp_path, spoilt))


def test_a_file_that_is_no_json_and_one_too_large(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    assert "is not JSON" in community.problem(path)
    path.write_text("[" * 100_000)
    assert "is not JSON" in community.problem(path)
    path.write_text(" " * 300_000)
    assert "larger than" in community.problem(path)
    assert community.main([str(path)]) == 1
    assert f"{path}: is larger" in capsys.readouterr().err


def test_what_lies_in_the_folder_is_taken() -> None:
    files = [path for path in community.FOLDER.glob("*.json") if path != community.SCHEMA]
    assert {path.name: community.problem(path) for path in files} == dict.fromkeys((path.name for path in files), "")
