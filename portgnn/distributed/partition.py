"""Which process owns which nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.errors import ConfigError
from portgnn.graphs.arrays import Nodes
from portgnn.loaders.source import InMemory, Source, even_bounds

FEW = 0.1
"""Rows of other parts, as a share of all nodes, up to which no better partition is looked for."""


@dataclass(frozen=True, eq=False)
class Partition:
    """bounds: int64 [parts + 1], ranges of nodes; owner: int32 [n] instead, where parts are no ranges."""

    bounds: Nodes | None = None
    owner: NDArray[np.int32] | None = None

    @classmethod
    def of(cls, source: Source, parts: int) -> Partition:
        """Ranges of nodes, balanced by stored edges; or, of a graph in memory whose ranges read many rows of each
        other, what has the fewest such rows of these and of `ORDERS`. Nodes keep their numbers in any case.

        Raises ConfigError where there are fewer nodes than parts.
        """
        n = source.graph.num_nodes
        if parts > n:
            raise ConfigError(f"{source.graph.name} has {n} nodes, too few for {parts} processes")
        ranges = cls(bounds=source.balanced(parts))
        if parts == 1 or not isinstance(source, InMemory):
            return ranges
        adjacency, nodes = source.prepared.adjacency, np.arange(n)
        fewest, best = halo_rows(adjacency, ranges.owner_of(nodes), parts), ranges
        if fewest <= FEW * n:
            return ranges
        for order in ORDERS:
            owner = order(adjacency, parts)
            if owner is None or len(np.unique(owner)) < parts:
                continue
            rows = halo_rows(adjacency, owner, parts)
            if rows < fewest:
                fewest, best = rows, cls(owner=owner)
        return best

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


def halo_rows(adjacency: sp.csr_array, owner: NDArray[np.integer], parts: int) -> int:
    """How many rows all parts together read of others, for one product."""
    above = np.repeat(owner, np.diff(adjacency.indptr))
    crosses = above != owner[adjacency.indices]
    read = np.zeros((parts, adjacency.shape[0]), dtype=bool)
    read[above[crosses], adjacency.indices[crosses]] = True
    return int(np.count_nonzero(read))


def cuthill_mckee(adjacency: sp.csr_array, parts: int) -> NDArray[np.int32]:
    """Ranges of the reverse Cuthill-McKee order (Cuthill & McKee 1969), balanced by stored values: int32 [n]."""
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    order = reverse_cuthill_mckee(sp.csr_matrix(adjacency), symmetric_mode=True)
    indptr = np.concatenate([[0], np.cumsum(np.diff(adjacency.indptr)[order])])
    owner = np.empty(len(order), dtype=np.int32)
    owner[order] = np.repeat(np.arange(parts, dtype=np.int32), np.diff(even_bounds(indptr, parts)))
    return owner


def metis(adjacency: sp.csr_array, parts: int) -> NDArray[np.int32] | None:
    """METIS's parts (Karypis & Kumar 1998), balanced by stored values: int32 [n]; None without pymetis."""
    try:
        import pymetis
    except ImportError:
        return None
    weights = np.diff(adjacency.indptr)
    _, found = pymetis.part_graph(parts, xadj=adjacency.indptr, adjncy=adjacency.indices, vweights=weights)
    return np.asarray(found, dtype=np.int32)


ORDERS = (cuthill_mckee, metis)
