"""The article's recipe for MLX: dense adjacency times (X W + b), dropout between layers, one eval an epoch."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from bench.contender import Program, Recipe
from bench.graphs import BenchGraph
from bench.peers import mlx_common
from bench.peers.article_common import check_dense
from bench.peers.mlx_common import devices, environment

__all__ = ["DenseGCN", "build", "devices", "environment"]


class DenseGCN(nn.Module):
    """Layers of A (X W + b) with A dense."""

    def __init__(self, dimensions: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.linears = [nn.Linear(a, b) for a, b in pairwise(dimensions)]
        self.dropout = nn.Dropout(dropout)

    def __call__(self, x: mx.array, adjacency: mx.array) -> mx.array:
        for linear in self.linears[:-1]:
            x = self.dropout(nn.relu(adjacency @ linear(x)))
        return adjacency @ self.linears[-1](x)


def build(graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, Any]) -> Program:
    check_dense(graph, recipe)
    mlx_common.use(device)
    x, adjacency = mx.array(graph.dense_features(recipe.normalize_features)), mx.array(graph.normalised().toarray())
    exact = {"form": "dense", "rows": "all", "features": "dense", "bias": "before", "optimizer": "mlx Adam, corrected"}
    return mlx_common.ModuleProgram(
        graph,
        recipe,
        device,
        lambda: DenseGCN(recipe.dimensions(graph), recipe.dropout),
        lambda module: module(x, adjacency),
        exact,
    )
