"""The article's recipe for torch: dense adjacency times (X W + b), dropout between layers, plain Adam."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import torch

from bench.peers import article_protocol, torch_common
from bench.peers.article_common import check_dense
from bench.peers.article_protocol import renumbered
from bench.peers.torch_common import devices, environment
from portgnn.benchmark.contender import Program, Recipe
from portgnn.benchmark.graphs import BenchGraph

__all__ = ["DenseGCN", "build", "compat", "devices", "environment", "hooks"]


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


class TorchHooks:
    """The article's loop for torch. Its weight decay and Adam are right; it is the other framework's that differ."""

    flaws_without_effect = frozenset({"l2-norm", "adam-uncorrected"})

    def __init__(self, graph: BenchGraph, recipe: Recipe, device: str, flaws: frozenset[str], seed: int) -> None:
        torch.manual_seed(seed)
        self._device = device
        self._x = torch.tensor(graph.dense_features(recipe.normalize_features), device=device)
        self._adjacency = torch.tensor(graph.normalised().toarray(), device=device)
        self._labels = torch.tensor(renumbered(graph, flaws, seed), device=device)
        self._index = {name: torch.tensor(getattr(graph, name), device=device) for name in ("train", "val", "test")}
        self._module = DenseGCN(recipe.dimensions(graph), recipe.dropout).to(device)
        self._optimizer = torch.optim.Adam(
            self._module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )

    def step(self) -> torch.Tensor:
        self._module.train()
        self._optimizer.zero_grad()
        logits: torch.Tensor = self._module(self._x, self._adjacency)
        index = self._index["train"]
        torch.nn.functional.cross_entropy(logits[index], self._labels[index]).backward()
        self._optimizer.step()
        return logits.detach()

    def validation(self, logits: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        return self._score(logits, "val")

    def wait(self, *handles: Any) -> None:
        torch_common.synchronize(self._device)

    def number(self, handle: torch.Tensor) -> float:
        return float(handle.item())

    def test_accuracy(self, logits: torch.Tensor | None) -> float:
        return self.number(self._score(logits, "test")[1])

    @torch.no_grad()
    def _score(self, logits: torch.Tensor | None, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        if logits is None:
            self._module.eval()
            logits = self._module(self._x, self._adjacency)
        picked, labels = logits[self._index[split]], self._labels[self._index[split]]
        return torch.nn.functional.cross_entropy(picked, labels), (picked.argmax(dim=1) == labels).float().mean()


def hooks(graph: BenchGraph, recipe: Recipe, device: str, flaws: frozenset[str], seed: int) -> TorchHooks:
    return TorchHooks(graph, recipe, device, flaws, seed)


def compat(**arguments: Any) -> dict[str, Any]:
    return article_protocol.compat(sys.modules[__name__], **arguments)
