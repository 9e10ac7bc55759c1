"""Pairs of different nodes by number, and those that no edge joins: what negative samples are drawn from.

The pairs (i, j) with i < j of n nodes have the numbers 0 to n (n - 1) / 2 - 1, row by row of the upper triangle. Of
ordered pairs, (i, j) and (j, i) are two, and numbers go from 0 to n (n - 1) - 1, row by row without the diagonal.
What is drawn is the place of a pair among those without an edge, so that no draw is rejected, however dense a graph is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.errors import GraphError
from portgnn.random import words64

Pairs = NDArray[np.int64]
"""[m, 2]: two nodes each, the lower number first; where pairs are ordered, from the first to the second."""


def pair_numbers(pairs: Pairs, nodes: int, ordered: bool = False) -> NDArray[np.int64]:
    """The number of each pair of different nodes, [m]; unless they are ordered, whichever of them comes first."""
    if ordered:
        source, target = pairs[:, 0], pairs[:, 1]
        in_rows: NDArray[np.int64] = source * (nodes - 1) + target - (target > source)
        return in_rows
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    numbers: NDArray[np.int64] = low * (2 * nodes - low - 1) // 2 + (high - low - 1)
    return numbers


def pairs_at(numbers: NDArray[np.int64], nodes: int, ordered: bool = False) -> Pairs:
    """The inverse of `pair_numbers`, [m, 2]."""
    if ordered:
        source, target = np.divmod(numbers, max(nodes - 1, 1))
        return np.stack([source, target + (target >= source)], axis=1)
    rows = np.arange(nodes, dtype=np.int64)
    starts = rows * (2 * nodes - rows - 1) // 2
    low = np.searchsorted(starts, numbers, side="right") - 1
    # The last node begins no pair: its start is where the row before it ends.
    low = np.minimum(low, max(nodes - 2, 0))
    return np.stack([low, numbers - starts[low] + low + 1], axis=1)


def joined_pairs(adjacency: sp.csr_array, ordered: bool = False) -> Pairs:
    """The pairs that an edge joins, by ascending number; in either direction unless ordered. Loops are none."""
    rows = np.repeat(np.arange(adjacency.shape[0], dtype=np.int64), np.diff(adjacency.indptr))
    both = np.stack([rows, adjacency.indices.astype(np.int64)], axis=1)
    both = both[both[:, 0] != both[:, 1]]
    return pairs_at(np.unique(pair_numbers(both, adjacency.shape[0], ordered)), adjacency.shape[0], ordered)


@dataclass(frozen=True, eq=False)
class Apart:
    """The pairs of different nodes that no edge joins, in that direction where they are ordered.

    joined: the numbers of the others, ascending.
    """

    nodes: int
    joined: NDArray[np.int64]
    ordered: bool = False

    @property
    def count(self) -> int:
        return self.nodes * (self.nodes - 1) // (1 if self.ordered else 2) - len(self.joined)

    def at(self, places: NDArray[np.int64]) -> Pairs:
        """Those at some places, from 0 to count - 1, [m, 2]."""
        before = self.joined - np.arange(len(self.joined))  # how many of them lie before each joined pair
        return pairs_at(places + np.searchsorted(before, places, side="right"), self.nodes, self.ordered)

    def check(self, count: int) -> None:
        """Raises GraphError unless there are so many of them, and one at least."""
        if not self.count:
            raise GraphError("an edge joins every pair of nodes, so that there is no negative pair to draw")
        if count > self.count:
            raise GraphError(f"{count} pairs of nodes that no edge joins are needed, and there are {self.count}")

    def drawn(self, key: NDArray[np.uint32], count: int) -> Pairs:
        """So many of them, each independent of the others: one may come twice. key: of `portgnn.random.stream_key`.

        Raises GraphError where there is none.
        """
        self.check(1)
        return self.at(self._places(key, 0, count))

    def different(self, key: NDArray[np.uint32], count: int) -> Pairs:
        """So many of them, none twice, in the order of the draw. Raises GraphError where there are fewer, or none."""
        self.check(count)
        if 2 * count > self.count:  # all of them, in an order of their own
            return self.at(np.argsort(words64(key, 0, self.count), kind="stable")[:count])
        found, start = np.empty(0, dtype=np.int64), 0
        while len(found) < count:
            found = np.concatenate([found, self._places(key, start, count)])
            found = found[np.sort(np.unique(found, return_index=True)[1])]
            start += count
        return self.at(found[:count])

    def _places(self, key: NDArray[np.uint32], start: int, count: int) -> NDArray[np.int64]:
        # A remainder of 64 bits: no place is likelier than another by more than count / 2**64.
        return (words64(key, start, count) % np.uint64(self.count)).astype(np.int64)
