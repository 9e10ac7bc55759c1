"""PyTorch Geometric's `GCN`, after its benchmark/citation: cached normalisation, dense features, all rows.

As published, and as a careful user runs it: the adjacency in CSR, the model compiled, the whole step in a CUDA graph.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

import torch
import torch_geometric
from torch_geometric.nn import GCN
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from bench.peers import torch_common
from portgnn.benchmark.contender import Program, Recipe, Unsupported
from portgnn.benchmark.graphs import BenchGraph

ACCELERATORS = ("torch_scatter", "torch_sparse", "pyg_lib")


class PyG:
    """how: words of "edge_index", the published form; "csr", the adjacency as torch's CSR tensor, normalised ahead;
    "compiled", called through `torch.compile`; "captured", the whole step in a CUDA graph.
    """

    def __init__(self, how: str) -> None:
        words = how.split("+")
        self._form = "csr" if "csr" in words else "edge_index"
        self._compiled, self._captured = "compiled" in words, "captured" in words

    def environment(self) -> dict[str, Any]:
        facts = torch_common.environment() | {"torch_geometric": torch_geometric.__version__}
        for name in ACCELERATORS:
            try:
                facts[name] = importlib.metadata.version(name.replace("_", "-"))
            except importlib.metadata.PackageNotFoundError:
                facts[name] = None
        return facts

    def devices(self) -> tuple[str, ...]:
        return tuple(d for d in torch_common.devices() if d == "cuda" or not self._captured)

    def build(self, graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, Any]) -> Program:
        if recipe.bias == "before":
            raise Unsupported("GCNConv adds its bias after the propagation")
        dimensions = recipe.dimensions(graph)
        x = torch.tensor(graph.dense_features(recipe.normalize_features), device=device)
        edges = torch.tensor(graph.edge_index(), device=device)
        # GCN's own cache is filled in the first call and emptied with the parameters: no use to what runs compiled.
        ahead = self._form == "csr" or self._compiled or self._captured
        weight = None
        if ahead:
            index, weight = gcn_norm(edges, None, graph.nodes, False, True, "source_to_target", x.dtype)
            assert weight is not None
            edges = index
        if self._form == "csr":
            shape = (graph.nodes, graph.nodes)
            edges = torch.sparse_coo_tensor(index.flip(0), weight, shape).coalesce().to_sparse_csr()
            weight = None

        def make() -> torch.nn.Module:
            how: dict[str, Any] = {"normalize": False} if ahead else {"cached": True}
            return GCN(
                dimensions[0], recipe.hidden, recipe.layers, dimensions[-1], recipe.dropout,
                bias=recipe.bias != "none", **how,
            )  # fmt: skip

        def forward(module: torch.nn.Module) -> torch.Tensor:
            hidden = x
            if recipe.input_dropout:
                hidden = torch.nn.functional.dropout(x, recipe.input_dropout, module.training)
            logits: torch.Tensor = module(hidden, edges) if weight is None else module(hidden, edges, weight)
            return logits

        words = [self._form, *(["compiled"] if self._compiled else []), *(["captured"] if self._captured else [])]
        exact = {"form": ", ".join(words), "rows": "all", "features": "dense", "optimizer": "torch.optim.Adam"}
        if recipe.l2:
            exact["l2"] = "none: the citation benchmark has it as weight decay on all parameters"
        how = {"compiled": self._compiled, "captured": self._captured}
        return torch_common.ModuleProgram(graph, recipe, device, make, forward, exact, **how)


def contender(argument: str | None) -> PyG:
    return PyG(argument or "edge_index")
