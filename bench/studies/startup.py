"""Whole-process time, cold: `portgnn train` on each backend beside the same job as a script for PyG.

    python bench/studies/startup.py [--dataset cora] [--repeats 5] [--pyg-python PATH] [--json OUT]

Interpreter, imports, data, training and test, as a user at a terminal waits for them. Runs take turns.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from bench.harness.rows import where
from portgnn.benchmark import cases
from portgnn.benchmark.client import ROOT, worker_environment
from portgnn.benchmark.progress import Progress
from portgnn.benchmark.quiet import wait_for_quiet
from portgnn.benchmark.runner import Options, document
from portgnn.benchmark.timing import Plan, summary
from portgnn.report.documents import number

PYG_SCRIPT = ROOT / "bench" / "peers" / "pyg_script.py"


def commands(dataset: str, backends: Sequence[str], pyg_python: str, graph: Path) -> dict[str, list[str]]:
    """What is typed, by title."""
    portgnn = [sys.executable, "-m", "portgnn", "train", "--json", "--dataset", dataset, "--preset", "pyg"]
    found = {f"portgnn train --backend {name}": [*portgnn, "--backend", name] for name in backends}
    # PyG reads the graph from a file of plain arrays: faster than its own dataset class, which unpickles.
    return found | {"PyG, the same job as a script": [pyg_python, str(PYG_SCRIPT), str(graph)]}


def run_startup(
    dataset: str, backends: Sequence[str], pyg_python: str, repeats: int, threads: int | None, progress: Progress
) -> dict[str, Any]:
    """A run of kind "startup". A command that fails is a row with the last line that it said."""
    plan, started = Plan(), time.time()
    env, _ = worker_environment(threads, {})
    taken: dict[str, list[float]] = {}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="portgnn-bench-") as folder:
        graph = cases.load(dataset)
        listed = commands(dataset, backends, pyg_python, graph.save(Path(folder) / "graph.npz"))
        progress.start(f"{dataset} · whole processes", repeats * len(listed))
        for _ in range(repeats):
            for title, command in listed.items():
                wait_for_quiet(plan.pause, plan.quiet_wait)
                clock = time.perf_counter()
                done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, timeout=600)
                seconds = time.perf_counter() - clock
                if done.returncode:
                    failed[title] = (done.stderr.strip().splitlines() or ["no message"])[-1]
                else:
                    taken.setdefault(title, []).append(seconds)
                progress.advance(title)
    rows: list[dict[str, Any]] = [
        {"label": title, "title": title, "status": "timed", "seconds": summary(values)}
        for title, values in taken.items()
    ]
    rows += [{"label": title, "title": title, "status": "failed", "reason": text} for title, text in failed.items()]
    run = document(Options(threads=threads), plan, rows, {}, time.time() - started)
    return run | {"kind": "startup", "dataset": dataset, "repeats": repeats, "graph": graph.facts()}


def startup_markdown(run: dict[str, Any]) -> str:
    lines = [f"### Whole process, {run['dataset']}, recipe `pyg`, 200 epochs at most", "", where(run), ""]
    lines += ["| command | seconds | IQR | × PyG |", "| --- | ---: | ---: | ---: |"]
    timed = sorted((row for row in run["rows"] if row["status"] == "timed"), key=lambda row: row["seconds"]["median"])
    pyg = next((row["seconds"]["median"] for row in timed if row["title"].startswith("PyG")), None)
    for row in timed:
        s = row["seconds"]
        ratio = number(pyg / s["median"]) if pyg else "–"
        lines.append(f"| `{row['title']}` | {s['median']:.2f} | {s['q1']:.2f}–{s['q3']:.2f} | {ratio} |")
    failed = [f"- failed: {row['title']}: {row['reason']}" for row in run["rows"] if row["status"] != "timed"]
    return "\n".join([*lines, *(["", *failed] if failed else [])]) + "\n"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="startup.py", description="Whole-process time of a training, cold.")
    parser.add_argument("--dataset", default="cora")
    parser.add_argument("--backends", help="comma-separated; default: all that are here")
    parser.add_argument("--pyg-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    from portgnn import available_backends

    backends = given.backends.split(",") if given.backends else sorted(available_backends())
    with Progress() as progress:
        run = run_startup(given.dataset, backends, given.pyg_python, given.repeats, given.threads, progress)
    if given.json:
        given.json.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    print(startup_markdown(run), end="")
    return 1 if any(row["status"] != "timed" and "PyG" not in row["title"] for row in run["rows"]) else 0


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main, sys.argv[1:])
