"""The article's recipe for torch: dense adjacency times (X W + b), dropout between layers, plain Adam."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch

from bench.contender import Program, Recipe
from bench.graphs import BenchGraph
from bench.peers import torch_common
from bench.peers.article_common import check_dense
from bench.peers.torch_common import devices, environment

__all__ = ["DenseGCN", "build", "devices", "environment"]


class DenseGCN(torch.nn.Module):
    """Layers of A (X W + b) with A dense."""

    def __init__(self, dimensions: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.weights = torch.nn.ParameterList(
            torch.nn.init.xavier_uniform_(torch.empty(a, b)) for a, b in pairwise(dimensions)
        )
        self.biases = torch.nn.ParameterList(torch.zeros(width) for width in dimensions[1:])
        self.rate = dropout

    def forward(self, x: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = adjacency @ (x @ weight + bias)
            if layer < last:
                x = torch.nn.functional.dropout(torch.relu(x), self.rate, self.training)
        return x


def build(graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, Any]) -> Program:
    check_dense(graph, recipe)
    x = torch.tensor(graph.dense_features(recipe.normalize_features), device=device)
    adjacency = torch.tensor(graph.normalised().toarray(), device=device)
    exact = {"form": "dense", "rows": "all", "features": "dense", "bias": "before", "optimizer": "torch.optim.Adam"}
    return torch_common.ModuleProgram(
        graph,
        recipe,
        device,
        lambda: DenseGCN(recipe.dimensions(graph), recipe.dropout),
        lambda module: module(x, adjacency),
        exact,
    )
