"""Graphs in the raw form of the Open Graph Benchmark: compressed CSV in a zip, or the folder that it unpacks to.

W. Hu et al., "Open graph benchmark: datasets for machine learning on graphs", 2020; https://ogb.stanford.edu.

    NAME/raw/num-node-list.csv.gz, num-edge-list.csv.gz    one number each, of one graph
    NAME/raw/edge.csv.gz                                   source, target, from 0
    NAME/raw/node-feat.csv.gz, node-label.csv.gz           a row a node
    NAME/split/RULE/train.csv.gz, valid.csv.gz, test.csv.gz   numbers of nodes
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from portgnn.datasets._archive import Archive
from portgnn.errors import DatasetError, GraphError
from portgnn.graphs.graph import Graph

EDGES = "raw/edge.csv.gz"
_PARTS = {"train": "train", "val": "valid", "test": "test"}


def read_ogb(path: Path, name: str | None = None, *, undirected: bool = False) -> Graph:
    """Reads a dataset of OGB's node property prediction with one class a node.

    undirected: each edge counts in both directions, for data that store it once (OGB's `add_inverse_edge`). Otherwise
    directions are the data's. features: float32, as OGB's own reader has them; without any, the identity.

    Raises DatasetError naming the file and the row at fault.
    """
    archive = Archive(path)
    edges_at = _needed(archive, EDGES)
    pairs = archive.whole(edges_at, 2, least=0)
    nodes = _count(archive, "raw/num-node-list.csv.gz")
    edges = _count(archive, "raw/num-edge-list.csv.gz")
    if len(pairs) != edges:
        raise DatasetError(
            f"{archive.where(edges_at)} has {len(pairs)} rows, and num-edge-list.csv.gz says {edges}; fetch it again"
        )
    outside = np.flatnonzero((pairs >= nodes).any(axis=1))
    if len(outside):
        source, target = pairs[outside[0]]
        raise DatasetError(
            f"{archive.where(edges_at)}, row {outside[0] + 1}: the edge {source}, {target} names a node "
            f"beyond the last, {nodes - 1}"
        )
    notes: tuple[str, ...] = ()
    if (file := archive.ending("raw/node-feat.csv.gz")) is not None:
        features: Any = archive.numbers(file, None, np.float32, rows=nodes)
    else:
        features, notes = sp.eye_array(nodes, format="csr"), ("features are the identity: the archive has none",)
    labels = archive.whole(_needed(archive, "raw/node-label.csv.gz"), 1, least=0, rows=nodes)[:, 0]
    try:
        return Graph.from_edges(
            pairs, features, labels, undirected=undirected, name=name or path.stem, notes=notes, **_splits(archive)
        )
    except GraphError as error:
        raise DatasetError(f"{path}: {error}") from None


def _needed(archive: Archive, name: str) -> str:
    found = archive.ending(name)
    if found is None:
        raise DatasetError(f"{archive.path} has no {name}; it must hold the files of OGB's raw form")
    return found


def _count(archive: Archive, name: str) -> int:
    """The one number of a file. What has several graphs is no graph of nodes to classify."""
    numbers = archive.whole(_needed(archive, name), 1, least=0)
    if len(numbers) != 1:
        raise DatasetError(f"{archive.where(name)} counts {len(numbers)} graphs; only sets of one graph are read")
    return int(numbers[0, 0])


def _splits(archive: Archive) -> dict[str, Any]:
    found = {}
    for part, file in _PARTS.items():
        name = archive.ending(f"/{file}.csv.gz")
        if name is not None:
            found[part] = archive.whole(name, 1, least=0)[:, 0]
    return found
