"""Neighbour sampling: seeds a second, memory with the graph on disk, accuracy beside the full batch.

    python bench/studies/sampling.py speed  [--nodes 1000000 --edges 10000000] --json OUT
    python bench/studies/sampling.py memory [--nodes 1000000 --edges 10000000] --json OUT
    python bench/studies/sampling.py accuracy [--seeds 10] --json OUT

`speed` samples 2-layer neighbourhoods (fan-out 15,10) with portgnn's sampler, from memory and from disk, and with
SciPy row slicing and a draw for each row, which is what is left to users without a compiled sampler; PyG's
NeighborLoader is timed where it runs, and says why where it does not. `memory` trains an epoch in a process of its
own and reads its peak resident memory, memory-mapped pages included. --edges are undirected; twice as many are stored.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from bench.studies.scaling_graphs import on_disk
from portgnn import get_backend, load_graph, train
from portgnn.disk.folder import DiskGraph
from portgnn.graphs.split import split
from portgnn.loaders.batch import assemble
from portgnn.loaders.engine import Sampled
from portgnn.loaders.neighbor import hop_keys, sample
from portgnn.loaders.on_disk import OnDisk
from portgnn.loaders.rooms import Rooms
from portgnn.loaders.source import InMemory, Source
from portgnn.placing.prepared import Prepared
from portgnn.presets import Config
from portgnn.training import fit

FANOUT = "15,10"
BATCH = 1024
SEEDS = 12_800
SMALL_BATCH = 64
"""Of the memory measurement: what a batch reads grows with it, and with it what memory holds."""


def rate(batch: Callable[[np.ndarray[Any, Any], np.random.Generator], object], nodes: int, seconds: float) -> float:
    """Seeds of `batch(seeds, draw)` in a second of the processor, after one call to warm up."""
    draw = np.random.default_rng(0)
    clock, done = 0.0, -BATCH
    while clock < seconds:
        seeds = np.sort(draw.choice(nodes, BATCH, replace=False))
        start = time.process_time()
        batch(seeds, draw)
        clock += (time.process_time() - start) if done >= 0 else 0.0
        done += BATCH
    return done / clock


def sliced(
    adjacency: sp.csr_array, seeds: np.ndarray[Any, Any], fanouts: tuple[int | None, ...], draw: np.random.Generator
) -> np.ndarray[Any, Any]:
    """The same fan-outs by slicing the matrix and drawing row by row."""
    level = seeds
    for fanout in reversed(fanouts):
        rows = adjacency[level]
        picked = [level]
        for start, end in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
            row = rows.indices[start:end]
            picked.append(row if len(row) <= (fanout or 0) else draw.choice(row, fanout, replace=False))
        level = np.unique(np.concatenate(picked))
    return level


def pyg_rate(graph: DiskGraph, seconds: float) -> float | str:
    """Seeds a second of PyG's NeighborLoader, or why there is none."""
    try:
        import torch
        from torch_geometric.data import Data
        from torch_geometric.loader import NeighborLoader

        indptr, indices = graph.map("indptr").array, graph.map("indices").array
        target = np.repeat(np.arange(graph.num_nodes), np.diff(indptr))
        edges = torch.tensor(np.stack([indices.astype(np.int64), target]))
        data = Data(edge_index=edges, num_nodes=graph.num_nodes)
        loader = iter(NeighborLoader(data, num_neighbors=[15, 10], batch_size=BATCH, shuffle=True))
        return rate(lambda seeds, draw: next(loader), graph.num_nodes, seconds)
    except ImportError as error:
        return f"not run: {error}"


def speed(arguments: argparse.Namespace) -> dict[str, Any]:
    graph = on_disk(arguments.folder, arguments.nodes, arguments.edges, arguments.width)
    config = Config(loader="neighbor", fanout=FANOUT, normalize_features="none")
    memory, disk = InMemory(Prepared.of(graph.load(), config)), OnDisk(graph, config)
    fanouts, nodes, limit = config.fanouts(2), graph.num_nodes, arguments.seconds

    def sampled(source: Source, whole: bool) -> float:
        rooms = Rooms()

        def batch(seeds: np.ndarray[Any, Any], draw: np.random.Generator) -> None:
            block = sample(source, seeds, fanouts, hop_keys(draw, len(fanouts)))
            if whole:
                rooms.given_back(assemble(source, block, "float32", rooms).borrowed)

        return rate(batch, nodes, limit)

    adjacency = memory.prepared.adjacency
    return {
        "kind": "sampling-speed", "nodes": nodes, "edges": graph.num_edges, "features": graph.num_features,
        "fanout": FANOUT, "batch": BATCH, "cores": os.cpu_count(),
        "seeds_per_s": {
            "portgnn, in memory": sampled(memory, False),
            "portgnn, in memory, with features and padding": sampled(memory, True),
            "portgnn, on disk": sampled(disk, False),
            "portgnn, on disk, with features and padding": sampled(disk, True),
            "SciPy row slicing": rate(lambda seeds, draw: sliced(adjacency, seeds, fanouts, draw), nodes, limit),
            "PyG NeighborLoader": pyg_rate(graph, limit),
        },
    }  # fmt: skip


def memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """Peak memory of one process that trains from disk, and of one that only imports."""
    graph = on_disk(arguments.folder, arguments.nodes, arguments.edges, arguments.width)
    code = "import sys; sys.path.insert(0, sys.argv[1]); from bench.studies.sampling import {0}; {0}(*sys.argv[2:])"
    root = str(Path(__file__).resolve().parents[2])

    def measured(name: str, *words: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", code.format(name), root, *words], capture_output=True, text=True, timeout=3600
        )
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    idle, trained = measured("idle"), measured("one_epoch", str(graph.path), arguments.backend)
    return {
        "kind": "sampling-memory", "nodes": graph.num_nodes, "edges": graph.num_edges, "backend": arguments.backend,
        "features": graph.num_features, "graph_bytes": graph.bytes, "fanout": FANOUT, "batch": SMALL_BATCH,
        "peak_bytes": trained["peak"], "peak_bytes_of_imports": idle["peak"], "epoch_s": trained["seconds"],
        "share_of_graph": trained["peak"] / graph.bytes,
    }  # fmt: skip


def idle() -> None:
    print(json.dumps({"peak": peak()}))


def one_epoch(path: str, backend: str) -> None:
    """An epoch of `SEEDS` training nodes, exact validation on all held-out nodes, and the test."""
    graph = DiskGraph(path)
    graph.train = split(graph, "train").nodes[:SEEDS]
    config = Config(loader="neighbor", fanout=FANOUT, batch_size=SMALL_BATCH, epochs=1, normalize_features="none")
    made, source = get_backend(backend), OnDisk(graph, config)
    engine = Sampled(made, source)
    clock = time.perf_counter()
    done = fit(engine, 0)
    engine.scores(done.params, split(graph, "test").nodes)
    print(json.dumps({"peak": peak(), "seconds": time.perf_counter() - clock}))


def peak() -> int:
    """Peak resident bytes of this process, pages of mapped files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def accuracy(arguments: argparse.Namespace) -> dict[str, Any]:
    """Mean test accuracy over seeds: sampled batches and the full batch, same recipe."""
    found: dict[str, Any] = {}
    for name in ("cora", "citeseer"):
        graph = load_graph(name)
        means = {}
        for title, options in (
            ("full", {}), ("neighbor 15,10", {"loader": "neighbor", "fanout": FANOUT}),
            ("neighbor 5,5, batches of 32", {"loader": "neighbor", "fanout": "5,5", "batch_size": 32}),
        ):  # fmt: skip
            runs = [train(graph, backend=arguments.backend, seed=seed, **options) for seed in range(arguments.seeds)]
            scores = [float(run.test_accuracy or 0.0) for run in runs]
            means[title] = {"mean": float(np.mean(scores)), "deviation": float(np.std(scores)), "scores": scores}
        found[name] = means
    return {"kind": "sampling-accuracy", "seeds": arguments.seeds, "test_accuracy": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "memory", "accuracy"])
    parser.add_argument("--nodes", type=int, default=1_000_000)
    parser.add_argument("--edges", type=int, default=10_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--backend", default="numpy")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--json", type=Path, help="append the result to this file, a JSON list")
    arguments = parser.parse_args()
    result = {"speed": speed, "memory": memory, "accuracy": accuracy}[arguments.what](arguments)
    print(json.dumps(result, indent=1))
    if arguments.json:
        results = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
        arguments.json.write_text(json.dumps([*results, result], indent=1) + "\n")


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
