"""How often `verify` fails where nothing is wrong: many draws on each backend and dtype, with failures and times.

    python tools/draws.py --backends numpy torch --dtypes float64 float32 [--device cpu] --draws 30 --jobs 8 --json OUT

Draws are --first, --first + 1, …; a backend without a dtype is left out there. With several jobs on one accelerator the
times mean little, and `synchronize` may fail. Exit status 1 where a check fails.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from portgnn import get_backend
from portgnn.errors import PortgnnError
from portgnn.verification import verify


class Job(NamedTuple):
    backend: str
    device: str | None
    dtype: str
    draw: int
    only: tuple[str, ...]


def draw(job: Job) -> dict[str, Any]:
    """What one run of verify finds, in wall and CPU seconds."""
    clock, cpu = time.perf_counter(), time.process_time()
    chosen = job.only.__contains__ if job.only else None
    report = verify(job.backend, device=job.device, dtype=job.dtype, draw=job.draw, only=chosen)
    return {
        "backend": report.backend,
        "device": report.device,
        "dtype": report.dtype,
        "draw": job.draw,
        "checks": len(report.checks),
        "failed": [
            {"name": one.name, "max_error": one.max_error, "tolerance": one.tolerance, "hint": one.hint}
            for one in report.checks
            if not one.passed
        ],
        "largest": {one.name: one.max_error for one in report.checks if one.max_error},
        "seconds": round(time.perf_counter() - clock, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
    }


def has(backend: str, device: str | None, dtype: str) -> bool:
    try:
        get_backend(backend, device=device, dtype=dtype)
    except PortgnnError as error:
        print(f"left out: {backend} in {dtype}: {error}", file=sys.stderr)
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", nargs="+", default=["numpy"])
    parser.add_argument("--dtypes", nargs="+", default=["float64", "float32"])
    parser.add_argument("--device")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--only", nargs="+", default=[], metavar="CHECK", help="checks to run (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", type=Path, help="file to write")
    given = parser.parse_args()
    # Threads of libraries that wait for each other would take the processes' cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pairs = [(b, d) for b in given.backends for d in given.dtypes if has(b, given.device, d)]
    # Draws outside: no process waits long for one backend alone.
    jobs = [Job(b, given.device, d, given.first + n, tuple(given.only)) for n in range(given.draws) for b, d in pairs]
    rows = []
    with ProcessPoolExecutor(given.jobs, mp_context=get_context("spawn")) as pool:
        for row in pool.map(draw, jobs):
            rows.append(row)
            for one in row["failed"]:
                print(f"{row['backend']} {row['device']} {row['dtype']} --draw {row['draw']}: {one}", flush=True)
    for backend, dtype in pairs:
        own = [row for row in rows if (row["backend"], row["dtype"]) == (backend, dtype)]
        print(f"{backend} {dtype}: {sum(bool(row['failed']) for row in own)} of {len(own)} draws fail; median "
              f"{statistics.median(row['seconds'] for row in own):.1f} s, "
              f"{statistics.median(row['cpu_seconds'] for row in own):.1f} s of CPU")  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n")
    return int(any(row["failed"] for row in rows))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from bench.harness.ending import ended

    ended(main)
