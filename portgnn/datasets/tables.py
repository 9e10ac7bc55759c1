"""A folder with nodes and edges as tables: `nodes.csv` and `edges.csv`, or the same as Parquet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.datasets.columns import Table, read_csv, read_parquet
from portgnn.datasets.npz import read_matrix
from portgnn.errors import DatasetError, GraphError
from portgnn.files import is_file
from portgnn.graph import UNLABELLED, Graph

NODE_TEXT = ("id", "label", "split")
EDGE_TEXT = ("source", "target")
SPLIT_WORDS = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}

_READERS = {".csv": read_csv, ".parquet": read_parquet}


def read_folder(folder: Path) -> Graph:
    """Reads a graph of two tables, as CSV (UTF-8, commas, a header) or as Parquet.

    nodes: `id`, any text, each once; `label`, the class's name, empty where unknown; optionally `split`: train,
    val, test or empty; every other column is a feature, of finite numbers. Or the features stand in
    `features.npz`, a row a node in the same order: what `scipy.sparse.save_npz` writes, or one dense array.
    Without either the features are the identity. edges: `source` and `target`, ids of nodes, and optionally
    `weight`, not negative. Each row is an edge from source to target and is kept as given.

    Nodes are numbered as in the file; classes are sorted by name (by value where all are whole numbers).
    Raises DatasetError naming file, line and column.
    """
    nodes_path, edges_path = _path(folder, "nodes"), _path(folder, "edges")
    nodes = _READERS[nodes_path.suffix](nodes_path, lambda name: name in NODE_TEXT, _check_nodes)
    if not nodes.rows:
        raise DatasetError(f"{nodes_path} names no node")
    edges = _READERS[edges_path.suffix](edges_path, lambda name: name in EDGE_TEXT, _check_edges)
    index = _index(nodes)
    pairs = np.stack([_ends(edges, name, index, nodes_path) for name in EDGE_TEXT], axis=1)
    notes: list[str] = []
    features, feature_names = _features(folder, nodes, notes)
    labels, class_names = _labels(nodes)
    weights = edges.numbers.get("weight")
    if weights is not None and (weights < 0).any():
        row = int(np.flatnonzero(weights < 0)[0])
        raise DatasetError(f"{edges.where(row, 'weight')}: {weights[row]} is negative; a weight must be 0 or more")
    _note_repeats(pairs, nodes.rows, weights is not None, notes)
    try:
        return Graph.from_edges(
            pairs,
            features,
            labels,
            weights=weights,
            num_nodes=nodes.rows,
            undirected=False,
            name=os.path.basename(os.path.realpath(folder)),
            class_names=class_names,
            node_ids=nodes.text["id"],
            feature_names=feature_names,
            notes=tuple(notes),
            **_splits(nodes, labels),
        )
    except GraphError as error:
        raise DatasetError(f"{folder}: {error}") from None


def _check_nodes(path: Path, names: list[str]) -> None:
    if "id" not in names:
        raise DatasetError(
            f"{path} has no column 'id'; its first line must be id,label[,split],features…, and it is {_listed(names)}"
        )


def _check_edges(path: Path, names: list[str]) -> None:
    if set(names) not in ({"source", "target"}, {"source", "target", "weight"}):
        raise DatasetError(
            f"{path} has the columns {_listed(names)}; its first line must be source,target or "
            "source,target,weight, with commas between"
        )


def _path(folder: Path, name: str) -> Path:
    found = [path for suffix in _READERS if is_file(path := folder / f"{name}{suffix}")]
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
    if is_file(stored):
        if nodes.numbers:
            raise DatasetError(
                f"{folder} has features both in {nodes.path.name} (column "
                f"{next(iter(nodes.numbers))!r}) and in features.npz; leave out one of them"
            )
        return read_matrix(stored, nodes.rows), ()
    if nodes.numbers:
        return np.column_stack(list(nodes.numbers.values())), tuple(nodes.numbers)
    notes.append("features are the identity: the files have none")
    return sp.eye_array(nodes.rows, format="csr"), ()


def numbered_classes(names: Sequence[str]) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """Labels [n] and class names of one name a node, "" where unknown; (None, ()) where all are."""
    classes = sorted(set(names) - {""}, key=_order)
    if not classes:
        return None, ()
    number = {name: position for position, name in enumerate(classes)} | {"": UNLABELLED}
    return np.fromiter(map(number.__getitem__, names), dtype=np.int64, count=len(names)), tuple(classes)


def _order(name: str) -> tuple[int, int, str]:
    """Whole numbers by value and before all other names; never by a set's order, which changes between runs."""
    plain = name.removeprefix("-")
    if plain.isascii() and plain.isdigit() and len(plain) < 19:
        return 0, int(name), name
    return 1, 0, name


def _labels(nodes: Table) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    return numbered_classes(nodes.text["label"]) if "label" in nodes.text else (None, ())


def _splits(nodes: Table, labels: NDArray[np.int64] | None) -> dict[str, NDArray[np.int64]]:
    if "split" not in nodes.text:
        return {}
    words = nodes.text["split"]
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


def _note_repeats(pairs: NDArray[np.int64], n: int, weighted: bool, notes: list[str]) -> None:
    # Sorted by hand: np.unique goes by hashing here, which takes ten times as long.
    keys = np.sort(pairs[:, 0] * n + pairs[:, 1])
    repeated = int(np.count_nonzero(keys[1:] == keys[:-1]))
    if repeated:
        notes.append(f"{repeated} repeated edges {'summed' if weighted else 'counted once'}")
    loops = int(np.count_nonzero(pairs[:, 0] == pairs[:, 1]))
    if loops:
        notes.append(f"{loops} self-loops kept")


def _listed(names: list[str]) -> str:
    shown = ",".join(names[:8]) + (",…" if len(names) > 8 else "")
    return repr(shown[:200])
