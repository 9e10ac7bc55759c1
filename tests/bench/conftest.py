"""The benchmark is no installed package: its folder's parent goes on the path, for these tests and their workers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from portgnn.benchmark.client import WorkerSpec  # noqa: E402
from portgnn.benchmark.graphs import BenchGraph, synthetic  # noqa: E402
from portgnn.benchmark.timing import Plan  # noqa: E402


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beside the tests can be imported by workers too."""
    monkeypatch.setenv("PYTHONPATH", str(HERE))


@pytest.fixture
def fake() -> WorkerSpec:
    return WorkerSpec("fake", "fake_peer")


@pytest.fixture
def plan() -> Plan:
    """As little as gives every figure."""
    return Plan(
        rounds=2, chunk=2, epochs=4, turn_seconds=0.2, evaluations=2, pause=0.0, quiet_wait=0.0, accuracy_seconds=1.0
    )


@pytest.fixture
def small() -> BenchGraph:
    return synthetic(600, nodes=100, features=8, classes=4)


@pytest.fixture
def run() -> dict[str, Any]:
    """A result with two rows of ours and two peers, and something absent."""
    return make_run({"numpy": 0.5, "torch": 0.6}, {"pyg": 6.0, "article-torch": 20.0})


@pytest.fixture
def make() -> Callable[..., dict[str, Any]]:
    return make_run


def make_run(ours: dict[str, float], peers: dict[str, float], processor: str = "a processor") -> dict[str, Any]:
    """A result file with these medians, in ms."""
    rows: list[dict[str, Any]] = []
    for kind, medians in (("portgnn", ours), ("peer", peers)):
        for name, ms in medians.items():
            title = name if kind == "peer" else f"portgnn {name}"
            rows.append(
                {
                    "dataset": "cora",
                    "recipe": "pyg",
                    "contender": name,
                    "kind": kind,
                    "title": title,
                    "label": f"{title} cpu [csr] [needed]",
                    "device": "cpu",
                    "options": {"form": "csr", "rows": "needed"},
                    "recipe_values": {"hidden": 16},
                    "graph": {"nodes": 2708, "stored_edges": 10556, "features": 1433},
                    "status": "timed",
                    "first_epoch_ms": ms * 3,
                    "train_ms": {"median": ms, "q1": ms * 0.9, "q3": ms * 1.1, "min": ms * 0.8, "n": 4},
                    "train_ms_rounds": [[ms, ms], [ms * 1.1, ms * 0.9]],
                    "evaluate_ms": {"median": ms / 2, "q1": ms / 2, "q3": ms / 2, "min": ms / 2, "n": 4},
                    "test_accuracy": 0.81,
                    "others_cores": 0.0,
                }
            )
    rows.append({"label": "mlx-graphs GCNConv", "status": "absent", "reason": "no module <mlx_graphs>", "kind": "peer"})
    return {
        "format": "portgnn-bench",
        "version": 1,
        "made": "2026-01-01T00:00:00+00:00",
        "git": {"commit": "0123456789abcdef", "modified": False},
        "machine": {"processor": processor, "cores": 2, "python": "3.12.0"},
        "options": {"threads": None},
        "plan": {"rounds": 2, "chunk": 25},
        "variables_dropped": [],
        "workers": {},
        "rows": rows,
    }
