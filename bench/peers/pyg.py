"""PyTorch Geometric's `GCN`, after its benchmark/citation: cached normalisation, dense features, all rows."""

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
    """form "edge_index": the published form. "csr": the adjacency as torch's CSR tensor, normalised ahead."""

    def __init__(self, form: str) -> None:
        self._form = form

    def environment(self) -> dict[str, Any]:
        facts = torch_common.environment() | {"torch_geometric": torch_geometric.__version__}
        for name in ACCELERATORS:
            try:
                facts[name] = importlib.metadata.version(name.replace("_", "-"))
            except importlib.metadata.PackageNotFoundError:
                facts[name] = None
        return facts

    def devices(self) -> tuple[str, ...]:
        return torch_common.devices()

    def build(self, graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, Any]) -> Program:
        if recipe.bias == "before":
            raise Unsupported("GCNConv adds its bias after the propagation")
        dimensions = recipe.dimensions(graph)
        x = torch.tensor(graph.dense_features(recipe.normalize_features), device=device)
        edges = torch.tensor(graph.edge_index(), device=device)
        if self._form == "csr":
            index, weight = gcn_norm(edges, None, graph.nodes, False, True, "source_to_target", x.dtype)
            assert weight is not None
            shape = (graph.nodes, graph.nodes)
            edges = torch.sparse_coo_tensor(index.flip(0), weight, shape).coalesce().to_sparse_csr()

        def make() -> torch.nn.Module:
            # The cache is of no use to a matrix that is normalised already.
            how: dict[str, Any] = {"cached": True} if self._form == "edge_index" else {"normalize": False}
            return GCN(
                dimensions[0], recipe.hidden, recipe.layers, dimensions[-1], recipe.dropout,
                bias=recipe.bias != "none", **how,
            )  # fmt: skip

        def forward(module: torch.nn.Module) -> torch.Tensor:
            hidden = x
            if recipe.input_dropout:
                hidden = torch.nn.functional.dropout(x, recipe.input_dropout, module.training)
            logits: torch.Tensor = module(hidden, edges)
            return logits

        exact = {"form": self._form, "rows": "all", "features": "dense", "optimizer": "torch.optim.Adam"}
        if recipe.l2:
            exact["l2"] = "none: the citation benchmark has it as weight decay on all parameters"
        return torch_common.ModuleProgram(graph, recipe, device, make, forward, exact)


def contender(argument: str | None) -> PyG:
    return PyG(argument or "edge_index")
