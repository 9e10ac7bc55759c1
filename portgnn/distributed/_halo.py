"""A process's share of a forward pass: the rows of its own nodes, and the rows of others that they read.

Before each product with the adjacency, a process hands the others those rows of its input that theirs read (its
boundary) and gets those that its own read (its halo); in the backward pass the halo's gradients go back the same way
and are added to their owners'. What moves is a layer's width times the halo, once forward and once backward. It is
the one-dimensional distribution of Tripathy, Yelick & Buluc 2020 (CAGNET, section IV-A), which broadcasts all rows,
with the needed rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.distributed.partition import Partition
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.split import labels_at
from portgnn.loaders.source import Source
from portgnn.placing.elements import layer_elements
from portgnn.placing.field import computes_all, narrowed, picking, picks
from portgnn.placing.operands import Operands, on_device
from portgnn.placing.targets import targets_of
from portgnn.protocol import CSR, Array, Backend, Collectives, Counts


@dataclass(frozen=True, eq=False)
class HaloMatrix:
    """A process's rows of the adjacency, as a handle for `Partitioned.matmul`.

    own: columns of the process's own nodes; halo: of the rows that come from others; boundary: picks the rows of the
    input that others need, in the order in which they are sent.
    """

    own: CSR
    halo: CSR
    boundary: CSR
    counts: Counts
    collectives: Collectives


class Partitioned:
    """A backend whose products with a `HaloMatrix` fetch what they need; all else is the backend's own."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def matmul(self, a: Any, b: Array) -> Array:
        if not isinstance(a, HaloMatrix):
            return self._backend.matmul(a, b)
        received = a.collectives.exchange(self._backend.spmm(a.boundary, b), a.counts)
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
    placed: list[_Layer] = []
    for _ in source.layers:
        above = placed[0] if placed else None
        layer = _layer(backend, source, partition, collectives, levels[0], above)
        levels.insert(0, layer.below)
        placed.insert(0, layer)
    features, numbers = source.features(levels[0])
    return on_device(
        backend,
        features,
        numbers,
        tuple(layer.matrix for layer in placed),
        picks(levels, [layer.keeps for layer in source.layers]),
        layer_elements(source.layers, levels, source.sparse_features) if training else (None,) * len(source.layers),
        targets_of(labels_at(graph, mine), np.searchsorted(top, mine), len(top), graph.num_classes, len(nodes)),
    )


@dataclass(frozen=True, eq=False)
class _Layer:
    """A placed matrix between two levels of a process's own nodes. remote: the halo's nodes in order of arrival."""

    matrix: Any
    above: Nodes
    below: Nodes
    remote: Nodes


def _layer(
    backend: Backend, source: Source, partition: Partition, collectives: Collectives, above: Nodes, last: _Layer | None
) -> _Layer:
    block, columns = narrowed(source.rows(above))
    if collectives.size == 1:
        same = last is not None and np.array_equal(last.above, above)
        return _Layer(last.matrix if last is not None and same else backend.csr(block), above, columns, columns[:0])
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
    counts = _counts(requests.T)
    handed = picking(np.searchsorted(below, boundary), len(below))
    own, halo = _halves(block, columns, owner == rank, below, remote)
    if last is not None and all(
        np.array_equal(*pair) for pair in ((last.above, above), (last.below, below), (last.remote, remote))
    ):
        matrices = last.matrix.own, last.matrix.halo  # a device holds them once
    else:
        matrices = backend.csr(own), backend.csr(halo)
    return _Layer(HaloMatrix(*matrices, backend.csr(handed), counts, collectives), above, below, remote)


def _halves(
    block: sp.csr_array, columns: Nodes, is_own: NDArray[np.bool_], below: Nodes, remote: Nodes
) -> tuple[sp.csr_array, sp.csr_array]:
    """The columns of a block that are the process's own, in the order of `below`, and the others', of `remote`."""
    order = np.argsort(remote)
    place = np.where(
        is_own,
        np.searchsorted(below, columns),
        order[np.minimum(np.searchsorted(remote[order], columns), len(remote) - 1)],
    )
    at = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    own = is_own[block.indices]
    halves = []
    for chosen, width in ((own, len(below)), (~own, len(remote))):
        parts = (block.data[chosen], (at[chosen], place[block.indices[chosen]]))
        half = sp.csr_array(parts, shape=(block.shape[0], width))
        half.sort_indices()
        halves.append(half if half.nnz else sp.csr_array((np.zeros(1), ([0], [0])), shape=half.shape))
    return halves[0], halves[1]


def _counts(matrix: NDArray[np.integer]) -> Counts:
    return tuple(tuple(int(value) for value in row) for row in matrix)
