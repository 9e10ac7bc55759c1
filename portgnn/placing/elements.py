"""Element numbers: by what dropout knows an element, whichever rows are present and wherever they lie.

An element of a layer's dense input has the number node * width + column, modulo 2**32; one of sparse features, its
place among the stored values of all nodes' features. A value of an edge has that of its place in a dense matrix of all
nodes: (target * nodes + source) * values + number of the value, modulo 2**32.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.models.layer import Layer

Numbers = NDArray[np.uint32]


def dense_elements(nodes: Nodes, width: int, out: Numbers | None = None, columns: int | None = None) -> Numbers:
    """Of some rows, uint32 [len(nodes), width]; in `out` where that is given. columns: of the first ones alone."""
    # In uint32 the products wrap by themselves.
    numbers: Numbers = np.arange(width if columns is None else columns, dtype=np.uint32)
    first: Numbers = np.multiply(nodes.astype(np.uint32), np.uint32(width))
    return np.add(first[:, None], numbers, out=out)


def edge_elements(rows: Nodes, columns: Nodes, nodes: int, values: int) -> Numbers:
    """Of some edges with so many values each, uint32 [len(rows), values]. rows, columns: their ends; nodes: of all."""
    place = rows.astype(np.uint32) * np.uint32(nodes & 0xFFFFFFFF) + columns.astype(np.uint32)
    first: Numbers = np.multiply(place, np.uint32(values))
    return np.add(first[:, None], np.arange(values, dtype=np.uint32))


def stored_elements(start: Nodes, end: Nodes) -> Nodes:
    """Of rows whose stored values lie from start[i] to end[i], one row after the other: int64, all their places."""
    counts = np.asarray(end, dtype=np.int64) - start
    return np.repeat(np.asarray(start, dtype=np.int64), counts) + within(counts)


def within(counts: Nodes) -> Nodes:
    """0, 1, …, counts[0] - 1, 0, 1, …, counts[1] - 1, and so on."""
    ends = np.cumsum(counts)
    numbers: Nodes = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
    return numbers


def layer_elements(
    layers: Sequence[Layer], levels: Sequence[Nodes], sparse_features: bool, all_nodes: int | None = None
) -> tuple[Numbers | None, ...]:
    """For each layer with dropout on a dense input, that input's element numbers.

    None for a layer without dropout or with a sparse input, whose numbers come with it; and for rows of all
    `all_nodes` nodes, whose numbers are 0, 1, 2, ….
    """
    return tuple(
        None
        if not layer.dropout or (layer.number == 0 and sparse_features) or len(nodes) == all_nodes
        else dense_elements(nodes, layer.fan_in)
        for layer, nodes in zip(layers, levels[: len(layers)], strict=True)
    )


def layer_edge_elements(
    layers: Sequence[Layer],
    targets: Sequence[Nodes],
    sources: Sequence[Nodes],
    blocks: Sequence[sp.csr_array | None],
    all_nodes: int,
) -> tuple[Numbers | None, ...]:
    """For each layer with dropout on edges, the element numbers of their values, [stored values of its block, values].

    targets, sources: the nodes of each block's rows and columns.
    """
    return tuple(
        None
        if block is None or not layer.edge_dropout
        else edge_elements(np.repeat(rows, np.diff(block.indptr)), columns[block.indices], all_nodes, layer.edge_values)
        for layer, rows, columns, block in zip(layers, targets, sources, blocks, strict=True)
    )
