"""What a forward pass multiplies with: a graph's matrices, cut to what is needed, on a backend's device.

A loss over some rows of the output needs only those nodes' receptive field. Rows outside it change neither
the loss nor a gradient, so they are left out before anything reaches a device. Element numbers travel along,
so that dropout hits the same elements whichever rows are present.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.features import Moments, form_of, in_form, normalized, row_scaled, settled
from portgnn.graph import Features, Graph, canonical_csr, normalized_adjacency
from portgnn.presets import Config
from portgnn.protocol import CSR, Array, Backend

_COLUMNS = 8


@dataclass(frozen=True, eq=False)
class Prepared:
    """A graph as the recipe wants it, on the host in float64: normalised once, placed as often as needed."""

    graph: Graph
    config: Config
    adjacency: sp.csr_array
    moments: Moments | None = None

    @classmethod
    def of(cls, graph: Graph, config: Config, moments: Moments | None = None) -> Prepared:
        """The graph by a recipe, whose rule for features is settled on this graph.

        moments: of the graph that the model was trained on, where this is another.
        """
        config, moments = settled(graph, config, moments)
        return cls(graph, config, normalized_adjacency(graph.adjacency), moments)

    @cached_property
    def features(self) -> Features:
        """[n, f], normalised and in the form that the recipe asks for."""
        form = "sparse" if self.has_sparse_features else "dense"
        if self.moments is not None:  # a dense row of standardised features cannot be told from its zeros
            return normalized(in_form(self.graph.features, form), self.config.normalize_features, self.moments)
        return in_form(normalized(self.graph.features, self.config.normalize_features, None), form)

    @cached_property
    def row_scaled(self) -> tuple[Features, NDArray[np.float64] | None]:
        """Features and what to multiply each of their rows by, [n]; None where rows are not normalised."""
        if self.config.normalize_features == "row":
            return row_scaled(self.graph.features)
        return self.graph.features, None

    @cached_property
    def has_sparse_features(self) -> bool:
        """Whether `features` are CSR, found without making them. Centred columns have few zeros and never are."""
        if self.moments is not None and self.moments.mean is not None:
            return False
        return form_of(self.graph.features, self.config.features) == "sparse"

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Widths from the features to the classes: layers + 1 of them."""
        config = self.config
        hidden = (config.hidden,) * (config.layers - 1)
        return (self.graph.num_features, *hidden, self.graph.num_classes)


@dataclass(frozen=True, eq=False)
class Operands:
    """The constants of one forward pass on a device.

    features: dense or CSR [rows of layer 0, f].
    adjacency: one a layer, dense or CSR; None where the product with the features is already in them.
    index: one a layer, the element numbers of its dense input for dropout; None for 0, 1, 2, ….
    targets: [rows, c], -1/count at the label of each counted row and 0 elsewhere.
    labels: int32 [rows], -1 where the row is not counted.
    count: number of counted rows.
    """

    features: Array | CSR
    adjacency: tuple[Array | CSR | None, ...]
    index: tuple[Array | None, ...]
    targets: Array
    labels: Array
    count: int


def place(backend: Backend, prepared: Prepared, nodes: NDArray[np.int64] | None, training: bool) -> Operands:
    """Places what is needed for a loss over `nodes` (None: all nodes, without labels).

    training: with dropout, so that features which are dropped out cannot be multiplied ahead of time.
    """
    config, graph = prepared.config, prepared.graph
    everything = np.arange(graph.num_nodes, dtype=np.int64)
    dense = config.adjacency == "dense"
    rows = everything if nodes is None or dense or config.rows == "all" else nodes
    levels, blocks = _receptive_field(prepared.adjacency, rows, config.layers)
    dropped = config.input_dropout if training else 0.0
    may_multiply = not dense and not dropped and config.bias != "before"
    features: Any
    numbers: NDArray[np.uint32] | None = None
    multiplied = False
    if may_multiply and not prepared.has_sparse_features:
        features, multiplied = _dense_product(blocks[0], prepared, levels[0], backend.dtype), True
    else:
        features = prepared.features
        if len(levels[0]) != graph.num_nodes:
            if prepared.has_sparse_features:
                numbers = _stored_values_of(features, levels[0])
            features = features[levels[0]]
        if may_multiply:
            features, multiplied = _sparse_product_if_cheaper(blocks[0], features)
            numbers = None if multiplied else numbers  # they number the values of the features, not of a product

    # One handle serves all layers that share a block: a device holds it once.
    handles: dict[int, Array | CSR] = {}
    for matrix in blocks[1 if multiplied else 0 :]:
        if id(matrix) not in handles:
            handles[id(matrix)] = backend.asarray(matrix.toarray()) if dense else backend.csr(matrix)
    adjacency = [handles[id(matrix)] for matrix in blocks[1 if multiplied else 0 :]]
    labels = np.full(len(rows), -1, dtype=np.int32)
    targets = np.zeros((len(rows), graph.num_classes))
    count = 0
    if nodes is not None:
        assert graph.labels is not None
        at = np.arange(len(nodes)) if rows is nodes else nodes
        labels[at] = graph.labels[nodes]
        targets[at, graph.labels[nodes]] = -1.0 / len(nodes)
        count = len(nodes)
    return Operands(
        features=backend.csr(features, numbers) if sp.issparse(features) else backend.asarray(features),
        adjacency=(*((None,) if multiplied else ()), *adjacency),
        index=_element_numbers(backend, prepared, levels) if training else (None,) * config.layers,
        targets=backend.asarray(targets),
        labels=backend.asarray(labels),
        count=count,
    )


def receptive_field(prepared: Prepared, nodes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The nodes whose rows a loss over `nodes` computes, one array a level: of the features, …, of the output."""
    config, everything = prepared.config, np.arange(prepared.graph.num_nodes, dtype=np.int64)
    rows = everything if config.adjacency == "dense" or config.rows == "all" else nodes
    return _receptive_field(prepared.adjacency, rows, config.layers)[0]


def _receptive_field(
    adjacency: sp.csr_array, rows: NDArray[np.int64], layers: int
) -> tuple[list[NDArray[np.int64]], list[sp.csr_array]]:
    """Nodes needed at each level (levels[0] for the features, levels[layers] = rows) and the blocks between.

    blocks[l] is the adjacency from levels[l] (columns) to levels[l + 1] (rows).
    """
    n = adjacency.shape[0]
    levels = [rows]
    blocks: list[sp.csr_array] = []
    for _ in range(layers):
        if len(levels[0]) == n and np.array_equal(levels[0], np.arange(n)):
            levels.insert(0, levels[0])
            blocks.insert(0, adjacency)
            continue
        block = canonical_csr(adjacency[levels[0]])
        columns = np.unique(block.indices).astype(np.int64)
        levels.insert(0, columns)
        blocks.insert(0, canonical_csr(block[:, columns]))
    return levels, blocks


def _stored_values_of(matrix: sp.csr_array, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Numbers, in the whole matrix, of the stored values of some of its rows."""
    counts = np.diff(matrix.indptr)[rows]
    ends = np.cumsum(counts)
    within = np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
    numbers: NDArray[np.uint32] = (np.repeat(matrix.indptr[:-1][rows].astype(np.int64), counts) + within).astype(
        np.uint32
    )
    return numbers


def _sparse_product_if_cheaper(block: sp.csr_array, features: sp.csr_array) -> tuple[sp.csr_array, bool]:
    """(A X, True) where one product with it costs no more than one with A and one with X."""
    product = canonical_csr(block @ features)
    if product.nnz <= block.nnz + features.nnz:
        return product, True
    return features, False


def _dense_product(block: sp.csr_array, prepared: Prepared, rows: NDArray[np.int64], dtype: str) -> NDArray[Any]:
    """A X for dense features, of which the block takes some rows. dtype: of the backend that it is for.

    Summed in float64 whatever is kept, a few columns at a time: the normalised features as a whole, in float64, would
    be the largest array of a run.
    """
    (raw, scale), moments = prepared.row_scaled, prepared.moments
    if isinstance(raw, sp.csr_array):  # kept dense all the same: there is one dense copy for all placements
        raw, scale, moments = prepared.features, None, None
    scale = None if scale is None else scale[rows, None]
    product = np.empty((block.shape[0], raw.shape[1]), dtype=np.float64 if dtype == "float64" else np.float32)
    for start in range(0, raw.shape[1], _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        part: Any = raw[rows, columns].astype(np.float64)
        if moments is not None:
            part = moments.applied(part, columns)
        product[:, columns] = block @ (part if scale is None else part * scale)
    return product


def _element_numbers(backend: Backend, prepared: Prepared, levels: list[NDArray[np.int64]]) -> tuple[Array | None, ...]:
    """For each layer with a dense, incomplete input under dropout: node * width + column, modulo 2**32."""
    numbers: list[Array | None] = []
    for layer, rate in enumerate(prepared.config.dropout_rates()):
        nodes, width = levels[layer], prepared.dimensions[layer]
        sparse_input = layer == 0 and prepared.has_sparse_features
        if not rate or sparse_input or len(nodes) == prepared.graph.num_nodes:
            numbers.append(None)
            continue
        # In uint32 the products wrap by themselves.
        each = nodes.astype(np.uint32)[:, None] * np.uint32(width) + np.arange(width, dtype=np.uint32)
        numbers.append(backend.asarray(each))
    return tuple(numbers)
