"""Labels that stand for none, in every reader; and labels that are classes only by accident."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from portgnn import Graph, Model, cli, load_graph, predict, train
from portgnn.errors import DatasetError, GraphError, PortgnnError
from portgnn.graphs.labels import classes_of

Streams = pytest.CaptureFixture[str]
NAN = float("nan")


def csv(folder: Path, labels: list[Any], **options: Any) -> Graph:
    """The labels as pandas would write them."""
    cells = ["" if label is None or label != label else str(label) for label in labels]
    (folder / "nodes.csv").write_text("id,label\n" + "".join(f"n{i},{cell}\n" for i, cell in enumerate(cells)))
    (folder / "edges.csv").write_text("source,target\nn0,n1\n")
    return load_graph(folder, **options)


def parquet(folder: Path, labels: list[Any], **options: Any) -> Graph:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    column = pa.array(labels, from_pandas=False)
    nodes = {"id": [f"n{i}" for i in range(len(labels))], "label": column}
    parquet.write_table(pa.table(nodes), folder / "nodes.parquet")
    parquet.write_table(pa.table({"source": ["n0"], "target": ["n1"]}), folder / "edges.parquet")
    return load_graph(folder, **options)


def networkx(folder: Path, labels: list[Any], **options: Any) -> Graph:
    graph = _networkx(labels)
    return Graph.from_networkx(graph, **options)


def _networkx(labels: list[Any], name: str = "label") -> Any:
    library = pytest.importorskip("networkx")
    graph = library.Graph()
    for position, label in enumerate(labels):
        graph.add_node(f"n{position}", **({} if label is None else {name: label}))
    graph.add_edge("n0", "n1")
    return graph


def graphml(folder: Path, labels: list[Any], **options: Any) -> Graph:
    graph = _networkx(labels)
    import networkx

    networkx.write_graphml(graph, folder / "g.graphml")
    return load_graph(folder / "g.graphml", **options)


def gml(folder: Path, labels: list[Any], **options: Any) -> Graph:
    graph = _networkx(labels, "class")
    import networkx

    networkx.write_gml(graph, folder / "g.gml")
    return load_graph(folder / "g.gml", **options)


def npz(folder: Path, labels: list[Any], **options: Any) -> Graph:
    adjacency = sp.csr_array(np.eye(len(labels), k=1))
    parts = {"data": adjacency.data, "indices": adjacency.indices, "indptr": adjacency.indptr}
    arrays = {f"adj_{name}": part for name, part in parts.items()} | {"adj_shape": np.array(adjacency.shape)}
    values = np.array([NAN if label is None else label for label in labels])
    np.savez(folder / "g.npz", labels=values, **arrays)
    return load_graph(folder / "g.npz", **options)


def pyg(folder: Path, labels: list[Any], **options: Any) -> Graph:
    y = np.array([NAN if label is None else label for label in labels])
    return Graph.from_pyg(SimpleNamespace(edge_index=np.array([[0], [1]]), x=np.ones((len(labels), 1)), y=y))


def dgl(folder: Path, labels: list[Any], **options: Any) -> Graph:
    y = np.array([NAN if label is None else label for label in labels])
    edges = (np.array([0]), np.array([1]))
    return Graph.from_dgl(
        SimpleNamespace(edges=lambda: edges, num_nodes=lambda: len(labels), ndata={"label": y}, edata={})
    )


def array(folder: Path, labels: list[Any], **options: Any) -> Graph:
    return Graph(sp.csr_array((len(labels), len(labels))), np.ones((len(labels), 1)), labels)


Read = Callable[..., Graph]
READERS: list[Read] = [csv, parquet, networkx, graphml, gml, npz, pyg, dgl, array]
TEXTS: list[Read] = [csv, parquet, networkx, graphml, gml]
by_name = lambda read: read.__name__  # noqa: E731


@pytest.mark.parametrize("read", READERS, ids=by_name)
@pytest.mark.parametrize(
    "labels",
    [[0, 1, -1, 2, 1], [0.0, 1.0, NAN, 2.0, 1.0], [0, 1, None, 2, 1], [0.0, 1.0, -1.0, 2.0, NAN], [0, 1, -1, 2, None]],
    ids=["minus one", "nan", "null", "both", "minus one and null"],
)
def test_no_marker_becomes_a_class(read: Read, labels: list[Any], tmp_path: Path) -> None:
    graph = read(tmp_path, labels)
    assert graph.labels is not None
    assert graph.class_names == ("0", "1", "2")
    wanted = [-1 if label is None or label != label else int(label) for label in labels]
    assert graph.labels.tolist() == wanted


@pytest.mark.parametrize("read", TEXTS, ids=by_name)
@pytest.mark.parametrize("marker", ["NA", "nan", "?", "None", "-1", "unknown", "Unknown", "NULL", "n/a"])
def test_a_class_that_may_stand_for_unknown_is_noted_and_can_be_declared(
    read: Read, marker: str, tmp_path: Path
) -> None:
    labels = ["x", "y", marker, "x", marker]
    graph = read(tmp_path, labels)
    assert graph.num_classes == 3
    (note,) = [note for note in graph.notes if "may stand for unknown" in note]
    assert f"class {marker!r} (2 nodes)" in note
    assert "--unknown=" in note
    told = read(tmp_path, labels, unknown=[marker])
    assert told.labels is not None
    assert (told.labels.tolist(), told.class_names) == ([0, 1, -1, 0, -1], ("x", "y"))
    assert not any("may stand" in note or "is at no node" in note for note in told.notes)


@pytest.mark.parametrize("read", TEXTS, ids=by_name)
def test_space_around_a_label_makes_no_class(read: Read, tmp_path: Path) -> None:
    graph = read(tmp_path, ["A", "A ", " B", "B\u00a0", " "])
    assert graph.labels is not None
    assert (graph.labels.tolist(), graph.class_names) == ([0, 0, 1, 1, -1], ("A", "B"))
    assert "3 labels had space around them, which was taken off" in graph.notes


def test_space_around_a_class_that_came_with_the_data_makes_none() -> None:
    one = Graph.from_edges([[0, 1]], [[1.0], [2.0]], [0, 1], class_names=("A ", "\ufeffB"))
    assert one.class_names == ("A", "B")
    data = SimpleNamespace(
        edge_index=np.array([[0], [1]]), x=np.ones((2, 1)), y=np.array([0, 1]), class_names=["A ", "B"]
    )
    assert Graph.from_pyg(data).class_names == ("A", "B")
    data.class_names = ["A ", "A"]
    with pytest.raises(GraphError, match="class_names holds 'A ' and 'A', which are one but for space; make them one"):
        Graph.from_pyg(data)


def test_a_model_whose_classes_have_space_knows_them_by_name(tmp_path: Path) -> None:
    model = train("karate", epochs=1).model
    for names, kept in ((("A ", "B"), ("A", "B")), (("A ", "A"), ("A ", "A"))):
        replace(model, class_names=names).save(tmp_path / "m.safetensors")
        assert Model.load(tmp_path / "m.safetensors").class_names == kept


def test_classes_of_a_networkx_graph_keep_their_order_whatever_space_they_have() -> None:
    import networkx

    people = networkx.Graph(class_names=["B ", "A"])
    people.add_nodes_from([(0, {"label": "A"}), (1, {"label": "B"})])
    assert Graph.from_networkx(people).class_names == ("B", "A")
    people.nodes[0]["label"] = ["A", "B"]
    with pytest.raises(GraphError, match=r"a label is \['A', 'B'\]; a node has one class"):
        Graph.from_networkx(people)


@pytest.mark.parametrize("read", TEXTS, ids=by_name)
def test_each_node_a_class_is_noted(read: Read, tmp_path: Path) -> None:
    assert any("every node is a class of its own" in note for note in read(tmp_path, list("abcde")).notes)
    assert any("4 labels make 3 classes" in note for note in read(tmp_path, ["a", "b", "c", "a"]).notes)
    assert not any("class" in note for note in read(tmp_path, ["a", "b", "a", "b"]).notes)


@pytest.mark.parametrize(
    ("values", "names", "labels"),
    [
        (["0.0", "", "1.0", "0.0"], ("0", "1"), [0, -1, 1, 0]),
        (["0", "1.0", "1"], ("0", "1"), [0, 1, 1]),
        (["0.5", "1.0"], ("0.5", "1.0"), [0, 1]),
        (["2", "nan", "3"], ("2", "3"), [0, -1, 1]),
        ([2, NAN, np.float32(3), np.int8(2), None, np.ma.masked], ("2", "3"), [0, -1, 1, 0, -1, -1]),
        ([b"a", b"b", "a"], ("a", "b"), [0, 1, 0]),
        ([True, False], ("False", "True"), [1, 0]),
        (["007", "7"], ("007", "7"), [0, 1]),
        (["-1", "-2", "1"], ("-2", "-1", "1"), [1, 0, 2]),
        (["-1", "a", "b"], ("-1", "a", "b"), [0, 1, 2]),
        (["-1.0", "3.0", "4.0"], ("3", "4"), [-1, 0, 1]),
        (["0.000e+00", "-1.000e+00", "1.200e+01"], ("0", "12"), [0, -1, 1]),
        (["1.5e+00", "-1.0e+00"], ("-1.0e+00", "1.5e+00"), [1, 0]),
        ([10, 9, 2, -1, 1], ("1", "2", "9", "10"), [3, 2, 1, -1, 0]),
        ([-1, -1], (), None),
        (["", None, NAN], (), None),
        ([], (), None),
    ],
)
def test_what_a_label_means(values: list[Any], names: tuple[str, ...], labels: list[int] | None) -> None:
    found = classes_of(values)
    assert found.names == names
    assert (None if found.labels is None else found.labels.tolist()) == labels


def test_what_is_said_of_labels() -> None:
    assert any("the label -1 is taken for unknown (2 nodes)" in note for note in classes_of([-1, 0, 1, -1]).notes)
    assert any("if it is a class, give the classes names" in note for note in classes_of([-1, 1]).notes)
    assert any("'nan' among numbers is taken for unknown (1" in note for note in classes_of(["nan", "0", "1"]).notes)
    assert "the label '?', declared unknown, is at no node" in classes_of(["a", "b"], ["?"]).notes
    alike = classes_of(["Spam", "spam", "ham", "cafe\u0301", "caf\u00e9", "spam"]).notes
    assert any("look alike are kept apart: 'Spam' and 'spam'; " in note for note in alike)
    assert classes_of(["a", "b", "a", "b"]).notes == ()
    assert classes_of([9, 0, 1, 9.0], ["9"]).names == classes_of(["9.0", "0", "1"], ["9"]).names == ("0", "1")


@given(st.lists(st.one_of(st.none(), st.integers(-2, 3), st.sampled_from(["a", "a ", "", "nan", "-1", "1.0"]))))
@settings(deadline=None)
def test_classes_do_not_depend_on_the_order_of_nodes(values: list[Any]) -> None:
    one, other = classes_of(values), classes_of(values[::-1])
    assert one.names == other.names
    assert (one.labels is None) == (other.labels is None) == (one.names == ())
    if one.labels is not None and other.labels is not None:
        assert one.labels.tolist() == other.labels.tolist()[::-1]
        assert set(one.labels.tolist()) - {-1} == set(range(len(one.names)))


# Cora with most of its labels hidden


@pytest.mark.published_data
def test_hidden_labels_of_cora_do_not_win(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    cora = load_graph("cora")
    assert cora.labels is not None
    truth = cora.labels
    hidden = np.random.default_rng(0).random(cora.num_nodes) < 0.8
    source, target = cora.to_scipy().nonzero()
    edges = pa.table({"source": source, "target": target})
    with io.BytesIO() as file:
        sp.save_npz(file, cora.features)
        features = file.getvalue()
    seen = []
    for name, marked in {
        "minus": np.where(hidden, -1, truth),
        "nan": np.where(hidden, NAN, truth),
        "null": pa.array(truth, mask=hidden),
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "features.npz").write_bytes(features)
        parquet.write_table(pa.table({"id": np.arange(len(truth)), "label": marked}), folder / "nodes.parquet")
        parquet.write_table(edges, folder / "edges.parquet")
        result = train(folder, split="fraction:0.6:0.2", epochs=120)
        assert result.model.class_names == tuple("0123456")
        seen.append((result.history.train_loss, predict(result, folder).argmax(axis=1)))
    assert seen[0][0] == seen[1][0] == seen[2][0]
    assert np.mean(seen[0][1][hidden] == truth[hidden]) > 0.75


# npz, whose classes are numbers with names


def test_class_names_of_an_npz(tmp_path: Path) -> None:
    npz(tmp_path, [0, 1, 2, 3])
    with np.load(tmp_path / "g.npz") as stored:
        arrays = dict(stored) | {"class_names": np.array(["b", "NA", "a ", "a"])}
    np.savez(tmp_path / "g.npz", **arrays)
    graph = load_graph(tmp_path / "g.npz")
    assert graph.labels is not None
    assert (graph.class_names, graph.labels.tolist()) == (("b", "NA", "a"), [0, 1, 2, 2])
    assert any("had space around them" in note for note in graph.notes)
    assert any("class 'NA' (1 nodes) may stand for unknown" in note for note in graph.notes)
    np.savez(tmp_path / "g.npz", **arrays | {"class_names": np.array(["b", " ", "a", "c"])})
    assert load_graph(tmp_path / "g.npz").class_names == ("b", "a", "c")
    np.savez(tmp_path / "g.npz", **arrays)
    told = load_graph(tmp_path / "g.npz", unknown="NA")
    assert told.labels is not None
    assert (told.class_names, told.labels.tolist()) == (("b", "a"), [0, -1, 1, 1])


# the option


def folder(path: Path) -> Path:
    path.mkdir()
    rows = "".join(f"n{i},{('x', 'y', '?')[i % 3]},{i},{i % 2}\n" for i in range(30))
    (path / "nodes.csv").write_text("id,label,Unnamed: 0,age\n" + rows)
    (path / "edges.csv").write_text(
        "source,target,when\n" + "".join(f"n{i},n{(i + 3) % 30},yesterday\n" for i in range(30))
    )
    return path


def _json(capsys: Streams, *arguments: str) -> Any:
    capsys.readouterr()
    assert cli.main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_unknown_and_ignore_in_every_command(tmp_path: Path, capsys: Streams) -> None:
    data, model, run = folder(tmp_path / "d"), tmp_path / "m.safetensors", tmp_path / "run.state"
    options = ["--unknown", "?", "--ignore", "Unnamed: 0", "--ignore", "when"]
    common = ["--dataset", str(data), *options]
    trained = _json(capsys, "train", *common, "--split", "fraction:0.5:0.2", "--epochs", "3", "--save", str(model),
                    "--checkpoint", str(run))  # fmt: skip
    assert [row["name"] for row in _json(capsys, "predict", str(model), *common)["classes"]] == ["x", "y"]
    # A run that goes on knows them, and so does the next step that it prints.
    assert cli.main(["train", "--resume", str(run), "--epochs", "4", "--save", str(model)]) == 0
    said = capsys.readouterr().err
    assert "--unknown='?'" in said or "'--unknown=?'" in said
    assert "'--ignore=Unnamed: 0' --ignore=when" in said
    assert cli.main(["train", "--resume", str(run), "--ignore", "age"]) == 2
    assert "leave --ignore out" in capsys.readouterr().err
    shown = _json(capsys, "config", "show", "--resume", str(run))
    assert (shown["unknown"], shown["ignore"]) == (["?"], ["Unnamed: 0", "when"])
    file = tmp_path / "run.toml"
    file.write_text(f'dataset = "{data}"\nunknown = "?"\nignore = ["Unnamed: 0", "when"]\nepochs = 3\n'
                    'split = "fraction:0.5:0.2"\n')  # fmt: skip
    assert _json(capsys, "train", "--config", str(file))["train_loss"] == trained["train_loss"]
    converted = tmp_path / "d.graph"
    assert cli.main(["convert", str(data), str(converted), *options]) == 0
    assert load_graph(converted).class_names == ("x", "y")
    picture = tmp_path / "map.png"
    assert cli.main(["plot", str(model), *common, "--out", str(picture)]) == 0
    logits = predict(model, data, unknown="?", ignore=["Unnamed: 0", "when"])
    assert logits.shape == (30, 2)


def test_the_shell_says_what_a_reader_noted(tmp_path: Path, capsys: Streams) -> None:
    data = folder(tmp_path / "d")
    assert cli.main(["train", "--dataset", str(data), "--ignore", "when", "--split", "fraction:0.5:0.2",
                     "--epochs", "1"]) == 0  # fmt: skip
    said = capsys.readouterr().err
    assert "class '?' (10 nodes) may stand for unknown; if so, leave it out with --unknown='?'" in said
    assert "feature 'Unnamed: 0' may be row numbers and no feature; leave out with --ignore 'Unnamed: 0'" in said


@pytest.mark.parametrize(
    ("ignore", "said"),
    [
        ("agee", r"has no column 'agee' to leave out\. Did you mean 'age'\? Known: id, label, Unnamed: 0, age, source"),
        ("id", "the column 'id' cannot be left out"),
        ("target", "the column 'target' cannot be left out"),
    ],
)
def test_a_column_that_cannot_be_left_out(tmp_path: Path, ignore: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        load_graph(folder(tmp_path / "d"), ignore=["when", ignore])


def test_what_can_be_left_out(tmp_path: Path, csbm: Graph) -> None:
    data = folder(tmp_path / "d")
    with pytest.raises(DatasetError, match=r"source,target,when.*leave others out with --ignore COLUMN"):
        load_graph(data)
    graph = load_graph(data, ignore=["when", "label", "age", "Unnamed: 0"])
    assert (graph.labels, graph.class_names, graph.feature_names) == (None, (), ())
    np.testing.assert_array_equal(graph.features.toarray(), np.eye(30))  # type: ignore[union-attr]
    (data / "nodes.csv").write_text("id,text,age\nn0,hello,1\nn3,you,2\n")
    (data / "edges.csv").write_text("source,target\nn0,n3\n")
    with pytest.raises(DatasetError, match=r"'hello' is not a finite number; --ignore COLUMN leaves a column out"):
        load_graph(data)
    assert load_graph(data, ignore="text").feature_names == ("age",)
    # A graph with a name, or one that was made already.
    assert load_graph("csbm-cora", ignore=["label"]).labels is None
    seven = load_graph("csbm-cora", ignore="split", unknown="0")
    assert seven.labels is not None
    assert csbm.labels is not None
    assert (seven.num_classes, seven.train) == (6, None)
    np.testing.assert_array_equal(seven.labels, csbm.labels - 1)  # what was 0 is now -1
    with pytest.raises(PortgnnError, match=r"has no column 'words' to leave out\. Known: label, split"):
        load_graph("csbm-cora", ignore="words")
    with pytest.raises(PortgnnError, match="must be a text or a list of texts"):
        load_graph("csbm-cora", ignore=[3])  # type: ignore[list-item]


def test_one_number_written_in_two_ways_is_noted() -> None:
    notes = classes_of(["01", "1", "2", "1e3", "1000", "01", "1", "2", "1e3", "1000", "2"]).notes
    assert any("classes that look alike are kept apart: '01' and '1'; '1000' and '1e3'" in note for note in notes)
