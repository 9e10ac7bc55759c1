"""A + I, and what its edges weigh in a network.

Every network multiplies with values at the places of A + I, so that receptive fields are nested and each node is in
its own row: where a network does not count a node among its neighbours, the loop is a stored zero. The weights are a
function of A + I that comes last, so that rows can be read, sampled and cut out of the graph before it, and a subgraph
can be weighted anew.

`symmetric`  D^-1/2 (A + I) D^-1/2, D the row sums of A + I (Kipf & Welling 2017, eq. 2)
`laplacian`  -D^-1/2 A D^-1/2, D the row sums of A: 2 L / lambda - I, with L the normalised Laplacian and 2 for lambda,
             its largest eigenvalue (Defferrard et al. 2016, section 2.1)
`mean`       D^-1 A, D the row sums of A: the mean over neighbours (Hamilton et al. 2017, section 3.3)
`sum`        A (Xu et al. 2019, eq. 4.1)
`neighbours` 1 at each place of A, for networks that look at neighbours one by one
`pattern`    1 at each place of A + I, for networks that weigh edges by themselves (Veličković et al. 2018, eq. 4)

A node that has a self-loop in A keeps its weight in A + I, as in PyG's `gcn_norm`, so that none counts twice; such a
loop counts as an edge in all rules but `symmetric` and `pattern`, which have one at every node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn._system import threads
from portgnn.graphs.arrays import Nodes, canonical_csr
from portgnn.models.layer import Weighting

Floats = NDArray[np.float64]
ByPart = Callable[[slice], NDArray[Any]]
"""Of some stored values, one after the other, an array of what is asked of each."""
PART = 1 << 16
"""Stored values that are weighted together."""


class Sums(Protocol):
    """What the weights of some rows need to know of nodes, those of the columns too."""

    def looped(self, nodes: Nodes) -> Floats:
        """Row sums of A + I."""

    def plain(self, nodes: Nodes) -> Floats:
        """Row sums of A."""

    def added(self, nodes: Nodes) -> NDArray[np.bool_]:
        """Whether the node's loop is not one of A's."""


@dataclass(frozen=True, eq=False)
class Ends:
    """One end of some stored values: nodes[at[i]] is that of the i-th. nodes: different ones."""

    nodes: NDArray[np.int64]
    at: NDArray[np.integer]

    def of_nodes(self, values: NDArray[np.generic]) -> ByPart:
        """A value of each node as one of each stored value."""
        return lambda part: values[self.at[part]]


def edge_weights(rule: Weighting, values: Floats, rows: Ends, columns: Ends, sums: Sums) -> Floats:
    """The weights of values of A + I, one each."""
    return by_parts(weights_of(rule, values, rows, columns, sums), len(values))


def weights_of(rule: Weighting, values: Floats, rows: Ends, columns: Ends, sums: Sums) -> ByPart:
    """The same of some of the values; in functions of NumPy's and operators alone, so that they need not be numbers."""
    if rule == "pattern":
        return lambda part: np.ones_like(values[part])
    if rule == "symmetric":
        first, second = (end.of_nodes(1.0 / np.sqrt(sums.looped(end.nodes))) for end in (rows, columns))
        return lambda part: values[part] * (first(part) * second(part))
    is_loop = loops(rows, columns, rows.of_nodes(sums.added(rows.nodes)))
    if rule == "neighbours":
        return lambda part: np.where(is_loop(part), 0.0, 1.0)

    def plain(part: slice) -> Floats:
        return np.where(is_loop(part), 0.0, values[part])

    if rule == "sum":
        return plain
    if rule == "laplacian":
        one, other = (end.of_nodes(np.sqrt(sums.plain(end.nodes))) for end in (rows, columns))

        def laplacian(part: slice) -> Floats:
            both = one(part) * other(part)  # 0 where nothing arrives at a node of a directed graph: it weighs nothing
            return np.where(both == 0, 0.0, -plain(part) / np.where(both == 0, 1.0, both))

        return laplacian
    total = sums.plain(rows.nodes)
    size = rows.of_nodes(np.where(total == 0, 1.0, total))
    return lambda part: plain(part) / size(part)


def loops(rows: Ends, columns: Ends, is_added: ByPart) -> ByPart:
    """Whether each of some values is a loop that is not one of A's."""
    row, column = rows.of_nodes(rows.nodes), columns.of_nodes(columns.nodes)
    return lambda part: is_added(part) & (row(part) == column(part))


def by_parts(function: ByPart, count: int) -> Floats:
    """`function(slice(0, count))`, some values at a time, so that what it makes on the way stays in a cache."""
    found = np.empty(count)

    def fill(start: int) -> None:
        part = slice(start, min(start + PART, count))
        found[part] = function(part)

    threads.mapped(fill, range(0, count, PART))
    return found


@dataclass(frozen=True, eq=False)
class Looped:
    """A + I in memory. matrix: canonical CSR float64 [n, n]; is_added: [n], whether a node's loop is not one of A's."""

    matrix: sp.csr_array
    is_added: NDArray[np.bool_]

    @classmethod
    def of(cls, adjacency: sp.csr_array) -> Looped:
        is_added = adjacency.diagonal() == 0
        # Sums of what is canonical and not negative: nothing is to be sorted, merged or left out.
        matrix = sp.csr_array(adjacency + sp.diags_array(is_added.astype(np.float64)))
        return cls(matrix if matrix.has_canonical_format else canonical_csr(matrix), is_added)

    def weighted(self, rule: Weighting) -> sp.csr_array:
        """The weights, at the places of A + I."""
        matrix = self.matrix
        nodes = np.arange(matrix.shape[0], dtype=matrix.indices.dtype)
        data = edge_weights(rule, matrix.data, Ends(nodes, self._rows), Ends(nodes, matrix.indices), self)
        return sp.csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)

    @property
    def _rows(self) -> NDArray[np.integer]:
        """The row of each stored value."""
        return np.repeat(np.arange(self.matrix.shape[0], dtype=self.matrix.indices.dtype), np.diff(self.matrix.indptr))

    @cached_property
    def _looped(self) -> Floats:
        sums: Floats = np.asarray(self.matrix.sum(axis=1)).ravel()
        return sums

    @cached_property
    def _plain(self) -> Floats:
        """Summed without the loops that were added: 1e-20 + 1 - 1 is 0."""
        rows = self._rows
        kept = ~(self.is_added[rows] & (rows == self.matrix.indices))
        return np.bincount(rows[kept], self.matrix.data[kept], minlength=len(self.is_added)).astype(np.float64)

    def looped(self, nodes: Nodes) -> Floats:
        return self._looped[nodes]

    def plain(self, nodes: Nodes) -> Floats:
        return self._plain[nodes]

    def added(self, nodes: Nodes) -> NDArray[np.bool_]:
        chosen: NDArray[np.bool_] = self.is_added[nodes]
        return chosen


def normalized_adjacency(adjacency: sp.csr_array) -> sp.csr_array:
    """D^-1/2 (A + I) D^-1/2 with D the row sums of A + I (Kipf & Welling 2017, eq. 2). float64 [n, n]."""
    return Looped.of(adjacency).weighted("symmetric")
