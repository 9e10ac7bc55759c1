"""What the training loop asks of whoever computes a run's epochs, and of the graph that they are computed on.

The loop does not know whether an epoch is one step over the whole graph, a pass over batches, or the share of one
among several processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.models.layer import Layer
from portgnn.presets import Config
from portgnn.protocol import Backend, Run


class Described(Protocol):
    """What a run must know of a graph beside its matrices: a `Graph`, or one on disk."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> NDArray[np.int64] | None: ...
    @property
    def train(self) -> Nodes | None: ...
    @property
    def val(self) -> Nodes | None: ...
    @property
    def test(self) -> Nodes | None: ...
    @property
    def num_nodes(self) -> int: ...
    @property
    def num_features(self) -> int: ...
    @property
    def num_classes(self) -> int: ...


class Task(Protocol):
    """A graph and the recipe to train on it: `Prepared`, or a loader's source."""

    @property
    def graph(self) -> Described: ...
    @property
    def config(self) -> Config: ...
    @property
    def layers(self) -> tuple[Layer, ...]: ...


class Engine(Protocol):
    """Who computes the epochs of a task on a backend, and tests their outcome."""

    @property
    def backend(self) -> Backend: ...
    @property
    def task(self) -> Task: ...

    def make_run(self, validate: bool) -> Run:
        """Epochs as `Backend.compile` gives them; metrics are the training loss and, with `validate`, the
        validation loss and the number of right answers.
        """

    def agree(self, value: float) -> float:
        """The value on which all processes of the run go on: the first one's."""

    def any(self, flag: bool) -> bool:
        """Whether a flag is set on one process of the run at least."""

    def accuracy(self, params: Mapping[str, NDArray[Any]], nodes: Nodes) -> float:
        """Share of the nodes that are classified as labelled. params: on the host."""
