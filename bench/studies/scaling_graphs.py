"""Large random graphs with communities, on disk in portgnn's own form, the same for the same numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp

from portgnn import Graph
from portgnn.disk.folder import DiskGraph, write_graph

CLASSES = 10
LOCAL = 0.9
"""Share of the edges that join nodes whose numbers lie within a hundredth of the graph."""


def community_graph(nodes: int, edges: int, width: int, seed: int = 0, local: float = LOCAL) -> Graph:
    """About `edges` undirected edges; labels are ranges of nodes, features their mean and noise, float32.

    Most edges are local in the numbering, as in a graph whose nodes were put in an order by communities: what a
    partition into ranges has to exchange depends on that.
    """
    draw = np.random.default_rng(seed)
    source = draw.integers(0, nodes, edges)
    near = (source + 1 + draw.integers(0, max(nodes // 100, 2), edges)) % nodes
    target = np.where(draw.random(edges) < local, near, draw.integers(0, nodes, edges))
    proper = source != target
    source, target = source[proper], target[proper]
    ones = np.ones(2 * len(source))
    both = (np.concatenate([source, target]), np.concatenate([target, source]))
    adjacency = sp.csr_array((ones, both), shape=(nodes, nodes))
    adjacency.sum_duplicates()
    adjacency.data[:] = 1.0
    labels = np.arange(nodes) * CLASSES // nodes
    centres = draw.standard_normal((CLASSES, width)).astype(np.float32) * 0.3
    features = draw.standard_normal((nodes, width), dtype=np.float32) + centres[labels]
    order = draw.permutation(nodes)
    held = min(nodes // 10, 10_000)
    splits = {"train": order[2 * held : max(nodes // 2, 3 * held)], "val": order[:held], "test": order[held : 2 * held]}
    return Graph(adjacency, features, labels, name=f"communities-{nodes}", **splits)


def on_disk(folder: Path, nodes: int, edges: int, width: int) -> DiskGraph:
    """The graph in a folder, made where it is not there."""
    path = folder / f"communities-{nodes}-{edges}-{width}.graph"
    return DiskGraph(path) if path.is_dir() else write_graph(community_graph(nodes, edges, width), path)
