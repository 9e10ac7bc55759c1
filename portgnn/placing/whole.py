"""A graph in memory on a backend's device, cut to what is needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import matmul
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn._system import threads
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.graph import Features, canonical_csr
from portgnn.models.layer import Layer
from portgnn.parts import compiled
from portgnn.placing.elements import Numbers, layer_edge_elements, layer_elements, stored_elements
from portgnn.placing.field import Field, field_in, is_everything, picks
from portgnn.placing.operands import Handles, Operands, on_device, placed_features, placed_once
from portgnn.placing.prepared import Prepared
from portgnn.protocol import CSR, Array, Backend, EdgeHandle
from portgnn.tasks import Targets

COLUMNS = 16
"""Of dense features that are multiplied together, in float64."""


class Shared:
    """What is on a device of one graph and serves further placements of it: that of all nodes, made once.

    One belongs to a backend and a `Prepared`, and holds what it holds as long as it is there.
    """

    def __init__(self) -> None:
        self.handles: Handles = {}
        self._features: dict[int, tuple[Array | CSR, int, bool]] = {}

    def features(
        self, backend: Backend, prepared: Prepared, field: Field, layers: Sequence[Layer], training: bool
    ) -> tuple[Array | CSR, int]:
        """The features that the first layer reads, and how many layers' A is in them."""
        count = 0 if prepared.config.adjacency == "dense" else foldable(layers, training)
        n, rows = prepared.graph.num_nodes, field.levels[count]
        found = self._features.get(count)
        if found is not None and len(rows) == n:
            return found[:2]
        if found is not None and found[1] == count and found[2]:
            index = backend.asarray(rows.astype(np.int32))
            return backend.xp.take(found[0], index, axis=0), count
        features, numbers, taken = _features(prepared, field, count, backend.dtype)
        placed = placed_features(backend, features, numbers)
        if len(rows) == n:
            self._features[count] = placed, taken, isinstance(features, np.ndarray)
        return placed, taken

    def adjacency(
        self, backend: Backend, prepared: Prepared, layers: Sequence[Layer], blocks: Sequence[sp.csr_array | None]
    ) -> tuple[Array | CSR | EdgeHandle | None, ...]:
        """The layers' matrices; None for those that have none."""
        placed = placed_once(backend, layers, blocks, prepared.config.adjacency == "dense", self.handles)
        for layer, block, handle in zip(layers, blocks, placed, strict=True):
            if block is prepared.adjacency:
                self.handles[id(block), layer.along == "edges"] = handle
        return placed


def place(
    backend: Backend,
    prepared: Prepared,
    nodes: Nodes | None,
    training: bool,
    layers: tuple[Layer, ...] | None = None,
    shared: Shared | None = None,
) -> Operands:
    """Places what is needed for a loss over `nodes` (None: all nodes, without labels).

    training: with dropout, so that features which are dropped out cannot be multiplied ahead of time. layers: those to
    place for, where they are not the network's for this graph: its first ones, or those for other classes. shared: of
    other placements of this graph on this backend.
    """
    layers = prepared.layers if layers is None else layers
    shared = shared or Shared()
    field = _field(prepared, nodes, layers)
    features, taken = shared.features(backend, prepared, field, layers, training)
    rest = shared.adjacency(backend, prepared, layers[taken:], field.blocks[taken:])
    dense = prepared.config.adjacency == "dense"
    index: tuple[Numbers | None, ...] = (None,) * len(layers)
    edge_index = index
    if training:
        n = prepared.graph.num_nodes
        index = layer_elements(layers, field.levels, prepared.has_sparse_features, n)
        edge_index = layer_edge_elements(layers, field.levels[1:], field.levels[:-1], field.blocks, n)
    return on_device(
        backend,
        features,
        (*(None,) * taken, *rest),
        picks(field.levels, [layer.keeps for layer in layers]),
        index,
        edge_index,
        _targets(prepared, nodes, field.levels[-1]),
        not taken and not dense and commuted(layers, training, prepared.has_sparse_features),
    )


def receptive_field(prepared: Prepared, nodes: Nodes) -> tuple[Nodes, ...]:
    """The nodes whose rows a loss over `nodes` computes, one array a level: of the features, …, of the output."""
    return _field(prepared, nodes, prepared.layers).levels


def _field(prepared: Prepared, nodes: Nodes | None, layers: Sequence[Layer]) -> Field:
    """For a loss over `nodes`."""
    if nodes is None or len(nodes) > prepared.widest:
        nodes = np.arange(prepared.graph.num_nodes, dtype=np.int64)
    return field_in(prepared.adjacency, nodes, layers, prepared.widest)


def foldable(layers: Sequence[Layer], training: bool) -> int:
    """How many products with A, of the first layers, may be taken of the features ahead of time: A of the second layer
    goes through a first one that is linear.
    """
    count = 0
    for layer in layers:
        if not layer.commutes or (training and layer.dropout):
            break
        count += 1
        if not layer.linear:
            break
    return count


def commuted(layers: Sequence[Layer], training: bool, sparse_features: bool, narrower: int = 2) -> bool:
    """Whether the first layer's A is multiplied with its dropped out features, and the layer's weight with that.

    Dense features want no gradient, so that A is multiplied once a step, with fan_in columns; behind the weight it is
    multiplied twice, forward and backward, with fan_out. narrower: how many times fan_out fan_in has to stay below.
    """
    first = layers[0]
    wanted = training and first.dropout > 0 and first.commutes and not sparse_features
    return wanted and first.fan_in < narrower * first.fan_out


def _features(prepared: Prepared, field: Field, count: int, dtype: str) -> tuple[Features, Numbers | None, int]:
    """The features that the first layer reads, the numbers of their stored values, and how many layers' A is in them.

    A X is constant where nothing of X is dropped out, and then taken once. Of sparse X as many products, of `count`,
    are taken as leave the fewest stored values to multiply with in a step.
    """
    blocks = [block for block in field.blocks[:count] if block is not None]
    if blocks and not prepared.has_sparse_features:
        return dense_product(blocks, prepared, field.levels[0], dtype), None, count
    features: Any = prepared.features
    numbers = None
    if len(field.levels[0]) != prepared.graph.num_nodes:
        if prepared.has_sparse_features:
            ends = features.indptr
            numbers = stored_elements(ends[:-1][field.levels[0]], ends[1:][field.levels[0]]).astype(np.uint32)
        features = features[field.levels[0]]
    found, taken = multiplied(features, blocks)
    return found, None if taken else numbers, taken  # the numbers are those of the features, not of a product


def multiplied(
    features: Any, blocks: Sequence[sp.csr_array], of_all: Callable[[int], float] = float
) -> tuple[Features, int]:
    """Sparse features times as many of the blocks, the first ones, as leave the fewest stored values to multiply with
    in a step; and how many these are.

    of_all: the sum of a number over all processes that decide this together.
    """
    found, taken, product = features, 0, features
    left = of_all(features.nnz + sum(block.nnz for block in blocks)) if blocks else 0.0
    for number, block in enumerate(blocks, start=1):
        product = canonical_csr(block @ product)
        size = of_all(product.nnz)
        if size > left:
            break  # and further ones have more
        cost = size + of_all(sum(later.nnz for later in blocks[number:]))
        if cost <= left:
            found, taken, left = product, number, cost
    return found, taken


def _targets(prepared: Prepared, nodes: Nodes | None, rows: Nodes) -> Targets:
    if nodes is None:
        nothing = np.zeros(0, dtype=np.int64)
        return prepared.task.targets(nothing, nothing, len(rows))
    at = np.arange(len(nodes)) if rows is nodes else nodes
    return prepared.task.targets(nodes, at, len(rows))


def dense_product(blocks: Sequence[sp.csr_array], prepared: Prepared, rows: Nodes, dtype: str) -> NDArray[np.floating]:
    """A X for dense features, of which the first block takes some rows; A A X for two blocks, and so on.

    dtype: of the backend that it is for.

    Summed in float64 whatever is kept, a few columns at a time: the normalised features as a whole, in float64, would
    be the largest array of a run.
    """
    (raw, scale), moments = prepared.row_scaled, prepared.moments
    if isinstance(raw, sp.csr_array):  # kept dense all the same: there is one dense copy for all placements
        raw, scale, moments = prepared.features, None, None
    chosen: Any = slice(None) if is_everything(rows, len(raw)) else rows
    scale = None if scale is None else scale[chosen, None]
    width, nnz = raw.shape[1], sum(block.nnz for block in blocks)
    multiplied_by = compiled.products(nnz * width, {COLUMNS, width % COLUMNS} - {0}, "d") or matmul
    product = np.empty((blocks[-1].shape[0], width), dtype=np.float64 if dtype == "float64" else np.float32)

    def multiply(start: int) -> None:
        columns = slice(start, start + COLUMNS)
        part: Any = raw[chosen, columns].astype(np.float64, order="C")
        if moments is not None:
            part = moments.applied(part, columns)
        part = part if scale is None else part * scale
        for block in blocks:
            part = multiplied_by(block, part)
        product[:, columns] = part

    threads.mapped(multiply, range(0, width, COLUMNS))
    return product
