"""A graph in 64 hexadecimal digits: the same on every machine, another as soon as one value differs."""

from __future__ import annotations

import hashlib

import numpy as np
import scipy.sparse as sp

from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet


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
    features = graph.features if isinstance(graph.features, sp.csr_array) else sp.csr_array(graph.features)
    for matrix in (graph.adjacency, features):
        state.update(np.array(matrix.shape, dtype="<i8").tobytes())
        for part, dtype in ((matrix.indptr, "<i8"), (matrix.indices, "<i8"), (matrix.data, "<f8")):
            state.update(np.ascontiguousarray(part, dtype=dtype).tobytes())
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
