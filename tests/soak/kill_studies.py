"""Kills a study again and again at random moments, lets the same command go on, and compares its table with an
undisturbed one's.

    python tests/soak/kill_studies.py --times 10

Every number but times and memory must be the same, no file of a run may ever be unreadable, and none of the processes
may outlive its study. Exits with 1 where one does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from portgnn.studies.kept import Folder

OPTIONS = [
    "--dataset",
    "karate",
    "--model",
    "gcn,mlp,gat",
    "--seeds",
    "6",
    "--jobs",
    "2",
    "--set",
    "epochs=60; hidden=4,8",
]
TIMES = ("seconds", "ms", "peak_bytes")


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "portgnn", "study", *OPTIONS, "--folder", str(folder), "--json"]


def finished(folder: Path) -> dict[str, Any]:
    done = subprocess.run(command(folder), capture_output=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return dict(json.loads(done.stdout))


def numbers(data: dict[str, Any]) -> Any:
    """Of a study's document, without what no two runs have in common."""
    rows = [{name: value for name, value in row.items() if name not in (*TIMES, "curves")} for row in data["rows"]]
    for row in rows:
        row["runs"] = [{name: value for name, value in run.items() if name not in TIMES} for run in row["runs"]]
    return rows, data["comparisons"]


def alive(group: int) -> bool:
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, found = entry.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(found) == group and state != "Z":
            return True
    return False


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw, left, kept = random.Random(options.seed), 0, []
    with tempfile.TemporaryDirectory() as scratch:
        clock = time.monotonic()
        whole = finished(Path(scratch) / "whole")
        duration, folder = time.monotonic() - clock, Path(scratch) / "cut"
        for _ in range(options.times):
            process = subprocess.Popen(
                command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            time.sleep(draw.uniform(0.15, 0.35) * duration)
            process.kill()
            process.wait()
            deadline = time.monotonic() + 30
            while alive(process.pid) and time.monotonic() < deadline:
                time.sleep(0.05)
            left += alive(process.pid)
            runs = list(folder.glob("runs/*.json"))
            for path in runs:
                Folder(folder).get(path.stem)  # raises for one that is not whole
            kept.append(len(runs))
        same = numbers(finished(folder)) == numbers(whole)
    print(f"{options.times} kills, runs kept at each: {kept}; the same table: {same}; processes left: {left}")
    return 0 if same and not left else 1


if __name__ == "__main__":
    sys.exit(main())
