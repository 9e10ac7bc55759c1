"""One training step at the size of ogbn-arxiv on a CUDA device: torch and JAX beside PyG, time and peak memory.

    python bench/studies/large_step.py --json bench/results/arxiv-h100.json

169,343 nodes, about 2.3M stored edges with a heavy tail, 128 dense features, hidden 128, 40 classes, 90,000 training
nodes; preset `pyg`. Memory is torch's own peak above what was held before, so it is given for torch and PyG alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from portgnn.graphs.graph import Graph
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset
from portgnn.protocol import Backend
from portgnn.random import dropout_keys
from portgnn.registry import backend_class
from portgnn.results.environment import machine
from portgnn.training import initial_state, make_run

NODES, FEATURES, HIDDEN, CLASSES, DRAWN_EDGES = 169_343, 128, 128, 40, 1_166_000


def arxiv_sized() -> Graph:
    generator = np.random.default_rng(0)
    weight = generator.pareto(2.0, NODES) + 1
    share = weight / weight.sum()
    edges = np.stack([generator.choice(NODES, DRAWN_EDGES, p=share) for _ in range(2)], axis=1)
    edges = edges[edges[:, 0] != edges[:, 1]]
    labels, order = generator.integers(0, CLASSES, NODES), generator.permutation(NODES)
    features = generator.standard_normal((NODES, FEATURES)).astype(np.float32)
    names = tuple(str(number) for number in range(CLASSES))
    parts = {"train": order[:90_000], "val": order[90_000:120_000], "test": order[120_000:]}
    return Graph.from_edges(edges, features, labels, name="arxiv-size", class_names=names, **parts)


def measured(step: Callable[[], None], repeats: int, epochs: int) -> dict[str, float]:
    step()
    torch.cuda.synchronize()
    times = []
    for _ in range(repeats):
        clock = time.perf_counter()
        step()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - clock) / epochs * 1e3)
    return {"train_ms": float(np.median(times)), "min_ms": min(times), "max_ms": max(times)}


def ours(backend: Backend, graph: Graph, rows: str) -> dict[str, float]:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    prepared = Prepared.of(graph, preset("pyg", hidden=HIDDEN, normalize_features=False, rows=rows))
    run, state = make_run(backend, prepared, validate=False), initial_state(backend, prepared, 0)
    keys = dropout_keys(0, range(8), 2)

    def step() -> None:
        nonlocal state
        state, _ = run(state, keys)
        backend.synchronize(*state.values())

    result = measured(step, 5, 8)
    if backend.name == "torch":  # JAX allocates from a pool of its own
        result["peak_mb"] = (torch.cuda.max_memory_allocated() - held) / 1e6
    return result


def pyg(graph: Graph) -> dict[str, float]:
    from torch_geometric.nn import GCNConv

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = GCNConv(FEATURES, HIDDEN, cached=True)
            self.second = GCNConv(HIDDEN, CLASSES, cached=True)

        def forward(self, x: Any, edges: Any) -> Any:
            return self.second(F.dropout(F.relu(self.first(x, edges)), 0.5, self.training), edges)

    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    adjacency = graph.adjacency.tocoo()
    edges = torch.tensor(np.stack([adjacency.col, adjacency.row]).astype(np.int64), device="cuda")
    x, labels = torch.tensor(graph.features, device="cuda"), torch.tensor(graph.labels, device="cuda")
    train = torch.tensor(graph.train, device="cuda")
    net = Net().cuda()
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=5e-4)

    def step() -> None:
        net.train()
        optimizer.zero_grad()
        F.cross_entropy(net(x, edges)[train], labels[train]).backward()
        optimizer.step()

    for _ in range(5):
        step()
    return measured(step, 30, 1) | {"peak_mb": (torch.cuda.max_memory_allocated() - held) / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    graph = arxiv_sized()
    results: dict[str, Any] = {"PyG GCN": pyg(graph)}
    for name in ("torch", "jax"):
        for rows in ("needed", "all"):
            results[f"portgnn {name}, rows={rows}"] = ours(backend_class(name)("cuda", "float32"), graph, rows)
    document = {"machine": machine(), "stored_edges": int(graph.adjacency.nnz), "results": results}
    print(json.dumps(document, indent=1))
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
