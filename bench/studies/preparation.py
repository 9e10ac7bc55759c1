"""What passes before the first step: from a `Graph` in memory to the first step's end, and a whole short training.

    git worktree add ../before v0.1
    python bench/studies/preparation.py --before ../before --json bench/results/preparation-cpu.json
    python bench/studies/preparation.py --device cuda --backends torch --edges 1e8 --json preparation-gpu.json
    python bench/studies/preparation.py --show bench/results/preparation-cpu.json

A random graph with communities (50 stored edges a node, half of the nodes in training, 64 features, hidden 64), made
once, and each figure from a process of its own that has imported and computed with the backend before. `step`: the
recipe `pyg` without validation, to the end of the first step. `train`: `portgnn.train(graph, epochs=3)`, with checks,
fingerprint, validation and test. Sides and rounds take turns, and the least of the rounds is told beside their median:
other work on the machine only adds. CPU seconds are those of all threads. Phases are what `train` spends in some
functions, without what they call of each other. Peaks are of the whole process after the graph was made. Peers: the
same step in their own environment, for memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import scipy.sparse as sp

HERE = Path(__file__).resolve().parents[2]
CLASSES, DEGREE, WIDTH, HIDDEN = 10, 50, 64, 64
PARTS = ("train", "val", "test")
PHASES = {
    "Graph checks": ("portgnn.graphs.checks:checked_adjacency", "portgnn.graphs.checks:checked_features"),
    "is undirected": ("portgnn.graphs.graph:is_symmetric",),
    "fingerprint": ("portgnn._request:fingerprints",),
    "A + I": ("portgnn.placing.edges:Looped.of",),
    "weights": ("portgnn.placing.edges:Looped.weighted",),
    "receptive field and cut": ("portgnn.placing.whole:field_in",),
    "A·X": ("portgnn.placing.whole:dense_product",),
    "element numbers": ("portgnn.placing.whole:layer_elements", "portgnn.placing.whole:layer_edge_elements"),
    "upload": ("portgnn.placing.whole:placed_features", "portgnn.placing.whole:placed_once",
               "portgnn.placing.whole:on_device"),
    "transpose": ("portgnn_torch.sparse:turned",),
    "epochs": ("portgnn.training.course:Course.advance",),
    "test": ("portgnn.training.whole:WholeGraph.scores",),
}  # fmt: skip
"""Functions by what they do, where they are called from. Those that a checkout or a backend lacks are left out."""


def drawn(folder: Path, edges: int) -> dict[str, Any]:
    """Writes a graph of about so many stored edges as arrays, and returns its sizes."""
    draw, n = np.random.default_rng(0), max(edges // DEGREE, 100)
    source = draw.integers(0, n, edges // 2, dtype=np.int32)
    near = (source + 1 + draw.integers(0, max(n // 100, 2), len(source), dtype=np.int32)) % n
    target = np.where(draw.random(len(source), dtype=np.float32) < 0.9, near, draw.integers(0, n, len(source)))
    target = target.astype(np.int32)
    proper = source != target
    source, target = source[proper], target[proper]
    both = (np.concatenate([source, target]), np.concatenate([target, source]))
    adjacency = sp.csr_array((np.ones(len(both[0]), dtype=np.float32), both), shape=(n, n))
    adjacency.sum_duplicates()
    labels = np.arange(n) * CLASSES // n
    features = draw.standard_normal((n, WIDTH), dtype=np.float32)
    features += (0.3 * draw.standard_normal((CLASSES, WIDTH))).astype(np.float32)[labels]
    order, held = draw.permutation(n), min(n // 10, 10_000)
    arrays = {"indices": adjacency.indices.astype(np.int32), "indptr": adjacency.indptr, "features": features}
    arrays |= {"labels": labels, "train": order[2 * held : max(n // 2, 3 * held)]}
    arrays |= {"val": order[:held], "test": order[held : 2 * held]}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return {"nodes": n, "stored_edges": int(adjacency.nnz), "features": WIDTH, "hidden": HIDDEN,
            "training_nodes": len(arrays["train"])}  # fmt: skip


class Clock:
    """Wall and CPU seconds of what was called, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._local = threading.local()  # a thread's calls are nested in its own alone

    @property
    def _inner(self) -> list[list[float]]:
        found: list[list[float]] = self._local.__dict__.setdefault("inner", [])
        return found

    def __call__(self, name: str, function: Callable[[], Any]) -> Any:
        self._inner.append([0.0, 0.0])
        before = time.perf_counter(), time.process_time()
        result = function()
        spent = [time.perf_counter() - before[0], time.process_time() - before[1]]
        inner = self._inner.pop()
        told = self.seconds.setdefault(name, [0.0, 0.0])
        for at in range(2):
            told[at] += spent[at] - inner[at]
            if self._inner:
                self._inner[-1][at] += spent[at]
        return result

    def watch(self, name: str, path: str) -> None:
        """Times the calls of a function from now on."""
        module, _, attribute = path.partition(":")
        *outer, last = attribute.split(".")
        try:
            owner: Any = import_module(module)
            for each in outer:
                owner = getattr(owner, each)
            found = owner.__dict__[last]
        except (ImportError, AttributeError, KeyError):
            return
        function = found.__func__ if isinstance(found, classmethod) else found

        @wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            return self(name, lambda: function(*given, **named))

        setattr(owner, last, classmethod(timed) if isinstance(found, classmethod) else timed)


def peak_bytes() -> int:
    """The most memory that this process has had."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def made_graph(folder: Path, clock: Clock) -> Any:
    portgnn = import_module("portgnn")
    part = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    n = len(part["labels"])
    ones = np.ones(len(part["indices"]), dtype=np.float32)
    adjacency = sp.csr_array((ones, part["indices"], part["indptr"]), shape=(n, n))
    splits = {name: part[name] for name in PARTS}
    return clock("Graph", lambda: portgnn.Graph(adjacency, part["features"], part["labels"], name="drawn", **splits))


def first_step(graph: Any, backend: Any, rows: str, clock: Clock) -> None:
    """From the graph to the end of the first step, by what this checkout calls its parts."""
    training, presets = import_module("portgnn.training"), import_module("portgnn.presets")
    try:
        prepared_class = import_module("portgnn.placing.prepared").Prepared
    except ImportError:  # 0.1
        prepared_class = import_module("portgnn.operands").Prepared
    keys = import_module("portgnn.random").dropout_keys(0, range(1), 2)
    config = presets.preset("pyg", hidden=HIDDEN, rows=rows)

    def step() -> None:
        prepared = prepared_class.of(graph, config)
        run = training.make_run(backend, prepared, validate=False)
        state, _ = run(training.initial_state(backend, prepared, 0), keys)
        backend.synchronize(*state.values())

    clock("step", step)


def worked(backend: Any, device: str) -> None:
    """A training on a few nodes: what is imported, compiled or loaded when it is first used is then there."""
    portgnn = import_module("portgnn")
    draw = np.random.default_rng(0)
    edges, labels = draw.integers(0, 200, (2000, 2)), draw.integers(0, CLASSES, 200)
    features = draw.standard_normal((200, WIDTH)).astype(np.float32)
    names = tuple(map(str, range(CLASSES)))
    parts = {"train": np.arange(80), "val": np.arange(80, 120), "test": np.arange(120, 160)}
    graph = portgnn.Graph.from_edges(edges, features, labels, class_names=names, **parts)
    for preset in ({"preset": "pyg", "hidden": HIDDEN}, {}):
        portgnn.train(graph, backend=backend, device=device, epochs=3, **preset)


def one(task: dict[str, Any]) -> dict[str, Any]:
    """A figure, in this process."""
    clock, device = Clock(), task["device"]
    worked(task["backend"], device)
    backend = import_module("portgnn.registry").backend_class(task["backend"])(device, "float32")
    before = peak_bytes()
    if task["kind"] == "phases":
        for name, paths in PHASES.items():
            for path in paths:
                clock.watch(name, path)
    graph = made_graph(Path(task["folder"]), clock)
    if task["kind"] == "step":
        first_step(graph, backend, task["rows"], clock)
    else:
        train = import_module("portgnn").train
        clock("train", lambda: train(graph, backend=task["backend"], device=device, epochs=3))
    return {"seconds": clock.seconds, "peak_bytes": peak_bytes(), "start_bytes": before}


def asked(checkout: Path, task: dict[str, Any]) -> dict[str, Any]:
    """The same in a process of its own, with a checkout's code."""
    path = os.pathsep.join((str(checkout), str(checkout / "backends"), os.environ.get("PYTHONPATH", "")))
    command = [sys.executable, __file__, "--one", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, check=False)
    if done.returncode:
        raise SystemExit(f"{task}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(options: argparse.Namespace, folder: Path, backend: str) -> list[dict[str, Any]]:
    """Rows of one backend: each side and kind, and what the phases of the newer side take."""
    sides = {"before": options.before, "after": HERE} if options.before else {"after": HERE}
    kinds = [("step", rows) for rows in options.rows.split(",")] + [("train", "")]
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for number in range(options.rounds):
        for kind, rows in kinds:
            # 0.1 knows no auto: its default stands for it.
            each = [(side, "needed" if side == "before" and rows == "auto" else rows) for side in sides]
            for side, has in each if number % 2 else each[::-1]:
                task = {"kind": kind, "rows": has, "backend": backend, "device": options.device, "folder": str(folder)}
                found.setdefault((kind, rows, side), []).append(asked(sides[side], task))
    made = []
    for (kind, rows, side), results in found.items():
        wall, cpu = zip(*(result["seconds"][kind] for result in results), strict=True)
        row = {"backend": backend, "kind": kind, "rows": rows, "side": side, "rounds": len(results)}
        row |= {"seconds": {"least": min(wall), "median": median(wall)}, "cpu_seconds": {"least": min(cpu)}}
        made.append(row | {"peak_bytes": min(result["peak_bytes"] for result in results)})
    task = {"kind": "phases", "rows": "", "backend": backend, "device": options.device, "folder": str(folder)}
    made.append({"backend": backend, "kind": "phases"} | asked(HERE, task))
    return made


def peer_row(name: str, python: str, folder: Path) -> dict[str, Any]:
    """Memory and the first step of a peer on the same graph."""
    from bench.harness.known_peers import PEERS, peer_spec
    from portgnn.benchmark.cases import recipe_of
    from portgnn.benchmark.client import WorkerProcess
    from portgnn.benchmark.graphs import BenchGraph

    part = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    n = len(part["labels"])
    ones = np.ones(len(part["indices"]), dtype=np.float32)
    adjacency = sp.csr_array((ones, part["indices"], part["indptr"]), shape=(n, n))
    splits = [np.sort(part[each]) for each in PARTS]
    path = BenchGraph("drawn", adjacency, part["features"], part["labels"], *splits, CLASSES).save(folder / "peer.npz")
    with WorkerProcess(peer_spec(name, {"": python}), timeout=600) as worker:
        worker.ask("hello")
        recipe = recipe_of("pyg", hidden=HIDDEN).to_dict()
        built = worker.ask("prepare", keep=False, case="a", graph=str(path), recipe=recipe, device="cpu", options={})
        first = worker.ask("time", case="a", chunk=1, chunks=1)["seconds"][0]
        peak = worker.ask("memory")["peak_bytes"]
    path.unlink()
    row = {"backend": PEERS[name].title, "kind": "step", "rows": "all", "side": "peer", "peak_bytes": peak}
    return row | {"seconds": {"least": built["seconds"] + first}}


def shown(document: dict[str, Any]) -> str:
    """Tables of the figures, in Markdown."""
    lines = []
    for run in document["graphs"]:
        graph = run["graph"]
        lines += [f"{graph['stored_edges']:,} stored edges, {graph['nodes']:,} nodes, {document['device']}", ""]
        lines += ["| | what | rows | side | s | CPU s | peak MiB |", "|---|---|---|---|---:|---:|---:|"]
        for row in run["rows"]:
            if row["kind"] != "phases":
                cpu = row.get("cpu_seconds", {}).get("least")
                cells = [row["backend"], row["kind"], row["rows"] or "–", row["side"], f"{row['seconds']['least']:.2f}"]
                cells += ["–" if cpu is None else f"{cpu:.2f}", f"{row['peak_bytes'] / 2**20:,.0f}"]
                lines.append("| " + " | ".join(cells) + " |")
        for row in run["rows"]:
            if row["kind"] == "phases":
                lines += ["", f"Phases of train, {row['backend']}:", "", "| phase | s | CPU s |", "|---|---:|---:|"]
                lines += [f"| {name} | {wall:.3f} | {cpu:.3f} |" for name, (wall, cpu) in row["seconds"].items()]
        lines.append("")
    return "\n".join(lines)


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", default="1e6,1e7", help="stored edges, with commas between")
    parser.add_argument("--backends", default="torch,numpy")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", default="auto,needed,all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--before", type=Path, help="a checkout of an older version, to measure beside this one")
    parser.add_argument("--peers", default="", help="names of peers, with commas between, for their memory")
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter that has them")
    parser.add_argument("--remark", default="", help="kept in the file: what a reader should know of the machine")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument("--show", type=Path, help="print a result, and measure nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = options_of()
    if options.one:
        print(json.dumps(one(json.loads(options.one))))
        return
    if options.show:
        print(shown(json.loads(options.show.read_text())))
        return
    from portgnn.results.environment import machine

    document: dict[str, Any] = {"machine": machine(), "device": options.device, "remark": options.remark, "graphs": []}
    for edges in (int(float(each)) for each in options.edges.split(",")):
        with tempfile.TemporaryDirectory(prefix="portgnn-preparation-") as name:
            run: dict[str, Any] = {"graph": drawn(Path(name), edges), "rows": []}
            document["graphs"].append(run)
            for backend in options.backends.split(","):
                run["rows"] += measured(options, Path(name), backend)
            for peer in filter(None, options.peers.split(",")):
                run["rows"].append(peer_row(peer, options.peer_python, Path(name)))
        if options.json:
            options.json.write_text(json.dumps(document, indent=1) + "\n")
    print(shown(document))


if __name__ == "__main__":
    if "--one" not in sys.argv:  # a figure comes from the checkout that PYTHONPATH names
        sys.path[:0] = [str(HERE), str(HERE / "backends")]
    sys.path.append(str(HERE))
    from bench.harness.ending import ended

    ended(main)
