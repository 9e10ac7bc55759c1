"""Each network against PyTorch Geometric's own layers with the same parameters: outputs and gradients, float64.

python bench/studies/layers.py [--json bench/results/pyg-layers.json] [--seeds 5]

Parameters are drawn, and none is 0. The gradients are those of a sum of the outputs, each times a drawn number. An
error is the largest difference, divided by the largest number of the array in question or, of gradients, of all of
them.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import scipy.sparse as sp
import torch

from bench.peers.pyg_networks import PyGNetwork
from portgnn.graphs.graph import Graph
from portgnn.models.initial import initial_values
from portgnn.placing import forward
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import preset
from portgnn.protocol import Backend
from portgnn.recipe import Config
from portgnn.registry import get_backend

RESULTS = Path(__file__).parents[1] / "results" / "pyg-layers.json"
BAR = 1e-12
CLASSES = 3

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "GCNConv": ("gcn", {"bias": "after"}),
    "Linear": ("mlp", {}),
    "SGConv": ("sgc", {}),
    "APPNP": ("appnp", {"hidden": 16}),
    "SAGEConv, mean": ("sage", {}),
    "SAGEConv, max": ("sage", {"aggregator": "max"}),
    "GINConv": ("gin", {}),
    "GATConv": ("gat", {"heads": 4}),
    "GATConv, 2 heads at the end": ("gat", {"heads": 3, "output_heads": 2}),
    "GATv2Conv": ("gatv2", {"heads": 4}),
    "GATv2Conv, 2 heads at the end": ("gatv2", {"heads": 3, "output_heads": 2}),
    "GCN2Conv": ("gcn2", {"layers": 8, "hidden": 16}),
    "ChebConv": ("cheb", {"terms": 3}),
    "ChebConv, 5 terms": ("cheb", {"terms": 5}),
}
"""PyG's layer -> portgnn's network and its options."""

DIFFER = {
    ("weighted", "SAGEConv, mean"): "PyG's SAGEConv takes no weights; here the mean is weighted",
    ("weighted", "GINConv"): "PyG's GINConv takes no weights; here the sum is weighted",
    ("loops", "ChebConv"): "PyG removes loops from the Laplacian; here a loop of the data is an edge",
    ("directed", "ChebConv"): "PyG divides by what leaves a node; here by what arrives at it, as all other networks do",
}
"""Where the conventions differ, and how: (graph, layer). Attention and the largest take no weights, here as there."""

GRAPHS = ("plain", "weighted", "isolated", "loops", "directed")


@dataclass(frozen=True)
class Found:
    """The largest errors of one network on one graph."""

    values: float
    gradients: float

    @property
    def largest(self) -> float:
        return max(self.values, self.gradients)


def drawn_graph(kind: str, seed: int, nodes: int = 60, features: int = 9) -> Graph:
    """plain: undirected, each edge weighs 1; isolated: with three nodes without an edge; the others say it."""
    random = np.random.default_rng([seed, GRAPHS.index(kind)])
    dense = np.triu(random.random((nodes, nodes)) < 0.07, 1).astype(np.float64)
    if kind == "weighted":
        dense *= random.choice([0.25, 0.5, 1.0, 3.0], dense.shape)
    dense = dense + dense.T if kind != "directed" else dense + np.tril(random.random(dense.shape) < 0.05, -1)
    if kind == "isolated":
        dense[[0, 20, 59]] = dense[:, [0, 20, 59]] = 0.0
    if kind == "loops":
        dense += np.diag(random.random(nodes) < 0.3).astype(np.float64)
    x = random.standard_normal((nodes, features))
    labels = random.integers(0, CLASSES, nodes)
    labels[:CLASSES] = np.arange(CLASSES)
    return Graph(sp.csr_array(dense), sp.csr_array(x), labels=labels, train=np.arange(20), name=kind)


def recipe(network: str, options: dict[str, Any]) -> Config:
    own = {"normalize_features": "none", "features": "dense", "rows": "all", "undirected": False, **options}
    return preset(None, network, **own)


def ours(
    backend: Backend, prepared: Prepared, params: dict[str, Any], weight: Any
) -> tuple[np.ndarray, dict[str, Any]]:
    """Logits of all nodes and the gradients of their weighted sum."""
    operands = place(backend, prepared, None, training=False)
    on_device = {name: backend.asarray(value) for name, value in params.items()}
    factors = backend.asarray(weight)

    def loss(given: Any) -> tuple[Any, Any]:
        logits = forward.outputs(backend, prepared.layers, given, operands)
        return backend.xp.sum(logits * factors), logits

    (_, logits), grads = backend.value_and_grad(loss)(on_device)
    return backend.to_numpy(logits), {name: backend.to_numpy(grad) for name, grad in grads.items()}


def theirs(graph: Graph, config: Config, params: dict[str, Any], weight: Any) -> tuple[np.ndarray, dict[str, Any]]:
    module = PyGNetwork(config, graph.num_features, graph.num_classes).double().eval()
    module.load(params)
    edges = sp.coo_array(graph.adjacency)  # row i of A has what arrives at i
    index = torch.as_tensor(np.stack([edges.col, edges.row]).astype(np.int64))
    x = torch.as_tensor(graph.features.toarray())
    logits = module(x, index, torch.as_tensor(edges.data))
    (logits * torch.as_tensor(weight)).sum().backward()
    return logits.detach().numpy(), module.gradients()


def compared(backend: Backend, network: str, options: dict[str, Any], kind: str, seed: int) -> Found:
    """One network on one graph, with parameters of a seed."""
    graph, config = drawn_graph(kind, seed), recipe(network, options)
    prepared = Prepared.of(graph, config)
    random = np.random.default_rng([seed, 7])
    params = {
        name: value + 0.2 * random.standard_normal(value.shape)
        for name, value in initial_values(prepared.layers, seed).items()
    }
    weight = random.standard_normal((graph.num_nodes, graph.num_classes))
    (got, grads), (want, slopes) = ours(backend, prepared, params, weight), theirs(graph, config, params, weight)
    scale = max(float(np.abs(value).max()) for value in slopes.values())
    return Found(
        float(np.abs(got - want).max() / np.abs(want).max()),
        max(float(np.abs(grads[name] - slopes[name]).max()) / scale for name in slopes),
    )


def rows(backends: list[str], seeds: int) -> dict[str, Any]:
    """Of each layer on each graph the largest error over seeds, by backend; where conventions differ, how."""
    found: dict[str, Any] = {}
    made = [get_backend(name, device="cpu", dtype="float64") for name in backends]
    for title, (network, options) in NETWORKS.items():
        for kind in GRAPHS:
            why = DIFFER.get((kind, title.partition(", 5")[0]))
            if why:
                found[f"{title} / {kind}"] = {"differs": why}
                continue
            row = {}
            for backend in made:
                each = [compared(backend, network, options, kind, seed) for seed in range(seeds)]
                values, gradients = max(one.values for one in each), max(one.gradients for one in each)
                row[backend.name] = {"values": values, "gradients": gradients}
            found[f"{title} / {kind}"] = row
    return found


def main() -> int:
    import torch_geometric

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--backends", default="numpy,torch")
    options = parser.parse_args()
    found = rows(options.backends.split(","), options.seeds)
    errors = [each for row in found.values() for of in row.values() if isinstance(of, dict) for each in of.values()]
    document = {
        "what": "portgnn's networks and PyG's layers with the same parameters, float64: largest relative difference",
        "versions": {"torch": torch.__version__, "torch_geometric": torch_geometric.__version__},
        "seeds": options.seeds,
        "bar": BAR,
        "largest": max(errors),
        "rows": found,
    }
    options.json.write_text(json.dumps(document, indent=1) + "\n")
    for name, row in found.items():
        print(f"{name:45s}", row.get("differs") or {key: max(of.values()) for key, of in row.items()})
    print(f"largest: {max(errors):.1e}")
    return 0 if max(errors) <= BAR else 1


if __name__ == "__main__":
    from bench.harness.ending import ended

    ended(main)
