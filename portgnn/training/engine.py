"""What the training loop asks of whoever computes a run's epochs, and of the graph that they are computed on.

The loop does not know whether an epoch is one step over the whole graph, a pass over batches, or the share of one
among several processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.metrics import Measures, Metric, Score
from portgnn.models.layer import Layer
from portgnn.presets import Config
from portgnn.protocol import Backend, Run, State
from portgnn.tasks import Subject, Task


class Described(Subject, Protocol):
    """What a run must know of a graph beside its matrices: a `Graph`, or one on disk."""

    @property
    def num_nodes(self) -> int: ...
    @property
    def num_features(self) -> int: ...
    @property
    def num_classes(self) -> int: ...


class Problem(Protocol):
    """A graph and the recipe to train on it: `Prepared`, or a loader's source."""

    @property
    def graph(self) -> Described: ...
    @property
    def config(self) -> Config: ...
    @property
    def task(self) -> Task: ...
    @property
    def layers(self) -> tuple[Layer, ...]: ...


class Epochs:
    """Compiled epochs whose numbers have names, and which are called as `Run` is, for them.

    run: what `Backend.compile` gave of steps that give what `measures.named` takes. count: what is validated of, 0
    where nothing is. scored: what to measure after each epoch of its state on the device, beside that; by name.
    """

    def __init__(
        self, run: Run, measures: Measures, count: int, scored: Callable[[State], dict[str, float]] | None = None
    ) -> None:
        self.run, self.measures, self._count = run, measures, count
        self._scored = scored if count and measures.scores else None

    def __call__(self, state: State, keys: NDArray[np.uint32]) -> tuple[State, dict[str, NDArray[np.float64]]]:
        """The state after these epochs, and the curves that were measured, a value an epoch."""
        if self._scored is None:
            state, rows = self.run(state, keys)
            return state, self.named(rows)
        each, scores = [], []
        for epoch in range(len(keys)):
            state, row = self.run(state, keys[epoch : epoch + 1])
            each.append(row)
            scores.append(self._scored(state))
        found = self.measures.named(np.concatenate(each), self._count)
        return state, found | {f"val_{name}": np.array([one[name] for one in scores]) for name in scores[0]}

    def named(self, rows: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Curves of what steps gave."""
        return self.measures.named(rows, self._count)

    def only(self, *names: str) -> Run:
        """Some curves alone, as a step gives them: losses, and of metrics the sums."""
        columns = self.measures.columns
        wanted = [at for name in names for at in columns[name]]
        if wanted == [at for places in columns.values() for at in places] or not self._count:
            return self.run

        def run(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
            state, rows = self.run(state, keys)
            return state, rows[:, wanted]

        return run


class Engine(Protocol):
    """Who computes the epochs of a problem, on a backend, and tests their outcome."""

    @property
    def backend(self) -> Backend: ...
    @property
    def problem(self) -> Problem: ...

    def make_run(self, validate: bool) -> Epochs:
        """Epochs: their training losses and, with `validate`, what is measured of the validation nodes."""

    def agree(self, value: float) -> float:
        """The value on which all processes of the run go on: the first one's."""

    def any(self, flag: bool) -> bool:
        """Whether a flag is set on one process of the run at least."""

    def scores(self, params: Mapping[str, NDArray[np.floating]], nodes: Nodes) -> dict[str, float]:
        """The task's metrics on labelled nodes, by name; those that are defined. params: on the host."""


def scores_of(
    task: Task, found: NDArray[np.floating], nodes: Nodes, scores: Sequence[Metric | Score]
) -> dict[str, float]:
    """Metrics of the task's outputs [len(nodes), k] on the host, by name; those that are defined."""
    targets = task.targets(nodes, np.arange(len(nodes)), len(nodes))
    with np.errstate(under="ignore"):  # of a saturated softmax
        values = {each.name: each.of(found, targets) for each in scores}
    return {name: value for name, value in values.items() if math.isfinite(value)}
