"""A process's share of a forward pass: the rows of its own nodes, and the rows of others that they read.

Before each product with the adjacency, a process hands the others those rows of its input that theirs read (its
boundary) and gets those that its own read (its halo); in the backward pass the halo's gradients go back the same way
and are added to their owners'. What moves is a layer's width times the halo, once forward and once backward. It is
the one-dimensional distribution of Tripathy, Yelick & Buluc 2020 (CAGNET, section IV-A), which broadcasts all rows,
with the needed rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.distributed.partition import Partition
from portgnn.graphs.arrays import Nodes
from portgnn.loaders.source import Source
from portgnn.models.layer import Layer
from portgnn.parts import message_passing
from portgnn.placing.elements import Numbers, layer_edge_elements, layer_elements
from portgnn.placing.field import computes_all, narrowed, picking, picks
from portgnn.placing.operands import Fetched, Operands, on_device, placed_once
from portgnn.protocol import CSR, Array, Backend, Collectives, Counts, EdgeHandle


@dataclass(frozen=True, eq=False)
class Boundary:
    """The rows of a process's input that others need: picked: picks them, in the order in which they are sent."""

    picked: CSR
    counts: Counts
    collectives: Collectives

    def received(self, backend: Backend, rows: Array) -> Array:
        """Hands the rows over, and returns those that come from others: the halo."""
        return self.collectives.exchange(backend.spmm(self.picked, rows), self.counts)


@dataclass(frozen=True, eq=False)
class HaloMatrix:
    """A process's rows of the adjacency, as a handle for `Partitioned.matmul`.

    own: columns of the process's own nodes; halo: of the rows that come from others.
    """

    own: CSR
    halo: CSR
    boundary: Boundary


@dataclass(frozen=True, eq=False)
class HaloEdges(Fetched):
    """A process's rows of the adjacency for a layer that computes along edges.

    edges: as the backend knows them, from the process's own rows and, behind them, those that come from others.
    """

    edges: EdgeHandle
    boundary: Boundary

    def fetched(self, backend: Backend, sent: Array) -> tuple[EdgeHandle, Array]:
        return self.edges, backend.xp.concat([sent, self.boundary.received(backend, sent)], axis=0)


class Partitioned:
    """A backend whose products with a `HaloMatrix` fetch what they need; all else is the backend's own."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def matmul(self, a: Any, b: Array) -> Array:
        if not isinstance(a, HaloMatrix):
            return self._backend.matmul(a, b)
        received = a.boundary.received(self._backend, b)
        return self._backend.spmm(a.own, b) + self._backend.spmm(a.halo, received)


def partitioned(backend: Backend) -> Backend:
    """The backend with products over halos."""
    return cast(Backend, Partitioned(backend))


def place_part(
    backend: Backend, source: Source, partition: Partition, collectives: Collectives, nodes: Nodes, training: bool
) -> Operands:
    """This process's share of the operands for a loss over `nodes`; all processes call it together.

    Only rows that the loss reads are kept, as in `portgnn.placing.whole.place`, and element numbers are those of the
    whole graph: dropout hits the same elements whatever the partition. Targets are scaled by the count of all
    processes' nodes, so that losses and gradients sum to those of the whole.
    """
    graph, rank = source.graph, collectives.rank
    mine = np.sort(nodes[partition.owner_of(nodes) == rank])
    top = mine
    if computes_all(source.config):
        everything = np.arange(graph.num_nodes)
        top = everything[partition.owner_of(everything) == rank]
    elif not len(mine):  # a matrix needs a row, and this one is not counted
        top = partition.first(collectives.size)[[rank]]
    levels: list[Nodes] = [top]
    placed: list[_Layer | None] = []
    last: _Layer | None = None
    for layer in reversed(source.layers):
        if layer.along == "nothing":
            levels.insert(0, levels[0])
            placed.insert(0, None)
            continue
        last = _layer(backend, source, partition, collectives, levels[0], last, layer)
        levels.insert(0, last.below)
        placed.insert(0, last)
    nothing: tuple[Numbers | None, ...] = (None,) * len(source.layers)
    features, numbers = source.features(levels[0])
    return on_device(
        backend,
        features,
        numbers,
        tuple(None if each is None else each.matrix for each in placed),
        picks(levels, [layer.keeps for layer in source.layers]),
        layer_elements(source.layers, levels, source.sparse_features) if training else nothing,
        _edge_elements(source, placed) if training else nothing,
        source.task.targets(mine, np.searchsorted(top, mine), len(top), among=nodes),
    )


@dataclass(frozen=True, eq=False)
class _Layer:
    """A placed matrix between two levels of a process's own nodes. remote: the halo's nodes in order of arrival.

    block: the matrix [above, nodes of below and remote] on the host, where edges are computed with one by one.
    """

    matrix: Any
    above: Nodes
    below: Nodes
    remote: Nodes
    block: sp.csr_array | None = None


def _edge_elements(source: Source, placed: Sequence[_Layer | None]) -> tuple[Numbers | None, ...]:
    """The element numbers of edges' values, for layers with dropout on them; as of the whole graph."""
    none = np.zeros(0, dtype=np.int64)
    targets = [none if each is None else each.above for each in placed]
    sources = [none if each is None else np.concatenate([each.below, each.remote]) for each in placed]
    blocks = [None if each is None else each.block for each in placed]
    return layer_edge_elements(source.layers, targets, sources, blocks, source.graph.num_nodes)


def _layer(
    backend: Backend,
    source: Source,
    partition: Partition,
    collectives: Collectives,
    above: Nodes,
    last: _Layer | None,
    layer: Layer,
) -> _Layer:
    block, columns = narrowed(source.rows(above))
    one_by_one = layer.along == "edges"
    if last is not None and (last.block is not None) != one_by_one:
        last = None  # it has another form
    if collectives.size == 1:
        if last is not None and np.array_equal(last.above, above):
            return _Layer(last.matrix, above, columns, columns[:0], last.block)
        placed = placed_once(backend, (layer,), (block,))[0]
        return _Layer(placed, above, columns, columns[:0], block if one_by_one else None)
    rank, size = collectives.rank, collectives.size
    owner = partition.owner_of(columns)
    # One row at least between any two: a process that sent nothing would miss its place in the backward pass.
    others = np.delete(np.arange(size), rank)
    remote = np.union1d(columns[owner != rank], partition.first(size)[others])
    owner_of_remote = partition.owner_of(remote)
    remote = remote[np.argsort(owner_of_remote, kind="stable")]
    asked = np.bincount(owner_of_remote, minlength=size)
    requests = np.zeros((size, size), dtype=np.int32)
    requests[rank] = asked
    requests = backend.to_numpy(collectives.all_reduce(backend.asarray(requests)))
    asking = backend.asarray(remote.astype(np.int32)[:, None])
    wanted = backend.to_numpy(collectives.exchange(asking, _counts(requests)))
    boundary = wanted.ravel().astype(np.int64)
    below = np.union1d(columns[owner == rank], boundary)
    handed = picking(np.searchsorted(below, boundary), len(below))
    exchanged = Boundary(backend.csr(handed), _counts(requests.T), collectives)
    joined = _joined(block, columns, owner == rank, below, remote)
    same = last is not None and all(
        np.array_equal(*pair) for pair in ((last.above, above), (last.below, below), (last.remote, remote))
    )  # a device then holds them once
    if one_by_one:
        edges = last.matrix.edges if last is not None and same else message_passing(backend).edges(joined)
        return _Layer(HaloEdges(edges, exchanged), above, below, remote, joined)
    if last is not None and same:
        matrices = last.matrix.own, last.matrix.halo
    else:
        own, halo = _halves(joined, len(below))
        matrices = backend.csr(own), backend.csr(halo)
    return _Layer(HaloMatrix(*matrices, exchanged), above, below, remote)


def _joined(
    block: sp.csr_array, columns: Nodes, is_own: NDArray[np.bool_], below: Nodes, remote: Nodes
) -> sp.csr_array:
    """The block with the process's own nodes for columns, in the order of `below`, and the others' behind them, in that
    of `remote`."""
    order = np.argsort(remote)
    place = np.where(
        is_own,
        np.searchsorted(below, columns),
        len(below) + order[np.minimum(np.searchsorted(remote[order], columns), len(remote) - 1)],
    )
    parts = (block.data.copy(), place[block.indices].astype(block.indices.dtype), block.indptr)
    joined = sp.csr_array(parts, shape=(block.shape[0], len(below) + len(remote)))
    joined.sort_indices()
    return joined


def _halves(joined: sp.csr_array, width: int) -> tuple[sp.csr_array, sp.csr_array]:
    """Its first columns, so many, and the others; each has a value, since a matrix needs one."""
    at = np.repeat(np.arange(joined.shape[0]), np.diff(joined.indptr))
    own = joined.indices < width
    halves = []
    for chosen, before, columns in ((own, 0, width), (~own, width, joined.shape[1] - width)):
        parts = (joined.data[chosen], (at[chosen], joined.indices[chosen] - before))
        half = sp.csr_array(parts, shape=(joined.shape[0], columns))
        half.sort_indices()
        halves.append(half if half.nnz else sp.csr_array((np.zeros(1), ([0], [0])), shape=half.shape))
    return halves[0], halves[1]


def _counts(matrix: NDArray[np.integer]) -> Counts:
    return tuple(tuple(int(value) for value in row) for row in matrix)
