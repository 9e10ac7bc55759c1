"""A set of graphs as tables: nodes and edges with a column that says of which graph a row is, as CSV or Parquet."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn._system.files import is_file
from portgnn.datasets._columns import Table
from portgnn.datasets._tables import READERS, path_of
from portgnn.datasets.selection import check_ignored, feature_doubts
from portgnn.errors import DatasetError, GraphError
from portgnn.graphs.gathered import degree_features
from portgnn.graphs.graph import UNLABELLED, Graph
from portgnn.graphs.labels import SPLIT_WORDS, classes_of
from portgnn.graphs.sets import GraphSet

_NODE_TEXT = ("graph", "id", "label")
_EDGE_TEXT = ("graph", "source", "target")
_GRAPH_TEXT = ("graph", "label", "split")


def has_set(folder: Path) -> bool:
    """Whether a folder holds the tables of a set: they have a column `graph`. Raises DatasetError as `read_set`."""
    path = path_of(folder, "nodes")
    seen: list[str] = []

    def check(_: Path, names: list[str]) -> None:
        seen.extend(names)
        raise _Seen

    with contextlib.suppress(_Seen):
        READERS[path.suffix](path, lambda _: True, check, ())
    return "graph" in seen and "id" in seen


class _Seen(Exception):
    """The names of the columns are known."""


def read_set(folder: Path, unknown: Collection[str] = (), ignore: Collection[str] = ()) -> GraphSet:
    """Reads a set of two tables, or three.

    nodes: `graph`, `id` (each once in its graph), optionally `label`, the class of the node's graph and the same in all
    of its rows; every other column is a feature, of finite numbers; without any, features are degrees. edges: `graph`,
    `source`, `target`, optionally `weight`; kept as given. graphs, where it is there: `graph`, `label`, optionally
    `split` (train, val, test or empty); every other column is a target, of finite numbers.

    Graphs are numbered as in the table of graphs, and without it as they come in that of nodes. unknown: labels that
    stand for none. ignore: columns that are left out.

    Raises DatasetError naming file, line and column.
    """
    check_ignored(ignore, ignore, str(folder), needed=("id", *_EDGE_TEXT))
    nodes = _read(folder, "nodes", _NODE_TEXT, ("graph", "id"), ignore)
    if not nodes.rows:
        raise DatasetError(f"{nodes.path} names no node")
    edges = _read(folder, "edges", _EDGE_TEXT, _EDGE_TEXT, ignore)
    more = set(edges.numbers) - {"weight"}
    if more:
        raise DatasetError(f"{edges.path} has the column {sorted(more)[0]!r}; leave it out with --ignore")
    graphs = _read(folder, "graphs", _GRAPH_TEXT, ("graph",), ignore) if _is_there(folder) else None
    check_ignored(ignore, [*nodes.names, *edges.names, *(graphs.names if graphs else ())], str(folder))
    names = _names_of_graphs(nodes, graphs)
    number = {name: at for at, name in enumerate(names)}
    owner = _owners(nodes, number, graphs)
    order = np.argsort(owner, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    pairs = _pairs(nodes, edges, place)
    notes: list[str] = []
    if nodes.numbers:
        notes += feature_doubts(list(nodes.numbers), nodes.numbers)
        features: Any = np.column_stack(list(nodes.numbers.values()))[order]
        feature_names = tuple(nodes.numbers)
    else:
        features, feature_names = np.ones((nodes.rows, 1)), ()
    fields = _targets(nodes, graphs, owner, names, unknown)
    title = os.path.basename(os.path.realpath(folder))
    weights = edges.numbers.get("weight")
    try:
        union = Graph.from_edges(
            pairs, features, weights=weights, num_nodes=nodes.rows, undirected=False, name=title,
            feature_names=feature_names,
        )  # fmt: skip
        if not nodes.numbers:
            features, feature_names, note = degree_features(np.diff(union.adjacency.indptr).astype(np.int64))
            union = Graph(union.adjacency, features, name=title, feature_names=feature_names, notes=union.notes)
            notes.append(note)
        notes += [*fields.pop("notes"), *union.notes]
        sizes = np.bincount(owner, minlength=len(names))
        return GraphSet(union, sizes, name=title, graph_ids=tuple(names), notes=tuple(notes), **fields)
    except GraphError as error:
        raise DatasetError(f"{folder}: {error}") from None


def _read(folder: Path, name: str, text: Sequence[str], needed: Sequence[str], ignore: Collection[str]) -> Table:
    path = path_of(folder, name)

    def check(path: Path, names: list[str]) -> None:
        missing = [column for column in needed if column not in names]
        if missing:
            raise DatasetError(f"{path} has no column {missing[0]!r}; its first line must begin {','.join(needed)}")

    return READERS[path.suffix](path, lambda column: column in text, check, ignore)


def _is_there(folder: Path) -> bool:
    return any(is_file(folder / f"graphs{suffix}") for suffix in READERS)


def _names_of_graphs(nodes: Table, graphs: Table | None) -> list[str]:
    table = nodes if graphs is None else graphs
    names = table.text["graph"]
    if "" in names:
        raise DatasetError(f"{table.where(names.index(''), 'graph')}: the row names no graph")
    if graphs is None:
        return list(dict.fromkeys(names))
    if len(set(names)) < len(names):
        row = _first_again(names)
        raise DatasetError(f"{graphs.where(row, 'graph')}: graph {names[row][:40]!r} is there already")
    return list(names)


def _first_again(values: Sequence[object]) -> int:
    """Where a value is that was there before."""
    first = {value: row for row, value in reversed(list(enumerate(values)))}
    return next(row for row, value in enumerate(values) if first[value] != row)


def _owners(nodes: Table, number: dict[str, int], graphs: Table | None) -> NDArray[np.int64]:
    """[nodes]: the number of each one's graph. Raises DatasetError for a graph without nodes."""
    names = nodes.text["graph"]
    owner = np.fromiter((number.get(name, -1) for name in names), dtype=np.int64, count=len(names))
    if (owner < 0).any():
        row = int(np.flatnonzero(owner < 0)[0])
        raise DatasetError(f"{nodes.where(row, 'graph')}: graph {names[row][:40]!r} is not in the table of graphs")
    empty = np.flatnonzero(np.bincount(owner, minlength=len(number)) == 0)
    if len(empty) and graphs is not None:
        name = graphs.text["graph"][empty[0]]
        raise DatasetError(
            f"{graphs.where(int(empty[0]), 'graph')}: graph {name[:40]!r} has no nodes in {nodes.path.name}; take its "
            "row out, or give it one"
        )
    return owner


def _pairs(nodes: Table, edges: Table, place: NDArray[np.int64]) -> NDArray[np.int64]:
    """[m, 2]: the ends of the edges, as numbers of nodes where each graph's lie together."""
    keys = list(zip(nodes.text["graph"], nodes.text["id"], strict=True))
    index = {key: at for at, key in enumerate(keys)}
    if len(index) < len(keys):
        row = _first_again(keys)
        raise DatasetError(f"{nodes.where(row, 'id')}: node {keys[row][1][:40]!r} is in its graph already")
    ends = []
    for column in ("source", "target"):
        wanted = zip(edges.text["graph"], edges.text[column], strict=True)
        found = np.fromiter((index.get(key, -1) for key in wanted), dtype=np.int64, count=edges.rows)
        if (found < 0).any():
            row = int(np.flatnonzero(found < 0)[0])
            graph, name = edges.text["graph"][row], edges.text[column][row]
            raise DatasetError(
                f"{edges.where(row, column)}: graph {graph[:40]!r} has no node {name[:40]!r} in {nodes.path.name}"
            )
        ends.append(place[found])
    return np.stack(ends, axis=1)


def _targets(
    nodes: Table, graphs: Table | None, owner: NDArray[np.int64], names: list[str], unknown: Collection[str]
) -> dict[str, Any]:
    """Labels or targets, splits and notes, as fields of the set."""
    if graphs is not None and "label" in nodes.text:
        raise DatasetError(f"{nodes.path} has a column 'label', and {graphs.path.name} is there for it; leave it out")
    if graphs is None:
        classes = classes_of(_one_a_graph(nodes, owner, names), unknown)
        return {"labels": classes.labels, "class_names": classes.names, "notes": classes.notes}
    if "label" in graphs.text and graphs.numbers:
        raise DatasetError(
            f"{graphs.path} has a label and the targets {', '.join(map(repr, list(graphs.numbers)[:3]))}; leave one out"
        )
    classes = classes_of(graphs.text.get("label", ()), unknown)
    found: dict[str, Any] = {"labels": classes.labels, "class_names": classes.names, "notes": classes.notes}
    if graphs.numbers:
        targets = np.column_stack(list(graphs.numbers.values()))
        found = {"targets": targets, "target_names": tuple(graphs.numbers), "notes": ()}
    known = np.zeros(len(names)) if graphs.numbers else classes.labels
    return found | _splits(graphs, known)


def _one_a_graph(nodes: Table, owner: NDArray[np.int64], names: list[str]) -> list[str]:
    """The label of each graph, out of those of its nodes' rows, which are all the same; empty where there are none."""
    if "label" not in nodes.text:
        return []
    found: dict[int, str] = {}
    for row, (graph, label) in enumerate(zip(owner.tolist(), nodes.text["label"], strict=True)):
        if found.setdefault(graph, label) != label:
            raise DatasetError(
                f"{nodes.where(row, 'label')}: graph {names[graph][:40]!r} has the label {label[:40]!r} here and "
                f"{found[graph][:40]!r} above"
            )
    return [found[graph] for graph in range(len(names))]


def _splits(graphs: Table, labels: NDArray[np.generic] | None) -> dict[str, NDArray[np.int64]]:
    if "split" not in graphs.text:
        return {}
    words = [word.strip() for word in graphs.text["split"]]
    for row, word in enumerate(words):
        if word and word not in SPLIT_WORDS:
            raise DatasetError(f"{graphs.where(row, 'split')}: {word[:40]!r} is none of train, val, test or empty")
        if word and (labels is None or labels[row] == UNLABELLED):
            raise DatasetError(f"{graphs.where(row, 'split')}: the graph is in the {word} split and has no label")
    number = np.array([SPLIT_WORDS.get(word, -1) for word in words])
    parts = {name: np.flatnonzero(number == part) for part, name in enumerate(("train", "val", "test"))}
    return {name: part for name, part in parts.items() if len(part)}
