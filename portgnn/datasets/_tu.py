"""Sets of graphs in the layout of the TU collection: some text files in a zip or a folder.

C. Morris et al., "TUDataset: a collection of benchmark datasets for learning with graphs", 2020;
https://chrsmrrs.github.io/datasets. Rows count from 1, and so do numbers of nodes and graphs.

    NAME_A.txt                  source, target: an edge a row, as a rule in both directions
    NAME_graph_indicator.txt    the graph of each node
    NAME_graph_labels.txt       the class of each graph, a whole number; or NAME_graph_attributes.txt, its targets
    NAME_node_labels.txt        whole numbers, a row a node (optional)
    NAME_node_attributes.txt    numbers, a row a node (optional)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.datasets._archive import Archive
from portgnn.errors import DatasetError, GraphError
from portgnn.graphs.gathered import degree_features
from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet

INDICATOR = "_graph_indicator.txt"
_LEFT_OUT = ("_edge_labels.txt", "_edge_attributes.txt")
_MOST_LABELS = 10_000


def read_tu(path: Path, name: str | None = None) -> GraphSet:
    """Reads a set of graphs. name: in place of the files'.

    Features are the attributes and behind them the labels of nodes, one-hot, each column of them by itself; degrees,
    one-hot, where a set has neither. A note says which. Labels and attributes of edges are left out, with a note.

    Raises DatasetError naming the file, the row (from 1) and what is wrong with it.
    """
    archive = Archive(path)
    base = _base(archive)
    owner_file = base + INDICATOR
    owner = archive.whole(owner_file, 1, least=1)[:, 0]
    if not len(owner):
        raise DatasetError(f"{archive.where(owner_file)} is empty; it must name the graph of each node")
    order = np.argsort(owner, kind="stable")  # nodes of one graph lie together in most sets, and need not
    graphs = _count_of_graphs(archive, base, owner)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    pairs = place[_edges(archive, base, owner)]
    notes: list[str] = []
    features, names = _features(archive, base, len(owner), notes)
    labels, targets, classes = _targets(archive, base, graphs, notes)
    notes += [
        f"{end.strip('_').removesuffix('.txt').replace('_', ' ')} left out"
        for end in _LEFT_OUT
        if archive.ending(base.rpartition("/")[2] + end)
    ]
    title = name or base.rpartition("/")[2]
    try:
        union = Graph.from_edges(
            pairs,
            np.ones((len(owner), 1)) if features is None else features[order],
            num_nodes=len(owner),
            undirected=False,
            name=title,
            feature_names=names,
        )
        if features is None:
            matrix, names, note = degree_features(np.diff(union.adjacency.indptr).astype(np.int64))
            union = Graph(union.adjacency, matrix, name=title, feature_names=names, notes=union.notes)
            notes.append(note)
        return GraphSet(
            union, np.bincount(owner - 1, minlength=graphs), labels, targets, name=title, class_names=classes,
            notes=(*notes, *union.notes),
        )  # fmt: skip
    except GraphError as error:
        raise DatasetError(f"{path}: {error}") from None


def is_tu(archive: Archive) -> bool:
    return any(name.endswith(INDICATOR) for name in archive.names)


def _base(archive: Archive) -> str:
    """What the names of a set's files begin with."""
    found = archive.ending(INDICATOR)
    if found is None:
        raise DatasetError(
            f"{archive.path} has no NAME{INDICATOR}; a set of graphs needs NAME_A.txt, NAME{INDICATOR} and "
            "NAME_graph_labels.txt"
        )
    return found.removesuffix(INDICATOR)


def _count_of_graphs(archive: Archive, base: str, owner: NDArray[np.int64]) -> int:
    """How many graphs there are. Raises DatasetError for one without nodes."""
    most = int(owner.max())
    if most > len(owner):
        row = int(np.argmax(owner)) + 1
        raise DatasetError(
            f"{archive.where(base + INDICATOR)}, row {row}: graph {most} is more than there are nodes ({len(owner)}), "
            "so that some graph has none"
        )
    empty = np.flatnonzero(np.bincount(owner - 1, minlength=most) == 0)
    if len(empty):
        raise DatasetError(
            f"{archive.where(base + INDICATOR)}: graph {empty[0] + 1} has no nodes, and graphs go up to {most}; number "
            "them without gaps"
        )
    return most


def _edges(archive: Archive, base: str, owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """[m, 2], from 0. Raises DatasetError for an end that is no node, and for an edge from one graph to another."""
    file = base + "_A.txt"
    if file not in archive.names:
        raise DatasetError(f"{archive.path} has no {file}, which holds the edges")
    pairs = archive.whole(file, 2, least=1)
    beyond = np.flatnonzero((pairs > len(owner)).any(axis=1))
    if len(beyond):
        raise DatasetError(
            f"{archive.where(file)}, row {beyond[0] + 1}: the edge {pairs[beyond[0], 0]}, {pairs[beyond[0], 1]} names "
            f"a node, and graph_indicator.txt has {len(owner)}"
        )
    pairs -= 1
    ends = owner[pairs]
    across = np.flatnonzero(ends[:, 0] != ends[:, 1])
    if len(across):
        at = across[0]
        raise DatasetError(
            f"{archive.where(file)}, row {at + 1}: the edge {pairs[at, 0] + 1}, {pairs[at, 1] + 1} joins graph "
            f"{ends[at, 0]} and graph {ends[at, 1]}; no edge leaves its graph"
        )
    return pairs


def _features(archive: Archive, base: str, nodes: int, notes: list[str]) -> tuple[Any, tuple[str, ...]]:
    """Features [nodes, f] and their names; None where the set has none."""
    parts: list[Any] = []
    names: list[str] = []
    if (file := f"{base}_node_attributes.txt") in archive.names:
        parts.append(archive.numbers(file, None, rows=nodes))
        names += [f"attribute {k}" for k in range(parts[0].shape[1])]
    if (file := f"{base}_node_labels.txt") in archive.names:
        labels: Any = archive.numbers(file, None, rows=nodes)
        for k, column in enumerate(labels.T):
            kept, at = np.unique(column, return_inverse=True)
            if len(kept) > _MOST_LABELS:
                raise DatasetError(f"{archive.where(file)} has {len(kept)} labels of nodes; they are no classes")
            parts.append(sp.csr_array((np.ones(nodes), at, np.arange(nodes + 1)), shape=(nodes, len(kept))))
            names += [f"label {'' if labels.shape[1] == 1 else f'{k} '}{value:g}" for value in kept]
    if not parts:
        return None, ()
    what = " and ".join(
        text
        for text, there in (
            (f"{sum(name.startswith('attribute') for name in names)} attributes", names[0].startswith("attribute")),
            (
                f"{sum(name.startswith('label') for name in names)} labels of nodes, one-hot",
                names[-1].startswith("label"),
            ),
        )
        if there
    )
    notes.append(f"features are {what}")
    if all(isinstance(part, sp.csr_array) for part in parts):
        return sp.hstack(parts, format="csr"), tuple(names)
    dense = [part.toarray() if isinstance(part, sp.csr_array) else part for part in parts]
    return np.concatenate(dense, axis=1), tuple(names)


def _targets(
    archive: Archive, base: str, graphs: int, notes: list[str]
) -> tuple[NDArray[np.int64] | None, Any, tuple[str, ...]]:
    """(labels, targets, names of classes): of the two, one at most is there."""
    labels_at, targets_at = f"{base}_graph_labels.txt", f"{base}_graph_attributes.txt"
    if labels_at in archive.names:
        values = archive.whole(labels_at, 1)
        _check_rows(archive, labels_at, len(values), graphs)
        kept, at = np.unique(values[:, 0], return_inverse=True)
        if targets_at in archive.names:
            notes.append("graph attributes left out: graphs have labels")
        return at.astype(np.int64), None, tuple(str(value) for value in kept)
    if targets_at in archive.names:
        targets = archive.numbers(targets_at, None)
        _check_rows(archive, targets_at, len(targets), graphs)
        return None, targets, ()
    raise DatasetError(f"{archive.path} has neither {labels_at} nor {targets_at.rpartition('/')[2]}")


def _check_rows(archive: Archive, file: str, rows: int, graphs: int) -> None:
    if rows != graphs:
        raise DatasetError(
            f"{archive.where(file)} has {rows} rows, and graph_indicator.txt names {graphs} graphs; each needs one"
        )
