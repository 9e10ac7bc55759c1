"""What an adapter may have beside the verbs of `portgnn.protocol.Backend` to draw batches where the graph lies."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.protocol import CSR, Array, Key

RowsHandle: TypeAlias = Any
"""Rows on a device that samples are drawn of, as `Sampling.place_rows` made them: opaque to all but their maker."""


class Hop(NamedTuple):
    """Sampled rows of some nodes, [nodes, columns]; see `Sampling.sample_rows`."""

    block: CSR
    columns: Array
    """int32 [columns], the nodes that the block's columns stand for, ascending; behind the last, n."""
    picked: CSR | None
    """[nodes, columns], what picks the nodes' own rows out of those of the columns; None unless asked for."""


@runtime_checkable
class Sampling(Protocol):
    """What an adapter may have that draws neighbours where the graph lies; `portgnn.loaders` serves those without.

    Both draw the same rows, bit for bit. Shapes are a function of the arguments' shapes alone, so that a step that
    samples can be compiled: nodes are filled up with the number n, whose rows are empty.
    """

    def room(self) -> int:
        """Bytes that a graph and what is computed with it may take; 0 where the host is to sample."""

    def place_rows(self, matrix: sp.csr_array, loops: NDArray[np.integer]) -> RowsHandle:
        """Places a canonical CSR matrix [n, n] of float64. loops: where in its row each node's own column is stored."""

    def sample_rows(
        self, rows: RowsHandle, nodes: Array, fanout: int, key: Key, scaled: bool, keeps: bool, narrow: bool
    ) -> Hop:
        """Each node's own value and at most `fanout` others, drawn as `portgnn.loaders.neighbor.distinct` draws them.

        nodes: int32, ascending. scaled: whether others are multiplied by their number over `fanout` where that is
        less. keeps: whether `Hop.picked` is wanted. narrow: whether columns without a value are left out; else there
        are n of them.
        """

    def elements(self, nodes: Array, width: int) -> Array:
        """Numbers node * width + column of elements [nodes, width], in a form that this adapter's `dropout` takes."""
