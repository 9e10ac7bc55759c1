"""Graphs that are written as they come: the same files as of the graph in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portgnn import Graph, load_graph
from portgnn.cli import main
from portgnn.disk import streamed
from portgnn.disk.folder import DiskGraph, write_graph
from portgnn.disk.streamed import parquet_blocks, write_streamed
from portgnn.disk.tables import write_tables
from portgnn.errors import DatasetError, GraphError


def _parts(nodes: int = 300) -> tuple[Any, Any, Any, dict[str, Any]]:
    draw = np.random.default_rng(0)
    edges = draw.integers(0, nodes - 5, (1500, 2))  # a few nodes without an edge, a few loops, a few edges twice
    edges = np.concatenate([edges, edges[:40], edges[:20, ::-1]])
    features = draw.normal(size=(nodes, 4)).astype(np.float32)
    features[::3, 1] = 0.0
    splits = {name: np.arange(start, nodes, 3) for start, name in enumerate(("train", "val", "test"))}
    return edges, features, draw.integers(0, 3, nodes), splits


@pytest.mark.parametrize("full", [False, True])
def test_the_files_are_those_of_the_graph_in_memory(tmp_path: Path, full: bool) -> None:
    edges, features, labels, splits = _parts()
    features[features == 0] += full
    want = write_graph(Graph.from_edges(edges, features, labels, name="g", **splits), tmp_path / "whole.graph")
    blocks = (edges[start : start + 333] for start in range(0, len(edges), 333))
    rows = (features[start : start + 77] for start in range(0, len(features), 77))
    found = write_streamed(tmp_path / "streamed.graph", blocks, rows, len(features), labels=labels, name="g", **splits)
    names = sorted(each.name for each in want.path.iterdir())
    assert sorted(each.name for each in found.path.iterdir()) == names
    one, other = (json.loads((each.path / "header.json").read_text()) for each in (want, found))
    assert one.pop("notes")  # repeated edges are counted before they go both ways, or behind it
    assert other.pop("notes")
    assert other == one
    for name in names:
        if name != "header.json":
            assert (found.path / name).read_bytes() == (want.path / name).read_bytes(), name


def test_nothing_is_left_where_it_cannot_be_done(tmp_path: Path) -> None:
    edges, features, labels, _ = _parts()
    for wrong, message in (
        ({"edges": [edges, np.array([[3, 300]])]}, "an edge ends at 300, and nodes are numbered 0 to 299"),
        ({"edges": [edges.astype(float)]}, "edges come as integers"),
        ({"features": [features[:9]]}, "there are features of 9 nodes, and 300 nodes"),
        ({"features": [features, np.full((1, 4), np.nan)]}, "features of node 300 are not all finite"),
    ):
        given: dict[str, Any] = {"edges": [edges], "features": [features]} | wrong
        with pytest.raises(GraphError, match=message):
            write_streamed(tmp_path / "a.graph", given["edges"], given["features"], 300, labels=labels)
        assert not list(tmp_path.iterdir())
    with pytest.raises(DatasetError, match=r"must end in \.graph"):
        write_streamed(tmp_path / "a", [edges], [features], 300)


def test_parquet_files_come_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(streamed, "BLOCK", 64)
    edges = _parts()[0]
    table = pa.table({"source": edges[:, 0], "target": edges[:, 1].astype(np.int32), "word": ["x"] * len(edges)})
    parquet.write_table(table, tmp_path / "edges.parquet")
    blocks = list(parquet_blocks(tmp_path / "edges.parquet", ["source", "target"]))
    assert max(map(len, blocks)) <= 32
    np.testing.assert_array_equal(np.concatenate(blocks), edges)
    with pytest.raises(DatasetError, match="has no column weight; it has source, target, word"):
        list(parquet_blocks(tmp_path / "edges.parquet", ["weight"]))
    with pytest.raises(DatasetError, match="column word holds string, and no numbers"):
        list(parquet_blocks(tmp_path / "edges.parquet"))
    (tmp_path / "edges.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(DatasetError, match="cannot be read"):
        list(parquet_blocks(tmp_path / "edges.parquet"))


def test_tables_of_parquet_are_the_graph_that_is_loaded(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    edges, features, labels, splits = _parts()
    folder = tmp_path / "mine"
    folder.mkdir()
    owner = np.full(300, "", dtype=object)
    for name, nodes in splits.items():
        owner[nodes] = name
    columns = {"id": np.arange(300), "label": labels, "split": owner.tolist()}
    table = pa.table(columns | {f"x{at}": features[:, at] for at in range(4)})
    parquet.write_table(table, folder / "nodes.parquet")
    parquet.write_table(pa.table({"source": edges[:, 0], "target": edges[:, 1]}), folder / "edges.parquet")
    assert main(["convert", str(folder), str(tmp_path / "a.graph"), "--streamed"]) == 0
    found, want = DiskGraph(tmp_path / "a.graph"), load_graph(folder, undirected=True)
    assert found.fingerprint == write_graph(want, tmp_path / "b.graph").fingerprint
    assert (found.feature_names, found.class_names) == (want.feature_names, want.class_names)
    np.testing.assert_array_equal(found.load().adjacency.toarray(), want.adjacency.toarray())


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("id", [0, 2], "row 1 has id 2; --streamed wants node i in row i"),
        ("label", ["a", "b"], "label holds string; --streamed wants whole numbers"),
        ("split", ["train", "tset"], "row 1 is in split 'tset'"),
        ("x", ["a", "b"], "column x holds string, and no numbers"),
    ],
)
def test_tables_that_will_not_do_are_named(tmp_path: Path, column: str, values: list[Any], message: str) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"x": [1.0, 2.0]} | {column: values}), tmp_path / "nodes.parquet")
    parquet.write_table(pa.table({"source": [0], "target": [1]}), tmp_path / "edges.parquet")
    with pytest.raises(DatasetError, match=message):
        write_tables(tmp_path, tmp_path / "a.graph")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["edges.parquet", "nodes.parquet"]
