"""The article's protocol with its flaws as switches, over hooks that torch and MLX fill in.

A run is what the article times: an epoch is a training step and a validation; the clock is read around both.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import numpy as np

from portgnn.benchmark.contender import Recipe
from portgnn.benchmark.graphs import BenchGraph

FLAWS = {
    "l2-norm": "weight decay as un-squared norm of all parameters on MLX, squared on torch",
    "adam-uncorrected": "Adam without bias correction on MLX, with it on torch",
    "dropout-in-validation": "validation on the training pass's logits, dropout and all",
    "early-clock": "clock stopped before the queued work is done",
    "stale-logits": "test accuracy from the last training pass's logits",
    "label-order": "classes numbered in the order of a set() of strings",
}


class Hooks(Protocol):
    """One framework's part. Handles are whatever it computes with."""

    flaws_without_effect: frozenset[str]
    """Flaws that the article's code for this framework does not have."""

    def step(self) -> Any:
        """One training step as the article queues it; returns the logits of its forward pass."""

    def validation(self, logits: Any | None) -> tuple[Any, Any]:
        """(loss, accuracy), not waited for; from a pass of its own without dropout where logits is None."""

    def wait(self, *handles: Any) -> None:
        """Returns when all work is done."""

    def number(self, handle: Any) -> float: ...

    def test_accuracy(self, logits: Any | None) -> float:
        """From a pass of its own without dropout where logits is None."""


def run(hooks: Hooks, flaws: frozenset[str], epochs: int, patience: int) -> dict[str, Any]:
    """Trains with early stopping (patience 0: none).

    ms: the median epoch by the clock that the flaws allow, the first one left out.
    """
    taken: list[float] = []
    best, since = float("inf"), 0
    logits = None
    for _ in range(epochs):
        started = time.perf_counter()
        logits = hooks.step()
        loss, accuracy = hooks.validation(logits if "dropout-in-validation" in flaws else None)
        if "early-clock" not in flaws:
            hooks.wait(loss, accuracy)
        taken.append(time.perf_counter() - started)
        value = hooks.number(loss)
        best, since = (value, 0) if value < best else (best, since + 1)
        if patience and since == patience:
            break
    test = hooks.test_accuracy(logits if "stale-logits" in flaws else None)
    return {"ms": float(np.median(taken[1:] or taken)) * 1e3, "epochs": len(taken), "test_accuracy": test}


def renumbered(graph: BenchGraph, flaws: frozenset[str], seed: int) -> np.ndarray:
    """The labels, numbered by chance where the flaw is on: as `set()` does under another hash seed in each run."""
    if "label-order" not in flaws:
        return graph.labels
    return np.random.default_rng(seed).permutation(graph.classes)[graph.labels]


def compat(
    contender: Any, graph: str, recipe: dict[str, Any], device: str, flaws: list[str], **how: int
) -> dict[str, Any]:
    """One run of a contender's hooks: what the worker's `call` reaches. how: epochs, patience, seed."""
    on = frozenset(flaws)
    loaded = BenchGraph.load(graph)
    hooks: Hooks = contender.hooks(loaded, Recipe(**recipe), device, on, how["seed"])
    real = sorted(on - hooks.flaws_without_effect)
    return run(hooks, on, how["epochs"], how["patience"]) | {"flaws": real}
