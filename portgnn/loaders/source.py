"""A prepared graph as samplers read it: some rows of the adjacency, some rows of the features, never the whole.

`Source` holds what is the same wherever the arrays lie; `InMemory` reads a `Prepared` graph, and
`portgnn.loaders.on_disk.OnDisk` memory-mapped files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.graph import Features
from portgnn.models.layer import Layer
from portgnn.placing.edges import Ends, Looped, Sums, edge_weights
from portgnn.placing.elements import stored_elements
from portgnn.placing.field import ranked
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import COLUMNS, dense_product
from portgnn.presets import Config
from portgnn.training.engine import Described

__all__ = ["InMemory", "Nodes", "Source", "even_bounds"]


PIECE = 1 << 18
"""Bytes of features that are looked at together: they stay in a core's cache."""


class Source(ABC):
    """Rows of A + I, as the recipe's network weighs them or as they are, and of the features, by node number.

    All methods take int64 nodes in ascending order. Values are float64, as `Prepared` has them, whatever their
    storage: a batch of all rows is the full batch.
    """

    graph: Described
    config: Config
    sparse_features: bool
    on_disk = False

    @cached_property
    def task(self) -> tasks.Task:
        """The recipe's, on this graph."""
        return tasks.of(self.config, self.graph)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The network's, for this graph's features and the task's outputs."""
        return self.config.network.built(self.graph.num_features, self.task.width(self.task.outputs))

    @abstractmethod
    def bounds(self, nodes: Nodes) -> tuple[Nodes, Nodes]:
        """Where each node's row starts and ends among the stored values."""

    @abstractmethod
    def balanced(self, parts: int) -> Nodes:
        """Bounds [parts + 1] that cut the nodes into ranges with about as many stored values each, none empty."""

    @abstractmethod
    def loops(self, nodes: Nodes) -> Nodes:
        """Where in its row each node's self-loop is stored: every row has one, since A + I is what is stored."""

    @property
    @abstractmethod
    def sums(self) -> Sums:
        """Row sums of A and of A + I."""

    @abstractmethod
    def stored(self, at: Nodes) -> tuple[Nodes, NDArray[np.float64]]:
        """Columns and values of A + I stored at positions `at`."""

    @abstractmethod
    def features(self, nodes: Nodes) -> tuple[Features, NDArray[np.uint32] | None]:
        """The nodes' rows of the features as the recipe wants them, and the element numbers of their stored values.

        The numbers, for dropout, are None where the rows are dense.
        """

    @property
    @abstractmethod
    def dense_dtype(self) -> np.dtype[Any]:
        """Of dense features as `dense_pieces` gives them."""

    @abstractmethod
    def dense_pieces(self, nodes: Nodes) -> Iterator[tuple[int, NDArray[np.floating]]]:
        """Dense features of the nodes as the recipe wants them, a few rows at a time, and where each piece begins."""

    def fill(self, nodes: Nodes, out: NDArray[np.floating]) -> None:
        """`features`, where they are dense, into an array [len(nodes), f] of floats, through no other of its size."""
        for start, piece in self.dense_pieces(nodes):
            out[start : start + len(piece)] = piece

    def product(self, blocks: Sequence[sp.csr_array], nodes: Nodes, dtype: str) -> NDArray[np.floating]:
        """The first block times the nodes' dense features, the second times that, and so on; summed in float64.

        dtype: of the backend that it is for.
        """
        features, _ = self.features(nodes)
        product = np.empty((blocks[-1].shape[0], features.shape[1]), "float64" if dtype == "float64" else "float32")
        for start in range(0, features.shape[1], COLUMNS):
            columns = slice(start, start + COLUMNS)
            part: object = np.asarray(features[:, columns], dtype=np.float64)
            for block in blocks:
                part = block @ part
            product[:, columns] = part
        return product

    def rows(self, nodes: Nodes) -> sp.csr_array:
        """The nodes' rows of the edges' weights, float64 [len(nodes), n]."""
        start, end = self.bounds(nodes)
        return self.csr(nodes, end - start, stored_elements(start, end))

    def csr(self, nodes: Nodes, counts: Nodes, at: Nodes, scale: NDArray[np.float64] | None = None) -> sp.csr_array:
        """Rows made of the weights of the edges stored at `at`, counts[i] of them for nodes[i].

        scale: what to multiply those of row i with that are no self-loop. A network that weighs edges by itself does so
        with those that are there.
        """
        rows = np.repeat(np.arange(len(nodes)), counts)
        columns, values = self.weighted(nodes, rows, at)
        if scale is not None and self.config.network.weighting != "pattern":
            values = np.where(columns == nodes[rows], values, values * scale[rows])
        return self._matrix(counts, columns, values)

    def looped_rows(self, nodes: Nodes) -> sp.csr_array:
        """The nodes' rows of A + I itself."""
        start, end = self.bounds(nodes)
        return self._matrix(end - start, *self.stored(stored_elements(start, end)))

    def weighted(self, nodes: Nodes, rows: Nodes, at: Nodes) -> tuple[Nodes, NDArray[np.float64]]:
        """Columns and weights of the edges stored at `at`; rows: the place in `nodes` of each one's row."""
        columns, values = self.stored(at)
        ends = Ends(*ranked(columns, self.graph.num_nodes))
        return columns, edge_weights(self.config.network.weighting, values, Ends(nodes, rows), ends, self.sums)

    def _matrix(self, counts: Nodes, columns: Nodes, values: NDArray[np.float64]) -> sp.csr_array:
        indptr = np.concatenate([[0], np.cumsum(counts)])
        narrow = np.int32 if max(len(columns), self.graph.num_nodes) < 2**31 else np.int64
        parts = (values, columns.astype(narrow), indptr.astype(narrow))
        return sp.csr_array(parts, shape=(len(counts), self.graph.num_nodes))


class InMemory(Source):
    """The rows of a `Prepared` graph, whose weights are at hand."""

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

    @cached_property
    def _looped(self) -> Looped:
        """A + I itself, made where somebody asks for it."""
        return Looped.of(self.prepared.graph.adjacency)

    @property
    def sums(self) -> Sums:
        return self._looped

    def stored(self, at: Nodes) -> tuple[Nodes, NDArray[np.float64]]:
        return self._indices[at].astype(np.int64), self._looped.matrix.data[at]

    def weighted(self, nodes: Nodes, rows: Nodes, at: Nodes) -> tuple[Nodes, NDArray[np.float64]]:
        return self._indices[at].astype(np.int64), self._data[at]

    @property
    def dense_dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.prepared.features.dtype
        return dtype

    def dense_pieces(self, nodes: Nodes) -> Iterator[tuple[int, NDArray[np.floating]]]:
        features: Any = self.prepared.features
        step = max(PIECE // (features.shape[1] * features.itemsize), 1)
        for start in range(0, len(nodes), step):
            yield start, features[nodes[start : start + step]]

    def fill(self, nodes: Nodes, out: NDArray[np.floating]) -> None:
        features: Any = self.prepared.features
        if features.dtype == out.dtype:
            np.take(features, nodes, axis=0, out=out, mode="clip")  # the mode that writes into `out` at once
        else:
            super().fill(nodes, out)

    def product(self, blocks: Sequence[sp.csr_array], nodes: Nodes, dtype: str) -> NDArray[np.floating]:
        return dense_product(blocks, self.prepared, nodes, dtype)

    def features(self, nodes: Nodes) -> tuple[Features, NDArray[np.uint32] | None]:
        features: Any = self.prepared.features
        if not isinstance(features, sp.csr_array):
            return features[nodes], None
        return features[nodes], stored_elements(features.indptr[nodes], features.indptr[nodes + 1]).astype(np.uint32)


def even_bounds(indptr: NDArray[np.int64], parts: int) -> Nodes:
    """See `Source.balanced`; reads only a few places of `indptr`."""
    n = len(indptr) - 1
    shares = np.arange(1, parts) * (int(indptr[-1]) / parts)
    inner = np.searchsorted(indptr, shares)
    # No range may be empty, however heavy one node is.
    numbers = np.arange(1, parts)
    inner = np.maximum.accumulate(inner - numbers) + numbers if parts > 1 else inner
    return np.concatenate([[0], np.clip(inner, numbers, n - parts + numbers), [n]]).astype(np.int64)
