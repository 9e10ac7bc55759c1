"""Has anything become slower? Compares a run with committed results as ratios against a peer, never as times.

    python bench/check.py RUN.json [--baseline FILE] [--tolerance 1.5]

A ratio holds across machines far better than a time, and both figures of one come from the same rounds. Exit
status 1 names every row that fell behind, is refused or failed; 2 means that there was nothing to compare.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.harness.rows import ratio, read, reference_row
from portgnn.report.documents import form_of, group_of, timed_groups

PREFERRED = ("pyg", "article-torch", "k3-node-torch", "k3-node-jax", "scikit-network", "article-mlx", "mlx-graphs")
"""Peers to compare against, the steadiest and most often installed first."""

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Finding:
    """One row of the baseline. before and now: how many times faster than the peer; now is None if not timed."""

    row: str
    peer: str
    before: float
    now: float | None
    problem: str = ""


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    return (*group_of(row), row["contender"], row.get("device"), form_of(row))


def title(row: dict[str, Any]) -> str:
    dataset, recipe, hidden = group_of(row)
    return f"{row['label']} on {dataset}, {recipe}, hidden {hidden}"


def compare(run: dict[str, Any], baseline: dict[str, Any], tolerance: float) -> list[Finding]:
    """Every row of ours that both hold, and those of the baseline that the run refused or failed to time."""
    findings: list[Finding] = []
    now_groups, now_rows = (
        timed_groups(run),
        {identity(row): row for rows in timed_groups(run).values() for row in rows},
    )
    broken = {row.get("label"): row for row in run["rows"] if row.get("status") in ("refused", "failed")}
    for key, rows in timed_groups(baseline).items():
        for row in rows:
            if row["kind"] == "peer":
                continue
            now = now_rows.get(identity(row))
            if now is None:
                bad = broken.get(row["label"])
                if bad is not None and (bad.get("dataset"), bad.get("recipe")) == key[:2]:
                    findings.append(Finding(title(row), "", 0.0, None, f"{bad['status']}: {bad['reason']}"))
                continue
            for peer in PREFERRED:
                then_peer = reference_row(rows, peer, row["device"])
                now_peer = reference_row(now_groups[key], peer, row["device"])
                if then_peer and now_peer:
                    before, after = ratio(row, then_peer), ratio(now, now_peer)
                    slower = after * tolerance < before
                    problem = f"{before / after:.2f} times slower against {peer} than before" if slower else ""
                    findings.append(Finding(title(row), peer, before, after, problem))
                    break
    return findings


def newest_baseline(run: dict[str, Any]) -> Path | None:
    """The newest committed result that shares a timed group with the run, of the same processor where there is one."""
    candidates = []
    for path in sorted(RESULTS.glob("*.json")):
        try:
            found = read(path)
        except ValueError:
            continue
        if set(timed_groups(found)) & set(timed_groups(run)):
            same = found["machine"]["processor"] == run["machine"]["processor"]
            candidates.append((same, found["made"], path))
    return max(candidates)[2] if candidates else None


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="check.py", description="Compares a run with committed results, as ratios.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--baseline", type=Path, help="default: the newest of bench/results that fits")
    parser.add_argument("--tolerance", type=float, default=1.5, help="how many times slower a ratio may be")
    given = parser.parse_args(arguments)
    if not given.tolerance >= 1:
        parser.error("--tolerance must be 1 or more")
    try:
        run = read(given.run)
        path = given.baseline or newest_baseline(run)
        if path is None:
            print("no committed result shares a row with this run", file=sys.stderr)
            return 2
        findings = compare(run, read(path), given.tolerance)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if not findings:
        print(f"{path} and {given.run} share no row that has a common peer", file=sys.stderr)
        return 2
    for found in findings:
        figures = f"{found.before:.2f} -> {found.now:.2f} x {found.peer}" if found.now is not None else "not timed"
        print(f"{'SLOWER' if found.problem else 'ok    '} {found.row}: {figures} {found.problem}".rstrip())
    return 1 if any(found.problem for found in findings) else 0


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main, sys.argv[1:])
