"""Plants every fault of tests/portgnn/testing, one at a time, and writes down which check of `verify` catches it.

    python tools/planted.py [WORDS...]      only faults whose names hold one of the words; then nothing is written

Writes bench/results/verify/planted.json. Exit status 1 where a fault is not caught, or a harmless change is.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "portgnn" / "testing")]

from planted import PLANTED, OtherOrder, Planted  # noqa: E402

from portgnn.verification import verify  # noqa: E402

OUT = ROOT / "bench" / "results" / "verify" / "planted.json"
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


def main(words: list[str]) -> int:
    rows, missed = [], []
    for planted in PLANTED:
        if words and not any(word in planted.name for word in words):
            continue
        row = caught(planted)
        rows.append(row)
        as_said = row["caught_by"] in planted.first.split("|") and planted.hint in row["hint"]
        if not as_said:
            missed.append(row)
        print(f"{'' if as_said else 'NOT AS EXPECTED: '}{row['fault']}: {row['caught_by']} ({row['seconds']} s) "
              f"{'' if as_said else row['expected'] + ' | ' + row['hint']}", flush=True)  # fmt: skip
    harmless = {dtype: verify(OtherOrder("cpu", dtype), draw=DRAW).passed for dtype in ("float64", "float32")}
    print(f"{len(rows)} faults, {len(rows) - len([r for r in rows if r['caught_by']])} not caught, "
          f"{len(missed)} not as expected; another order of summation passes: {harmless}")  # fmt: skip
    if not words:
        OUT.write_text(json.dumps({"draw": DRAW, "harmless": harmless, "faults": rows}, indent=1) + "\n")
    return int(not all(row["caught_by"] for row in rows) or not all(harmless.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
