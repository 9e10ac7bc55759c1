"""A graph in 64 hexadecimal digits: the same on every machine, another as soon as one value differs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

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
    state = hashlib.sha256()
    graph = given.union if isinstance(given, GraphSet) else given
    # In compressed form, since that is canonical and small.
    for matrix in (graph.adjacency, graph.features):
        state.update(np.array(matrix.shape, dtype="<i8").tobytes())
        for part, dtype in _compressed(matrix):
            state.update(np.ascontiguousarray(part, dtype=dtype).data)
    if isinstance(given, GraphSet):
        state.update(b"sizes" + given.sizes.astype("<i8").tobytes())
    structure = state.hexdigest()
    for array in (given.labels, given.train, given.val, given.test):
        state.update(b"-" if array is None else b"+" + np.array(len(array), dtype="<i8").tobytes())
        if array is not None:
            state.update(array.astype("<i8").tobytes())
    if given.targets is not None:
        state.update(b"targets" + np.array(given.targets.shape, dtype="<i8").tobytes())
        state.update(given.targets.astype("<f8").tobytes())
    return structure, state.hexdigest()


def _compressed(matrix: Features) -> Iterator[tuple[NDArray[np.generic], str]]:
    """Row pointers, column indices and values of a matrix as canonical CSR holds them, some at a time, each with the
    type that it is digested in. A dense one is never compressed as a whole, which would take twice its memory.
    """
    if isinstance(matrix, sp.csr_array):
        for array, dtype in ((matrix.indptr, "<i8"), (matrix.indices, "<i8"), (matrix.data, "<f8")):
            yield from ((array[start : start + BLOCK], dtype) for start in range(0, len(array), BLOCK))
        return
    rows = max(BLOCK // matrix.shape[1], 1)
    blocks = [matrix[start : start + rows] for start in range(0, len(matrix), rows)]
    counts = np.concatenate([np.count_nonzero(block, axis=1) for block in blocks])
    yield np.concatenate([[0], np.cumsum(counts)]), "<i8"
    full = int(counts.sum()) == matrix.size
    every = np.tile(np.arange(matrix.shape[1], dtype="<i8"), rows)
    for block in blocks:
        yield every[: block.size] if full else np.nonzero(block)[1], "<i8"
    for block in blocks:
        yield block if full else block[block != 0], "<f8"
