"""Whole runs: what is timed, what is refused, and what the result says about both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.cli import main, write
from bench.harness import known_peers
from bench.harness.rows import absences
from portgnn.benchmark.client import WorkerSpec
from portgnn.benchmark.progress import Progress
from portgnn.benchmark.runner import Runner
from portgnn.benchmark.timing import Plan


def produce(plan: Plan, **options: Any) -> dict[str, Any]:
    chosen: dict[str, Any] = {"datasets": ["karate"], "recipes": ["pyg"], "peers": ["none"], "forms": ("csr",)}
    asked = known_peers.Options(**(chosen | options))
    with Progress(quiet=True) as progress:
        return Runner(asked, plan, progress, asked.beside()).run()


def test_a_verified_backend_is_timed_beside_a_peer(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(known_peers.PEERS, "fake", known_peers.Peer("fake", "a fake", "nothing"))
    spec = WorkerSpec("fake", "fake_peer")
    monkeypatch.setattr(known_peers, "peer_spec", lambda name, pythons: spec)
    found = produce(plan, backends=["numpy"], peers=["fake"])
    timed = [row for row in found["rows"] if row["status"] == "timed"]
    assert [(row["contender"], row["options"]["rows"]) for row in timed] == [
        ("numpy", "needed"),
        ("numpy", "all"),
        ("fake", "all"),
    ]
    for row in timed:
        assert row["verification"]["passed"]
        assert len(row["train_ms_rounds"]) == plan.rounds
        assert row["train_ms"]["q1"] <= row["train_ms"]["median"] <= row["train_ms"]["q3"]
        assert row["first_epoch_ms"] > 0
        assert row["chunk_epochs"] >= 1
    assert timed[0]["test_accuracy"] == timed[1]["test_accuracy"]
    assert timed[0]["verification"]["checks"] > 10
    assert {"machine", "git", "plan", "options", "workers", "made"} <= set(found)
    assert json.loads(json.dumps(found)) == found


def test_an_adapter_that_fails_a_check_is_refused(plan: Plan) -> None:
    found = produce(plan, backends=["wrong_adapter:ForgetsScale"])
    assert {row["status"] for row in found["rows"]} == {"refused"}
    assert all("dropout" in row["reason"] for row in found["rows"])
    assert not any("train_ms" in row for row in found["rows"])


def test_an_adapter_that_is_wrong_on_this_graph_alone_is_refused(plan: Plan) -> None:
    found = produce(plan, backends=["wrong_adapter:WrongOnLargeGraphs"], datasets=["synthetic:50000"])
    assert "refused" in {row["status"] for row in found["rows"]}
    refused = [row for row in found["rows"] if row["status"] == "refused"]
    assert all("loss" in row["reason"] for row in refused)
    assert "all" in {row["case"]["rows"] for row in refused}


def test_an_absent_peer_is_listed_with_its_reason(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(known_peers.PEERS, "missing", known_peers.Peer("missing", "a missing peer", "a-library"))
    spec = WorkerSpec("missing", "absent_peer")
    monkeypatch.setattr(known_peers, "peer_spec", lambda name, pythons: spec)
    found = produce(plan, backends=["none"], peers=["missing"])
    (row,) = found["rows"]
    assert row["status"] == "absent"
    assert "a_library_that_nobody_has" in absences(found)
    assert "needs a-library" in row["reason"]


def test_a_dataset_that_cannot_be_had_is_listed_and_the_others_are_timed(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(known_peers.PEERS, "fake", known_peers.Peer("fake", "a fake", "nothing"))
    spec = WorkerSpec("fake", "fake_peer")
    monkeypatch.setattr(known_peers, "peer_spec", lambda name, pythons: spec)
    found = produce(plan, backends=["none"], peers=["fake"], datasets=["no-such-graph", "karate"])
    assert [(row["dataset"], row["status"]) for row in found["rows"]] == [
        ("no-such-graph", "absent"),
        ("karate", "timed"),
    ]


def test_an_unknown_peer_is_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--peers", "pygg"])
    assert caught.value.code == 2
    assert "pygg" in capsys.readouterr().err


def test_a_run_is_written_as_a_page_that_names_its_rows(
    run: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(run, tmp_path / "run.json", tmp_path / "run.html")
    page = (tmp_path / "run.html").read_text()
    assert "portgnn numpy" in page
    assert json.loads((tmp_path / "run.json").read_text()) == run


def test_a_page_of_the_articles_flaws_is_refused_before_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--article-compat", "--report", str(tmp_path / "out.html")])
    assert caught.value.code == 2
    assert "leave --report out" in capsys.readouterr().err
