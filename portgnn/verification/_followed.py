"""The reference beside the backend, for dtypes so coarse that hardly a network stays clear of relu's kinks.

In bfloat16 one pre-activation in a hundred lies within rounding of 0, and of one that rounding carries across a
gradient has an entry or lacks it (`portgnn.verification.kinks`). No tolerance tells that from a mistake. So the
reference takes the backend's side of what lies within rounding of 0, of nothing else. In training it computes each
epoch from the backend's own parameters (`portgnn.verification._steps`), since after a few epochs of its own it would
stand elsewhere by more than kinks allow; what was held so, epoch by epoch, is then what other runs of the backend are
held against.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, cast

from portgnn.graphs.split import split
from portgnn.placing.whole import receptive_field
from portgnn.protocol import Array, Backend, Keys
from portgnn.verification import kinks
from portgnn.verification._steps import Stepping
from portgnn.verification.cases import Recipe
from portgnn.verification.kinks import Following, Side, WatchedRun
from portgnn.verification.measure import Departure
from portgnn.verification.oracle import Course, Values
from portgnn.verification.tolerances import tolerance

COARSE = frozenset({"bfloat16"})
"""Where the reference goes beside."""
TIES = {"bfloat16": 0.05}
"""Two logits so near, beside the largest, may change places; elsewhere as the reference has it."""


ROUNDINGS = 8
"""Of the sum of its terms' sizes, in one pass from the same parameters: how far from 0 a kink may lie."""


class _OnePass(Following):
    share = ROUNDINGS / kinks.ROUNDINGS


class _Epochs(Stepping):
    share = ROUNDINGS / kinks.ROUNDINGS


class _Seen:
    """What one pass's relu saw, as a `WatchedRun` tells it."""

    def __init__(self, sides: list[Side]) -> None:
        self._sides = sides

    def advance(self) -> list[Side]:
        return self._sides


def _explained(network: Following) -> None:
    if network.beyond is not None:
        raise Departure(f"relu takes the other side of 0 farther from it than rounding reaches: {network.beyond}")


def course(backend: Backend, recipe: Recipe, seed: int | None = None, epochs: int | None = None) -> Course:
    """What training must do. Raises Departure where an epoch of the backend is not as rounding leaves it."""
    seed, epochs = recipe.seed if seed is None else seed, recipe.epochs if epochs is None else epochs
    if backend.dtype not in COARSE:
        return recipe.course if (seed, epochs) == (recipe.seed, recipe.epochs) else recipe.oracle.train(seed, epochs)
    return _beside(cast(Hashable, backend), recipe.but(epochs=epochs), seed)


@lru_cache(maxsize=16)
def _beside(backend: Any, recipe: Recipe, seed: int) -> Course:
    graph, watched = recipe.graph, WatchedRun(backend, recipe.prepared)
    network = _Epochs(graph, recipe.config, recipe.sparse, backend, watched)
    allowed = tolerance("compile.epochs", backend.dtype, backend.device).value
    network.walk(seed, allowed, kinks.ROUNDOFF[backend.dtype])
    _explained(network)
    if network.wrong is not None:
        raise Departure(str(network.wrong))
    found = Course([], [], network.trained)
    for epoch, (row, params) in enumerate(zip(watched.metrics, network.trained, strict=True)):
        found.metrics.append([float(value) for value in row])
        right, close = (0, 0) if graph.val is None else correct(backend, recipe, network.forward(params)[0], graph.val)
        if graph.val is not None and abs(row[2] - right) > close:
            raise Departure(f"epoch {epoch} counts {row[2]:.0f} correct validation nodes, not {right}")
        found.close.append(close)
    return found


def gradient(backend: Backend, recipe: Recipe, params: Values, keys: Keys, seen: list[tuple[Array, Array]]) -> Any:
    """The training loss and its gradient by the reference. seen: what went into relu and came out, a layer each."""
    if backend.dtype not in COARSE:
        return recipe.oracle.gradient(params, keys, recipe.graph.train)
    hidden = receptive_field(recipe.prepared, split(recipe.graph, "train").nodes)[1:-1]
    sides = [
        (nodes, backend.to_numpy(before), backend.to_numpy(after) > 0)
        for nodes, (before, after) in zip(hidden, seen, strict=True)
    ]
    network = _OnePass(recipe.graph, recipe.config, recipe.sparse, backend, cast(WatchedRun, _Seen(sides)))
    found = network.gradient(params, keys, recipe.graph.train)
    _explained(network)
    return found


def correct(backend: Backend, recipe: Recipe, logits: Any, nodes: object) -> tuple[int, int]:
    """How many of nodes are right by the reference's logits, and how many rounding may decide."""
    return recipe.oracle.correct(logits, nodes, TIES.get(backend.dtype))
