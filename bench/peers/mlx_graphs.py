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
from portgnn.benchmark.contender import Program, Recipe, Unsupported
from portgnn.benchmark.graphs import BenchGraph


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


class MLXGraphs:
    """compiled: the training step goes through `mx.compile`."""

    def __init__(self, compiled: bool) -> None:
        self._compiled = compiled

    def environment(self) -> dict[str, Any]:
        return mlx_common.environment() | {"mlx_graphs": version("mlx-graphs")}

    def devices(self) -> tuple[str, ...]:
        return mlx_common.devices()

    def build(self, graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, Any]) -> Program:
        return build(graph, recipe, device, self._compiled)


def contender(argument: str | None) -> MLXGraphs:
    return MLXGraphs(argument == "compiled")


def build(graph: BenchGraph, recipe: Recipe, device: str, compiled: bool) -> Program:
    if recipe.input_dropout:
        raise Unsupported("timed with dropout on hidden layers only")
    mlx_common.use(device)
    x = mx.array(graph.dense_features(recipe.normalize_features))
    # Self-loops are added once, ahead: the layer's own switch would add them again on every call.
    edges = add_self_loops(mx.array(graph.edge_index().astype("int32")))
    mx.eval(x, edges)
    exact = {
        "form": "edges, compiled" if compiled else "edges",
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
        compiled=compiled,
    )
