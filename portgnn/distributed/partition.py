"""Which process owns which nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import ConfigError
from portgnn.graphs.arrays import Nodes
from portgnn.loaders.source import InMemory, Source


@dataclass(frozen=True, eq=False)
class Partition:
    """bounds: int64 [parts + 1], ranges of nodes; owner: int32 [n] instead, where parts are no ranges."""

    bounds: Nodes | None = None
    owner: NDArray[np.int32] | None = None

    @classmethod
    def of(cls, source: Source, parts: int) -> Partition:
        """METIS's partition (Karypis & Kumar 1998) where pymetis is installed and the graph in memory; else
        ranges of nodes, balanced by stored edges.

        Raises ConfigError where there are fewer nodes than parts.
        """
        n = source.graph.num_nodes
        if parts > n:
            raise ConfigError(f"{source.graph.name} has {n} nodes, too few for {parts} processes")
        if parts > 1 and isinstance(source, InMemory):
            owner = metis(source, parts)
            if owner is not None and len(np.unique(owner)) == parts:
                return cls(owner=owner)
        return cls(bounds=source.balanced(parts))

    def owner_of(self, nodes: Nodes) -> NDArray[np.int64]:
        """The part of each node."""
        if self.owner is not None:
            return self.owner[nodes].astype(np.int64)
        assert self.bounds is not None
        return np.searchsorted(self.bounds, nodes, side="right") - 1

    def first(self, parts: int) -> Nodes:
        """A node of each part."""
        if self.owner is not None:
            return np.array([np.argmax(self.owner == part) for part in range(parts)], dtype=np.int64)
        assert self.bounds is not None
        return self.bounds[:-1]


def metis(source: InMemory, parts: int) -> NDArray[np.int32] | None:
    """The part of each node, int32 [n], few edges between parts; None where pymetis is not installed."""
    try:
        import pymetis
    except ImportError:
        return None
    adjacency = source.prepared.graph.adjacency
    _, membership = pymetis.part_graph(parts, xadj=adjacency.indptr, adjncy=adjacency.indices)
    return np.asarray(membership, dtype=np.int32)
