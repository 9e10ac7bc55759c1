"""The article's recipe for MLX: dense adjacency times (X W + b), dropout between layers, one eval an epoch."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_flatten

from bench.peers import article_protocol, mlx_common
from bench.peers.article_common import check_dense
from bench.peers.article_protocol import renumbered
from bench.peers.mlx_common import devices, environment
from portgnn.benchmark.contender import Program, Recipe
from portgnn.benchmark.graphs import BenchGraph

__all__ = ["DenseGCN", "build", "compat", "devices", "environment", "hooks"]


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


class MLXHooks:
    """The article's loop for MLX: parameters and optimizer are evaluated in the step, the validation is not."""

    flaws_without_effect: frozenset[str] = frozenset()

    def __init__(self, graph: BenchGraph, recipe: Recipe, device: str, flaws: frozenset[str], seed: int) -> None:
        mlx_common.use(device)
        mx.random.seed(seed)
        self._x = mx.array(graph.dense_features(recipe.normalize_features))
        self._adjacency = mx.array(graph.normalised().toarray())
        self._labels = mx.array(renumbered(graph, flaws, seed).astype(np.int32))
        self._index = {name: mx.array(getattr(graph, name).astype(np.int32)) for name in ("train", "val", "test")}
        self._module = DenseGCN(recipe.dimensions(graph), recipe.dropout)
        self._optimizer = optim.Adam(recipe.learning_rate, bias_correction="adam-uncorrected" not in flaws)
        decay, as_norm = recipe.weight_decay, "l2-norm" in flaws

        def loss(module: nn.Module) -> tuple[mx.array, mx.array]:
            logits, index = module(self._x, self._adjacency), self._index["train"]
            data = nn.losses.cross_entropy(logits[index], self._labels[index], reduction="mean")
            squares = sum((mx.sum(value**2) for _, value in tree_flatten(module.parameters())), mx.array(0.0))
            # Half the square has the gradient decay * parameter, which is what torch's Adam adds.
            return data + decay * (mx.sqrt(squares) if as_norm else 0.5 * squares), logits

        self._loss_and_grad = nn.value_and_grad(self._module, loss)
        mx.eval(self._module.parameters(), self._x, self._adjacency)

    def step(self) -> mx.array:
        self._module.train()
        (_, logits), grads = self._loss_and_grad(self._module)
        self._optimizer.update(self._module, grads)
        mx.eval(self._module.parameters(), self._optimizer.state)
        return logits

    def validation(self, logits: mx.array | None) -> tuple[mx.array, mx.array]:
        return self._score(logits, "val")

    def wait(self, *handles: mx.array) -> None:
        mx.eval(*handles)
        mx.synchronize()

    def number(self, handle: mx.array) -> float:
        return float(handle.item())

    def test_accuracy(self, logits: mx.array | None) -> float:
        return self.number(self._score(logits, "test")[1])

    def _score(self, logits: mx.array | None, split: str) -> tuple[mx.array, mx.array]:
        if logits is None:
            self._module.eval()
            logits = self._module(self._x, self._adjacency)
        picked, labels = logits[self._index[split]], self._labels[self._index[split]]
        loss = nn.losses.cross_entropy(picked, labels, reduction="mean")
        return loss, mx.mean(mx.argmax(picked, axis=1) == labels)


def hooks(graph: BenchGraph, recipe: Recipe, device: str, flaws: frozenset[str], seed: int) -> MLXHooks:
    return MLXHooks(graph, recipe, device, flaws, seed)


def compat(**arguments: Any) -> dict[str, Any]:
    return article_protocol.compat(sys.modules[__name__], **arguments)
