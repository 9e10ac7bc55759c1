"""Cluster batches: the subgraph of a few parts of the graph, drawn together (Chiang et al. 2019, Cluster-GCN).

Parts are ranges of equal length of an order in which neighbours lie close: METIS's parts one after the other where
pymetis is installed, the reverse Cuthill-McKee order (Cuthill & McKee 1969) in memory, the order of the file on
disk. A batch joins `PARTS_A_BATCH` parts drawn at random with the edges between them (section 3.2, stochastic
multiple partitions), and its edges are weighted anew (section 6.2). Edges to nodes outside are left out, so that
these gradients are biased, unlike those of `portgnn.loaders.neighbor`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from portgnn.graphs.arrays import Nodes, canonical_csr
from portgnn.graphs.split import split
from portgnn.loaders.neighbor import Block
from portgnn.loaders.source import InMemory, Source
from portgnn.placing.edges import Looped
from portgnn.placing.field import ranked

PARTS_A_BATCH = 4


class Clusters:
    """A partition of a graph's nodes, made once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        n = source.graph.num_nodes
        size = max(source.config.batch_size // PARTS_A_BATCH, 1)
        number = max(-(-n // size), 1)
        order = _order(source, number)
        self.parts = [np.sort(part) for part in np.array_split(order, number)]
        is_train = np.zeros(n, dtype=bool)
        is_train[split(source.graph, "train").nodes] = True
        self._is_train = is_train

    def batches(self, draw: np.random.Generator) -> Iterator[Block]:
        """One epoch: every part in one batch. Batches without a training node are left out."""
        order = draw.permutation(len(self.parts))
        for start in range(0, len(order), PARTS_A_BATCH):
            nodes = np.sort(np.concatenate([self.parts[i] for i in order[start : start + PARTS_A_BATCH]]))
            counted = np.flatnonzero(self._is_train[nodes])
            if len(counted):
                yield self._joined(nodes, counted)

    def _joined(self, nodes: Nodes, counted: Nodes) -> Block:
        layers = self._source.layers
        if len(nodes) == self._source.graph.num_nodes:
            block = self._source.rows(nodes)
        else:
            block = within_nodes(self._source, nodes).weighted(self._source.config.network.weighting)
        blocks = tuple(None if layer.along == "nothing" else block for layer in layers)
        return Block((nodes,) * (len(layers) + 1), blocks, counted)


def within_nodes(source: Source, nodes: Nodes) -> Looped:
    """The edges among `nodes` (ascending), each weighing what it weighs in the whole graph's A + I."""
    rows = source.looped_rows(nodes)
    columns, places = ranked(np.concatenate([rows.indices, nodes]), source.graph.num_nodes)
    mine = np.zeros(len(columns), dtype=np.int64) - 1
    mine[places[len(rows.indices) :]] = np.arange(len(nodes))
    at = mine[places[: len(rows.indices)]]
    owner = np.repeat(np.arange(len(nodes)), np.diff(rows.indptr))
    kept = at >= 0
    parts = (rows.data[kept], (owner[kept], at[kept]))
    return Looped(canonical_csr(sp.csr_array(parts, shape=(len(nodes), len(nodes)))), source.sums.added(nodes))


def _order(source: Source, parts: int) -> Nodes:
    n = source.graph.num_nodes
    if parts == 1 or not isinstance(source, InMemory):
        return np.arange(n)
    adjacency = source.prepared.graph.adjacency
    try:
        import pymetis
    except ImportError:
        from scipy.sparse.csgraph import reverse_cuthill_mckee  # it loads all of scipy.sparse.linalg

        order: Nodes = reverse_cuthill_mckee(adjacency, symmetric_mode=False).astype(np.int64)
        return order
    _, membership = pymetis.part_graph(parts, xadj=adjacency.indptr, adjncy=adjacency.indices)
    return np.argsort(np.asarray(membership), kind="stable")
