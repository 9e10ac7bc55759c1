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
from portgnn.distributed.routes import routing
from portgnn.graphs.arrays import Nodes, canonical_csr
from portgnn.graphs.checks import Features
from portgnn.loaders.source import Source
from portgnn.models.layer import Layer
from portgnn.parts import matmul_add, message_passing
from portgnn.placing.elements import Numbers, layer_edge_elements, layer_elements
from portgnn.placing.field import Field, computes_all, narrowed, picks, receptive_field
from portgnn.placing.operands import Fetched, Operands, on_device, placed_features, placed_once
from portgnn.placing.whole import commuted, foldable, multiplied
from portgnn.protocol import CSR, Array, Backend, Collectives, Counts, EdgeHandle, RouteHandle, Routing

NARROWER = 4
"""See `portgnn.placing.whole.commuted`; what travels costs about as much as what is multiplied."""


@dataclass(frozen=True, eq=False)
class HaloMatrix:
    """A process's rows of the adjacency, as a handle for `Partitioned.matmul`.

    own: columns of the process's own nodes; halo: of the rows that come from others by the route.
    """

    own: CSR
    halo: CSR
    route: RouteHandle
    routing: Routing


@dataclass(frozen=True, eq=False)
class HaloEdges(Fetched):
    """A process's rows of the adjacency for a layer that computes along edges.

    edges: as the backend knows them, from the process's own rows and, behind them, those that come from others.
    """

    edges: EdgeHandle
    route: RouteHandle
    routing: Routing

    def fetched(self, backend: Backend, sent: Array) -> tuple[EdgeHandle, Array]:
        return self.edges, backend.xp.concat([sent, self.routing.fetched(self.route, sent)], axis=0)


class Partitioned:
    """A backend whose products with a `HaloMatrix` fetch what they need; all else is the backend's own."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def matmul(self, a: Any, b: Array) -> Array:
        if isinstance(a, HaloMatrix):
            return a.routing.product(a.route, a.own, a.halo, b)
        return self._backend.matmul(a, b)

    def matmul_add(self, a: object, b: Array, y: Array, scale: float = 1.0) -> Array:
        if not isinstance(a, HaloMatrix):
            return cast(Array, matmul_add(self._backend, a, b, y, scale))
        product = self.matmul(a, b)
        return cast(Array, self._backend.xp.add(product if scale == 1.0 else scale * product, y))


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
    part = _Part(backend, source, partition, collectives, top)
    layers = source.layers
    dense = source.config.adjacency == "dense"
    count = 0 if dense else foldable(layers, training)
    # What a first layer reads of others is constant: held here, it costs its dropout, and no message in each step.
    alone = not count and not dense and commuted(layers, training, source.sparse_features, NARROWER)
    part.descend(layers[count + alone :])
    if alone:
        part.hold(layers[0])
    features, numbers, taken = part.folded(count)
    if taken < count:
        part.descend(layers[taken:count])
        features, numbers = part.multiplied(taken)
    levels, placed = part.all_levels(taken)
    nothing: tuple[Numbers | None, ...] = (None,) * len(layers)
    return on_device(
        backend,
        placed_features(backend, features, numbers),
        tuple(None if each is None else each.matrix for each in placed),
        picks(levels, [layer.keeps for layer in layers]),
        layer_elements(layers, levels, source.sparse_features) if training else nothing,
        _edge_elements(source, placed) if training else nothing,
        source.task.targets(mine, np.searchsorted(top, mine), len(top), among=nodes),
        alone,
    )


class _Part:
    """A process's levels and matrices, found from the output down.

    A product with the features that is constant is taken here, once, as one process takes it. The rows of others that
    it reads are read from the source, not asked of them, and no layer above asks for them again.
    """

    def __init__(
        self, backend: Backend, source: Source, partition: Partition, collectives: Collectives, top: Nodes
    ) -> None:
        self._backend, self._source, self._partition, self._collectives = backend, source, partition, collectives
        self._routing = routing(backend, collectives)
        self._levels: list[Nodes] = [top]
        self._placed: list[_Layer | None] = []
        self._last: _Layer | None = None

    def descend(self, layers: Sequence[Layer]) -> None:
        """Places the matrices of these layers, which lie below those that are placed."""
        for layer in reversed(layers):
            below, placed = self._levels[0], None
            if layer.along != "nothing":
                placed = self._last = self._layer(below, self._last, layer)
                below = placed.below
            self._levels.insert(0, below)
            self._placed.insert(0, placed)

    def hold(self, layer: Layer) -> None:
        """Places the matrix of the first layer with all rows that it reads, those of other processes too."""
        block, columns = narrowed(self._source.rows(self._levels[0]))
        placed = placed_once(self._backend, (layer,), (block,))[0]
        self._placed.insert(0, _Layer(placed, self._levels[0], columns, columns[:0]))
        self._levels.insert(0, columns)

    def folded(self, count: int) -> tuple[Features, Numbers | None, int]:
        """The features of the lowest level times A of so many layers, or of fewer where all processes together have
        less to multiply with then; their element numbers, and how many A are in them.
        """
        if not count or not self._source.sparse_features:
            return *self.multiplied(count), count
        field = self._field(count)
        features, numbers = self._source.features(field.levels[0])
        found, taken = multiplied(features, _present(field), self._sum)
        return found, None if taken else numbers, taken

    def multiplied(self, count: int) -> tuple[Features, Numbers | None]:
        """The features of the lowest level times A of so many layers."""
        if not count:
            return self._source.features(self._levels[0])
        field = self._field(count)
        if not self._source.sparse_features:
            return self._source.product(_present(field), field.levels[0], self._backend.dtype), None
        product: object = self._source.features(field.levels[0])[0]
        for block in _present(field):
            product = canonical_csr(block @ product)
        return product, None

    def all_levels(self, folded: int) -> tuple[list[Nodes], list[_Layer | None]]:
        """The levels and the matrices of all layers, of which the first ones have none any more."""
        return [self._levels[0]] * folded + self._levels, [None] * folded + self._placed

    def _field(self, count: int) -> Field:
        layers = self._source.layers[:count]
        return receptive_field(lambda nodes, _: self._source.rows(nodes), self._levels[0], layers)

    def _sum(self, number: int) -> float:
        total = self._collectives.all_reduce(self._backend.asarray(np.array([float(number)])))
        return float(self._backend.to_numpy(total)[0])

    def _layer(self, above: Nodes, last: _Layer | None, layer: Layer) -> _Layer:
        backend, partition, collectives = self._backend, self._partition, self._collectives
        block, columns = narrowed(self._source.rows(above))
        one_by_one = layer.along == "edges"
        if last is not None and (last.block is not None) != one_by_one:
            last = None  # it has another form
        if collectives.size == 1:
            if last is not None and np.array_equal(last.above, above):
                return _Layer(last.matrix, above, columns, columns[:0], last.block)
            placed = placed_once(backend, (layer,), (block,))[0]
            return _Layer(placed, above, columns, columns[:0], block if one_by_one else None)
        owner = partition.owner_of(columns)
        is_own = owner == collectives.rank
        remote, boundary, counts = self._asked(columns[~is_own])
        below = np.union1d(columns[is_own], boundary)
        route = self._routing.route(np.searchsorted(below, boundary), counts)
        joined = _joined(block, columns, is_own, below, remote)
        same = last is not None and all(
            np.array_equal(*pair) for pair in ((last.above, above), (last.below, below), (last.remote, remote))
        )  # a device then holds them once
        if one_by_one:
            edges = last.matrix.edges if last is not None and same else message_passing(backend).edges(joined)
            return _Layer(HaloEdges(edges, route, self._routing), above, below, remote, joined)
        if last is not None and same:
            matrices = last.matrix.own, last.matrix.halo
        else:
            own, halo = _halves(joined, len(below))
            matrices = backend.csr(own), backend.csr(halo)
        return _Layer(HaloMatrix(*matrices, route, self._routing), above, below, remote)

    def _asked(self, needed: Nodes) -> tuple[Nodes, Nodes, Counts]:
        """All processes tell each other which nodes of theirs they need.

        Returned are the nodes that come to this one, in order of arrival; those that go out, in order of departure;
        and how many go between any two.
        """
        backend, partition, collectives = self._backend, self._partition, self._collectives
        rank, size = collectives.rank, collectives.size
        # One row at least between any two: a process that sent nothing would miss its place in the backward pass.
        remote = np.union1d(needed, partition.first(size)[np.delete(np.arange(size), rank)])
        owner = partition.owner_of(remote)
        remote = remote[np.argsort(owner, kind="stable")]
        requests = np.zeros((size, size), dtype=np.int32)
        requests[rank] = np.bincount(owner, minlength=size)
        requests = backend.to_numpy(collectives.all_reduce(backend.asarray(requests))).astype(np.int32)
        asking = backend.asarray(remote.astype(np.int32)[:, None])
        wanted = backend.to_numpy(collectives.exchange(asking, _counts(requests)))
        return remote, wanted.ravel().astype(np.int64), _counts(requests.T)


def _present(field: Field) -> list[sp.csr_array]:
    return [block for block in field.blocks if block is not None]


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
