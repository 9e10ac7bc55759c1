"""The rows that a loss reads: its nodes at the output, and below each layer the neighbours of those above.

Rows outside of this receptive field change neither the loss nor a gradient, so they are left out before anything
reaches a device. It is found once for whoever computes: the rows that go in are the graph's own, or sampled ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.models.layer import Layer, hops_of
from portgnn.presets import Config

SMALL = 1 << 20
"""Stored values of A + I up to which rows="auto" leaves out all that can be: what that takes is not felt."""
MOST = 0.75
"""Share of the nodes from which on rows="auto" takes all of them: a level of its own saves less of a step than that,
and has a matrix, features and element numbers of its own to be made, held, and read in place of 0, 1, 2, …."""
LOOK = 1 << 18
"""Stored values after which it is looked at again how many columns they fill."""


@dataclass(frozen=True, eq=False)
class Field:
    """levels[0]: nodes whose features are read; levels[-1]: those of the output, ascending; each holds the next.

    blocks[l]: the edges' weights [len(levels[l + 1]), len(levels[l])], float64; None for a layer without edges, whose
    levels are one.
    """

    levels: tuple[Nodes, ...]
    blocks: tuple[sp.csr_array | None, ...]


def computes_all(config: Config) -> bool:
    """Whether every node's rows are computed, whatever the loss reads."""
    return config.adjacency == "dense" or config.rows == "all" or not config.network.prunable


def widest(config: Config, stored: int, n: int) -> int:
    """How many nodes a level has at most; one with more has all n of them. stored: values of A + I.

    "auto" is "needed" on small graphs. On others it has no level of most nodes: it would save little of a step, could
    not share what other placements of the graph have, and finding it looks at every edge.
    """
    if computes_all(config):
        return 0
    return n if config.rows == "needed" or stored <= SMALL else int(MOST * n)


def receptive_field(
    rows_of: Callable[[Nodes, int], sp.csr_array], top: Nodes, layers: Sequence[Layer], most: int | None = None
) -> Field:
    """The field of some nodes. rows_of(nodes, hop): the rows [len(nodes), n] that output rows read, of the layer that
    is the `hop`th with edges. most: nodes of a level, where that with more has all (None: any number).

    Every row holds its diagonal, so that rows of all nodes leave no column empty. Layers that read the same rows of the
    same nodes share a block, and levels of the same nodes are one array: a device then holds them once, and nothing has
    to be picked between them.
    """
    levels, blocks = [top], list[sp.csr_array | None]()
    hop = hops_of(layers)
    last: tuple[sp.csr_array, sp.csr_array, Nodes] | None = None
    for layer in reversed(layers):
        if layer.along == "nothing":
            levels.insert(0, levels[0])
            blocks.insert(0, None)
            continue
        hop -= 1
        rows = rows_of(levels[0], hop)
        n = rows.shape[1]
        if last is not None and rows is last[0]:
            block, columns = last[1:]
        elif is_everything(levels[0], n):
            block, columns = rows, levels[0]
        elif most is not None and fills_more(rows.indices, n, most):
            block, columns = rows, np.arange(n, dtype=np.int64)
        else:
            block, columns = narrowed(rows)
        if np.array_equal(columns, levels[0]):
            columns = levels[0]
        last = rows, block, columns
        levels.insert(0, columns)
        blocks.insert(0, block)
    return Field(tuple(levels), tuple(blocks))


def field_in(adjacency: sp.csr_array, top: Nodes, layers: Sequence[Layer], most: int | None = None) -> Field:
    """The field of some nodes in a matrix at hand."""

    taken: tuple[Nodes, sp.csr_array] | None = None

    def rows_of(nodes: Nodes, _: int) -> sp.csr_array:
        nonlocal taken
        if taken is None or nodes is not taken[0]:
            taken = nodes, adjacency if is_everything(nodes, adjacency.shape[0]) else adjacency[nodes]
        return taken[1]

    return receptive_field(rows_of, top, layers, most)


def fills_more(columns: NDArray[np.integer], n: int, most: int) -> bool:
    """Whether there are more than `most` different ones among the columns, all below n; ends as soon as that is so."""
    if most >= n:
        return False
    present = np.zeros(n, dtype=bool)
    for start in range(0, len(columns), LOOK):
        present[columns[start : start + LOOK]] = True
        if np.count_nonzero(present) > most:
            return True
    return False


def is_everything(nodes: Nodes, n: int) -> bool:
    """Whether these are all nodes, in their order."""
    return len(nodes) == n and bool((nodes == np.arange(n)).all())


def narrowed(rows: sp.csr_array) -> tuple[sp.csr_array, Nodes]:
    """The matrix without its empty columns, and which columns it keeps, ascending. Stored zeros count as filled."""
    columns, places = ranked(rows.indices, rows.shape[1])
    return sp.csr_array((rows.data, places, rows.indptr), shape=(rows.shape[0], len(columns))), columns


def ranked(numbers: NDArray[np.integer], below: int) -> tuple[Nodes, NDArray[np.int32]]:
    """The different numbers, ascending, and the rank of each number among them."""
    # A table over all numbers is the faster way, until it outgrows what is asked of it.
    if below <= 32 * len(numbers):
        present = np.zeros(below, dtype=bool)
        present[numbers] = True
        different = np.flatnonzero(present)
        table = np.empty(below, dtype=np.int32)
        table[different] = np.arange(len(different), dtype=np.int32)
        return different, table[numbers]
    different = np.unique(numbers).astype(np.int64)
    return different, np.searchsorted(different, numbers).astype(np.int32)


def picking(places: Nodes, width: int) -> sp.csr_array:
    """The matrix [len(places), width] whose product picks these rows."""
    indptr = np.arange(len(places) + 1, dtype=np.int32)
    return sp.csr_array((np.ones(len(places)), places.astype(np.int32), indptr), shape=(len(places), width))


def picks(levels: Sequence[Nodes], keeps: Sequence[bool]) -> tuple[sp.csr_array | None, ...]:
    """For each layer that keeps something of its input's rows, which of these are rows of its output.

    None for a layer that keeps nothing, and where the rows are the same.
    """
    return tuple(
        picking(np.searchsorted(below, above), len(below)) if kept and below is not above else None
        for (below, above), kept in zip(pairwise(levels), keeps, strict=True)
    )
