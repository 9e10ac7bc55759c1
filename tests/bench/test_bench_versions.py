"""Two checkouts beside each other: here this one, twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.studies import verify_time, versions
from portgnn.benchmark.client import ROOT


def test_a_checkout_beside_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each side runs its own worker; a ratio, its quartiles and memory come out, and the file gives the same table."""
    out = tmp_path / "out.json"
    how = ["--datasets", "synthetic:2000", "--backends", "numpy", "--rows", "needed", "--rounds", "2"]
    how += ["--turn-seconds", "0.05", "--quiet-wait", "0", "--verify-epochs", "0", "--json", str(out)]
    monkeypatch.setattr(sys, "argv", ["versions.py", str(ROOT), *how])
    assert versions.main() == 0
    document = json.loads(out.read_text())
    (row,) = document["rows"]
    assert row["status"] == "timed", row
    assert row["time"]["n"] == 2
    assert 0.0 < row["time"]["q1"] <= row["time"]["median"] <= row["time"]["q3"]
    assert 0.5 < row["memory"] < 2.0
    assert document["before"] == document["after"]
    shown = capsys.readouterr().out.splitlines()[1:]
    monkeypatch.setattr(sys, "argv", ["versions.py", "--show", str(out)])
    assert versions.main() == 0
    assert capsys.readouterr().out.splitlines() == shown


def test_a_worker_is_the_checkouts_own(tmp_path: Path) -> None:
    spec = versions.spec(tmp_path, "numpy")
    assert (spec.script, spec.module) == (tmp_path / "portgnn" / "benchmark" / "worker.py", "portgnn.benchmark.own")
    assert spec.env["PYTHONPATH"].startswith(str(tmp_path))
    with pytest.raises(SystemExit, match="is no checkout of portgnn"):
        versions.revision(tmp_path)


@pytest.mark.parametrize("folder", ["bench", "bench/harness"])
def test_an_older_checkout_has_its_workers_elsewhere(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "worker.py").touch()
    spec = versions.spec(tmp_path, "numpy")
    assert (spec.script, spec.module) == (tmp_path / folder / "worker.py", f"{folder.replace('/', '.')}.own")
    assert versions.revision(tmp_path)["changed"] is False


def test_primitives_of_a_step_are_counted(tmp_path: Path) -> None:
    """Dense products of the hidden layer: its own, and in the backward pass that of its weight and of its input."""
    pytest.importorskip("mlx.core")
    graph = versions.cases.load("synthetic:2000").save(tmp_path / "graph.npz")
    found = versions.primitives(ROOT, graph, "pyg", "needed")
    assert found["Matmul"] >= 3
    assert sum(found.values()) > 20


def test_what_verify_costs_is_shown_from_its_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ROOT / "bench" / "results" / "verify-time.json"
    monkeypatch.setattr(sys, "argv", ["verify_time.py", "--show", str(path)])
    assert verify_time.main() == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) == len(json.loads(path.read_text())["rows"]) >= 6
    assert rows[0].startswith("| numpy | float64 | ")
    assert all(row.endswith("|  |") for row in rows), "a check fails"


def test_a_verify_that_does_not_run_ends_the_study() -> None:
    with pytest.raises(SystemExit, match=r"verify --backend nothing .* ends with 2"):
        verify_time.verified(ROOT, "nothing", "float64", 1)
