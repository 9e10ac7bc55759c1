"""A folder with nodes and edges as tables: `nodes.csv` and `edges.csv`, or the same as Parquet."""

from __future__ import annotations

import os
from collections.abc import Collection
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn._system.files import exists, is_file
from portgnn.datasets._columns import Table, read_csv, read_parquet
from portgnn.datasets._npz import read_matrix
from portgnn.datasets.selection import check_ignored, feature_doubts
from portgnn.errors import DatasetError, GraphError
from portgnn.graphs.checks import labelled
from portgnn.graphs.graph import Graph
from portgnn.graphs.labels import MARKERS, SPLIT_WORDS, classes_of

NODE_TEXT = ("id", "label", "split")
EDGE_TEXT = ("source", "target")

READERS = {".csv": read_csv, ".parquet": read_parquet}


def read_folder(
    folder: Path, unknown: Collection[str] = (), ignore: Collection[str] = (), target: Collection[str] = ()
) -> Graph:
    """Reads a graph of two tables, as CSV (UTF-8, commas, a header) or as Parquet.

    nodes: `id`, any text, each once; `label`, the class's name, empty where unknown (`portgnn.graphs.labels` has
    the other markers); optionally `split`: train, val, test or empty; every other column is a feature, of finite
    numbers. Or the features stand in `features.npz`, a row a node in the same order: what `scipy.sparse.save_npz`
    writes, or one dense array. Without either the features are the identity. edges: `source` and `target`, ids of
    nodes, and optionally `weight`, not negative. Each row is an edge from source to target and is kept as given.

    target: columns of nodes that are targets, numbers or empty where unknown, in place of the label.

    unknown: labels that stand for none. ignore: columns of either table that are left out, whatever they hold.

    Nodes are numbered as in the file; classes are sorted by name (by value where all are whole numbers).
    Raises DatasetError naming file, line and column.
    """
    check_ignored(ignore, ignore, str(folder), needed=("id", *EDGE_TEXT))
    nodes_path, edges_path = path_of(folder, "nodes"), path_of(folder, "edges")
    check = partial(_check_nodes, target=target)
    nodes = READERS[nodes_path.suffix](nodes_path, lambda name: name in NODE_TEXT or name in target, check, ignore)
    if not nodes.rows:
        raise DatasetError(f"{nodes_path} names no node")
    edges = READERS[edges_path.suffix](
        edges_path, lambda name: name in EDGE_TEXT, lambda path, names: _check_edges(path, names, ignore), ignore
    )
    check_ignored(ignore, [*nodes.names, *edges.names], str(folder))
    index = _index(nodes)
    pairs = np.stack([_ends(edges, name, index, nodes_path) for name in EDGE_TEXT], axis=1)
    notes: list[str] = []
    features, feature_names = _features(folder, nodes, notes)
    classes = classes_of(() if target else nodes.text.get("label", ()), unknown)
    notes += classes.notes
    targets = _targets(nodes, target, unknown)
    loops = int(np.count_nonzero(pairs[:, 0] == pairs[:, 1]))
    if loops:
        notes.append(f"{loops} self-loops kept")
    try:
        return Graph.from_edges(
            pairs,
            features,
            classes.labels,
            weights=_weights(edges),
            num_nodes=nodes.rows,
            undirected=False,
            name=os.path.basename(os.path.realpath(folder)),
            class_names=classes.names,
            node_ids=nodes.text["id"],
            feature_names=feature_names,
            notes=tuple(notes),
            targets=targets,
            target_names=tuple(target),
            **_splits(nodes, labelled(classes.labels, targets)),
        )
    except GraphError as error:
        raise DatasetError(f"{folder}: {error}") from None


def _weights(edges: Table) -> NDArray[np.float64] | None:
    """The edges' weights. Raises DatasetError for a negative one."""
    weights: NDArray[np.float64] | None = edges.numbers.get("weight")
    if weights is not None and (weights < 0).any():
        row = int(np.flatnonzero(weights < 0)[0])
        raise DatasetError(f"{edges.where(row, 'weight')}: {weights[row]} is negative; a weight must be 0 or more")
    return weights


def _check_nodes(path: Path, names: list[str], target: Collection[str] = ()) -> None:
    if "id" not in names:
        raise DatasetError(
            f"{path} has no column 'id'; its first line must be id,label[,split],features…, and it is {_listed(names)}"
        )
    for name in target:
        if name not in names or name in ("id", "split"):
            raise DatasetError(f"{path} has no column {name!r} to learn; its first line is {_listed(names)}")


def _check_edges(path: Path, names: list[str], ignore: Collection[str]) -> None:
    if set(names) - set(ignore) not in ({"source", "target"}, {"source", "target", "weight"}):
        raise DatasetError(
            f"{path} has the columns {_listed(names)}; its first line must be source,target or "
            "source,target,weight, with commas between; leave others out with --ignore COLUMN"
        )


def path_of(folder: Path, name: str) -> Path:
    found = [path for suffix in READERS if is_file(path := folder / f"{name}{suffix}")]
    if not found:
        raise DatasetError(
            f"{folder} has no {name}.csv; a graph's folder holds nodes.csv and edges.csv (or "
            "nodes.parquet and edges.parquet), and perhaps features.npz"
        )
    if len(found) > 1:
        raise DatasetError(f"{folder} has both {found[0].name} and {found[1].name}; move one of them away")
    return found[0]


def _index(nodes: Table) -> dict[str, int]:
    ids = nodes.text["id"]
    index = dict(zip(ids, range(len(ids)), strict=True))
    if len(index) != len(ids):
        seen: set[str] = set()
        for row, name in enumerate(ids):
            if name in seen:
                raise DatasetError(f"{nodes.where(row, 'id')}: node {name[:40]!r} is there already")
            seen.add(name)
    if "" in index:
        raise DatasetError(f"{nodes.where(index[''], 'id')}: the node has no id")
    # NumPy's text drops trailing NULs, and two ids could become one.
    if any("\0" in name for name in ids):
        row = next(row for row, name in enumerate(ids) if "\0" in name)
        raise DatasetError(f"{nodes.where(row, 'id')}: the id holds a NUL character")
    return index


def _ends(edges: Table, column: str, index: dict[str, int], nodes_path: Path) -> NDArray[np.int64]:
    names = edges.text[column]
    found = np.fromiter(map(index.get, names, repeat(-1)), dtype=np.int64, count=len(names))
    unknown = np.flatnonzero(found < 0)
    if len(unknown):
        row = int(unknown[0])
        raise DatasetError(
            f"{edges.where(row, column)}: node {names[row][:40]!r} is not in {nodes_path.name} "
            f"({len(unknown)} such {'value' if len(unknown) == 1 else 'values'} in the column)"
        )
    return found


def _features(folder: Path, nodes: Table, notes: list[str]) -> tuple[Any, tuple[str, ...]]:
    stored = folder / "features.npz"
    if exists(stored):
        if nodes.numbers:
            raise DatasetError(
                f"{folder} has features both in {nodes.path.name} (column "
                f"{next(iter(nodes.numbers))!r}) and in features.npz; leave out one of them"
            )
        return read_matrix(stored, nodes.rows), ()
    if nodes.numbers:
        notes += feature_doubts(list(nodes.numbers), nodes.numbers)
        return np.column_stack(list(nodes.numbers.values())), tuple(nodes.numbers)
    notes.append("features are the identity: the files have none")
    return sp.eye_array(nodes.rows, format="csr"), ()


def _targets(nodes: Table, names: Collection[str], unknown: Collection[str]) -> NDArray[np.float64] | None:
    """[n, k] of the columns of these names, NaN where nothing is known."""
    if not names:
        return None
    found = np.full((nodes.rows, len(names)), np.nan)
    for column, name in enumerate(names):
        for row, text in enumerate(map(str.strip, nodes.text[name])):
            if not text or text in unknown:
                continue
            try:
                found[row, column] = float(text)
            except ValueError:
                if text.lower() not in MARKERS:
                    raise DatasetError(
                        f"{nodes.where(row, name)}: {text[:40]!r} is no number; a target is one, or empty"
                    ) from None
    return found


def _splits(nodes: Table, labels: NDArray[np.int64] | None) -> dict[str, NDArray[np.int64]]:
    if "split" not in nodes.text:
        return {}
    words = [word.strip() for word in nodes.text["split"]]
    unknown = set(words) - set(SPLIT_WORDS) - {""}
    if unknown:
        row = next(row for row, word in enumerate(words) if word in unknown)
        raise DatasetError(f"{nodes.where(row, 'split')}: {words[row][:40]!r} is none of train, val, test or empty")
    number = np.fromiter((SPLIT_WORDS.get(word, -1) for word in words), dtype=np.int64, count=len(words))
    missing = np.flatnonzero((number >= 0) & ((labels if labels is not None else np.full(len(words), -1)) < 0))
    if len(missing):
        row = int(missing[0])
        raise DatasetError(f"{nodes.where(row, 'label')}: the node is in the {words[row]} split and has no label")
    parts = {name: np.flatnonzero(number == part) for part, name in enumerate(("train", "val", "test"))}
    return {name: part for name, part in parts.items() if len(part)}


def _listed(names: list[str]) -> str:
    shown = ",".join(names[:8]) + (",…" if len(names) > 8 else "")
    return repr(shown[:200])
