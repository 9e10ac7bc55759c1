"""A part of a graph's labelled nodes as one thing: that it is there is asked once, where it is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import ConfigError
from portgnn.graphs.arrays import Nodes

Part = Literal["train", "val", "test"]
_WORDS: dict[Part, str] = {"train": "training", "val": "validation", "test": "test"}


class Labelled(Protocol):
    """A graph with labels and splits, or without: a `Graph`, or one on disk."""

    @property
    def name(self) -> str: ...
    @property
    def labels(self) -> NDArray[np.int64] | None: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def targets(self) -> NDArray[np.float64] | None: ...
    @property
    def target_names(self) -> tuple[str, ...]: ...
    @property
    def train(self) -> Nodes | None: ...
    @property
    def val(self) -> Nodes | None: ...
    @property
    def test(self) -> Nodes | None: ...


@dataclass(frozen=True, eq=False)
class Split:
    """nodes: their numbers, [m]."""

    nodes: Nodes

    def __len__(self) -> int:
        return len(self.nodes)


def split(graph: Labelled, part: Part) -> Split:
    """A part of the graph's nodes. Raises ConfigError, saying what to type, where the graph has none."""
    nodes: Nodes | None = getattr(graph, part)
    if nodes is None:
        raise ConfigError(
            f"{graph.name} has no {_WORDS[part]} split; give one with --split, in Python split= or Graph.with_splits"
        )
    return Split(nodes)


def labels_at(graph: Labelled, nodes: Nodes) -> NDArray[np.int64]:
    """The labels of some nodes, [m]; -1 where one has none. Raises ConfigError where the graph has no labels at all."""
    if graph.labels is None:
        raise ConfigError(f"{graph.name} has no labels, which are needed of {len(nodes)} of its nodes")
    labels: NDArray[np.int64] = graph.labels[nodes]
    return labels
