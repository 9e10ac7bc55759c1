"""Sets of graphs: out of the TU collection's files, of tables, of other libraries' objects; and their folds."""

from __future__ import annotations

import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import Graph, GraphSet, load_graph, load_graphs
from portgnn.datasets import graph_set_names, is_graph_set
from portgnn.datasets._collections import COLLECTIONS
from portgnn.errors import ConfigError, DatasetError, GraphError

TU = {
    "A": "1, 2\n2, 1\n2, 3\n3, 2\n4, 5\n5, 4\n",
    "graph_indicator": "1\n1\n1\n2\n2\n3\n",
    "graph_labels": "1\n-1\n1\n",
    "node_labels": "0\n5\n0\n5\n0\n7\n",
    "edge_labels": "0\n" * 6,
}


def tu(folder: Path, *, form: str = "zip", **changes: str | None) -> Path:
    """Three graphs of 3, 2 and 1 nodes in the layout of the TU collection. changes: files by their ends."""
    files = {f"SMALL_{end}.txt": text for end, text in (TU | changes).items() if text is not None}
    if form == "folder":
        (folder / "SMALL").mkdir()
        for name, text in files.items():
            (folder / "SMALL" / name).write_text(text)
        return folder / "SMALL"
    with zipfile.ZipFile(folder / "SMALL.zip", "w") as archive:
        for name, text in files.items():
            archive.writestr(f"SMALL//{name}", text)
    return folder / "SMALL.zip"


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_tu_layout(tmp_path: Path, form: str) -> None:
    path = tu(tmp_path, form=form)
    assert is_graph_set(path)
    graphs = load_graphs(path)
    assert (len(graphs), graphs.sizes.tolist(), graphs.name) == (3, [3, 2, 1], "SMALL")
    assert graphs.labels.tolist() == [1, 0, 1]
    assert graphs.class_names == ("-1", "1")
    assert graphs.union.features.toarray().tolist() == np.eye(3)[[0, 1, 0, 1, 0, 2]].tolist()
    assert graphs.feature_names == ("label 0", "label 5", "label 7")
    assert graphs[0].adjacency.toarray().tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert graphs[-1].num_nodes == 1
    assert {"features are 3 labels of nodes, one-hot", "edge labels left out"} <= set(graphs.notes)


def test_a_name_beside_the_data_that_is_not_text_is_said_in_one_line(tmp_path: Path) -> None:
    path = tu(tmp_path)
    content = bytearray(path.read_bytes())
    at = content.index(b"SMALL//SMALL_A.txt")  # the first is beside the data; its flags, which say UTF-8, come before
    content[at - 23], content[at] = 0x08, 0xD0
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"SMALL_A\.txt cannot be unpacked: its name there is not the one"):
        load_graphs(path)


def test_nodes_of_a_graph_need_not_lie_together(tmp_path: Path) -> None:
    mixed = tu(tmp_path, graph_indicator="2\n1\n2\n1\n3\n1\n", A="1,3\n2,4\n4,6\n", node_labels="0\n1\n2\n3\n4\n5\n")
    graphs = load_graphs(mixed)
    assert graphs.sizes.tolist() == [3, 2, 1]
    assert graphs.union.features.toarray().argmax(axis=1).tolist() == [1, 3, 5, 0, 2, 4]
    assert graphs[0].to_scipy().toarray().tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert graphs[1].to_scipy().toarray().tolist() == [[0, 1], [0, 0]]


def test_features_that_there_are(tmp_path: Path) -> None:
    both = load_graphs(tu(tmp_path, node_attributes="".join(f"{k}.5, -1\n" for k in range(6))))
    assert (
        both.union.features.tolist()
        == np.c_[np.arange(6) + 0.5, np.full(6, -1), np.eye(3)[[0, 1, 0, 1, 0, 2]]].tolist()
    )
    assert "features are 2 attributes and 3 labels of nodes, one-hot" in both.notes
    none = load_graphs(tu(tmp_path, node_labels=None))
    assert none.union.features.toarray().argmax(axis=1).tolist() == [1, 2, 1, 1, 1, 0]
    assert none.feature_names == ("degree 0", "degree 1", "degree 2")
    assert "features are the degrees, one-hot: there are none" in none.notes


def test_targets_in_place_of_classes(tmp_path: Path) -> None:
    graphs = load_graphs(tu(tmp_path, graph_labels=None, graph_attributes="0.5, 1\n2, -3\n1e3, 0\n"))
    assert graphs.targets.tolist() == [[0.5, 1], [2, -3], [1000, 0]]
    assert (graphs.labels, graphs.num_outputs, graphs.target_names) == (None, 2, ("target 0", "target 1"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"graph_indicator": None}, r"has no NAME_graph_indicator\.txt|no raw/edge"),
        ({"graph_indicator": ""}, r"graph_indicator\.txt is empty"),
        (
            {"graph_indicator": "1\n1\n1\n2\n2\n4\n"},
            r"graph_indicator\.txt: graph 3 has no nodes, and graphs go up to 4",
        ),
        ({"graph_indicator": "1\n1\n1\n2\n2\n99\n"}, "row 6: graph 99 is more than there are nodes"),
        ({"graph_indicator": "1\n1\n1\n2\n0\n3\n"}, "row 5: 0 must be whole numbers of 1 or more"),
        ({"graph_indicator": "1\n1\n1\n2\n2\nx\n"}, r"graph_indicator\.txt is not a table of numbers: .*'x'"),
        ({"A": None}, r"has no SMALL/SMALL_A\.txt"),
        ({"A": "1, 2\n3, 4\n"}, r"SMALL_A\.txt, row 2: the edge 3, 4 joins graph 1 and graph 2"),
        ({"A": "1, 2\n2, 9\n"}, r"SMALL_A\.txt, row 2: the edge 2, 9 names a node, and graph_indicator\.txt has 6"),
        ({"A": "1, 2, 3\n"}, "has rows of 3 numbers; they must have 2"),
        ({"graph_labels": "1\n-1\n"}, r"graph_labels\.txt has 2 rows, and graph_indicator\.txt names 3 graphs"),
        ({"graph_labels": "1\n-1\n0.5\n"}, "row 3: 0.5 must be whole numbers"),
        ({"graph_labels": None}, r"has neither SMALL/SMALL_graph_labels\.txt nor SMALL_graph_attributes\.txt"),
        ({"node_labels": "0\n1\n"}, r"node_labels\.txt has 2 rows, where 6 were due"),
        ({"node_attributes": "0\n1\n2\n3\n4\nnan\n"}, r"node_attributes\.txt, row 6: a number is NaN or infinite"),
        ({"node_attributes": "0\n1, 2\n2\n3\n4\n5\n"}, r"node_attributes\.txt is not a table of numbers"),
        ({"graph_labels": None, "graph_attributes": "1\n"}, r"graph_attributes\.txt has 1 rows"),
    ],
)
def test_faults_of_tu_archives(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_graphs(tu(tmp_path, **changes))


@pytest.mark.published_data
@pytest.mark.parametrize(
    ("name", "nodes", "edges", "features"), [("MUTAG", 3371, 3721, 7), ("ENZYMES", 19580, 37282, 21)]
)
def test_published_sets(name: str, nodes: int, edges: int, features: int) -> None:
    entry = COLLECTIONS[name]
    if entry.at_hand() is None:
        pytest.skip(f"{name} is not in PORTGNN_DATA")
    graphs = load_graphs(name)
    assert (len(graphs), graphs.num_classes) == (entry.graphs, entry.classes)
    assert (graphs.num_nodes, graphs.num_edges, graphs.num_features) == (nodes, edges, features)


def test_names() -> None:
    assert {"MUTAG", "PROTEINS", "ENZYMES", "NCI1"} <= set(graph_set_names())
    with pytest.raises(DatasetError, match=r"no set of graphs 'MUTAGG'.*Did you mean 'MUTAG'"):
        load_graphs("MUTAGG")
    with pytest.raises(DatasetError, match=r"MUTAG is a set of graphs and not one graph; take portgnn\.load_graphs"):
        load_graph("MUTAG")


NODES = "graph,id,label,x,y\na,1,yes,1,2\na,2,yes,3,4\nb,1,no,5,6\na,3,yes,7,8\n"
EDGES = "graph,source,target\na,1,2\na,2,3\nb,1,1\n"


def tables(folder: Path, nodes: str = NODES, edges: str = EDGES, graphs: str | None = None) -> Path:
    found = {"nodes.csv": nodes, "edges.csv": edges} | ({} if graphs is None else {"graphs.csv": graphs})
    for name, text in found.items():
        (folder / name).write_text(text)
    return folder


def test_tables(tmp_path: Path) -> None:
    graphs = load_graphs(tables(tmp_path))
    assert is_graph_set(tmp_path)
    assert (graphs.graph_ids, graphs.sizes.tolist(), graphs.class_names) == (("a", "b"), [3, 1], ("no", "yes"))
    assert graphs.labels.tolist() == [1, 0]
    assert graphs.union.features.tolist() == [[1, 2], [3, 4], [7, 8], [5, 6]]
    assert graphs[0].to_scipy().toarray().tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert load_graphs(tmp_path, ignore="x").feature_names == ("y",)


def test_a_table_of_graphs(tmp_path: Path) -> None:
    nodes = NODES.replace("label,", "").replace("yes,", "").replace("no,", "")
    graphs = load_graphs(tables(tmp_path, nodes, graphs="graph,mass,charge,split\nb,1.5,-1,train\na,2,0,test\n"))
    assert graphs.graph_ids == ("b", "a")
    assert graphs.targets.tolist() == [[1.5, -1], [2, 0]]
    assert graphs.target_names == ("mass", "charge")
    assert (graphs.train.tolist(), graphs.val, graphs.test.tolist()) == ([0], None, [1])
    assert graphs.sizes.tolist() == [1, 3]


def test_parquet_tables(tmp_path: Path) -> None:
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    nodes = {"graph": [7, 7, 8], "id": [1, 2, 1], "label": ["yes", "yes", "no"], "x": [1.0, 2.0, 3.0]}
    for name, columns in (("nodes", nodes), ("edges", {"graph": [7], "source": [1], "target": [2], "weight": [0.5]})):
        parquet.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    graphs = load_graphs(tmp_path)
    assert (graphs.graph_ids, graphs.labels.tolist()) == (("7", "8"), [1, 0])
    assert graphs[0].to_scipy().toarray().tolist() == [[0, 0.5], [0, 0]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"nodes": NODES.replace("a,3,yes", "a,3,no")},
            r"nodes\.csv, line 5, column 'label': graph 'a' has the label 'no'",
        ),
        ({"nodes": NODES.replace("a,3", "a,2")}, r"nodes\.csv, line 5, column 'id': node '2' is in its graph already"),
        ({"nodes": NODES.replace("a,3", ",3")}, r"nodes\.csv, line 5, column 'graph': the row names no graph"),
        ({"nodes": "graph,id\n"}, "names no node"),
        ({"edges": "graph,source,target\na,1,9\n"}, r"edges\.csv, line 2, column 'target': graph 'a' has no node '9'"),
        ({"edges": "graph,source,target\nb,2,1\n"}, r"edges\.csv, line 2, column 'source': graph 'b' has no node '2'"),
        ({"edges": "source,target\n1,2\n"}, r"edges\.csv has no column 'graph'"),
        ({"edges": "graph,source,target,time\na,1,2,3\n"}, "has the column 'time'; leave it out with --ignore"),
        ({"graphs": "graph,label\na,x\nb,y\n"}, r"nodes\.csv has a column 'label', and graphs\.csv is there for it"),
    ],
)
def test_faults_of_tables(tmp_path: Path, given: dict[str, str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_graphs(tables(tmp_path, **given))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("graph,label\na,x\n", r"nodes\.csv, line 4, column 'graph': graph 'b' is not in the table of graphs"),
        ("graph,label\na,x\nb,y\nc,y\n", r"graphs\.csv, line 4, column 'graph': graph 'c' has no nodes in nodes\.csv"),
        ("graph,label\na,x\nb,y\nb,y\n", r"graphs\.csv, line 4, column 'graph': graph 'b' is there already"),
        ("graph,label,split\na,x,train\nb,y,tryin\n", r"line 3, column 'split': 'tryin' is none of train"),
        (
            "graph,label,split\na,x,train\nb,,test\n",
            r"line 3, column 'split': the graph is in the test split and has no label",
        ),
        ("graph,label,mass\na,x,1\nb,y,2\n", "has a label and the targets 'mass'; leave one out"),
        ("graph,mass\na,1\nb,inf\n", "mass"),
    ],
)
def test_faults_of_a_table_of_graphs(tmp_path: Path, text: str, message: str) -> None:
    nodes = NODES.replace("label,", "").replace("yes,", "").replace("no,", "")
    with pytest.raises(DatasetError, match=message):
        load_graphs(tables(tmp_path, nodes, graphs=text))


def _three(**fields: Any) -> GraphSet:
    graphs = [Graph.from_edges([[0, n - 1]], np.full((n, 2), float(n))) for n in (2, 3, 4)]
    return GraphSet.of(graphs, **{"labels": [0, 1, 0]} | fields)


def test_a_set_of_graphs() -> None:
    graphs = _three(train=[0, 2], test=[1])
    assert repr(graphs) == ("GraphSet 'graphs': 3 graphs, 9 nodes, 3 edges, 2 features, 2 classes; train 2, test 1")
    assert graphs.nodes_of(np.array([2, 0])).tolist() == [5, 6, 7, 8, 0, 1]
    part = graphs.taken([2, 0])
    assert (part.sizes.tolist(), part.labels.tolist(), part.train) == ([4, 2], [0, 0], None)
    assert part.union.features.tolist() == [[4, 4]] * 4 + [[2, 2]] * 2
    assert part[0].adjacency.toarray().tolist() == graphs[2].adjacency.toarray().tolist()
    assert _three(labels=None, targets=[1.0, np.nan, 2]).known.tolist() == [0, -1, 0]
    assert "3 classes" not in graphs._repr_html_()
    with pytest.raises(IndexError):
        graphs[3]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": [0, 1]}, r"labels have shape \[2\]; the set needs \[3\]"),
        ({"labels": [0, 1, 7]}, "label 7 is larger than the 3 graphs of the set"),
        ({"labels": [0, 1, -2]}, "label -2 of graph 2 is out of range"),
        ({"train": [5]}, "the train split names graph 5; graphs go from 0 to 2"),
        ({"train": [0], "test": [0]}, "graph 0 is in the train split and in the test split"),
        ({"labels": [0, -1, 0], "train": [1]}, "graph 1 of the train split has no label"),
        ({"targets": [1, 2, 3]}, "has both labels and targets"),
        ({"labels": None, "targets": [1, 2]}, r"targets have shape \[2, 1\]"),
        ({"labels": None, "targets": [1, 2, np.inf]}, "target 0 of graph 2 is infinite"),
        (
            {"labels": None, "targets": [1, 2, 3], "target_names": ["a", "b"]},
            "target_names holds 2 names, where 1 are due",
        ),
        ({"labels": None, "targets": [1, np.nan, 3], "train": [1]}, "graph 1 of the train split has no label"),
        ({"graph_ids": ["a", "a", "b"]}, "graph_ids holds 'a' more than once"),
    ],
)
def test_faults_of_a_set(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        _three(**fields)


def test_sets_that_are_none() -> None:
    union = Graph(sp.csr_array(np.ones((4, 4))), np.ones((4, 1)))
    for sizes, message in (
        ([2, 2], "the edge from node 2 to 0 joins graph 1 and graph 0"),
        ([4, 0], "graph 1 has no nodes; leave it out"),
        ([3], "add up to 3, and there are 4 nodes"),
        ([], "of one graph at least"),
    ):
        with pytest.raises(GraphError, match=message):
            GraphSet(union, np.array(sizes, dtype=int))
    with pytest.raises(GraphError, match="needs one graph at least"):
        GraphSet.of([])
    with pytest.raises(GraphError, match="graph 1 has 2 features and graph 0 has 1"):
        GraphSet.of([union, Graph(union.adjacency, np.ones((4, 2)))])
    with pytest.raises(GraphError, match=r"graph 0 is a int and no portgnn\.Graph"):
        GraphSet.of([3])  # type: ignore[list-item]


def test_other_libraries(tmp_path: Path) -> None:
    nx = pytest.importorskip("networkx")
    listed = [nx.path_graph(3), nx.cycle_graph(4)]
    for graph, label in zip(listed, ("path", "cycle"), strict=True):
        graph.graph["label"] = label
    graphs = GraphSet.from_networkx(listed)
    assert (graphs.class_names, graphs.labels.tolist()) == (("cycle", "path"), [1, 0])
    assert graphs.feature_names == ("degree 1", "degree 2")
    assert graphs.union.features.toarray()[:, 1].tolist() == [0, 1, 0, 1, 1, 1, 1]
    assert GraphSet.from_networkx(listed, targets=[0.5, 1.5]).targets.tolist() == [[0.5], [1.5]]
    data = [SimpleNamespace(edge_index=np.array([[0, 1], [1, 0]]), x=np.eye(2) * k, y=np.array([k])) for k in (0, 1)]
    pyg = GraphSet.from_pyg(data)
    assert (pyg.labels.tolist(), pyg.sizes.tolist(), pyg.num_edges) == ([0, 1], [2, 2], 2)
    real = [SimpleNamespace(**vars(each) | {"y": np.array([[0.5, each.y[0]]])}) for each in data]
    assert GraphSet.from_pyg(real).targets.tolist() == [[0.5, 0], [0.5, 1]]
    data[1].edge_index = np.array([[0], [9]])
    with pytest.raises(GraphError, match="graph 1: edge 0 joins 0 and 9"):
        GraphSet.from_pyg(data)


def test_folds() -> None:
    labels = np.array([0] * 21 + [1] * 12 + [-1] * 3)
    graphs = GraphSet.of([Graph.from_edges([[0, 0]], np.ones((1, 1))) for _ in labels], labels)
    parts = [_parts(graphs, f"folds:4:{k}") for k in range(4)]
    assert sorted(np.concatenate([test for _, _, test in parts]).tolist()) == list(range(33))
    for k, (train, val, test) in enumerate(parts):
        assert val.tolist() == parts[(k + 1) % 4][2].tolist()
        assert sorted([*train, *val, *test]) == list(range(33))
        assert np.bincount(labels[test]).tolist() in ([5, 3], [6, 3])
    assert sorted(len(test) for _, _, test in parts) == [8, 8, 8, 9]
    for k in range(4):
        train, val, test = _parts(graphs, f"fair:4:{k}")
        assert test.tolist() == parts[k][2].tolist()
        assert np.bincount(labels[val]).tolist() == [2, 1]
        assert sorted([*train, *val, *test]) == list(range(33))
    assert _parts(graphs, "folds:4:0:1")[2].tolist() != parts[0][2].tolist()
    with pytest.raises(GraphError, match="class '1' of graphs has 12 labelled graphs, and folds:13:0 needs 13"):
        _parts(graphs, "folds:13:0")
    for split in ("folds:2:0", "folds:4:4", "fair:1:0"):
        with pytest.raises(ConfigError, match="folds at least, and one of them"):
            _parts(graphs, split)


def _parts(graphs: GraphSet, split: str) -> tuple[Any, Any, Any]:
    from portgnn.datasets.splits import with_split

    made = with_split(graphs, split)
    return made.train, made.val, made.test
