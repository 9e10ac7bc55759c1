"""Results for the tests of pictures and pages: real runs on the karate graph, and the others as plain data."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import portgnn

RESULTS = Path(__file__).parents[3] / "bench" / "results"


@cache
def trained(dtype: str = "float32", seed: int = 0, preset: str = "kipf", epochs: int = 30) -> portgnn.TrainResult:
    return portgnn.train("karate", dtype=dtype, seed=seed, preset=preset, epochs=epochs, patience=0)


def run(**changes: Any) -> dict[str, Any]:
    """A training document."""
    document: dict[str, Any] = json.loads(json.dumps(trained().to_dict()))
    return document | changes


def verification(**changes: Any) -> dict[str, Any]:
    """One check that holds, one that fails, one known gap, and one without a number."""

    def check(name: str, error: float | None, passed: bool, hint: str = "") -> dict[str, Any]:
        return {"name": name, "max_error": error, "tolerance": 1e-5, "passed": passed, "hint": hint}

    checks = [check("spmm", 1e-7, True), check("matmul", 2e-4, False, "11 bits")]
    checks += [check("relu", 1e-2, False, "known: its zero"), check("fit", None, False, "ValueError: no")]
    document = {"backend": "fake", "device": "cpu", "dtype": "float32", "passed": False, "checks": checks}
    return document | {"first_failure": "matmul"} | changes


def growth(**changes: Any) -> dict[str, Any]:
    """Three sizes of two contenders, and one that failed."""
    rows: list[dict[str, Any]] = []
    for kind, title, factor in (("portgnn", "portgnn fake", 1.0), ("peer", "another <library>", 4.0)):
        for edges in (10_000, 100_000, 1_000_000):
            ms = factor * edges / 1e4
            row = {
                "status": "timed",
                "series": "growth",
                "kind": kind,
                "title": title,
                "contender": title,
                "device": "cpu",
            }
            row |= {"label": title, "options": {"form": "csr", "rows": "all"}, "graph": {"stored_edges": edges}}
            row |= {"train_ms": {"median": ms, "q1": 0.9 * ms, "q3": 1.2 * ms}, "peak_bytes": edges * 1000}
            rows.append(row)
    rows.append({"status": "failed", "label": "too large", "reason": "memory", "kind": "peer"})
    document = {"format": "portgnn-bench", "kind": "growth", "made": "2026-11-22T00:00:00+00:00", "rows": rows}
    document |= {"machine": {"processor": "a processor", "cores": 2}, "options": {"seed": 0}, "plan": {"chunk": 5}}
    return document | {"workers": {}, "git": {"commit": None}} | changes


def benchmark() -> dict[str, Any]:
    """The benchmark on Cora that the readme quotes, with one accuracy left out, as a row too slow for it has none."""
    document: dict[str, Any] = json.loads((RESULTS / "cora-cpu.json").read_text())
    timed = [row for row in document["rows"] if row["status"] == "timed"]
    timed[len(timed) // 2].pop("test_accuracy", None)
    return document
