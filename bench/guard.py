"""Has a step become slower? A checkout beside the last committed results, in one interleaved run of about four minutes.

    python bench/guard.py [CHECKOUT] [--backends torch,numpy] [--dataset cora] [--tolerance 1.10]
    python bench/guard.py --update                 measures, and writes bench/results/guard.json

Machines differ, so a figure is a ratio: a step's time over that of fixed SciPy and NumPy products of the same sizes
(bench/harness/yardstick.py), which take turns with it. All of it runs on one core: on a machine that others use,
threads wait for each other, and a ratio would show that and no code. The low decile of either is taken, which other
processes move least, and what lies over the tolerance is measured a second time before it counts. Results are kept for
each processor; on one that has none yet, those of another are shown and nothing fails.

Exit status: 1 names each row that lost more than the tolerance, fails or is refused; 2: nothing could be compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np

from bench.studies.versions import revision, spec
from portgnn.benchmark import cases
from portgnn.benchmark.client import ROOT, WorkerError, WorkerProcess, WorkerSpec
from portgnn.benchmark.progress import Progress
from portgnn.benchmark.timing import Entry, Plan, calibrate, run_rounds
from portgnn.registry import available_backends
from portgnn.results.environment import machine

RESULTS = Path(__file__).resolve().parent / "results" / "guard.json"
TOLERANCE, SECONDS, LOW = 1.10, 240.0, 10.0
"""LOW: percentile of the readings. SECONDS: of the first run; what is measured again takes as long at most."""
YARDSTICK = "yardstick"


@dataclass(frozen=True)
class Finding:
    """One row. before, now: its time over the yardstick's; None where it was not measured. problem: why it fails."""

    row: str
    before: float | None
    now: float | None
    problem: str = ""


def measured(
    checkout: Path, backends: Sequence[str], dataset: str, plan: Plan, progress: Progress
) -> tuple[dict[str, float], dict[str, str]]:
    """Ratios to the yardstick by row, and what is wrong with rows that could not be measured."""
    graph, recipe = cases.load(dataset), cases.recipe_of("pyg")
    wrong: dict[str, str] = {}
    with ExitStack() as stack:
        path = str(graph.save(Path(stack.enter_context(tempfile.TemporaryDirectory())) / "graph.npz"))
        entries: list[Entry] = []
        for name in (YARDSTICK, *backends):
            progress.say(f"preparing {name}")
            own = WorkerSpec(name, "bench.harness.yardstick") if name == YARDSTICK else spec(checkout, name)
            worker = stack.enter_context(WorkerProcess(own, timeout=500.0, threads=1))
            for rows in ("all",) if name == YARDSTICK else ("needed", "all"):
                row = name if name == YARDSTICK else f"{name}, {dataset}, rows={rows}"
                entry = Entry({"label": row}, worker, row)
                try:
                    how = {"device": "cpu", "options": {"form": "csr", "rows": rows}, "recipe": recipe.to_dict()}
                    worker.ask("prepare", case=row, graph=path, **how)
                    verdict = worker.ask("verify", case=row, epochs=plan.verify_epochs, operations=False)
                    if not verdict["passed"]:
                        raise WorkerError("refused", f"fails verification: {verdict['reason']}")
                    calibrate(entry, plan)
                    entries.append(entry)
                except WorkerError as error:
                    wrong[row] = str(error)
        progress.start("in turns", len(entries) * plan.rounds)
        alive = run_rounds(entries, plan, 0, progress.advance, until=progress.deadline)
    wrong |= {entry.row["label"]: entry.row["reason"] for entry in entries if entry not in alive}
    low = {entry.row["label"]: _low(entry) for entry in alive}
    if YARDSTICK not in low:
        raise WorkerError("died", f"the yardstick was not measured: {wrong.get(YARDSTICK)}")
    return {row: value / low[YARDSTICK] for row, value in low.items() if row != YARDSTICK}, wrong


def _low(entry: Entry) -> float:
    readings = [seconds / entry.chunk for turn in entry.train for seconds in turn]
    return float(np.percentile(readings, LOW))


def compared(before: dict[str, float], now: dict[str, float], wrong: dict[str, str], tolerance: float) -> list[Finding]:
    """Every row of either; a loss is a ratio that grew by more than the tolerance."""
    found = []
    for row in [*now, *wrong]:
        problem = wrong.get(row, "")
        if row in before and row in now and now[row] > before[row] * tolerance:
            problem = f"{now[row] / before[row]:.2f} times slower than before (allowed {tolerance:g})"
        found.append(Finding(row, before.get(row), now.get(row), problem))
    return found


def baseline(document: dict[str, Any], processor: str) -> tuple[dict[str, float], bool]:
    """The kept ratios of this processor, or the newest of another's and that they are."""
    kept = document.get("processors", {})
    if processor in kept:
        return kept[processor]["ratios"], True
    newest = max(kept.values(), key=lambda each: each["made"], default=None)
    return (newest["ratios"] if newest else {}), False


def updated(
    document: dict[str, Any], facts: dict[str, Any], at: dict[str, Any], ratios: dict[str, float]
) -> dict[str, Any]:
    """The kept results with these in place of their processor's."""
    made = datetime.now(UTC).isoformat(timespec="seconds")
    own = {"made": made, "revision": at, "machine": facts, "ratios": {row: round(x, 4) for row, x in ratios.items()}}
    return {"format": "portgnn-guard", "processors": document.get("processors", {}) | {facts["processor"]: own}}


def report(found: Sequence[Finding], same: bool) -> int:
    """Prints the rows; the exit status."""
    for each in found:
        figures = " -> ".join("-" if value is None else f"{value:.3f}" for value in (each.before, each.now))
        state = "LOST" if each.problem and (same or each.now is None) else "ok  "
        print(f"{state} {each.row}: {figures} x the yardstick{'; ' if each.problem else ''}{each.problem}")
    if not same:
        print("No kept result of this processor; those of another are shown. Keep one: python bench/guard.py --update")
    if not any(each.before is not None and each.now is not None for each in found):
        print("nothing could be compared", file=sys.stderr)
        return 2
    return 1 if any(each.problem and (same or each.now is None) for each in found) else 0


def main(arguments: Sequence[str]) -> int:
    given = _parsed(arguments)
    document = json.loads(given.results.read_text(encoding="utf-8")) if given.results.exists() else {}
    backends = given.backends.split(",") if given.backends else sorted(available_backends())
    plan = replace(Plan.within(given.seconds), warm_seconds=0.2)
    facts, at = machine(), revision(given.checkout)
    with Progress(seconds=given.seconds) as progress:
        now, wrong = measured(given.checkout, backends, given.dataset, plan, progress)
    before, same = baseline(document, facts["processor"])
    slower = {row.partition(",")[0] for row, ratio in now.items() if ratio > before.get(row, ratio) * given.tolerance}
    if slower and not given.update and same:
        print(f"measuring again: {', '.join(sorted(slower))}", file=sys.stderr)
        with Progress(seconds=given.seconds / 2) as progress:
            again, _ = measured(given.checkout, sorted(slower), given.dataset, plan, progress)
        now |= {row: min(ratio, now[row]) for row, ratio in again.items() if row in now}
    if given.update:
        if wrong:
            print("; ".join(f"{row}: {why}" for row, why in wrong.items()), file=sys.stderr)
            return 1
        text = json.dumps(updated(document, facts, at, now), indent=1)
        given.results.write_text(text + "\n", encoding="utf-8")
        print(f"wrote {given.results}")
        return 0
    return report(compared(before, now, wrong, given.tolerance), same)


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="guard.py", description="Fails where a step lost more than 10 % of its speed."
    )
    parser.add_argument("checkout", type=Path, nargs="?", default=ROOT, help="by default this one")
    parser.add_argument("--backends", metavar="A,B", help="by default all that are here")
    parser.add_argument("--dataset", default="csbm-cora")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--update", action="store_true", help="keep what is measured as this processor's results")
    given = parser.parse_args(arguments)
    if not given.tolerance >= 1 or not given.seconds > 0:
        parser.error("--tolerance must be 1 or more, and --seconds above 0")
    return given


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main, sys.argv[1:])
