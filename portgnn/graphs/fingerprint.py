"""A graph in 64 hexadecimal digits: the same on every machine, another as soon as one value differs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.graphs.checks import Features
from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet

BLOCK = 1 << 17
"""Values that are digested together: few enough that what is made of them stays in a cache."""


def fingerprint(graph: Graph) -> str:
    """SHA-256 of adjacency, features, labels, splits and targets; names and notes do not count.

    Dense and sparse features with the same values have the same fingerprint, whatever their dtype holds.
    """
    return fingerprints(graph)[1]


def fingerprints(given: Graph | GraphSet) -> tuple[str, str]:
    """That of adjacency and features alone, which says that nodes are the same nodes, and that of the whole graph.

    Of a set, the sizes of its graphs belong to the first, and their targets to the second.
    """
    digest = Digest()
    graph = given.union if isinstance(given, GraphSet) else given
    for matrix in (graph.adjacency, graph.features):
        digest.matrix(matrix)
    if isinstance(given, GraphSet):
        digest.sizes(given.sizes)
    return digest.both(given)


class Parts(Protocol):
    """What a graph is beside its matrices."""

    @property
    def labels(self) -> NDArray[np.int64] | None: ...
    @property
    def train(self) -> NDArray[np.int64] | None: ...
    @property
    def val(self) -> NDArray[np.int64] | None: ...
    @property
    def test(self) -> NDArray[np.int64] | None: ...
    @property
    def targets(self) -> NDArray[np.float64] | None: ...


class Digest:
    """A fingerprint under way: of matrices in compressed form, since that is canonical and small, and of the rest."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def shape(self, shape: tuple[int, ...]) -> None:
        self._state.update(np.array(shape, dtype="<i8").tobytes())

    def add(self, part: NDArray[np.generic], dtype: str) -> None:
        self._state.update(np.ascontiguousarray(part, dtype=dtype).data)

    def sizes(self, sizes: NDArray[np.integer]) -> None:
        self._state.update(b"sizes" + sizes.astype("<i8").tobytes())

    def matrix(self, matrix: Features) -> None:
        """Row pointers, column indices and values as canonical CSR holds them, some at a time."""
        self.shape(matrix.shape)
        if not isinstance(matrix, sp.csr_array):
            rows = max(BLOCK // matrix.shape[1], 1)
            blocks = [matrix[start : start + rows] for start in range(0, len(matrix), rows)]
            self.dense(lambda: blocks, matrix.size)
            return
        for array, dtype in ((matrix.indptr, "<i8"), (matrix.indices, "<i8"), (matrix.data, "<f8")):
            for start in range(0, len(array), BLOCK):
                self.add(array[start : start + BLOCK], dtype)

    def dense(self, blocks: Callable[[], Iterable[NDArray[Any]]], size: int) -> None:
        """The same of a dense matrix of so many values, whose rows come some at a time, three times over. It is never
        compressed as a whole, which would take twice its memory.
        """
        counts = np.concatenate([np.count_nonzero(block, axis=1) for block in blocks()])
        self.add(np.concatenate([[0], np.cumsum(counts)]), "<i8")
        full = int(counts.sum()) == size
        every = np.zeros(0, dtype="<i8")
        for block in blocks():
            if full and len(every) < block.size:  # all but the last are as large as the first
                every = np.tile(np.arange(block.shape[1], dtype="<i8"), len(block))
            self.add(every[: block.size] if full else np.nonzero(block)[1], "<i8")
        for block in blocks():
            self.add(block if full else block[block != 0], "<f8")

    def both(self, given: Parts) -> tuple[str, str]:
        """The fingerprint so far, and with what a graph is beside its matrices."""
        state = self._state
        structure = state.hexdigest()
        for array in (given.labels, given.train, given.val, given.test):
            state.update(b"-" if array is None else b"+" + np.array(len(array), dtype="<i8").tobytes())
            if array is not None:
                state.update(array.astype("<i8").tobytes())
        if given.targets is not None:
            state.update(b"targets" + np.array(given.targets.shape, dtype="<i8").tobytes())
            state.update(given.targets.astype("<f8").tobytes())
        return structure, state.hexdigest()
