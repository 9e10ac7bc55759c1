"""A user's own files: what is in them comes out, and every fault has its place named."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from portgnn import Graph, load_graph, predict, train
from portgnn.datasets._columns import read_csv
from portgnn.errors import ConfigError, DatasetError, PortgnnError

NODES = 'id,label,split,age,size\nann,x,train,1,2.5\nbob,y,val,3,-1e3\n"c, d",x,test,0,0\n007,,,5,1\n'
EDGES = 'source,target,weight\nann,bob,1\nbob,"c, d",0.5\n007,ann,2\nann,bob,3\n'


def folder(path: Path, nodes: str = NODES, edges: str = EDGES, **more: bytes) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "nodes.csv").write_bytes(nodes.encode("utf-8", "surrogateescape"))
    (path / "edges.csv").write_bytes(edges.encode("utf-8", "surrogateescape"))
    for name, content in more.items():
        (path / f"{name}.npz").write_bytes(content)
    return path


@pytest.fixture(params=["pyarrow", "csv"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With pyarrow and as if it were not installed."""
    if request.param == "csv":
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    else:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed: the other half runs")
    return str(request.param)


@pytest.mark.usefixtures("reader")
def test_a_folder_of_tables(tmp_path: Path) -> None:
    graph = load_graph(folder(tmp_path / "mine"))
    assert graph.name == "mine"
    assert graph.node_ids is not None
    assert graph.node_ids.tolist() == ["ann", "bob", "c, d", "007"]
    assert graph.class_names == ("x", "y")
    assert graph.labels is not None
    assert graph.labels.tolist() == [0, 1, 0, -1]
    assert graph.feature_names == ("age", "size")
    np.testing.assert_array_equal(graph.features, [[1, 2.5], [3, -1000], [0, 0], [5, 1]])
    assert [part.tolist() for part in (graph.train, graph.val, graph.test) if part is not None] == [[0], [1], [2]]
    expected = np.zeros((4, 4))
    expected[1, 0], expected[2, 1], expected[0, 3] = 4, 0.5, 2  # row: who is reached; repeated edges summed
    np.testing.assert_array_equal(graph.adjacency.toarray(), expected)
    assert "1 repeated edges summed" in graph.notes
    assert any(note.startswith("directed: 3 of 3 edges go one way") for note in graph.notes)


@pytest.mark.usefixtures("reader")
def test_direction_is_kept_unless_asked(tmp_path: Path) -> None:
    path = folder(tmp_path, edges="source,target\nann,bob\nbob,ann\nann,007\n")
    assert not load_graph(path).is_undirected
    both = load_graph(path, undirected=True)
    assert both.is_undirected
    assert both.num_edges == 2
    assert "edges symmetrised" in both.notes


def test_a_recipe_symmetrises_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []
    path = folder(tmp_path)
    result = train(path, epochs=2, announce=said.append)
    wanted = "directed edges symmetrised, as the kipf recipe has it; --directed keeps"
    assert any(wanted in note for note in result.notes)
    assert any("directed edges symmetrised" in line for line in said)
    kept = train(path, epochs=2, undirected=False)
    assert not any("symmetrised" in note for note in kept.notes)
    # And prediction does as training did.
    whole = load_graph(path, undirected=True)
    np.testing.assert_array_equal(predict(result, path), predict(result, whole))


def test_weights_reach_the_propagation(tmp_path: Path) -> None:
    light = train(folder(tmp_path / "a"), epochs=3)
    heavy = train(folder(tmp_path / "b", edges=EDGES.replace("0.5", "50")), epochs=3)
    assert light.history.train_loss != heavy.history.train_loss


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        (
            NODES,
            EDGES.replace("bob,1", "bill,1"),
            r"edges\.csv, line 2, column 'target': node 'bill' is not in nodes\.csv \(1 such",
        ),
        (NODES, EDGES + "zoe,ann,1\n", r"edges\.csv, line 6, column 'source': node 'zoe'"),
        (NODES, EDGES.replace("0.5", "-0.5"), r"edges\.csv, line 3, column 'weight': -0\.5 is negative"),
        (NODES, EDGES.replace("0.5", "half"), r"edges\.csv, line 3, column 'weight': 'half' is not a finite number"),
        (NODES, EDGES.replace("0.5", "inf"), r"line 3, column 'weight': 'inf' is not a finite number"),
        (NODES, EDGES.replace("0.5", ""), r"line 3, column 'weight': '' is not a finite number"),
        (
            NODES,
            EDGES.replace("ann,bob,1", "ann,bob"),
            r"edges\.csv, line 2: 2 values, where the header names 3 columns",
        ),
        (NODES, EDGES.replace("weight", "time"), r"edges\.csv has the columns 'source,target,time'; its first line"),
        (NODES, EDGES.replace(",", ";"), r"edges\.csv has the columns 'source;target;weight'.*commas"),
        (NODES, "", r"edges\.csv is empty"),
        (NODES.replace("bob", "ann"), EDGES, r"nodes\.csv, line 3, column 'id': node 'ann' is there already"),
        (NODES.replace("bob", ""), EDGES, r"nodes\.csv, line 3, column 'id': the node has no id"),
        (NODES.replace("-1e3", "nan"), EDGES, r"nodes\.csv, line 3, column 'size': 'nan' is not a finite number"),
        (NODES.replace("-1e3", "1_0x"), EDGES, r"nodes\.csv, line 3, column 'size'"),
        (NODES.replace("val", "vla"), EDGES, r"nodes\.csv, line 3, column 'split': 'vla' is none of train, val, test"),
        (
            NODES.replace("x,train", ",train"),
            EDGES,
            r"nodes\.csv, line 2, column 'label': the node is in the train split",
        ),
        (NODES.replace("bob,y", "b\udcffb,y"), EDGES, r"nodes\.csv, line 3: not UTF-8"),
        (NODES.replace("age", "size"), EDGES, r"nodes\.csv: two columns are named 'size'"),
        (NODES.replace("age", ""), EDGES, r"nodes\.csv: column 4 has no name"),
        (NODES.replace("id,", "name,"), EDGES, r"nodes\.csv has no column 'id'"),
        ("id,label\n", EDGES, r"nodes\.csv names no node"),
        (NODES.replace('"c, d"', '"c, d'), EDGES, r"nodes\.csv, line \d: unexpected end of data"),
        (NODES.replace("bob", "b" * 200_000), EDGES, r"nodes\.csv, line \d: field larger than field limit"),
    ],
)
def test_faults_have_a_place(tmp_path: Path, nodes: str, edges: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_graph(folder(tmp_path, nodes, edges))


@pytest.mark.usefixtures("reader")
def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    nodes = '\ufeffid,label,age\r\n"two\nlines",x,1\r\n\r\nb,y,2\r\nb,y,3\r\n'
    with pytest.raises(DatasetError, match="line 6, column 'id': node 'b' is there already"):
        load_graph(folder(tmp_path, nodes))


@pytest.mark.parametrize("missing", ["nodes.csv", "edges.csv"])
def test_a_missing_table_is_named(tmp_path: Path, missing: str) -> None:
    (folder(tmp_path) / missing).unlink()
    with pytest.raises(DatasetError, match=f"has no {missing}"):
        load_graph(tmp_path)


_CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@given(st.lists(st.tuples(_CELL, st.floats(allow_nan=False, allow_infinity=False)), max_size=8), st.booleans())
def test_both_readers_read_the_same(tmp_path_factory: pytest.TempPathFactory, rows: list[Any], quote: bool) -> None:
    pytest.importorskip("pyarrow", reason="there is only one reader without pyarrow")
    import csv

    path = tmp_path_factory.mktemp("both") / "nodes.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL)
        writer.writerow(["id", "age"])
        writer.writerows(rows)
    both = []
    for module in (sys.modules["pyarrow"], None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "pyarrow", module)
            both.append(read_csv(path, lambda name: name == "id"))
    one, other = both
    assert one.text == other.text == {"id": [name for name, _ in rows]}
    np.testing.assert_array_equal(one.numbers["age"], other.numbers["age"])


def test_features_in_a_file_of_their_own(tmp_path: Path) -> None:
    nodes = "id,label\na,x\nb,y\nc,x\n"
    edges = "source,target\na,b\n"
    dense = np.arange(6.0).reshape(3, 2)
    for matrix in (sp.csr_array(dense), sp.csc_array(dense)):
        file = io.BytesIO()
        sp.save_npz(file, matrix)
        np.testing.assert_array_equal(
            load_graph(folder(tmp_path, nodes, edges, features=file.getvalue())).features.toarray(), dense
        )
    np.testing.assert_array_equal(load_graph(folder(tmp_path, nodes, edges, features=_npz(x=dense))).features, dense)
    with pytest.raises(DatasetError, match=r"shape \[2, 2\]; it must have a row for each of 3 nodes"):
        load_graph(folder(tmp_path, nodes, edges, features=_npz(x=dense[:2])))
    with pytest.raises(DatasetError, match="holds Python objects, which are pickles"):
        load_graph(folder(tmp_path, nodes, edges, features=_npz(x=dense.astype(object))))
    with pytest.raises(DatasetError, match=r"features both in nodes\.csv \(column 'age'\) and in features\.npz"):
        load_graph(folder(tmp_path, NODES, EDGES, features=_npz(x=dense)))


def test_without_features_they_are_the_identity(tmp_path: Path) -> None:
    graph = load_graph(folder(tmp_path, "id,label\na,x\nb,y\n", "source,target\na,b\n"))
    np.testing.assert_array_equal(graph.features.toarray(), np.eye(2))  # type: ignore[union-attr]
    assert "features are the identity: the files have none" in graph.notes


def test_classes_that_are_numbers_are_sorted_by_value(tmp_path: Path) -> None:
    nodes = "id,label\n" + "".join(f"n{i},{i}\n" for i in (10, 9, 2, -2, 1))
    assert load_graph(folder(tmp_path, nodes, "source,target\n")).class_names == ("-2", "1", "2", "9", "10")


def test_parquet_is_read_as_csv(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    ages = np.array([1, 2, 3], np.int16)
    nodes = {"id": [1, 2, 3], "label": ["x", None, "y"], "age": ages, "on": [True, False, True]}
    parquet.write_table(pa.table(nodes), tmp_path / "nodes.parquet")
    parquet.write_table(pa.table({"source": [1, 3], "target": [2, 1]}), tmp_path / "edges.parquet")
    graph = load_graph(tmp_path)
    assert graph.node_ids is not None
    assert graph.labels is not None
    assert (graph.node_ids.tolist(), graph.labels.tolist()) == (["1", "2", "3"], [0, -1, 1])
    np.testing.assert_array_equal(graph.features, [[1, 1], [2, 0], [3, 1]])
    parquet.write_table(pa.table(nodes | {"age": [1.0, None, float("nan")]}), tmp_path / "nodes.parquet")
    with pytest.raises(DatasetError, match="row 2, column 'age': there is no value"):
        load_graph(tmp_path)
    parquet.write_table(pa.table(nodes | {"age": [1.0, 2.0, float("nan")]}), tmp_path / "nodes.parquet")
    with pytest.raises(DatasetError, match="row 3, column 'age': nan is not a finite number"):
        load_graph(tmp_path)


# .npz


def _npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _shchur(**changed: Any) -> dict[str, Any]:
    adjacency = sp.csr_array(np.array([[0, 1, 0], [0, 0, 2], [0, 0, 0]], dtype=np.float32))
    arrays: dict[str, Any] = {
        "adj_data": adjacency.data,
        "adj_indices": adjacency.indices,
        "adj_indptr": adjacency.indptr,
        "adj_shape": np.array([3, 3]),
        "attr_matrix": np.arange(6, dtype=np.float32).reshape(3, 2),
        "labels": np.array([1, 0, 1]),
        "node_names": np.array(["a", "b", "c"]),
        "class_names": np.array(["x", "y"]),
        "attr_names": np.array(["p", "q"]),
    } | changed
    return {name: value for name, value in arrays.items() if value is not None}


def test_the_layout_of_shchur(tmp_path: Path) -> None:
    path = tmp_path / "amazon.npz"
    path.write_bytes(_npz(**_shchur()))
    graph = load_graph(path)
    assert graph.node_ids is not None
    assert (graph.name, graph.class_names, graph.feature_names) == ("amazon", ("x", "y"), ("p", "q"))
    assert graph.node_ids.tolist() == ["a", "b", "c"]
    # From row to column in the file; a Graph's row holds whom the node sums over.
    np.testing.assert_array_equal(graph.adjacency.toarray(), [[0, 0, 0], [1, 0, 0], [0, 2, 0]])
    np.testing.assert_array_equal(graph.to_scipy().toarray(), [[0, 1, 0], [0, 0, 2], [0, 0, 0]])
    np.testing.assert_array_equal(graph.features, np.arange(6).reshape(3, 2))


def test_pickled_names_are_left_out_and_pickled_data_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    path.write_bytes(_npz(**_shchur(node_names=np.array(["a", "b", "c"], dtype=object))))
    graph = load_graph(path)
    assert graph.node_ids is None
    assert "node_names holds Python objects and was left out" in graph.notes
    path.write_bytes(_npz(**_shchur(labels=np.array([1, 0, 1], dtype=object))))
    with pytest.raises(DatasetError, match="'labels' holds Python objects, which are pickles and are not read"):
        load_graph(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"adj_data": None}, "a graph needs adj_data"),
        ({"adj_indptr": None}, "lacks adj_indptr"),
        ({"adj_indices": np.array([1, 3])}, r"matrix adj_\* has a value at index 3, where 2 is the last"),
        ({"adj_indices": np.array([1, -1])}, "value at index -1"),
        ({"adj_indptr": np.array([0, 5, 2, 2])}, "does not rise from 0 to 2"),
        ({"adj_shape": np.array([3, 4])}, "must be square"),
        ({"adj_shape": np.array([2**40, 2**40])}, "no shape of two numbers"),
        ({"adj_data": np.array([1.0, np.nan])}, "weights must be finite"),
        ({"labels": np.array([1, 0])}, r"labels have shape \[2\]"),
        ({"labels": np.array([1, 0, 7])}, "label 7 of node 2 is out of range"),
        ({"class_names": np.array([b"x", b"\xff"])}, "class_names is not text"),
        ({"attr_names": np.array(["p"])}, "1 names for 2 features"),
        ({"class_names": np.array([2**31, 65], dtype=np.uint32).view("<U1")}, "'class_names' is not text"),
        ({"class_names": np.array([0xD800, 65], dtype=np.uint32).view("<U1")}, "class_names holds a name that is not"),
    ],
)
def test_faults_of_an_npz_are_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    (tmp_path / "g.npz").write_bytes(_npz(**_shchur(**changed)))
    with pytest.raises(DatasetError, match=message):
        load_graph(tmp_path / "g.npz")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    import tracemalloc

    path = tmp_path / "bomb.npz"
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }" % (1 << 29)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("labels.npy", "w", force_zip64=True) as member,
    ):
        member.write(header.ljust(127) + b"\n")
        for _ in range(512):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(
        DatasetError,
        match=r"would take 1\.0 GiB of memory.* set PORTGNN_MAX_MEMORY=2GiB",
    ):
        load_graph(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


def test_a_header_that_promises_more_than_there_is_costs_nothing(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "g.npz", "w") as archive:
        for dtype in ("<f8", "<U0"):
            header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': (99999999999,), }}".encode()
            archive.writestr(f"{dtype[1]}.npy", b"\x93NUMPY\x01\x00v\x00" + header.ljust(117) + b"\n")
    with pytest.raises(DatasetError, match=r"promises shape|must hold numbers or text"):
        load_graph(tmp_path / "g.npz")


# GraphML and GML


def test_graphml_and_gml_come_back(tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    graph = networkx.DiGraph()
    for name, label, age in (("a", "x", 1), ("b", "y", 2.5), ("c", "x", 0)):
        graph.add_node(name, label=label, age=float(age), split="train" if name == "a" else "test")
    graph.add_edge("a", "b", weight=2.0)
    graph.add_edge("c", "b", weight=1.0)
    networkx.write_graphml(graph, tmp_path / "g.graphml")
    networkx.write_gml(networkx.relabel_nodes(graph, str), tmp_path / "h.gml")
    (tmp_path / "g.gml").write_text((tmp_path / "h.gml").read_text())
    read = load_graph(tmp_path / "g.graphml")
    assert read.node_ids is not None
    assert (read.node_ids.tolist(), read.class_names) == (["a", "b", "c"], ("x", "y"))
    assert read.feature_names == ("age",)
    np.testing.assert_array_equal(read.to_scipy().toarray(), [[0, 2, 0], [0, 0, 0], [0, 1, 0]])
    assert read.train is not None
    assert read.train.tolist() == [0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "b">]><graphml/>', "was not read: it has a document type"),
        (b'<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/hosts"><graphml/>', "was not read: it has a document"),
        (b"<graphml>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</graphml>", "was not read: its elements are nested"),
        (b"<graphml>", "not well-formed"),
        (b"", "not well-formed"),
        (b"\xff\xfe", "not well-formed"),
        (b"<graphml/>", "cannot be read"),
    ],
    ids=["entity", "external", "deep", "open", "empty", "bytes", "bare"],
)
def test_xml_that_means_harm_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    pytest.importorskip("networkx")
    (tmp_path / "g.graphml").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        load_graph(tmp_path / "g.graphml")


# splits


def test_random_splits_take_so_many_of_each_class(csbm: Graph) -> None:
    graph = load_graph("csbm-cora", split="random:20:30")
    assert graph.train is not None
    assert graph.val is not None
    assert graph.test is not None
    assert graph.labels is not None
    assert np.bincount(graph.labels[graph.train]).tolist() == [20] * 7
    assert np.bincount(graph.labels[graph.val]).tolist() == [30] * 7
    assert len(graph.test) == 2708 - 350
    again = load_graph("csbm-cora", split="random:20:30:0")
    other = load_graph("csbm-cora", split="random:20:30:1")
    assert again.train is not None
    assert other.train is not None
    assert graph.train.tolist() == again.train.tolist() != other.train.tolist()
    # Pinned: the same nodes on every machine and with every NumPy.
    assert graph.train[:5].tolist() == PINNED
    assert any("split random:20:30, seed 0: 140/210/2358 nodes" in note for note in graph.notes)


def test_fractions_of_the_labelled_nodes() -> None:
    graph = load_graph("csbm-cora", split="fraction:0.6:0.2")
    assert [len(part) for part in (graph.train, graph.val, graph.test) if part is not None] == [1625, 541, 542]
    everything = load_graph("csbm-cora", split="fraction:0.6:0.4")
    assert everything.test is None


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("randm:20:30", "unknown split 'randm:20:30'; known: given, public"),
        ("random:20", "unknown split"),
        ("random:x:30", "'x' is not a whole number"),
        ("random:0:30", "trains on nothing"),
        ("random:1:2:-3", "not a whole number"),
        ("fraction:0.6:x", "'x' is not a share"),
        ("fraction:0.9:0.2", "more than 1"),
        ("fraction:nan:0.2", "not a share"),
        ("fraction:0:0.2", "trains on no node"),
        ("random:300:30", "class '1' of csbm-cora has 217 labelled nodes, and random:300:30 needs 330"),
    ],
)
def test_splits_that_cannot_be_made(split: str, message: str) -> None:
    with pytest.raises(PortgnnError, match=message):
        load_graph("csbm-cora", split=split)


def test_public_is_for_published_graphs(tmp_path: Path) -> None:
    assert load_graph("karate", split="public").train is not None
    assert load_graph(folder(tmp_path), split="given").train is not None
    with pytest.raises(ConfigError, match="has no public split; type --split given"):
        load_graph(tmp_path, split="public")
    with pytest.raises(PortgnnError, match="comes with no split"):
        load_graph(folder(tmp_path, "id,label\na,x\n", "source,target\n"), split="given")


PINNED = [0, 21, 66, 69, 102]


@pytest.mark.parametrize("quote", ["", '"'])
def test_an_underscore_is_no_part_of_a_number(tmp_path: Path, quote: str) -> None:
    nodes = f"id,label,age\nann,x,1\nbob,y,{quote}1_0{quote}\n"
    with pytest.raises(DatasetError, match=r"line 3, column 'age': '1_0' is not a finite number"):
        load_graph(folder(tmp_path, nodes, "source,target\nann,bob\n"))


def test_a_wide_table_reads_as_a_narrow_one_does(tmp_path: Path) -> None:
    names = [f"x{column}" for column in range(40)]
    rows = [[f"{row * 0.1 + column!r}" for column in range(40)] for row in range(3)]
    (tmp_path / "edges.csv").write_text("source,target\n")
    lines = [f'"n{row}",{",".join(values)}' for row, values in enumerate(rows)]  # quotes: without pyarrow
    (tmp_path / "nodes.csv").write_text("\n".join(["id," + ",".join(names), *lines]))
    np.testing.assert_array_equal(load_graph(tmp_path).features, np.array(rows, dtype=np.float64))
    for wrong in ("nan", "1_0", "a", ""):
        rows[1][25] = wrong
        lines = [f'"n{row}",{",".join(values)}' for row, values in enumerate(rows)]
        (tmp_path / "nodes.csv").write_text("\n".join(["id," + ",".join(names), *lines]))
        with pytest.raises(DatasetError, match=f"line 3, column 'x25': '{wrong}' is not a finite number"):
            load_graph(tmp_path)
