"""CPU seconds of `portgnn verify` of two checkouts, in turns: what a run costs, imports and compilation included.

python bench/studies/verify_time.py ../before --json bench/results/verify-time.json
python bench/studies/verify_time.py --show bench/results/verify-time.json

Each turn runs the command of one checkout and then that of the other in this interpreter's environment, one thread
each. A checkout that draws its inputs is given another seed in each round. CPU seconds are the process's own and its
children's, so that other work on the machine moves them little.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.studies.versions import SIDES, environment_of, revision, shown, two_checkouts

PAIRS = ("numpy float64", "numpy float32", "torch float64", "torch float32", "mlx float64", "mlx float32",
         "jax float64", "jax float32")  # fmt: skip
FIRST_DRAW = 1000


def verified(checkout: Path, backend: str, dtype: str, draw: int) -> dict[str, Any]:
    """One run of a checkout's command: CPU and wall seconds, how many checks, and which fail.

    Raises SystemExit where the command does not run.
    """
    command = [sys.executable, "-m", "portgnn", "verify", "--backend", backend, "--device", "cpu", "--dtype", dtype]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | environment_of(checkout) | threads | {"PORTGNN_DRAW": str(draw)}
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [*command, "--json"], env=environment, cwd=tempfile.gettempdir(), capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - clock, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1) or not done.stdout:
        raise SystemExit(f"{checkout}: {' '.join(command[1:])} ends with {done.returncode}: {done.stderr[-500:]}")
    document = json.loads(done.stdout)
    # 0.1 wrote a list of reports, one a backend.
    (report,) = document if isinstance(document, list) else document.get("reports", [document])
    return {
        "cpu": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3),
        "wall": round(wall, 3),
        "checks": len(report["checks"]),
        "failed": [check["name"] for check in report["checks"] if not check["passed"]],
    }


def take(checkouts: dict[str, Path], pairs: list[str], rounds: int, out: Path | None) -> dict[str, Any]:
    """All rounds; the file is written after each pair, so that none is lost."""
    from portgnn.results.environment import machine

    document: dict[str, Any] = {
        "format": "portgnn-verify-time",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    document |= {side: revision(path) for side, path in checkouts.items()} | {"machine": machine(), "rows": []}
    for pair in pairs:
        backend, dtype = pair.split()
        runs: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for number in range(rounds):
            for side in SIDES:
                runs[side].append(verified(checkouts[side], backend, dtype, FIRST_DRAW + number))
        document["rows"].append({"backend": backend, "dtype": dtype} | runs)
        print(line(document["rows"][-1]), flush=True)
        if out:
            out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return document


def line(row: dict[str, Any]) -> str:
    """A row of the table: medians over the rounds."""
    cpu = {side: statistics.median(run["cpu"] for run in row[side]) for side in SIDES}
    checks = " → ".join(str(row[side][0]["checks"]) for side in SIDES)
    failed = sorted({name for side in SIDES for run in row[side] for name in run["failed"]})
    return (
        f"| {row['backend']} | {row['dtype']} | {cpu['before']:.1f} | {cpu['after']:.1f} | "
        f"{cpu['after'] / cpu['before']:.2f} | {checks} | {', '.join(failed)} |"
    )


def table(document: dict[str, Any]) -> str:
    """CPU seconds of a run, before and after, with their ratio and how many checks there are."""
    lines = ["| backend | dtype | CPU s, before | CPU s, after | after ÷ before | checks | failed |"]
    return "\n".join([*lines, "|---|---|---:|---:|---:|---|---|", *map(line, document["rows"])])


def main() -> int:
    parser = two_checkouts(__doc__)
    parser.add_argument("--pairs", nargs="+", default=list(PAIRS), metavar="'BACKEND DTYPE'")
    parser.add_argument("--rounds", type=int, default=5)

    def taken(given: argparse.Namespace) -> dict[str, Any]:
        checkouts = {"before": given.before.resolve(), "after": given.after.resolve()}
        return take(checkouts, given.pairs, given.rounds, given.json)

    return shown(parser, table, taken)


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
