"""Two checkouts of portgnn timed beside each other: whether one became slower, larger, or computes in more kernels.

    git worktree add ../before v0.1
    python bench/studies/versions.py ../before --json bench/results/versions-cpu.json
    python bench/studies/versions.py --show bench/results/versions-cpu.json
    python bench/studies/versions.py ../before --steps --backends numpy torch --json bench/results/steps-cpu.json

Each row (dataset, backend, rows) has a worker process of either checkout, each with its own code and both with one set
of libraries. They take turns in an order drawn afresh for each round, so that other work on the machine meets both. The
ratio is of a round's medians, and its median and quartiles over the rounds are told. MLX's primitives are those that
one training step sends to the device, counted in the graph of its results.

--steps takes Cora's steps alone, of both choices of rows with and without validation, by the processor's time and not
the clock's: of all chunks, one of either side after the other, the fastest tenth begins where the table says. That
can be told on a machine that others use at the same time, though their use of caches and memory is in it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from portgnn.benchmark import cases
from portgnn.benchmark.client import ROOT, WorkerError, WorkerProcess, WorkerSpec
from portgnn.benchmark.graphs import BenchGraph
from portgnn.benchmark.timing import Entry, Plan, calibrate, finish, round_ratios, run_rounds, summary

SIDES = ("before", "after")
BACKENDS = ("numpy", "torch", "mlx", "jax")
DATASETS = ("cora", "arxiv-size")
ROWS = ("needed", "all")
COUNT = """
import importlib, json, re, sys, tempfile
from collections import Counter
import mlx.core as mx
from mlx.utils import tree_flatten

own, contender, files = (importlib.import_module(f"{sys.argv[4]}.{name}") for name in ("own", "contender", "graphs"))
graphs = []

def watched(run):  # looks at what is about to be computed: a step's state and metrics
    def instead(*results):
        arrays = [value for _, value in tree_flatten(list(results)) if isinstance(value, mx.array)]
        with tempfile.NamedTemporaryFile("r", suffix=".dot") as file:
            mx.export_to_dot(file.name, *arrays)
            graphs.append(Counter(re.findall(r'label ?= ?"([^"]+)", shape ?= ?rectangle', file.read())))
        return run(*results)
    return instead

recipe = contender.Recipe(**json.loads(sys.argv[2]))
program = own.contender("mlx").build(files.BenchGraph.load(sys.argv[1]), recipe, "cpu", {"rows": sys.argv[3]})
mx.eval, mx.async_eval = watched(mx.eval), watched(mx.async_eval)
program.train(1)
print(json.dumps(max(graphs, key=lambda graph: graph.total())))
"""
"""Run by a checkout's own code: how often each primitive is in one training step, as JSON."""


STEPS = """
import sys, time
backend, rows, validates, epochs = sys.argv[1], sys.argv[2], sys.argv[3] == "True", int(sys.argv[4])
from portgnn import load_graph
try:
    from portgnn.placing.prepared import Prepared
except ImportError:  # portgnn 0.1
    from portgnn.operands import Prepared
from portgnn.presets import preset
from portgnn.random import dropout_keys
from portgnn.registry import get_backend
from portgnn.training import initial_state, make_run

device = get_backend(backend, device="cpu")
prepared = Prepared.of(load_graph("cora"), preset(sys.argv[5], rows=rows))
run, state = make_run(device, prepared, validate=validates), initial_state(device, prepared, 0)
keys = dropout_keys(0, range(epochs), 2)
for line in sys.stdin:
    before = time.process_time()
    state, _ = run(state, keys)
    device.synchronize(*state.values())
    print((time.process_time() - before) / epochs * 1e6, flush=True)
"""
"""Run by a checkout's own code: for each line that comes in, the processor's time for an epoch, in µs."""
CHUNK, UNTIMED = 32, 16
"""Epochs of a turn, and turns before the first that counts: what is recorded or compiled has been by then."""


def environment_of(checkout: Path) -> dict[str, str]:
    """What makes a Python import this checkout's packages before any installed ones."""
    own, others = (str(checkout), str(checkout / "backends")), os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join((*own, others) if others else own)}


def harness_of(checkout: Path) -> str:
    """The package that holds a checkout's workers: that of 0.1 lay in bench itself, and later in a folder of it."""
    older = [name for name in ("bench", "bench.harness") if worker_of(checkout, name).exists()]
    return older[0] if older else "portgnn.benchmark"


def worker_of(checkout: Path, package: str) -> Path:
    """The script that a package of a checkout would have as its worker."""
    return checkout.joinpath(*package.split("."), "worker.py")


def spec(checkout: Path, backend: str) -> WorkerSpec:
    """A worker of one checkout's own code."""
    package = harness_of(checkout)
    script = worker_of(checkout, package)
    return WorkerSpec(backend, f"{package}.own", backend, env=environment_of(checkout), script=script)


def revision(checkout: Path) -> dict[str, Any]:
    """A checkout's commit and whether its files differ from it. Raises SystemExit where it is none of portgnn."""
    if not worker_of(checkout, harness_of(checkout)).exists():
        raise SystemExit(f"{checkout} is no checkout of portgnn: it has no portgnn/benchmark/worker.py")

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return {"commit": git("rev-parse", "--short=12", "HEAD"), "changed": bool(git("status", "--porcelain", "-uno"))}


def time_row(row: dict[str, Any], checkouts: dict[str, Path], graph: Path, plan: Plan) -> dict[str, Any]:
    """One dataset, backend and choice of rows on both sides, with the ratio of after to before.

    Raises WorkerError where a side fails, or computes something else than its own reference.
    """
    recipe = cases.recipe_of(row["recipe"]).to_dict()
    asked = {"graph": str(graph), "recipe": recipe, "device": "cpu", "options": {"form": "csr", "rows": row["rows"]}}
    with ExitStack() as stack:
        entries = []
        for side in SIDES:
            worker = stack.enter_context(WorkerProcess(spec(checkouts[side], row["backend"]), timeout=500.0))
            entry = Entry({"label": side, "baseline_bytes": worker.ask("hello")["baseline_bytes"]}, worker, "only")
            worker.ask("prepare", case="only", keep=False, **asked)
            if plan.verify_epochs:
                verdict = worker.ask("verify", case="only", epochs=plan.verify_epochs)
                if not verdict["passed"]:
                    raise WorkerError("error", f"{side} fails verification: {verdict['reason']}")
            calibrate(entry, plan)
            entries.append(entry)
        # Chunks of one length: a compiler's program, and what a chunk costs beside its epochs, depend on it.
        entries[1].chunk, entries[1].chunks = entries[0].chunk, entries[0].chunks
        if len(run_rounds(entries, plan, 0, lambda label: None)) < len(SIDES):
            raise WorkerError("died", str([entry.row.get("reason") for entry in entries]))
        for entry in entries:
            finish(entry)
            entry.row["peak_bytes"] = entry.worker.ask("memory")["peak_bytes"]
    before, after = (entry.row for entry in entries)
    ratios = round_ratios(entries[0].train, entries[1].train)
    memory = after["peak_bytes"] / before["peak_bytes"]
    return row | {"status": "timed", "time": summary(ratios), "memory": memory, "before": before, "after": after}


def primitives(checkout: Path, graph: Path, recipe: str, rows: str) -> dict[str, int]:
    """How often each primitive of MLX is in one training step on the CPU device."""
    given = json.dumps(cases.recipe_of(recipe).to_dict())
    done = subprocess.run(
        [sys.executable, "-c", COUNT, str(graph), given, rows, harness_of(checkout)],
        env=os.environ | environment_of(checkout), cwd=tempfile.gettempdir(), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise WorkerError("error", done.stderr.strip().splitlines()[-1])
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def steps(checkouts: dict[str, Path], backend: str, rows: str, validates: bool, given: Any) -> dict[str, Any]:
    """µs of the processor for an epoch on both sides: where the fastest tenth of the turns begins, and the ratio."""
    with ExitStack() as stack:
        workers = [stack.enter_context(subprocess.Popen(
            [sys.executable, "-c", STEPS, backend, rows, str(validates), str(CHUNK), given.recipe],
            env=os.environ | environment_of(checkouts[side]), cwd=tempfile.gettempdir(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )) for side in SIDES]  # fmt: skip
        turns = []
        for turn in range(UNTIMED + given.turns):
            times = dict[int, float]()
            for at in (0, 1) if turn % 2 else (1, 0):
                assert workers[at].stdin
                assert workers[at].stdout
                print("go", file=workers[at].stdin, flush=True)
                times[at] = float(workers[at].stdout.readline())
            turns.append([times[0], times[1]])
        for worker in workers:
            assert worker.stdin
            worker.stdin.close()
    before, after = np.quantile(turns[UNTIMED:], 0.1, axis=0).tolist()
    row = {"backend": backend, "rows": rows, "validates": validates, "before": before, "after": after}
    return row | {"ratio": after / before, "turns": given.turns, "load": os.getloadavg()[0]}


def steps_table(document: dict[str, Any]) -> str:
    lines = ["| backend | rows | validation | µs before | µs after | after ÷ before |", "|---|---|---|---:|---:|---:|"]
    for row in document["steps"]:
        compiled = ", compiled loops" if row["libraries"].get("loops", "").startswith("compiled") else ""
        named = f"| {row['backend']}{compiled} | {row['rows']} | {'yes' if row['validates'] else 'no'} |"
        lines.append(f"{named} {row['before']:.0f} | {row['after']:.0f} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    named = f"| {row['dataset']} | {row['backend']} | {row['rows']} |"
    if row["status"] != "timed":
        return f"{named} {row['reason']} | | | | |"
    time, others = row["time"], max(row[side]["others_cores"] or 0.0 for side in SIDES)
    return (
        f"{named} {row['before']['train_ms']['median']:.3g} | {time['median']:.3f} | "
        f"{time['q1']:.3f} to {time['q3']:.3f} | {row['memory']:.3f} | {others:.2f} |"
    )


def table(document: dict[str, Any]) -> str:
    """Ratios of time with their quartiles, of peak memory, cores that others kept busy; then MLX's primitives."""
    if "steps" in document:
        return steps_table(document)
    lines = ["| dataset | backend | rows | ms, before | time, after ÷ before | quartiles | memory | others' cores |"]
    lines += ["|---|---|---|---:|---:|---|---:|---:|", *map(line, document["rows"])]
    for row in document["primitives"]:
        counts = " → ".join(str(sum(row[side].values())) for side in SIDES)
        lines += ["", f"MLX's primitives a step, {row['dataset']}, rows {row['rows']}: {counts}"]
    return "\n".join(lines)


def take(given: argparse.Namespace) -> dict[str, Any]:
    """Every row of the given datasets and backends; the file is written after each, so that none is lost."""
    from portgnn.registry import backend_class
    from portgnn.results.environment import machine

    checkouts = {"before": given.before.resolve(), "after": given.after.resolve()}
    # Validation is not compared, so it is timed once. Three epochs say whether a program is the right one.
    how = {"turn_seconds": given.turn_seconds, "verify_epochs": given.verify_epochs, "quiet_wait": given.quiet_wait}
    plan = Plan(given.rounds, evaluations=1, **how)
    document: dict[str, Any] = {"format": "portgnn-versions", "made": datetime.now(UTC).isoformat(timespec="seconds")}
    document |= {side: revision(path) for side, path in checkouts.items()}
    document["machine"] = machine()
    if given.steps:
        # Beside what an earlier call took, as with other libraries installed.
        kept = given.json is not None and given.json.exists()
        document["steps"] = json.loads(given.json.read_text(encoding="utf-8"))["steps"] if kept else []
        for backend in given.backends:
            for rows, validates in product(given.rows, (False, True)):
                row = steps(checkouts, backend, rows, validates, given)
                document["steps"].append(row | {"libraries": backend_class(backend).environment()})
                write(document, given.json)
        return document
    document |= {"plan": asdict(plan), "rows": [], "primitives": []}
    with tempfile.TemporaryDirectory(prefix="portgnn-versions-") as folder:
        for dataset in given.datasets:
            graph: BenchGraph = cases.load(dataset)
            path = graph.save(Path(folder) / "graph.npz")
            for rows in given.rows:
                for backend in given.backends:
                    row = {"dataset": dataset, "backend": backend, "rows": rows, "recipe": given.recipe}
                    try:
                        row = time_row(row, checkouts, path, plan)
                    except WorkerError as error:
                        row |= {"status": "failed", "reason": f"{error.kind}: {error}"}
                    document["rows"].append(row | {"load": os.getloadavg()[0]})
                    print(line(row), flush=True)
                    write(document, given.json)
                if "mlx" in given.backends:
                    counts = {side: primitives(checkouts[side], path, given.recipe, rows) for side in SIDES}
                    document["primitives"].append({"dataset": dataset, "rows": rows} | counts)
                    write(document, given.json)
    return document


def write(document: dict[str, Any], path: Path | None) -> None:
    if path:
        path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def two_checkouts(description: str | None) -> argparse.ArgumentParser:
    """The arguments of a study that compares two checkouts; see `shown`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, nargs="?", help="the checkout that ratios are over")
    parser.add_argument("--after", type=Path, default=ROOT, help="the other one (default: this script's)")
    parser.add_argument("--json", type=Path, metavar="OUT")
    parser.add_argument("--show", type=Path, metavar="FILE", help="prints the table of a file and takes nothing")
    return parser


def shown(
    parser: argparse.ArgumentParser,
    table: Callable[[dict[str, Any]], str],
    take: Callable[[argparse.Namespace], dict[str, Any]],
) -> int:
    """Prints the table of the file that --show names, or of what `take` measures by the arguments."""
    given = parser.parse_args()
    if not given.show and not given.before:
        parser.error("name a checkout to compare with, or a file by --show")
    print(table(json.loads(given.show.read_text(encoding="utf-8")) if given.show else take(given)))
    return 0


def main() -> int:
    parser = two_checkouts(__doc__)
    parser.add_argument("--datasets", nargs="+", default=DATASETS)
    parser.add_argument("--backends", nargs="+", default=BACKENDS)
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    parser.add_argument("--recipe", default="pyg")
    parser.add_argument("--steps", action="store_true", help="Cora's steps alone, by the processor's time")
    parser.add_argument("--turns", type=int, default=60, help=f"of {CHUNK} epochs, with --steps")
    parser.add_argument("--rounds", type=int, default=Plan.rounds)
    parser.add_argument("--turn-seconds", type=float, default=Plan.turn_seconds)
    parser.add_argument("--verify-epochs", type=int, default=3, help="epochs that each side is verified over; 0: none")
    parser.add_argument("--quiet-wait", type=float, default=Plan.quiet_wait, help="seconds a turn may wait for others")
    return shown(parser, table, take)


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
