"""Cora, Citeseer and Pubmed as published with Planetoid, with its fixed splits.

Z. Yang, W. W. Cohen and R. Salakhutdinov, "Revisiting semi-supervised learning with graph embeddings", ICML
2016; files from https://github.com/kimiyoung/planetoid. Each dataset is eight files `ind.NAME.PART`:

    x, y            features [k, f] and one-hot labels [k, c] of the k labelled training nodes
    allx, ally      the same for all nodes that are not test nodes; nodes 0 to len(allx) - 1, the k first
    tx, ty          the same for the test nodes, in the order of test.index
    test.index      the numbers of the test nodes, one a line
    graph           dict: node -> list of its neighbours
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn._system.untrusted import check_need, content
from portgnn.datasets._restricted_pickle import load_pickle
from portgnn.datasets.download import FileSpec
from portgnn.errors import DatasetError, GraphError
from portgnn.graphs.graph import UNLABELLED, Graph
from portgnn.text import shown

PARTS = ("x", "y", "tx", "ty", "allx", "ally", "graph", "test.index")

_MIRRORS = (
    "https://github.com/kimiyoung/planetoid/raw/master/data/",
    "https://raw.githubusercontent.com/tkipf/gcn/master/gcn/data/",
)
_VALIDATION_NODES = 500
# More test nodes than this missing from the files means that test.index is not what it should be.
_MAX_NODES = 10_000_000
_NODE_BYTES, _EDGE_BYTES = 120, 200
"""Bytes of memory at the peak of making a graph, for a node and for a neighbour in the dict."""

_SHA256 = {
    "cora": {
        "x": "23cfa55d91c6f624233f5eb7b6e3f141f1bd2b2ae39608a63cf5d084bb27baab",
        "y": "94465c14eb53e04ca262198dcbb2521ee8af60fb3f3d546cd6ca24a511b0e7d1",
        "tx": "b9afbaa4a400df991f6f02ef677e1e44da55ffc04801fd02f9e673987829226a",
        "ty": "41f5ac76596a1699cc33f53084a2419e92961c42bb75f36fc38e616d348532ad",
        "allx": "9419ba2f26f5c35243db64aba110e0f35a04851609e0dc5433450676ca6b8543",
        "ally": "2b998f5cc7fedc86e7f97ca2498f47a1ffc1462c29e2d578b23bf3f62b6e7d71",
        "graph": "58f13302f39dde8852dad6fe6d15b89b077b6d7f837626bce671ef80344b383d",
        "test.index": "297ce89af2b51a6a194181c7dbe1796c6a1cf9cd9349a88383b1b1e227867875",
    },
    "citeseer": {
        "x": "d20de19150741e555de0ed037195630fc194114ebc7fd72ced62810148aa22f6",
        "y": "8ba87e515d8e3ee3cf52f6d2c5b86aa73f11ecad825a808455209ec26cd54924",
        "tx": "539a8906a2da97628d212f2fdd668c109a8b3f0d36574b59e5d3fd5b5303da21",
        "ty": "55e5bd1ba1e733a04598753ad1a8d57957f4b8f89e74519f41f4f4938767e4ce",
        "allx": "2ac30345d95c9ec933a817ee0bdd6a5f077f8c184a20e696910192d534414668",
        "ally": "f704b2d986dde6c2669934de1f3ae5696a6cf9455c0f6b2646a2d135ea0a1c95",
        "graph": "d79a4ef9d3e7169aee8946145f6b7306e35bc79bffad26346cfb94e10e9912a7",
        "test.index": "2af990671580b6b2df5d158d1038f8292e30c9cd821b5453f399659b25b723d4",
    },
    "pubmed": {
        "x": "fbe9cb5c47200d1b7769a26e579be3b7130b556831f9d850e77c4c74f2599b33",
        "y": "e6c807633307a07ed659249006536a147c7999c797f11a2560752990181b41b3",
        "tx": "4eb5f5d0f30f26497eb0ac6ac9719d09c67e284f1ed0385c93f3ef27a671da3d",
        "ty": "ee2e0d4819d9fbcc403689c3bf2e49face401b605932f093bc58ab6461130fdd",
        "ally": "0c37bbe3b5014ec365e9d393cf4791925e5ed94fb194305d74f064a8d7b50f0e",
        "graph": "5b89f0036ca22909471f1e6558eb42fa06e0c730a577bde5b058b40638f81dc9",
        "test.index": "b101d421688bbaecbd82e8a18f1e282378d6830f3a37666f28ebc47f844341b5",
    },
}
# Known only by the id under which git stores it in the published repository.
_GIT_BLOB = {"pubmed": {"allx": "3b86bccf08111c37c632a9dd8ab63db25ea76361"}}


def files(name: str) -> tuple[FileSpec, ...]:
    """The eight files of cora, citeseer or pubmed, in the order of `PARTS`."""
    return tuple(
        FileSpec(
            name=f"ind.{name}.{part}",
            checksum=(
                f"sha256:{_SHA256[name][part]}" if part in _SHA256[name] else f"git-blob:{_GIT_BLOB[name][part]}"
            ),
            mirrors=tuple(f"{mirror}ind.{name}.{part}" for mirror in _MIRRORS),
            folder="planetoid",
            max_bytes=32 << 20,
        )
        for part in PARTS
    )


def read_planetoid(paths: Mapping[str, Path], name: str) -> Graph:
    """Reads a graph in Planetoid's layout.

    paths: one file for each of `PARTS`. adjacency: float64 CSR [n, n]; edges in both directions, once,
    without self-loops. features: float64 CSR [n, f] as stored, not normalised. labels: int64 [n]. Splits:
    train the nodes of y, val the next 500 (fewer if there are not as many), test the nodes of test.index,
    ascending. Test nodes that tx and ty leave out (15 in Citeseer) keep the edges that the graph gives them,
    and have zero features, no label, and no place in a split.

    Raises DatasetError naming the file and its fault.
    """
    (allx, tx), (ally, ty), trained = _tables(paths, name)
    first = allx.shape[0]
    test = _test_index(paths["test.index"], first, len(ty))
    n = int(test.max()) + 1 if len(test) else first
    check_need(paths["test.index"], _NODE_BYTES * n, paths["allx"].stat().st_size)
    absent = n - first - len(test)
    # Row i of tx is node test[i]: scatter the rows to where they belong, leaving the absent ones empty.
    place = (test - first, np.arange(len(test)))
    scatter = sp.csr_array((np.ones(len(test)), place), shape=(n - first, len(test)))
    features = sp.vstack([allx, scatter @ tx], format="csr")
    labels = np.full(n, UNLABELLED, dtype=np.int64)
    labels[:first] = _classes(ally)
    labels[test] = _classes(ty)

    edges, loops = _edges(paths["graph"], n)
    notes = ["published citations symmetrised, repeated ones counted once"]
    if loops:
        notes.append(f"{loops} self-loops dropped")
    if absent:
        notes.append(f"{absent} nodes missing from test.index: zero features, unlabelled, in no split")
    try:
        return Graph.from_edges(
            edges,
            features,
            labels,
            num_nodes=n,
            name=name,
            train=np.arange(trained),
            val=np.arange(trained, min(trained + _VALIDATION_NODES, first)),
            test=np.sort(test),
            class_names=tuple(str(c) for c in range(ally.shape[1])),
            notes=tuple(notes),
        )
    except GraphError as error:
        folder = paths["graph"].parent
        raise DatasetError(f"{folder}: the files of {name} do not fit together: {error}") from None


def _tables(paths: Mapping[str, Path], name: str) -> tuple[tuple[Any, Any], tuple[Any, Any], int]:
    """(allx, tx), (ally, ty) and how many nodes are trained on, which x and y hold again; checked for their sizes."""
    missing = [part for part in PARTS if part not in paths]
    if missing:
        raise DatasetError(f"{name} lacks the file for {', '.join(missing)}; Planetoid's layout has {', '.join(PARTS)}")
    allx, tx, x = (_features(paths[part]) for part in ("allx", "tx", "x"))
    ally, ty, y = (_labels(paths[part]) for part in ("ally", "ty", "y"))
    for end, rows, one_hot in (("", x, y), ("t", tx, ty), ("all", allx, ally)):
        its_x, its_y = paths[f"{end}x"], paths[f"{end}y"]
        _same(its_y, "rows", one_hot.shape[0], its_x, rows.shape[0])
        _same(its_x, "columns", rows.shape[1], paths["allx"], allx.shape[1])
        _same(its_y, "columns", one_hot.shape[1], paths["ally"], ally.shape[1])
    first = allx.shape[0]
    if not 0 < len(y) <= first:
        raise DatasetError(
            f"{paths['y']} has {len(y)} rows; the training nodes are the first of the {first} nodes of allx"
        )
    return (allx, tx), (ally, ty), len(y)


def _same(path: Path, what: str, found: int, other: Path, expected: int) -> None:
    if found != expected:
        raise DatasetError(f"{path} has {found} {what}, {other.name} has {expected}; they must be the same")


def _features(path: Path) -> sp.csr_array:
    matrix = load_pickle(path)
    if not isinstance(matrix, sp.csr_array):
        raise DatasetError(f"{path} holds {_kind(matrix)}; it must hold a sparse matrix [nodes, features]")
    return matrix


def _labels(path: Path) -> NDArray[np.generic]:
    """[nodes, classes] of 0 and 1, at most one 1 a row."""
    array = load_pickle(path)
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] == 0:
        raise DatasetError(f"{path} holds {_kind(array)}; it must hold an array [nodes, classes]")
    bad = np.flatnonzero(~np.isin(array, (0, 1)).all(axis=1) | (array.sum(axis=1) > 1))
    if len(bad):
        raise DatasetError(f"{path}: row {bad[0]} is not one-hot: {array[bad[0]].tolist()}")
    return array


def _classes(one_hot: NDArray[np.generic]) -> NDArray[np.int64]:
    """[nodes]: the class, or UNLABELLED where a row has no 1."""
    return np.where(one_hot.any(axis=1), one_hot.argmax(axis=1), UNLABELLED).astype(np.int64)


def _test_index(path: Path, first: int, count: int) -> NDArray[np.int64]:
    """[count] distinct node numbers from `first` on, in the order of the file."""
    try:
        lines = content(path).split(b"\n")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}") from None
    if lines and not lines[-1]:
        lines.pop()
    seen: dict[int, int] = {}
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        # isdigit on bytes admits ASCII digits only; the length bounds what int() has to parse.
        if not text.isdigit() or len(text) > 9 or not first <= int(text) < _MAX_NODES:
            raise DatasetError(
                f"{path}, line {number}: {line[:40]!r} is not the number of a test node; they "
                f"start at {first}, after the nodes of allx"
            )
        if seen.setdefault(int(text), number) != number:
            raise DatasetError(f"{path}, line {number}: node {int(text)} stands on line {seen[int(text)]} already")
    if len(seen) != count:
        raise DatasetError(f"{path} names {len(seen)} test nodes, ty has {count} rows; they must be the same")
    return np.fromiter(seen, dtype=np.int64, count=len(seen))


def _edges(path: Path, n: int) -> tuple[NDArray[np.int64], int]:
    """Pairs [m, 2] without self-loops, and how many self-loops there were."""
    graph = load_pickle(path)
    if not isinstance(graph, dict):
        raise DatasetError(f"{path} holds {_kind(graph)}; it must hold a dict from node to neighbours")
    # One list may be the neighbours of many nodes: what there is to read says little of how many edges there are.
    edges = sum(len(neighbours) for neighbours in graph.values() if type(neighbours) is list)
    check_need(path, _EDGE_BYTES * edges, path.stat().st_size)
    for node, neighbours in graph.items():
        # By type, since a bool passes for an int.
        if type(node) is not int or type(neighbours) is not list or not set(map(type, neighbours)) <= {int}:
            raise DatasetError(f"{path}: the entry of node {shown(node)} is not a list of node numbers")
        if not 0 <= node < n or any(not 0 <= other < n for other in neighbours):
            bad = node if not 0 <= node < n else next(other for other in neighbours if not 0 <= other < n)
            raise DatasetError(f"{path}: the entry of node {node} names node {bad}; nodes go from 0 to {n - 1}")
    counts = np.fromiter(map(len, graph.values()), dtype=np.int64, count=len(graph))
    source = np.repeat(np.fromiter(graph, dtype=np.int64, count=len(graph)), counts)
    target = np.fromiter(chain.from_iterable(graph.values()), dtype=np.int64, count=int(counts.sum()))
    other = source != target
    return np.stack([source[other], target[other]], axis=1), int(np.count_nonzero(~other))


def _kind(value: object) -> str:
    shape = f" of shape {list(value.shape)}" if hasattr(value, "shape") else ""
    return f"a {type(value).__name__.lstrip('_').lower()}{shape}"
