"""What `to_X` writes, `from_X` reads; what else an object holds is read for what it is, or noted."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portgnn import Graph
from portgnn.errors import GraphError
from portgnn.placing.edges import normalized_adjacency

MASKS = {"train": "train_mask", "val": "val_mask", "test": "test_mask"}


class _DGLGraph:
    """What DGL's graph offers, as far as the converters ask."""

    def __init__(self, edges: Any, num_nodes: int) -> None:
        self._edges, self._num_nodes = edges, num_nodes
        self.ndata: dict[str, Any] = {}
        self.edata: dict[str, Any] = {}

    def edges(self) -> Any:
        return self._edges

    def num_nodes(self) -> int:
        return self._num_nodes


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyG's and DGL's records, where they are not installed; their tensors are torch's."""
    pytest.importorskip("torch", reason="the tensors of PyG and DGL are torch's")
    pytest.importorskip("networkx")
    if importlib.util.find_spec("torch_geometric") is None:
        monkeypatch.setitem(sys.modules, "torch_geometric.data", SimpleNamespace(Data=SimpleNamespace))
    monkeypatch.setitem(sys.modules, "dgl", SimpleNamespace(graph=_DGLGraph))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    n = draw(st.integers(1, 6))
    node = st.integers(0, n - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=10, unique=True))
    classes = draw(st.sampled_from([("b", "a"), ("0", "1"), ("x", "10", "9"), ("only",), ("z", "never", "a")]))
    labels = draw(st.lists(st.integers(-1, len(classes) - 1), min_size=n, max_size=n))
    part = [draw(st.sampled_from(["", "train", "val", "test"])) if label >= 0 else "" for label in labels]
    parts = {name: [i for i, word in enumerate(part) if word == name] for name in MASKS}
    weights = draw(st.lists(st.sampled_from([1.0, 0.5, 3.0, 1e-60, 1e60]), min_size=len(edges), max_size=len(edges)))
    features = draw(st.lists(st.sampled_from([0.0, -1.5, 2.0, 1e300, 1e-300]), min_size=2 * n, max_size=2 * n))
    return Graph.from_edges(
        np.array(edges, dtype=int).reshape(-1, 2),
        np.array(features).reshape(n, 2),
        labels,
        weights=weights if draw(st.booleans()) else None,
        undirected=draw(st.booleans()),
        class_names=classes,
        feature_names=("p", "q"),
        node_ids=np.array([f"v{i}" for i in range(n)]),
        **{name: index for name, index in parts.items() if index},
    )


def _check(graph: Graph, back: Graph) -> None:
    np.testing.assert_allclose(back.adjacency.toarray(), graph.adjacency.toarray(), rtol=1e-6)
    np.testing.assert_allclose(back.features, graph.features, rtol=1e-6)
    for name in MASKS:
        mine, theirs = getattr(graph, name), getattr(back, name)
        assert (mine is None) == (theirs is None)
        assert mine is None or sorted(mine.tolist()) == sorted(theirs.tolist())
    known = graph.labels if graph.labels is not None else np.full(graph.num_nodes, -1)
    np.testing.assert_array_equal(known, back.labels if back.labels is not None else np.full(graph.num_nodes, -1))
    # DGL's graphs have no place for names: they were given.
    assert back.class_names == graph.class_names


@given(graphs())
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_converter_gives_back_what_it_wrote(graph: Graph) -> None:
    back = Graph.from_networkx(graph.to_networkx())
    _check(graph, back)
    assert back.feature_names == graph.feature_names
    assert back.node_ids is not None
    assert graph.node_ids is not None
    assert back.node_ids.tolist() == graph.node_ids.tolist()
    assert not any("left out" in note and "--ignore" not in note for note in back.notes)
    _check(graph, Graph.from_pyg(graph.to_pyg()))
    _check(graph, Graph.from_dgl(graph.to_dgl(), class_names=graph.class_names))
    whole = {name: getattr(graph, name) for name in (*MASKS, "class_names")}
    _check(graph, Graph.from_scipy(graph.to_scipy(), graph.features, graph.labels, **whole))


def test_nodes_that_share_a_name_do_not_become_one() -> None:
    with pytest.raises(GraphError, match="node_ids holds 'a' more than once"):
        Graph(np.eye(3), np.ones((3, 1)), node_ids=np.array(["a", "b", "a"]))


# repeated edges


def _multigraph(edges: Any, n: int, weights: Any = None) -> list[Graph]:
    """The same edges through PyG's and DGL's records."""
    source, target = np.array(edges, dtype=int).reshape(-1, 2).T
    data = SimpleNamespace(edge_index=np.stack([source, target]), x=np.ones((n, 1)), edge_weight=weights)
    other = _DGLGraph((source, target), n)
    other.ndata["feat"] = np.ones((n, 1))
    if weights is not None:
        other.edata["w"] = weights
    return [Graph.from_pyg(data), Graph.from_dgl(other)]


@pytest.mark.parametrize("seed", range(20))
def test_repeated_edges_weigh_as_much_as_they_do_in_pyg(seed: int) -> None:
    """D^-1/2 (A + I) D^-1/2 with every edge of the list in A, which is what `gcn_norm` scatters and sums."""
    random = np.random.default_rng(seed)
    n, m = int(random.integers(2, 12)), int(random.integers(0, 60))
    edges = random.integers(0, n, (m, 2))
    edges = edges[edges[:, 0] != edges[:, 1]]
    weights = random.random(len(edges)) if seed % 2 else None
    dense = np.eye(n)
    np.add.at(dense, (edges[:, 1], edges[:, 0]), 1.0 if weights is None else weights)
    scale = 1 / np.sqrt(dense.sum(axis=1))
    repeated = len(edges) - len(np.unique(edges, axis=0))
    for graph in _multigraph(edges, n, weights):
        np.testing.assert_allclose(normalized_adjacency(graph.adjacency).toarray(), scale[:, None] * dense * scale)
        assert graph.notes == ((f"{repeated} repeated edges summed",) if repeated else ())


def test_real_gcn_norm() -> None:
    pytest.importorskip(
        "torch_geometric", reason="PyTorch Geometric is not installed: its formula is written out above"
    )
    import torch
    from torch_geometric.nn.conv.gcn_conv import gcn_norm

    edges = torch.tensor([[0, 0, 0, 1, 1, 2], [1, 1, 1, 0, 2, 1]])
    index, values = gcn_norm(edges, None, 3, add_self_loops=True, dtype=torch.float64)
    dense = np.zeros((3, 3))
    np.add.at(dense, (index[1].numpy(), index[0].numpy()), values.numpy())
    graph = Graph.from_pyg(SimpleNamespace(edge_index=edges, x=torch.ones(3, 1)))
    np.testing.assert_allclose(normalized_adjacency(graph.adjacency).toarray(), dense, rtol=1e-12)


# masks


@pytest.mark.parametrize(
    ("mask", "nodes"),
    [
        ([True, False, True, False], [0, 2]),
        ([1, 0, 1, 0], [0, 2]),
        ([1.0, 0.0, 0.0, 0.0], [0]),
        ([3, 1, 0, 2], [3, 1, 0, 2]),  # n node numbers, and no booleans
        ([2, 3], [2, 3]),
        ([0, 1], [0, 1]),
        ([False] * 4, None),
        ([0] * 4, None),
    ],
)
def test_a_mask_is_a_mask_or_node_numbers(mask: list[Any], nodes: list[int] | None) -> None:
    labels = np.array([0, 1, 0, 1])
    data = SimpleNamespace(edge_index=np.zeros((2, 0), int), x=np.ones((4, 1)), y=labels, train_mask=np.array(mask))
    other = _DGLGraph((np.zeros(0, int), np.zeros(0, int)), 4)
    other.ndata |= {"feat": np.ones((4, 1)), "label": labels, "train_mask": np.array(mask)}
    for graph in (Graph.from_pyg(data), Graph.from_dgl(other)):
        assert (None if graph.train is None else graph.train.tolist()) == nodes


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ([0, 1, 2, 1], "train split names a node twice"),
        ([0.5, 0, 0, 0], "list of node numbers or a mask"),
        ([True, False], "list of node numbers or a mask"),
        ([0, 4], "train split names node 4"),
        (np.ma.array([1, 0, 0, 0], mask=[0, 1, 0, 0]), "train_mask hides 1 values under a mask"),
    ],
)
def test_a_mask_that_is_neither(mask: Any, said: str) -> None:
    data = SimpleNamespace(edge_index=np.zeros((2, 0), int), x=np.ones((4, 1)), y=np.zeros(4), train_mask=mask)
    with pytest.raises(GraphError, match=said):
        Graph.from_pyg(data)


# what is not read


def test_edge_attributes_of_pyg() -> None:
    index = np.array([[0, 1], [1, 2]])
    column = SimpleNamespace(edge_index=index, x=np.ones((3, 1)), edge_attr=np.array([[2.0], [3.0]]))
    assert Graph.from_pyg(column).notes == ("edge_attr taken for the weight: it has one column",)
    column.edge_attr = np.float64(2)
    with pytest.raises(GraphError, match=r"weights has shape \[1\]; it needs one for each of 2 edges"):
        Graph.from_pyg(column)
    column.edge_weight = np.array([1, 1], dtype=np.uint8)
    assert Graph.from_pyg(column).notes == ("edge_attr left out: edge_weight is the weight",)
    column.edge_weight = np.array([1, -1])
    with pytest.raises(GraphError, match=r"edge 1 -> 2 has weight -1"):
        Graph.from_pyg(column)
    column.edge_weight = np.ma.array([1, 1], mask=[0, 1])
    with pytest.raises(GraphError, match="edge_weight hides 1 values under a mask"):
        Graph.from_pyg(column)


def test_attributes_of_networkx() -> None:
    import networkx

    graph = networkx.Graph([(0, 1, {"Weight": 3, "kind": "x"}), (1, 2, {"weight": 2})])
    networkx.set_node_attributes(graph, {0: "train", 1: "valid", 2: None}, "split")
    networkx.set_node_attributes(graph, {0: "a", 1: "b", 2: float("nan")}, "label")
    networkx.set_node_attributes(graph, 7, "age")
    read = Graph.from_networkx(graph)
    assert read.notes[:2] == (
        "edge attributes 'Weight', 'kind' left out: only 'weight' is read, as the weight",
        "node attribute 'age' left out: name those that are features in features=[…]",
    )
    assert (read.train, read.val) == ([0], [1])
    assert read.labels is not None
    assert read.labels.tolist() == [0, 1, -1]
    assert Graph.from_networkx(graph, split=None).train is None
    own = Graph.from_networkx(graph, train=[1])
    assert (own.train, own.val) == ([1], None)
    graph.nodes[0]["split"] = "holdout"
    with pytest.raises(GraphError, match="node '0': split 'holdout' is none of train, val, test"):
        Graph.from_networkx(graph)
    graph.nodes[0]["split"] = "test"
    graph.nodes[0]["age"] = np.ma.masked
    with pytest.raises(GraphError):
        Graph.from_networkx(graph, ["age"])
    networkx.set_node_attributes(graph, {node: np.ma.array([1, 2], mask=[0, 1]) for node in graph}, "features")
    with pytest.raises(GraphError, match="'features' of node 0 hides 1 values under a mask"):
        Graph.from_networkx(graph)


@pytest.mark.parametrize("kind", ["Graph", "DiGraph", "MultiGraph", "MultiDiGraph"])
def test_a_negative_weight_of_networkx(kind: str) -> None:
    import networkx

    graph = getattr(networkx, kind)()
    graph.add_edge("a", "b", weight=1)
    graph.add_edge("b", "c", weight=-4)
    with pytest.raises(GraphError, match=r"edge 1 -> 2 has weight -4\.0"):
        Graph.from_networkx(graph)
    graph = getattr(networkx, kind)()
    graph.add_edge("a", "b", weight=4)
    if graph.is_multigraph():
        graph.add_edge("a", "b", weight=-4)
        with pytest.raises(GraphError, match=r"edge 0 -> 1 has weight -4\.0"):
            Graph.from_networkx(graph)
        graph = getattr(networkx, kind)([("a", "b"), ("a", "b")])
        assert "1 repeated edges counted once" in Graph.from_networkx(graph).notes


def test_sparse_and_half_precision_tensors() -> None:
    import torch

    x = torch.ones(3, 2, dtype=torch.bfloat16, requires_grad=True)
    data = SimpleNamespace(edge_index=torch.tensor([[0], [1]]), x=x, y=torch.tensor([[0], [1], [-1]]))
    graph = Graph.from_pyg(data)
    np.testing.assert_array_equal(graph.features, np.ones((3, 2)))
    data.x = torch.eye(3).to_sparse()
    assert isinstance(Graph.from_pyg(data).features, sp.csr_array)
