"""Planetoid's layout: what the published files give, and that each malformed part is named."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from py2_pickles import planetoid_parts, write_planetoid

from portgnn.datasets import load_graph
from portgnn.datasets._planetoid import files, read_planetoid
from portgnn.errors import DatasetError


def read(folder: Path, **changed: Any) -> Any:
    """The small graph with some parts changed; test_index stands for test.index."""
    parts = planetoid_parts() | {name.replace("_", "."): value for name, value in changed.items()}
    return read_planetoid(write_planetoid(folder, parts), "toy")


def test_small_graph(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = read(tmp_path)
    expected = np.zeros((9, 3))
    for node in (0, 1, 2, 3, 4, 5, 7, 8):
        expected[node, node % 3] = node + 1
    assert isinstance(graph.features, sp.csr_array)
    np.testing.assert_array_equal(graph.features.toarray(), expected)
    assert graph.labels.tolist() == [0, 1, 0, 1, 0, 1, -1, 1, 0]
    upper = sp.triu(graph.adjacency).tocoo()
    pairs = zip(upper.row.tolist(), upper.col.tolist(), strict=True)
    assert sorted(pairs) == [(0, 1), (0, 4), (2, 7), (5, 8)]
    assert graph.is_undirected
    assert set(graph.adjacency.data) == {1.0}
    assert (graph.train.tolist(), graph.val.tolist(), graph.test.tolist()) == ([0, 1], [2, 3], [4, 5, 7, 8])
    assert graph.class_names == ("0", "1")
    assert any("1 self-loops dropped" in note for note in graph.notes)
    assert any("1 nodes missing from test.index" in note for note in graph.notes)


def csr_with(**attributes: Any) -> Any:
    matrix = planetoid_parts()["allx"]
    for name, value in attributes.items():
        matrix.__dict__[name] = value
    return matrix


FAULTS: dict[str, tuple[str, Callable[[], Any], str]] = {
    "features are an array": ("allx", lambda: np.ones((4, 3)), "must hold a sparse matrix"),
    "labels are sparse": ("ally", lambda: sp.csr_matrix(np.eye(4, 2)), "must hold an array"),
    "labels are flat": ("ally", lambda: np.zeros(4), "must hold an array"),
    "labels are two-hot": ("ally", lambda: np.ones((4, 2)), "row 0 is not one-hot"),
    "labels are fractions": ("ty", lambda: np.full((4, 2), 0.5), "row 0 is not one-hot"),
    "labels are NaN": ("ty", lambda: np.full((4, 2), np.nan), "row 0 is not one-hot"),
    "too few labels": ("ally", lambda: np.eye(2, dtype=int)[[0, 1, 0]], "has 3 rows, ind.toy.allx has 4"),
    "other classes": ("ty", lambda: np.eye(3, dtype=int)[[0, 1, 0, 1]], "has 3 columns, ind.toy.ally has 2"),
    "other words": ("tx", lambda: sp.csr_matrix(np.ones((4, 5))), "has 5 columns, ind.toy.allx has 3"),
    "object array": ("ally", lambda: np.array([[None, None]] * 4), "an array of dtype 'O8'"),
    "text array": ("ally", lambda: np.array([["a", "b"]] * 4), "an array of dtype"),
    "shape": ("allx", lambda: csr_with(_shape=(4, -3)), "no shape of two numbers"),
    "shape of three": ("allx", lambda: csr_with(_shape=(4, 3, 1)), "no shape of two numbers"),
    "columns out of range": ("allx", lambda: csr_with(indices=np.array([0, 1, 2, 99])), "in column 99"),
    "negative column": ("allx", lambda: csr_with(indices=np.array([0, 1, 2, -1])), "in column -1"),
    "indptr falls": ("allx", lambda: csr_with(indptr=np.array([0, 3, 1, 3, 4])), "does not rise from 0 to 4"),
    "indptr too far": ("allx", lambda: csr_with(indptr=np.array([0, 1, 2, 3, 9])), "does not rise from 0"),
    "indptr too short": ("allx", lambda: csr_with(indptr=np.array([0, 4])), "and indptr [2]"),
    "float indices": ("allx", lambda: csr_with(indices=np.array([0.0, 1, 2, 0])), "numbers at integers"),
    "no data": ("allx", lambda: csr_with(data=None), "data is not an array"),
    "NaN": ("allx", lambda: csr_with(data=np.array([1, np.nan, 1, 1])), "NaN or infinity"),
    "graph is a list": ("graph", lambda: [[1], [0]], "dict from node to neighbours"),
    "neighbours are text": ("graph", lambda: {0: ["1"]}, "entry of node 0 is not a list of node numbers"),
    "neighbours are a tuple": ("graph", lambda: {0: (1,)}, "entry of node 0 is not a list of node numbers"),
    "node is a bool": ("graph", lambda: {True: [0]}, "is not a list of node numbers"),
    "neighbour out of range": ("graph", lambda: {0: [1], 1: [9]}, "node 1 names node 9; nodes go from 0"),
    "neighbour negative": ("graph", lambda: {0: [-1]}, "names node -1"),
    "node out of range": ("graph", lambda: {12: []}, "names node 12"),
    "test.index is text": ("test.index", lambda: [7, 4, "eight", 5], "line 3: b'eight' is not the number"),
    "test.index is negative": ("test.index", lambda: [-7, 4, 8, 5], "line 1: b'-7' is not the number"),
    "test.index names an early node": ("test.index", lambda: [7, 4, 1, 5], "line 3: b'1' is not the number"),
    "test.index repeats": ("test.index", lambda: [7, 4, 8, 4], "line 4: node 4 stands on line 2 already"),
    "test.index too short": ("test.index", lambda: [7, 4, 8], "names 3 test nodes, ty has 4 rows"),
    "test.index too far": ("test.index", lambda: [7, 4, 8, 10**8], "line 4: b'100000000' is not the number"),
    "not a pickle": ("x", lambda: b"<html>Not found</html>", "not a readable pickle"),
    "empty": ("ally", lambda: b"", "not a readable pickle"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_malformed_part_is_named(tmp_path: Path, case: str) -> None:
    part, make, message = FAULTS[case]
    with pytest.raises(DatasetError) as caught:
        read(tmp_path, **{part.replace(".", "_"): make()})
    assert message in str(caught.value)
    assert f"ind.toy.{part}" in str(caught.value)


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    whole = write_planetoid(tmp_path, planetoid_parts())["allx"].read_bytes()
    for length in range(len(whole)):
        with pytest.raises(DatasetError, match=r"ind\.toy\.allx"):
            read(tmp_path, allx=whole[:length])


def test_missing_file(tmp_path: Path) -> None:
    paths = write_planetoid(tmp_path, planetoid_parts())
    paths["ty"].unlink()
    with pytest.raises(DatasetError, match=r"ind\.toy\.ty cannot be read"):
        read_planetoid(paths, "toy")
    del paths["ty"]
    with pytest.raises(DatasetError, match="lacks the file for ty"):
        read_planetoid(paths, "toy")


def test_unlabelled_rows_stay_unlabelled(tmp_path: Path) -> None:
    ally = planetoid_parts()["ally"]
    ally[3] = 0
    with pytest.raises(DatasetError, match="node 3 of the val split has no label"):
        read(tmp_path, ally=ally)


def test_file_lists() -> None:
    for name in ("cora", "citeseer", "pubmed"):
        specs = files(name)
        assert len(specs) == 8
        for spec in specs:
            assert len(spec.mirrors) == 2
            assert all(url.startswith("https://") and url.endswith(spec.name) for url in spec.mirrors)
    assert [spec.checksum.partition(":")[0] for spec in files("pubmed")].count("git-blob") == 1


@pytest.mark.published_data
@pytest.mark.parametrize(
    ("name", "sizes", "class_sizes", "isolated", "stored"),
    [
        ("cora", (2708, 5278, 1433, 7, 140, 500, 1000), [351, 217, 418, 818, 426, 298, 180], 0, 49216),
        ("citeseer", (3327, 4552, 3703, 6, 120, 500, 1000), [249, 590, 668, 701, 596, 508], 48, 105165),
    ],
)
def test_published_sizes(name: str, sizes: tuple[int, ...], class_sizes: list[int], isolated: int, stored: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = load_graph(name)
    assert graph.train is not None and graph.val is not None and graph.test is not None  # noqa: PT018
    found = (
        graph.num_nodes,
        graph.num_edges,
        graph.num_features,
        graph.num_classes,
        len(graph.train),
        len(graph.val),
        len(graph.test),
    )
    assert found == sizes
    assert graph.labels is not None
    assert np.bincount(graph.labels[graph.labels >= 0]).tolist() == class_sizes
    assert np.count_nonzero(np.diff(graph.adjacency.indptr) == 0) == isolated
    assert isinstance(graph.features, sp.csr_array)
    assert graph.features.nnz == stored
    assert not graph.adjacency.diagonal().any()
    train_counts = np.bincount(graph.labels[graph.train])
    assert set(train_counts.tolist()) == {20}


@pytest.mark.published_data
def test_citeseer_missing_nodes() -> None:
    graph = load_graph("citeseer")
    assert graph.labels is not None
    assert graph.test is not None
    absent = np.flatnonzero(graph.labels < 0)
    assert len(absent) == 15
    assert not np.isin(absent, graph.test).any()
    # Papers without text: they cite, and are cited by, papers that have some.
    assert np.diff(graph.adjacency.indptr)[absent].sum() == 16
    assert graph.features[absent].sum() == 0


@pytest.mark.published_data
def test_test_rows_stand_at_their_nodes() -> None:
    """Rows of tx belong to the nodes that test.index names, in its own order, which is not ascending."""
    folder = Path(os.environ["PORTGNN_DATA"])
    index = next(path for path in (folder / sub / "ind.cora.test.index" for sub in ("planetoid", "")) if path.exists())
    order = np.loadtxt(index, dtype=int)
    graph = load_graph("cora")
    # Neighbours share a class far more often than not; with rows in the wrong order, hardly ever.
    rows, columns = graph.adjacency.nonzero()
    assert graph.labels is not None
    labels = graph.labels
    in_test = np.isin(rows, order)
    assert np.mean(labels[rows[in_test]] == labels[columns[in_test]]) > 0.75
    assert (order != np.sort(order)).any()
