"""mlx-graphs: two of its `GCNConv`, which normalise on every call as the library ships them."""

from __future__ import annotations

from importlib.metadata import version
from itertools import pairwise
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_graphs.nn import GCNConv
from mlx_graphs.utils import add_self_loops

from bench.peers import mlx_common
from bench.peers.mlx_common import devices
from portgnn.benchmark.contender import Program, Recipe, Unsupported
from portgnn.benchmark.graphs import BenchGraph

__all__ = ["build", "devices", "environment"]


class Network(nn.Module):
    """GCNConv, relu, dropout, …, GCNConv."""

    def __init__(self, dimensions: tuple[int, ...], dropout: float, bias: bool) -> None:
        super().__init__()
        self.convs = [GCNConv(a, b, bias=bias) for a, b in pairwise(dimensions)]
        self.dropout = nn.Dropout(dropout)

    def __call__(self, edges: mx.array, x: mx.array) -> mx.array:
        for conv in self.convs[:-1]:
            x = self.dropout(nn.relu(conv(edges, x)))
        return self.convs[-1](edges, x)


def environment() -> dict[str, Any]:
    return mlx_common.environment() | {"mlx_graphs": version("mlx-graphs")}


def build(graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, Any]) -> Program:
    if recipe.input_dropout:
        raise Unsupported("timed with dropout on hidden layers only")
    mlx_common.use(device)
    x = mx.array(graph.dense_features(recipe.normalize_features))
    # Self-loops are added once, ahead: the layer's own switch would add them again on every call.
    edges = add_self_loops(mx.array(graph.edge_index().astype("int32")))
    mx.eval(x, edges)
    exact = {
        "form": "edges",
        "rows": "all",
        "features": "dense",
        "bias": "before the propagation",
        "normalisation": "on every call: the layer has no cache",
        "optimizer": "mlx Adam, corrected",
    }
    return mlx_common.ModuleProgram(
        graph,
        recipe,
        device,
        lambda: Network(recipe.dimensions(graph), recipe.dropout, recipe.bias != "none"),
        lambda module: module(edges, x),
        exact,
    )
