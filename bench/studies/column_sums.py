"""How far sums down the columns of a matrix are off, as shares of the bound that `xp.reductions` holds them to.

python bench/studies/column_sums.py [--json bench/results/column-sums.json]

Equal numbers in float32, whose roundings all go one way: NumPy's own sum down the columns, one product with ones, and
the NumPy backend's `xp.sum`; and the gradient of a bias, which is one product up to some rows.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from portgnn import get_backend

ROWS = (1024, 2708, 65_537, 169_343)
COLUMNS = 40
UNIT = 2.0**-24
SPARE = 32.0
"""Roundings beside log2 n that `xp.reductions` admits."""


def _share(found: Any, rows: int, value: float) -> float:
    """The largest error, where the bound is 1."""
    exact = rows * value
    return float(np.max(np.abs(np.asarray(found, np.float64) - exact)) / ((math.log2(rows) + SPARE) * UNIT * exact))


def _milliseconds(call: Callable[[], Any], times: int = 15) -> float:
    taken = []
    for _ in range(times):
        clock = time.perf_counter()
        call()
        taken.append((time.perf_counter() - clock) * 1e3)
    return round(statistics.median(taken), 3)


def row(rows: int) -> dict[str, Any]:
    """Shares of the bound and milliseconds for so many rows."""
    backend = get_backend("numpy", dtype="float32")
    value = float(np.float32(0.1))
    x = np.full((rows, COLUMNS), np.float32(0.1))
    ways: dict[str, Callable[[], Any]] = {
        "numpy": lambda: x.sum(axis=0),
        "one product": lambda: np.ones(rows, np.float32) @ x,
        "xp.sum": lambda: backend.xp.sum(x, axis=0),
    }
    found: dict[str, Any] = {"rows": rows}
    for name, way in ways.items():
        found[name] = {"share": round(_share(way(), rows, value), 3), "ms": _milliseconds(way)}
    zeros = np.zeros_like(x)
    pull = backend.value_and_grad(lambda p: (backend.xp.sum(backend.xp.add(zeros, p["b"]) * x), None))
    gradient = pull({"b": np.zeros(COLUMNS, np.float32)})[1]["b"]
    return found | {"gradient of a bias": {"share": round(_share(gradient, rows, value), 3)}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="OUT")
    given = parser.parse_args()
    found = [row(rows) for rows in ROWS]
    for each in found:
        said = (f"{name} {one['share']:.3g}" for name, one in each.items() if isinstance(one, dict))
        print(f"{each['rows']} rows: {', '.join(said)}")
    if given.json:
        given.json.write_text(json.dumps({"columns": COLUMNS, "rows": found}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
