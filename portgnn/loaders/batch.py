"""Batches on a device: padded to a few shapes, so that what a framework compiled for one batch serves the next.

Padding changes no number: added rows and columns hold zeros, added rows of the output are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeAlias, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import DTypeLike, NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.graphs.graph import Features
from portgnn.loaders.neighbor import Block
from portgnn.loaders.rooms import Room, Rooms
from portgnn.loaders.source import Source
from portgnn.models.layer import Layer
from portgnn.placing.elements import Numbers, dense_elements, layer_edge_elements
from portgnn.placing.field import picking, picks
from portgnn.placing.operands import Operands, Transposes, on_device, placed_features, placed_once
from portgnn.protocol import Array, Backend
from portgnn.tasks import Targets

Tree: TypeAlias = Any
Scalar = TypeVar("Scalar", bound=np.generic)
"""`Operands` as a tuple of arrays, handles and None: what a framework's own transforms can take as an argument."""


@dataclass(frozen=True, eq=False)
class HostBatch:
    """A padded batch on the host; fields as in `Operands`, matrices in SciPy's and NumPy's forms."""

    features: Features
    feature_numbers: Numbers | None
    layers: tuple[Layer, ...]
    adjacency: tuple[sp.csr_array | None, ...]
    picked: tuple[sp.csr_array | None, ...]
    index: tuple[Numbers | None, ...]
    edge_index: tuple[Numbers | None, ...]
    targets: Targets
    members: sp.csr_array | None = None
    """Of whole graphs: [graphs, rows], what a readout takes of each graph's rows."""
    share: NDArray[np.float64] | None = None
    """As in `Operands`."""
    transposes: Transposes = field(default_factory=dict)
    """Those of `adjacency` and `members`, where they are known."""
    borrowed: Sequence[Room] = ()
    """Memory of its arrays that others may have when it has been placed; see `Rooms`."""

    @property
    def count(self) -> float:
        """How many nodes, or graphs, are counted, or for how much."""
        return self.targets.size


def size_class(size: int) -> int:
    """The next of 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, …: four classes an octave waste at most a quarter."""
    step = 1 << max(size.bit_length() - 3, 0)
    return max(-(-size // step) * step, 4)


def assemble(
    source: Source, block: Block, dtype: str = "float64", rooms: Rooms | None = None, targets: Targets | None = None
) -> HostBatch:
    """Reads the features of a batch and pads it. Needs labels for the counted nodes, unless it is given the targets.

    dtype: of the backend that it is for: features of float64 become float32 here where that is what it makes of them.
    rooms: whose memory large arrays take; `HostBatch.borrowed` is to be given back when the batch has been placed.
    """
    graph, layers, room = source.graph, source.layers, _Borrowing(rooms or Rooms())
    features, numbers, first = _padded_features(source, block.levels[0], dtype, room)
    sizes, adjacency = [first], list[sp.csr_array | None]()
    padded: dict[int, sp.csr_array] = {}  # layers may share a block, and a device then holds it once
    for level, matrix in zip(block.levels[1:], block.blocks, strict=True):
        if matrix is None:
            adjacency.append(None)
            sizes.append(sizes[-1])
            continue
        same = sizes[-1] == first and level is block.levels[0]
        if id(matrix) not in padded:
            height = first if same else size_class(len(level) + _spare_rows(matrix.nnz, sizes[-1]))
            padded[id(matrix)] = zero_padded(matrix, height, sizes[-1])
        adjacency.append(padded[id(matrix)])
        sizes.append(padded[id(matrix)].shape[0])
    kept = zip(picks(block.levels, [layer.keeps for layer in layers]), pairwise(sizes), strict=True)
    picked = tuple(
        None if matrix is None else picking(lengthened(matrix.indices, above), below) for matrix, (below, above) in kept
    )
    index = tuple(
        None if not layer.dropout or (layer.number == 0 and numbers is not None) else room.elements(level, size, layer)
        for layer, level, size in zip(layers, block.levels[:-1], sizes[:-1], strict=True)
    )
    of_edges = layer_edge_elements(layers, block.levels[1:], block.levels[:-1], block.blocks, graph.num_nodes)
    edge_index = tuple(
        None if each is None or matrix is None else lengthened(each, matrix.nnz)
        for each, matrix in zip(of_edges, adjacency, strict=True)
    )
    targets = targets or source.task.targets(block.nodes, block.counted, sizes[-1])
    parts = features, numbers, layers, tuple(adjacency), picked, index, edge_index, targets
    return HostBatch(*parts, borrowed=room.rooms)


def place_batch(backend: Backend, batch: HostBatch) -> Operands:
    """The batch on the backend's device."""
    adjacency = placed_once(backend, batch.layers, batch.adjacency, transposes=batch.transposes)
    index = batch.index, batch.edge_index
    features = placed_features(backend, batch.features, batch.feature_numbers)
    placed = on_device(backend, features, adjacency, batch.picked, *index, batch.targets)
    numbered = zip(placed.index, batch.layers, strict=True)
    return replace(placed, index=tuple(_counted_on(backend, each, layer.fan_in) for each, layer in numbered))


def _counted_on(backend: Backend, index: Array | None, width: int) -> Array | None:
    """Element numbers [rows, width], of those or of what each row begins with, [rows, 1]; see `COUNTED_ON`."""
    if index is None or index.shape[1] == width:
        return index
    return index + backend.asarray(np.arange(width, dtype=np.uint32))


def as_tree(operands: Operands) -> Tree:
    """The arrays of a batch; see `from_tree`. The count stays behind: it is in the targets."""
    placed = operands.features, operands.adjacency, operands.picked, operands.index, operands.edge_index
    return (*placed, operands.weights, operands.labels, operands.readout, operands.share)


def from_tree(tree: Tree) -> Operands:
    features, adjacency, picked, index, edge_index, weights, labels, readout, share = tree
    return Operands(
        features=features,
        adjacency=tuple(adjacency),
        picked=tuple(picked),
        index=tuple(index),
        edge_index=tuple(edge_index),
        weights=weights,
        labels=labels,
        count=0,
        readout=readout,
        share=share,
    )


def _spare_rows(stored: int, width: int) -> int:
    """Rows that have room for the zeros with which `stored` values are padded."""
    return 1 + (size_class(stored) - stored) // width


def lengthened(rows: NDArray[Scalar], height: int) -> NDArray[Scalar]:
    """The rows, and zeros up to so many."""
    longer = np.zeros((height, *rows.shape[1:]), dtype=rows.dtype)
    longer[: len(rows)] = rows
    return longer


def zero_padded(matrix: sp.csr_array, height: int, width: int, stored_then: int | None = None) -> sp.csr_array:
    """The matrix with zero rows and columns up to [height, width], and stored zeros in the rows that were added.

    Zeros are stored in no row of the matrix itself, and no place twice: it stays canonical. stored_then: how many
    values it then has, if there is room; by default their size class.
    """
    due = size_class(matrix.nnz) if stored_then is None else stored_then
    return padded_csr((matrix.data, matrix.indices, matrix.indptr), height, width, due)


def padded_csr(parts: tuple[NDArray[np.generic], ...], height: int, width: int, due: int) -> sp.csr_array:
    """As `zero_padded`, of the parts (data, indices, indptr) of a matrix no wider; due: how many values it then has."""
    data, indices, indptr = parts
    rows, stored = len(indptr) - 1, len(data)
    added = max(min(due - stored, (height - rows) * width), 0)
    values, columns = np.empty(stored + added), np.empty(stored + added, dtype=indices.dtype)
    values[:stored], values[stored:] = data, 0.0
    columns[:stored] = indices
    # Row by row: most often all that is added fits into one.
    columns[stored:] = np.arange(added) % width if added > width else np.arange(added)
    ends = np.empty(height + 1, dtype=indptr.dtype)
    ends[: rows + 1] = indptr
    np.minimum(np.arange(1, height - rows + 1) * width, added, out=ends[rows + 1 :], casting="unsafe")
    ends[rows + 1 :] += stored
    return sp.csr_array((values, columns, ends), shape=(height, width))


COUNTED_ON = 1 << 20
"""Elements from which on they are not numbered one by one. A step over fewer may be recorded, its numbers with it."""


class _Borrowing:
    """Rooms of one batch. rooms: those that are taken."""

    def __init__(self, lender: Rooms) -> None:
        self._lender, self.rooms = lender, list[Room]()

    def array(self, shape: tuple[int, int], dtype: DTypeLike, filled: int) -> NDArray[Any]:
        """An array whose first `filled` rows are to be written; the others are zeros."""
        array, room = self._lender.taken(shape, dtype)
        self.rooms.append(room)
        array[filled:] = 0
        return array

    def elements(self, nodes: Nodes, height: int, layer: Layer) -> Numbers:
        """The element numbers of a layer's dense input, of the nodes' rows and of those that pad them.

        Of a large one that of each row's first element alone, which the device counts on from: as many numbers as
        values would be to write here, and to send.
        """
        if height * layer.fan_in >= COUNTED_ON:
            first = self.array((height, 1), np.uint32, len(nodes))
            dense_elements(nodes, layer.fan_in, first[: len(nodes)], columns=1)
            return first
        numbers = self.array((height, layer.fan_in), np.uint32, len(nodes))
        dense_elements(nodes, layer.fan_in, numbers[: len(nodes)])
        return numbers


def _padded_features(
    source: Source, nodes: Nodes, dtype: str, room: _Borrowing
) -> tuple[Features, NDArray[np.uint32] | None, int]:
    if not source.sparse_features:
        height = size_class(len(nodes) + 1)
        kind = np.dtype(np.float32) if dtype == "float32" else source.dense_dtype
        padded = room.array((height, source.graph.num_features), kind, len(nodes))
        source.fill(nodes, padded[: len(nodes)])
        return padded, None, height
    features: Any
    features, numbers = source.features(nodes)
    assert numbers is not None
    rows, width = features.shape
    height = size_class(rows + _spare_rows(features.nnz, width))
    matrix = zero_padded(features, height, width)
    return matrix, np.concatenate([numbers, np.zeros(matrix.nnz - len(numbers), dtype=np.uint32)]), height
