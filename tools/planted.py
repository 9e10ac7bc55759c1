"""Plants every fault of tests/portgnn/verification, one at a time, and writes down which check of `verify` catches it.

    python tools/planted.py [WORDS...] [--every N] [--jobs N] [--json bench/results/planted.json]

Exit status 1 where a fault is not caught, or a harmless change is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "portgnn" / "verification")]

from planted import PLANTED, OtherOrder, Planted  # noqa: E402

from portgnn.verification import verify  # noqa: E402

DRAW = 20261126


def caught(planted: Planted) -> dict[str, Any]:
    """Which check fails first, in how many seconds. The long trajectories last, and only where nothing else fails."""
    clock = time.perf_counter()
    with pytest.MonkeyPatch.context() as patch:
        planted.patch(patch)
        backend = planted.backend(planted.dtype)
        for long in (False, True):
            report = verify(
                backend, stop_at_first=True, draw=DRAW, only=lambda name, long=long: name.startswith("traj") == long
            )
            if not report.passed:
                break
    last = report.checks[-1]
    return {
        "fault": planted.name,
        "dtype": planted.dtype,
        "caught_by": report.first_failure,
        "expected": planted.first,
        "hint": last.hint if not report.passed else "",
        "max_error": last.max_error if not report.passed else None,
        "seconds": round(time.perf_counter() - clock, 2),
    }


def harmless(dtype: str) -> bool:
    """Whether sums in another order pass, as they must."""
    return verify(OtherOrder("cpu", dtype), draw=DRAW).passed


def as_expected(row: dict[str, Any], planted: Planted) -> bool:
    return row["caught_by"] in planted.first.split("|") and planted.hint in row["hint"]


def at(number: int) -> dict[str, Any]:
    """Of the fault of that number; processes hand each other numbers alone."""
    return caught(PLANTED[number])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="only faults whose names hold one of these")
    parser.add_argument("--every", type=int, default=1, help="only each so-manyth fault")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", type=Path, help="file to write")
    given = parser.parse_args()
    chosen = [
        number
        for number, planted in enumerate(PLANTED)
        if not given.words or any(word in planted.name for word in given.words)
    ][:: given.every]
    rows, missed = [], 0
    # Threads of NumPy's library that wait for each other would take the processes' cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        orders = {dtype: pool.submit(harmless, dtype) for dtype in ("float64", "float32")}
        for number, row in zip(chosen, pool.map(at, chosen), strict=True):
            planted = PLANTED[number]
            rows.append(row)
            right = as_expected(row, planted)
            missed += not right
            print(f"{'' if right else 'NOT AS EXPECTED: '}{row['fault']}: {row['caught_by']} ({row['seconds']} s) "
                  f"{'' if right else row['expected'] + ' | ' + row['hint']}", flush=True)  # fmt: skip
        passes = {dtype: future.result() for dtype, future in orders.items()}
    print(f"{len(rows)} faults, {len([r for r in rows if not r['caught_by']])} not caught, "
          f"{missed} not as expected; another order of summation passes: {passes}")  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps({"draw": DRAW, "harmless": passes, "faults": rows}, indent=1) + "\n")
    return int(not all(row["caught_by"] for row in rows) or not all(passes.values()))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from bench.harness.ending import ended

    ended(main)
