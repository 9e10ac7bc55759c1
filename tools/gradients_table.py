"""Gradients of every function of the array API on every backend, in float64: how far off, and the gaps.

    python tools/gradients_table.py [--backends numpy,torch,mlx,jax] [--draws 3] [--json bench/results/gradients.json]

A case is held against central differences, element by element, and against the first backend. A convention counts as
held where it is right to the last digits.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.protocol import Backend
from portgnn.registry import backend_class
from portgnn.testing.conftest import is_held_to
from portgnn.testing.gradient_cases import GRADIENT_CASES, GradientCase, gradient, reference, slopes
from portgnn.testing.gradient_ties import TIES, Tie, at_the_edge, gradient_at
from portgnn.verification.gaps import gap

Arrays = Sequence[NDArray[Any]]


def off(found: Arrays, wanted: Arrays) -> float:
    """The largest difference, relative to the largest element where that is above 1."""
    return max(
        float(np.abs(a - b).max(initial=0.0)) / max(1.0, float(np.abs(b).max(initial=0.0)))
        for a, b in zip(found, wanted, strict=True)
    )


def slopes_of(case: GradientCase, backends: Sequence[Backend], draws: int) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for seed in range(draws):
        at = case.draw(seed)
        wanted, first = slopes(reference(case), at), None
        for on in backends:
            if (known := gap(on, f"gradient.{case.name}")) is not None:
                row[on.name] = {"gap": known.reason}
                continue
            if not is_held_to(on, case.name):
                continue
            try:
                found = gradient(on, case, at)[1]
            except Exception as error:  # an outsider's library may fail in any way
                row[on.name] = {"error": f"{type(error).__name__}: {error}"[:200]}
                continue
            first = found if first is None else first
            held = row.setdefault(on.name, {"from_differences": 0.0, "from_first": 0.0})
            if "from_first" in held:
                held["from_differences"] = max(held["from_differences"], off(found, wanted))
                held["from_first"] = max(held["from_first"], off(found, first))
    return row


def convention_of(tie: Tie, backends: Sequence[Backend]) -> dict[str, Any]:
    row: dict[str, Any] = {"is": tie.says}
    for on in backends:
        if not is_held_to(on, tie.name):
            continue
        try:
            found = gradient_at(on, tie)
            held = all(np.allclose(a, b, 1e-14, 0, equal_nan=True) for a, b in zip(found, tie.want, strict=True))
            row[on.name] = "held" if held else [x.tolist() for x in found]
        except Exception as error:
            row[on.name] = f"{type(error).__name__}: {error}"[:200]
        if row[on.name] != "held" and (known := gap(on, f"gradient.{tie.name}")) is not None:
            row[on.name] = {"gap": known.reason}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backends", default="numpy,torch,mlx,jax")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("bench/results/gradients.json"))
    given = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # of NumPy, at places that are infinite on purpose
    backends = [backend_class(name)("cpu", "float64") for name in given.backends.split(",")]
    cases = {case.name: slopes_of(case, backends, given.draws) for case in GRADIENT_CASES}
    ties = {tie.name: convention_of(tie, backends) for tie in (*TIES, *at_the_edge("float64"))}
    summary = {}
    for on in backends:
        measured = [row[on.name] for row in cases.values() if on.name in row]
        numbers = [one for one in measured if "from_first" in one]
        summary[on.name] = {
            "version": backend_class(on.name).environment()["version"],
            "cases": len(measured),
            "largest_from_differences": max(one["from_differences"] for one in numbers),
            "largest_from_first": max(one["from_first"] for one in numbers),
            "gaps": sum("gap" in one for one in measured),
            "errors": sum("error" in one for one in measured),
            "conventions_held": sum(row.get(on.name) == "held" for row in ties.values()),
            "conventions": sum(on.name in row for row in ties.values()),
        }
        print(on.name, json.dumps(summary[on.name]))
    document = {"draws": given.draws, "summary": summary, "cases": cases, "conventions": ties}
    given.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from bench.harness.ending import ended

    ended(main)
