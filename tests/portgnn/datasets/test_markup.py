"""GraphML and GML: defaults, weights, and attributes that are not what their names say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portgnn import Graph, load_graph
from portgnn.errors import DatasetError

pytest.importorskip("networkx")

KEY = '<key id="{id}" for="{kind}" attr.name="{name}" attr.type="{type}">{default}</key>'


def graphml(tmp_path: Path, keys: list[dict[str, str]], nodes: str, edges: str, directed: str = "undirected") -> Path:
    lines = [KEY.format(**{"kind": "edge", "type": "double", "default": ""} | key) for key in keys]
    path = tmp_path / "g.graphml"
    path.write_text(
        '<?xml version="1.0"?><graphml xmlns="http://graphml.graphdrawing.org/xmlns">'
        f'{"".join(lines)}<graph edgedefault="{directed}">{nodes}{edges}</graph></graphml>'
    )
    return path


NODES = '<node id="a"/><node id="b"/><node id="c"/>'
EDGES = '<edge source="a" target="b"/><edge source="b" target="c"><data key="w">2</data></edge>'


@pytest.mark.parametrize("kind", ["edge", "all"])
@pytest.mark.parametrize("type", ["double", "float", "string", "int"])
def test_the_default_of_an_edge_attribute_counts(tmp_path: Path, kind: str, type: str) -> None:
    value = "5" if type == "int" else "0.25"
    key = {"id": "w", "name": "weight", "kind": kind, "type": type, "default": f"<default>{value}</default>"}
    options = {"ignore": "weight"} if kind == "all" and type == "string" else {}
    graph = load_graph(graphml(tmp_path, [key], NODES, EDGES), **options)  # type: ignore[arg-type]
    if options:
        return  # of nodes it would be a feature, and a text is none
    np.testing.assert_array_equal(graph.adjacency.toarray(), [[0, float(value), 0], [float(value), 0, 2], [0, 2, 0]])


def test_igraph_reads_the_same_weights(tmp_path: Path) -> None:
    igraph = pytest.importorskip("igraph", reason="igraph is not installed: its weights are written out above")
    key = {"id": "w", "name": "weight", "default": "<default>0.25</default>"}
    path = graphml(tmp_path, [key], NODES, EDGES)
    theirs = igraph.Graph.Read_GraphML(str(path)).get_adjacency_sparse(attribute="weight")
    np.testing.assert_array_equal(load_graph(path).adjacency.toarray(), theirs.toarray())


@pytest.mark.parametrize("kind", ["node", "all"])
def test_defaults_of_nodes(tmp_path: Path, kind: str) -> None:
    keys = [
        {"id": "l", "name": "label", "kind": kind, "type": "string", "default": "<default>x</default>"},
        {"id": "age", "name": "age", "kind": kind, "default": "<default>7</default>"},
        {"id": "s", "name": "split", "kind": "node", "type": "string", "default": "<default>train</default>"},
    ]
    nodes = '<node id="a"><data key="l">y</data><data key="age">1</data></node><node id="b"/><node id="c"/>'
    graph = load_graph(graphml(tmp_path, keys, nodes, ""))
    assert graph.labels is not None
    assert graph.train is not None
    assert (graph.class_names, graph.labels.tolist()) == (("x", "y"), [1, 0, 0])
    np.testing.assert_array_equal(graph.features, [[1], [7], [7]])
    assert graph.train.tolist() == [0, 1, 2]


@pytest.mark.parametrize("weight", ["-4", "NaN", "-INF", "INF"])
def test_a_weight_that_is_none(tmp_path: Path, weight: str) -> None:
    key = {"id": "w", "name": "weight"}
    path = graphml(tmp_path, [key], NODES, EDGES.replace(">2<", f">{weight}<"))
    with pytest.raises(DatasetError, match=r"edge 1 -> 2 has weight .*; weights must be finite and not negative"):
        load_graph(path)
    path = graphml(tmp_path, [key | {"default": f"<default>{weight}</default>"}], NODES, EDGES)
    with pytest.raises(DatasetError, match="edge 0 -> 1 has weight"):
        load_graph(path)


def test_a_negative_weight_in_gml(tmp_path: Path) -> None:
    path = tmp_path / "g.gml"
    path.write_text('graph [ node [ id 0 label "a" ] node [ id 1 label "b" ] edge [ source 0 target 1 weight -4 ] ]')
    with pytest.raises(DatasetError, match=r"edge 0 -> 1 has weight -4\.0"):
        load_graph(path)


@pytest.mark.parametrize("kind", ["graphml", "gml"])
def test_edge_attributes_that_are_not_read_are_noted(tmp_path: Path, kind: str) -> None:
    if kind == "graphml":
        edge = '<edge id="e1" source="a" target="b"><data key="w">3</data><data key="v">1</data></edge>'
        path = graphml(tmp_path, [{"id": "w", "name": "Weight"}, {"id": "v", "name": "value"}], NODES, edge)
    else:
        path = tmp_path / "g.gml"
        path.write_text(
            'graph [ node [ id 0 label "a" ] node [ id 1 label "b" ] edge [ source 0 target 1 Weight 3 value 1 ] ]'
        )
    graph = load_graph(path)
    assert "edge attributes 'Weight', 'value' left out: only 'weight' is read, as the weight" in graph.notes
    assert not any("edge attribute" in note for note in load_graph(path, ignore=["Weight", "value"]).notes)
    with pytest.raises(DatasetError, match=r"has no column 'weight' to leave out\. Did you mean 'Weight'"):
        load_graph(path, ignore="weight")


GEPHI = [
    {"id": "label", "name": "label", "kind": "node", "type": "string"},
    *({"id": name, "name": name, "kind": "node", "type": "int"} for name in "rgb"),
    *({"id": name, "name": name, "kind": "node", "type": "float"} for name in ("x", "y", "size")),
    {"id": "club", "name": "club", "kind": "node", "type": "string"},
]


def _gephi(tmp_path: Path) -> Path:
    nodes = "".join(
        f'<node id="{i}"><data key="label">Person {i}</data><data key="club">{"ab"[i % 2]}</data>'
        + "".join(f'<data key="{name}">{i * 7 % 5}</data>' for name in ("r", "g", "b", "x", "y", "size"))
        + "</node>"
        for i in range(5)
    )
    return graphml(tmp_path, GEPHI, nodes, '<edge source="0" target="1"/>')


def test_what_gephi_writes_is_noted(tmp_path: Path) -> None:
    path = _gephi(tmp_path)
    with pytest.raises(DatasetError, match=r"attribute 'club' is 'a'; a feature needs a number.*--ignore club"):
        load_graph(path)
    graph = load_graph(path, ignore="club")
    said = "\n".join(graph.notes)
    assert "every node is a class of its own" in said
    assert "features 'r', 'g', 'b', 'x', 'y', 'size' may describe a drawing and be no features" in said
    drawn = ["r", "g", "b", "x", "y", "size"]
    clean = load_graph(path, ignore=["club", "label", *drawn])
    assert (clean.labels, clean.feature_names, clean.num_features) == (None, (), 5)
    assert not any("drawing" in note or "class" in note for note in clean.notes)


def test_a_file_of_two_graphs_is_not_half_read(tmp_path: Path) -> None:
    path = graphml(tmp_path, [], NODES, "")
    path.write_text(path.read_text().replace("</graph>", '</graph><graph edgedefault="directed"/>'))
    with pytest.raises(DatasetError, match="holds 2 graphs, where one is wanted"):
        load_graph(path)


def test_without_a_namespace(tmp_path: Path) -> None:
    key = {"id": "w", "name": "weight", "default": "<default>0.25</default>"}
    path = graphml(tmp_path, [key], NODES, EDGES)
    path.write_text(path.read_text().replace(' xmlns="http://graphml.graphdrawing.org/xmlns"', ""))
    assert load_graph(path).adjacency[0, 1] == 0.25


# tables


def _table(tmp_path: Path, columns: dict[str, list[Any]]) -> Graph:
    n = len(next(iter(columns.values())))
    rows = [",".join(["id", *columns])]
    rows += [",".join([f"n{i}", *(str(column[i]) for column in columns.values())]) for i in range(n)]
    (tmp_path / "nodes.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "edges.csv").write_text("source,target\n")
    return load_graph(tmp_path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"Unnamed: 0": [5, 3, 8, 1]}, "feature 'Unnamed: 0' may be row numbers and no feature; leave out with"),
        ({"__index_level_0__": [5, 3, 8, 1]}, "--ignore __index_level_0__"),
        ({"number": [0, 1, 2, 3]}, "feature 'number' may be row numbers"),
        ({"number": [1, 2, 3, 4]}, "feature 'number' may be row numbers"),
        ({"X": [1, 5, 2, 9], "Y": [3, 1, 2, 2]}, "features 'X', 'Y' may describe a drawing"),
    ],
)
def test_columns_that_may_be_no_features(tmp_path: Path, columns: dict[str, list[Any]], said: str) -> None:
    assert any(said in note for note in _table(tmp_path, columns).notes)


def test_ordinary_columns_are_not_suspected(tmp_path: Path) -> None:
    graph = _table(tmp_path, {"age": [3, 1, 2, 9], "size": [1, 2, 3, 5], "x": [1, 1, 2, 3], "r": [0, 0, 1, 2]})
    assert graph.notes == ()


def test_what_to_networkx_made_and_write_gml_wrote(tmp_path: Path) -> None:
    import networkx

    graph = Graph.from_edges(
        [[0, 1], [1, 2]], [[1.5, 0], [0, 2], [1, 1]], [0, 1, 0], class_names=("q", "p"), train=[0], test=[2]
    )
    made = graph.to_networkx()
    # write_gml leaves `label` out, which names the node there.
    networkx.set_node_attributes(made, networkx.get_node_attributes(made, "label"), "class")
    networkx.write_gml(made, tmp_path / "g.gml")
    back = load_graph(tmp_path / "g.gml")
    assert np.array_equal(back.features, graph.features)
    assert (back.class_names, back.labels.tolist()) == (("q", "p"), [0, 1, 0])  # type: ignore[union-attr]
    assert (back.train.tolist(), back.test.tolist()) == ([0], [2])  # type: ignore[union-attr]
    assert (back.adjacency != graph.adjacency).nnz == 0


@pytest.mark.parametrize("kind", ["string", "double", "int", "boolean"])
@pytest.mark.parametrize("default", ["<default/>", "<default></default>", "<default> </default>"])
def test_an_empty_default_is_none(tmp_path: Path, kind: str, default: str) -> None:
    keys = [{"id": "l", "name": "label", "kind": "node", "type": kind, "default": default}]
    nodes = '<node id="a"><data key="l">1</data></node><node id="b"><data key="l">0</data></node><node id="c"/>'
    graph = load_graph(graphml(tmp_path, keys, nodes, '<edge source="a" target="b"/>'))
    assert graph.labels is not None
    assert graph.labels.tolist() == [1, 0, -1]
    assert len(graph.class_names) == 2


@pytest.mark.parametrize("weights", [(2, 3), (-2, 2), (2, -2)])
def test_two_edges_of_one_id_are_two_edges(tmp_path: Path, weights: tuple[int, int]) -> None:
    edges = "".join(f'<edge id="e" source="a" target="b"><data key="w">{weight}</data></edge>' for weight in weights)
    path = graphml(tmp_path, [{"id": "w", "name": "weight"}], NODES, edges)
    if min(weights) < 0:
        with pytest.raises(DatasetError, match=r"edge 0 -> 1 has weight -2\.0"):
            load_graph(path)
        return
    graph = load_graph(path)
    assert graph.adjacency.toarray()[0, 1] == 5
    assert "1 repeated edges summed" in graph.notes


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        ('<node id="a"/><node id="a"/>', "", "two nodes have the id 'a'"),
        ("<node/>", "", "a node has no id"),
        (NODES, '<edge source="a" target="z"/>', "edge 0: its target 'z' is the id of no node"),
        (NODES, '<edge target="a"/>', "edge 0: its source None is the id of no node"),
        (NODES, '<edge source="a" target="b" weight="2"/>', "edge 0: weight is an attribute of XML"),
        (f'<node id="g"><graph edgedefault="undirected">{NODES}</graph></node>', "", "3 of its 4 nodes lie outside"),
    ],
)
def test_graphml_whose_nodes_cannot_be_told(tmp_path: Path, nodes: str, edges: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        load_graph(graphml(tmp_path, [], nodes, edges))


@pytest.mark.parametrize(
    ("node", "edge", "message"),
    [
        ('<data key="x">1</data><data key="x">2</data>', "", "node 'a' has two values of 'age'.*--ignore age"),
        ('<data key="x">1</data><data key="y">2</data>', "", "node 'a' has two values of 'age'"),
        ("", '<data key="w">1</data><data key="w">2</data>', "edge 1 has two values of 'weight'.*--ignore weight"),
        ("", '<data key="w">1</data><data key="v">2</data>', "edge 1 has two values of 'weight'"),
    ],
)
def test_two_values_of_one_name(tmp_path: Path, node: str, edge: str, message: str) -> None:
    keys = [
        *({"id": name, "name": "age", "kind": "node", "type": kind} for name, kind in (("x", "double"), ("y", "int"))),
        *({"id": name, "name": "weight", "type": kind} for name, kind in (("w", "double"), ("v", "int"))),
    ]
    nodes = f'<node id="a">{node}</node><node id="b"/>'
    edges = f'<edge source="b" target="b"/><edge source="a" target="b">{edge}</edge>'
    path = graphml(tmp_path, keys, nodes, edges)
    with pytest.raises(DatasetError, match=message):
        load_graph(path)
    assert load_graph(path, ignore="age" if node else "weight").adjacency[0, 1] == 1


def test_a_yed_label_does_not_take_the_place_of_the_class(tmp_path: Path) -> None:
    keys = [{"id": "l", "name": "label", "kind": "node", "type": "string"}]
    drawn = "<y:ShapeNode><y:NodeLabel>Person</y:NodeLabel></y:ShapeNode>"
    nodes = f'<node id="a"><data key="l">spam</data><data key="d">{drawn}</data></node><node id="b"/>'
    path = graphml(tmp_path, keys, nodes, "")
    text = path.read_text().replace("<graph ", '<key id="d" for="node" yfiles.type="nodegraphics"/><graph ')
    path.write_text(text.replace("<graphml ", '<graphml xmlns:y="http://www.yworks.com/xml/graphml" '))
    with pytest.raises(DatasetError, match="node 'a' has two values of 'label'"):
        load_graph(path)


def test_keys_that_cannot_be_told(tmp_path: Path) -> None:
    for second, message in (("w", "two keys have the id 'w'"), ("v", "two defaults of the edges' 'weight'")):
        keys = [
            {"id": name, "name": "weight", "default": f"<default>{value}</default>"}
            for name, value in (("w", 2), (second, 3))
        ]
        with pytest.raises(DatasetError, match=message):
            load_graph(graphml(tmp_path, keys, NODES, EDGES))


def test_numbers_of_two_types_as_networkx_writes_them(tmp_path: Path) -> None:
    import networkx

    graph = networkx.Graph()
    graph.add_weighted_edges_from([("a", "b", 1), ("b", "c", 0.5)])
    networkx.write_graphml(graph, tmp_path / "g.graphml")
    assert (tmp_path / "g.graphml").read_text().count('attr.name="weight"') == 2
    assert load_graph(tmp_path / "g.graphml").adjacency.toarray()[1].tolist() == [1, 0, 0.5]


def same(one: Any, other: Any) -> bool:
    return bool(
        type(one) is type(other)
        and list(map(repr, one.nodes(data=True))) == list(map(repr, other.nodes(data=True)))
        and list(map(repr, one.edges(data=True))) == list(map(repr, other.edges(data=True)))
        and repr(one.graph) == repr(other.graph)
    )


@pytest.mark.parametrize("kind", ["Graph", "DiGraph", "MultiGraph", "MultiDiGraph"])
def test_gml_is_read_as_networkx_reads_it(kind: str) -> None:
    import networkx

    from portgnn.datasets._gml import parsed_gml

    rng = np.random.default_rng(5)
    texts = ["plain", "caf\u00e9 & \u0142", 'a "quote"', "<tag>", "", "#no comment", "[1]", "x" * 300]
    for size in range(1, 8):
        graph = getattr(networkx, kind)(name=texts[size], feature_names=["p", "q"], one=[1.5])
        for node in range(size):
            drawn = {
                "f": float(rng.normal()),
                "n": int(rng.integers(-9, 9)),
                "t": texts[node],
                "l": rng.random(3).tolist(),
            }
            graph.add_node(f"n{node} {texts[node]}", **drawn, inner={"deep": {"er": -1.5e-300}}, far=float("inf"))
        names = list(graph)
        for _ in range(2 * size):
            graph.add_edge(*rng.choice(names, 2), weight=float(rng.random()), single=[2])
        lines = list(networkx.generate_gml(graph))
        assert same(parsed_gml("\n".join(lines).encode()), networkx.parse_gml(lines))
    written = """# a comment
    Creator "someone
       on two lines"
    graph [ comment "a &amp; b &unknown; &#228;" directed 1
      node [ id 7 label seven value NAN ] node [ id x label 2 value -INF other .5 more 5. ]  # another
      edge [ source 7 target x value 1.0E3 weight 1.0e-3 weight 2 ] ]"""
    assert same(parsed_gml(written.encode()), networkx.parse_gml(written.split("\n")))


def test_gml_without_labels_and_with_other_letters(tmp_path: Path) -> None:
    path = tmp_path / "g.gml"
    path.write_text(
        "graph [ node [ id 3 ] node [ id 5 class \u0142 ] edge [ source 3 target 5 ] ]".replace("\u0142", '"\u0142"')
    )
    graph = load_graph(path)
    assert graph.node_ids is not None
    assert (graph.node_ids.tolist(), graph.class_names) == (["3", "5"], ("\u0142",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it holds no graph"),
        ("graph 3", "it holds no graph"),
        ("graph [ ] graph [ ]", "it holds 2 graphs"),
        ("graph [\nnode [ id 0", r"ends before its lists are closed with \]"),
        ("graph [ node", "it ends after the key 'node'"),
        ("graph [\n node [ id 0 ]\n 5 ]", "line 3: '5', where a key is needed"),
        ("graph [\n x ] ]", "line 2: .*where key 'x' needs a number, a text or"),
        ("graph [ x word ]", "'word', where key 'x' needs"),
        (f"graph [ x {'9' * 5000} ]", "where key 'x' needs a number"),
        ("graph [ " + "a [ " * 200, "nested more than 100 deep"),
        ("graph [ node 3 ]", "node 0 is 3, where a list"),
        ("graph [ node [ label 0 ] ]", "node 0 has no id"),
        ("graph [ node [ id 0 id 1 ] ]", r"node 0: id \[0, 1\] is no name"),
        ("graph [ node [ id 0 ] node [ id 0 ] ]", "two nodes have the id 0"),
        ("graph [ node [ id 0 label a ] node [ id 1 ] ]", "node 1 has no label, and others have one"),
        ("graph [ node [ id 0 label a ] node [ id 1 label a ] ]", "two nodes have the label 'a'"),
        ("graph [ node [ id 0 ] edge [ source 0 ] ]", "edge 0 has no target"),
        ("graph [ node [ id 0 ] edge [ source 0 target 9 ] ]", "edge 0: its target 9 is the id of no node"),
        ("graph [ node [ id 0 ] edge [ source 0 target [ ] ] ]", r"edge 0: its target \{\} is the id of no node"),
        ("graph [ node [ id 0 ] edge [ source 0 target 0 ] edge [ source 0 target 0 ] ]", "edge 1 .*multigraph 1"),
        ('graph [ x "open ]', "where key 'x' needs"),
        ('graph [ node [ id 0 class "p" class "q" ] ]', r"node '0': 'class' is \['p', 'q'\], where one text or number"),
        ("graph [ node [ id 0 class [ y 1 ] ] ]", r"node '0': 'class' is \{'y': 1\}"),
        ('graph [ node [ id 0 class "p" split "train" split "val" ] ]', "node '0': 'split' is "),
        ("graph [ node [ id 0 age 1 age 2 ] ]", r"node '0': attribute 'age' is \[1, 2\]"),
        ("graph [ directed 0 directed 1 node [ id 0 ] ]", r"the graph's directed is \[0, 1\]; it is 0 or 1, once"),
        ('graph [ directed "0" node [ id 0 ] ]', "the graph's directed is '0'"),
        ("graph [ multigraph [ ] node [ id 0 ] ]", r"the graph's multigraph is \{\}"),
    ],
)
def test_gml_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "g.gml").write_text(text)
    with pytest.raises(DatasetError, match=message):
        load_graph(tmp_path / "g.gml")


def test_gml_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "g.gml").write_bytes(b'graph [\n node [ id 0 label "\xe4" ] ]')
    with pytest.raises(DatasetError, match="line 2: not UTF-8"):
        load_graph(tmp_path / "g.gml")
