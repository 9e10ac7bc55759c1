"""A prepared graph as samplers read it: some rows of the adjacency, some rows of the features, never the whole.

`Source` holds what is the same wherever the arrays lie; `InMemory` reads a `Prepared` graph, and
`portgnn.outofcore.OnDisk` memory-mapped files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.graph import Features
from portgnn.operands import Prepared
from portgnn.presets import Config
from portgnn.training.engine import Described, Nodes

__all__ = ["InMemory", "Nodes", "Source", "even_bounds", "within"]


class Source(ABC):
    """Rows of the normalised adjacency D^-1/2 (A + I) D^-1/2 and of the features, by node number.

    All methods take int64 nodes in ascending order. Values are float64, as `Prepared` has them, whatever their
    storage: a batch of all rows is the full batch.
    """

    graph: Described
    config: Config
    sparse_features: bool
    on_disk = False

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Widths from the features to the classes: layers + 1 of them."""
        hidden = (self.config.hidden,) * (self.config.layers - 1)
        return (self.graph.num_features, *hidden, self.graph.num_classes)

    @abstractmethod
    def bounds(self, nodes: Nodes) -> tuple[Nodes, Nodes]:
        """Where each node's row starts and ends among the stored values."""

    @abstractmethod
    def balanced(self, parts: int) -> Nodes:
        """Bounds [parts + 1] that cut the nodes into ranges with about as many stored values each, none empty."""

    @abstractmethod
    def loops(self, nodes: Nodes) -> Nodes:
        """Where in its row each node's self-loop is stored: every row has one, since A + I is what is stored."""

    @abstractmethod
    def scales(self, nodes: Nodes) -> NDArray[np.float64]:
        """The nodes' entries of D^-1/2."""

    @abstractmethod
    def stored(self, nodes: Nodes, rows: Nodes, at: Nodes) -> tuple[Nodes, NDArray[np.float64]]:
        """Columns and values stored at positions `at`; rows: the place in `nodes` of each position's row."""

    @abstractmethod
    def features(self, nodes: Nodes) -> tuple[Features, NDArray[np.uint32] | None]:
        """The nodes' rows of the features as the recipe wants them, and the element numbers of their stored values.

        The numbers, for dropout, are None where the rows are dense.
        """

    def rows(self, nodes: Nodes) -> sp.csr_array:
        """The nodes' rows of the adjacency, float64 [len(nodes), n]."""
        start, end = self.bounds(nodes)
        counts = end - start
        return self.csr(nodes, counts, np.repeat(start, counts) + within(counts))

    def csr(self, nodes: Nodes, counts: Nodes, at: Nodes, scale: NDArray[np.float64] | None = None) -> sp.csr_array:
        """Rows made of the values stored at `at`, counts[i] of them for nodes[i], times scale[i]."""
        rows = np.repeat(np.arange(len(nodes)), counts)
        columns, values = self.stored(nodes, rows, at)
        if scale is not None:
            values = np.where(columns == nodes[rows], values, values * scale[rows])
        indptr = np.concatenate([[0], np.cumsum(counts)])
        narrow = np.int32 if max(len(at), self.graph.num_nodes) < 2**31 else np.int64
        parts = (values, columns.astype(narrow), indptr.astype(narrow))
        return sp.csr_array(parts, shape=(len(nodes), self.graph.num_nodes))


class InMemory(Source):
    """The rows of a `Prepared` graph."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.graph, self.config = prepared.graph, prepared.config
        self.sparse_features = prepared.has_sparse_features
        self._indptr = prepared.adjacency.indptr.astype(np.int64)
        self._indices, self._data = prepared.adjacency.indices, prepared.adjacency.data
        rows = np.repeat(np.arange(len(self._indptr) - 1, dtype=self._indices.dtype), np.diff(self._indptr))
        self._loops = np.flatnonzero(self._indices == rows) - self._indptr[:-1]

    def bounds(self, nodes: Nodes) -> tuple[Nodes, Nodes]:
        return self._indptr[nodes], self._indptr[nodes + 1]

    def balanced(self, parts: int) -> Nodes:
        return even_bounds(self._indptr, parts)

    def loops(self, nodes: Nodes) -> Nodes:
        chosen: Nodes = self._loops[nodes]
        return chosen

    def scales(self, nodes: Nodes) -> NDArray[np.float64]:
        own = self.prepared.graph.adjacency.diagonal()[nodes]
        scale: NDArray[np.float64] = np.sqrt(self._data[self._indptr[nodes] + self._loops[nodes]] / (own + (own == 0)))
        return scale

    def stored(self, nodes: Nodes, rows: Nodes, at: Nodes) -> tuple[Nodes, NDArray[np.float64]]:
        return self._indices[at].astype(np.int64), self._data[at]

    def features(self, nodes: Nodes) -> tuple[Features, NDArray[np.uint32] | None]:
        features: Any = self.prepared.features
        if not isinstance(features, sp.csr_array):
            return features[nodes], None
        start = features.indptr[nodes].astype(np.int64)
        counts = features.indptr[nodes + 1].astype(np.int64) - start
        return features[nodes], (np.repeat(start, counts) + within(counts)).astype(np.uint32)


def even_bounds(indptr: NDArray[np.int64], parts: int) -> Nodes:
    """See `Source.balanced`; reads only a few places of `indptr`."""
    n = len(indptr) - 1
    shares = np.arange(1, parts) * (int(indptr[-1]) / parts)
    inner = np.searchsorted(indptr, shares)
    # No range may be empty, however heavy one node is.
    numbers = np.arange(1, parts)
    inner = np.maximum.accumulate(inner - numbers) + numbers if parts > 1 else inner
    return np.concatenate([[0], np.clip(inner, numbers, n - parts + numbers), [n]]).astype(np.int64)


def within(counts: Nodes) -> Nodes:
    """0, 1, …, counts[0] - 1, 0, 1, …, counts[1] - 1, and so on."""
    ends = np.cumsum(counts)
    numbers: Nodes = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
    return numbers
