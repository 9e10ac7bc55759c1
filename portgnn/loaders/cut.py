"""Graphs of a set, cut out of one matrix of all: a graph's rows lie together there, so a batch is a few slices.

Whatever is the same in every epoch is made once: features and weights in the dtype of the device, the transpose, or
that there is none to make because edges go both ways. What batches' arrays hold is found for many of them in one go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.graphs.graph import Features
from portgnn.graphs.sets import GraphSet
from portgnn.placing.elements import stored_elements

Parts: TypeAlias = tuple[NDArray[np.floating], NDArray[np.int32], NDArray[np.int32]]
"""Data, indices and indptr of a matrix in CSR."""
AT_ONCE = 1 << 21
"""Stored values of the batches that are cut in one go, about."""
DENSE = 1 << 26
"""Numbers of all graphs' features up to which they are kept dense; beyond, sparse ones become so batch by batch."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A batch on the host, not padded yet. edges: their weights; transposed: the same arrays where these are symmetric.

    features: dense [rows, f].
    """

    graphs: Nodes
    nodes: Nodes
    features: NDArray[np.floating]
    edges: Parts
    transposed: Parts


class Cutter:
    """Cuts batches out of a set. adjacency: the edges' weights of all its graphs; features: of all their nodes."""

    def __init__(self, graphs: GraphSet, adjacency: sp.csr_array, features: Features, dtype: str) -> None:
        kind = np.dtype("float64" if dtype == "float64" else "float32")
        self._graphs = graphs
        self._stored: NDArray[np.int64] = adjacency.indptr[[*graphs.starts, graphs.num_nodes]].astype(np.int64)
        self._edges = _parts(adjacency, kind)
        back = _parts(adjacency.T.tocsr(), kind)
        same = all(np.array_equal(each, other) for each, other in zip(self._edges, back, strict=True))
        self._back = self._edges if same else back
        if not isinstance(features, np.ndarray) and features.shape[0] * features.shape[1] <= DENSE:
            features = features.toarray()
        self._features: Any = features.astype(kind, copy=False)

    @property
    def stored(self) -> NDArray[np.int64]:
        """Of each graph, how many stored values its edges have: [g]."""
        return np.diff(self._stored)

    def cut(self, batches: Sequence[Nodes]) -> Iterator[Piece]:
        """The batches, each of some graphs in the order in which they stand in the set."""
        sizes = [int(self.stored[graphs].sum()) for graphs in batches] if len(batches) > 1 else [0]
        start, held = 0, 0
        for at, size in enumerate(sizes):
            if held + size > AT_ONCE and at > start:
                yield from self._together(batches[start:at])
                start, held = at, 0
            held += size
        yield from self._together(batches[start:])

    def _together(self, batches: Sequence[Nodes]) -> Iterator[Piece]:
        if not batches:
            return
        graphs = np.concatenate(batches)
        firsts = np.cumsum([0, *map(len, batches)])
        nodes, sizes = self._graphs.nodes_of(graphs), self._graphs.sizes[graphs]
        begin, end = self._stored[graphs], self._stored[graphs + 1]
        at, counts = stored_elements(begin, end), end - begin
        rows, edges = (np.concatenate([[0], np.cumsum(each)]) for each in (sizes, counts))
        row_starts, edge_starts = rows[firsts], edges[firsts]
        lengths = np.diff(firsts)
        # From a graph's place in the set to that in its batch.
        shift = (rows[:-1] - np.repeat(row_starts[:-1], lengths) - self._graphs.starts[graphs]).astype(np.int32)
        moved = (edges[:-1] - np.repeat(edge_starts[:-1], lengths) - begin).astype(np.int32)
        by_edge, by_row = np.repeat(shift, counts), np.repeat(moved, sizes)
        forward = _taken(self._edges, at, nodes, by_edge, by_row)
        backward = forward if self._back is self._edges else _taken(self._back, at, nodes, by_edge, by_row)
        features = self._features[nodes]
        for number, part in enumerate(batches):
            own, stored = slice(*row_starts[number : number + 2]), slice(*edge_starts[number : number + 2])
            rows_of = features[own] if isinstance(features, np.ndarray) else features[own].toarray()
            there = _sliced(forward, stored, own)
            back = there if backward is forward else _sliced(backward, stored, own)
            yield Piece(part, nodes[own], rows_of, there, back)


def _parts(matrix: sp.csr_array, kind: np.dtype[np.floating]) -> Parts:
    wide = (each.astype(np.int32, copy=False) for each in (matrix.indices, matrix.indptr))
    indices, indptr = wide
    return matrix.data.astype(kind, copy=False), indices, indptr


def _taken(parts: Parts, at: Nodes, nodes: Nodes, by_edge: NDArray[np.int32], by_row: NDArray[np.int32]) -> Parts:
    """Values, columns, and where each row ends; of all batches, one after the other."""
    data, indices, indptr = parts
    return data[at], indices[at] + by_edge, indptr[1:][nodes] + by_row


def _sliced(parts: Parts, stored: slice, rows: slice) -> Parts:
    data, indices, ends = parts
    return data[stored], indices[stored], ends[rows]


def padded(parts: Parts, rows: int, due: int) -> sp.csr_array:
    """[rows, rows] with `due` stored values, of data, indices and where rows end; zeros are added to the rows behind.

    Evenly: a row of very many would be one that a device takes long for.
    """
    data, indices, ends = parts
    stored, height = len(data), len(ends)
    values, columns = np.empty(due, dtype=data.dtype), np.empty(due, dtype=np.int32)
    indptr = np.empty(rows + 1, dtype=np.int32)
    values[:stored], values[stored:] = data, 0
    columns[:stored] = indices
    indptr[0], indptr[1 : height + 1] = 0, ends
    added, spare = due - stored, rows - height
    if spare:
        each = -(-added // spare)
        indptr[height + 1 :] = stored + np.minimum(np.arange(1, spare + 1) * each, added)
        columns[stored:] = np.arange(added) % each if each else 0
    return sp.csr_array((values, columns, indptr), shape=(rows, rows), copy=False)
