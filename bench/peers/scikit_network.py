"""scikit-network's GNNClassifier: NumPy and SciPy, no dropout, no weight decay, normalisation on every pass.

Its `fit` also scores the training nodes each epoch and makes one more forward pass at its end; both belong to
what a user waits for. Its gradient leaves the adjacency out of the backward pass, so it does less work than
a GCN needs.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np
import scipy
import scipy.sparse as sp
from sknetwork.gnn import GNNClassifier

from portgnn.benchmark.contender import Program, Recipe, Unsupported
from portgnn.benchmark.graphs import BenchGraph


class ScikitNetwork:
    """fit() with reinit=False goes on from where it was, so a chunk of epochs is one call."""

    def __init__(self, graph: BenchGraph, recipe: Recipe) -> None:
        self._graph, self._recipe = graph, recipe
        # The library's checks know SciPy's matrices, not yet its arrays.
        self._adjacency = sp.csr_matrix(graph.adjacency)
        features = sp.csr_matrix(graph.features)
        if recipe.normalize_features:
            sums = np.asarray(features.sum(axis=1)).ravel()
            scale = np.divide(1.0, sums, out=np.ones_like(sums, dtype=np.float64), where=sums != 0)
            features = sp.csr_matrix(sp.diags(scale) @ features)
        self._features = features if sp.issparse(graph.features) else np.asarray(graph.features, dtype=np.float64)
        self._known = np.full(graph.nodes, -1)
        self._known[graph.train] = graph.labels[graph.train]
        self.options = {
            "form": "csr",
            "rows": "all",
            "dtype": "float64",
            "dropout": "none: the library has none",
            "weight_decay": "none: the library has none",
        }
        self.reset(0)

    def reset(self, seed: int) -> None:
        np.random.seed(seed)
        recipe = self._recipe
        self._model = GNNClassifier(
            dims=list(recipe.dimensions(self._graph)[1:]),
            layer_types="Conv",
            activations="ReLu",
            optimizer="Adam",
            learning_rate=recipe.learning_rate,
            early_stopping=False,
        )

    def train(self, epochs: int) -> None:
        self._model.fit(self._adjacency, self._features, self._known, n_epochs=epochs)

    def evaluate(self) -> None:
        self._score(self._graph.val)

    def test_accuracy(self) -> float:
        return self._score(self._graph.test)

    def _score(self, nodes: np.ndarray) -> float:
        output = self._model.forward(self._adjacency, self._features)
        return float(np.mean(output[nodes].argmax(axis=1) == self._graph.labels[nodes]))


def environment() -> dict[str, Any]:
    return {"scikit_network": version("scikit-network"), "numpy": np.__version__, "scipy": scipy.__version__}


def devices() -> tuple[str, ...]:
    return ("cpu",)


def build(graph: BenchGraph, recipe: Recipe, device: str, options: dict[str, Any]) -> Program:
    if device != "cpu":
        raise Unsupported("runs on the CPU only")
    if recipe.input_dropout:
        raise Unsupported("the library has no dropout")
    return ScikitNetwork(graph, recipe)
