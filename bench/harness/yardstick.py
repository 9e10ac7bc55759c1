"""What a step is held against where machines differ: SciPy and NumPy products of a network's sizes, no framework.

A contender like any other. An epoch is what one step of a two-layer GCN multiplies, forward and backward, in float32.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import scipy
import scipy.sparse as sp

from portgnn.benchmark.contender import Program, Recipe
from portgnn.benchmark.graphs import BenchGraph


class Yardstick:
    """No learning: fixed matrices, multiplied again and again."""

    def __init__(self, graph: BenchGraph, recipe: Recipe) -> None:
        self.options = {"form": "csr", "rows": "all"}
        random = np.random.default_rng(0)
        widths = recipe.dimensions(graph)
        self._adjacency = graph.normalised()
        self._x = sp.csr_array(graph.features, dtype=np.float32)
        self._weights = [random.standard_normal(pair, dtype=np.float32) for pair in pairwise(widths)]

    def reset(self, seed: int) -> None:
        pass

    def train(self, epochs: int) -> None:
        for _ in range(epochs):
            hidden = [self._adjacency @ (self._x @ self._weights[0])]
            for weight in self._weights[1:]:
                hidden.append(self._adjacency @ (hidden[-1] @ weight))
            back = hidden[-1]
            for weight, below in zip(self._weights[:0:-1], hidden[-2::-1], strict=True):
                back = self._adjacency.T @ back
                below.T @ back
                back = back @ weight.T
            self._x.T @ (self._adjacency.T @ back)

    def evaluate(self) -> None:
        self._adjacency @ (self._x @ self._weights[0])

    def test_accuracy(self) -> float:
        return 0.0


def environment() -> dict[str, Any]:
    return {"numpy": np.__version__, "scipy": scipy.__version__}


def devices() -> tuple[str, ...]:
    return ("cpu",)


def build(graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, Any]) -> Program:
    return Yardstick(graph, recipe)
