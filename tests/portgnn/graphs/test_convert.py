"""Graphs from other libraries' objects and back: by what they offer, whether or not the library is there."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import Graph
from portgnn.errors import GraphError


class Tensor:
    """What a tensor of a framework offers: a detour to the host."""

    def __init__(self, values: Any, where: str = "device") -> None:
        self.values, self.where = values, where

    def detach(self) -> Tensor:
        return Tensor(self.values, "detached")

    def cpu(self) -> Tensor:
        assert self.where == "detached"
        return Tensor(self.values, "host")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        assert self.where == "host"
        return np.array(self.values, dtype=dtype)


def _same(one: Graph, other: Graph) -> None:
    np.testing.assert_allclose(one.adjacency.toarray(), other.adjacency.toarray())
    dense = [g.features.toarray() if sp.issparse(g.features) else g.features for g in (one, other)]  # type: ignore[union-attr]
    np.testing.assert_allclose(dense[0], dense[1], rtol=1e-6)
    np.testing.assert_array_equal(one.labels, other.labels)  # type: ignore[arg-type]
    for name in ("train", "val", "test"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert (mine is None) == (theirs is None)
        assert mine is None or sorted(mine) == sorted(theirs)


def _graph(undirected: bool) -> Graph:
    return Graph.from_edges(
        [[0, 1], [1, 2], [3, 0]],
        np.arange(8.0).reshape(4, 2),
        [0, 1, 1, 0],
        weights=[1.0, 2.0, 0.5],
        undirected=undirected,
        train=[0],
        val=[1],
        test=[2, 3],
        class_names=("x", "y"),
        node_ids=np.array(["a", "b", "c", "d"]),
    )


@pytest.mark.parametrize("undirected", [True, False])
def test_scipy_and_back(undirected: bool) -> None:
    graph = _graph(undirected)
    matrix = graph.to_scipy()
    assert matrix[0, 1] == 1.0  # an edge from 0 to 1
    back = Graph.from_scipy(matrix, graph.features, graph.labels, train=[0], val=[1], test=[2, 3])
    _same(graph, back)


@pytest.mark.parametrize("undirected", [True, False])
def test_networkx_and_back(undirected: bool) -> None:
    pytest.importorskip("networkx")
    graph = _graph(undirected)
    other = graph.to_networkx()
    assert other.is_directed() != undirected
    assert other.nodes["a"]["label"] == "x"
    back = Graph.from_networkx(other, train=[0], val=[1], test=[2, 3])
    _same(graph, back)
    assert back.node_ids is not None
    assert (back.node_ids.tolist(), back.class_names) == (["a", "b", "c", "d"], ("x", "y"))


def test_networkx_by_attributes() -> None:
    networkx = pytest.importorskip("networkx")
    other = networkx.MultiGraph()
    other.add_node(1, age=3, height=1.5)
    other.add_node("two", age=4, height=1)
    other.add_edge(1, "two")
    other.add_edge(1, "two")
    graph = Graph.from_networkx(other, ["age", "height"])
    np.testing.assert_array_equal(graph.features, [[3, 1.5], [4, 1]])
    assert (graph.feature_names, graph.labels, graph.adjacency[0, 1]) == (("age", "height"), None, 1.0)
    np.testing.assert_array_equal(Graph.from_networkx(other).features.toarray(), np.eye(2))  # type: ignore[union-attr]
    other.add_node("1", age=1, height=1)
    with pytest.raises(GraphError, match="two nodes are named '1'"):
        Graph.from_networkx(other, ["age"])
    other.remove_node("1")
    other.nodes["two"]["age"] = "old"
    with pytest.raises(GraphError, match=r"of node 'two' is .*; it must be"):
        Graph.from_networkx(other, ["age"])
    other.add_edge(1, "two", weight="heavy")
    with pytest.raises(GraphError, match="'weight' of edge 1 -> 'two' is 'heavy'"):
        Graph.from_networkx(other)


def _data(**more: Any) -> SimpleNamespace:
    graph = _graph(False)
    mask = np.zeros(4, bool)
    masks = {}
    for name in ("train", "val", "test"):
        masks[f"{name}_mask"] = Tensor(np.isin(np.arange(4), getattr(graph, name)) | mask)
    return SimpleNamespace(
        **(
            {
                "edge_index": Tensor([[0, 1, 3], [1, 2, 0]]),
                "x": Tensor(np.arange(8.0).reshape(4, 2)),
                "y": Tensor([[0], [1], [1], [0]]),
                "edge_weight": Tensor([1.0, 2.0, 0.5]),
                "num_nodes": 4,
            }
            | masks
            | more
        )
    )


def test_pyg_by_duck_typing() -> None:
    _same(_graph(False), Graph.from_pyg(_data()))
    column = Graph.from_pyg(_data(edge_weight=None, edge_attr=Tensor([[1.0], [2.0], [0.5]])))
    _same(_graph(False), column)
    wide = Graph.from_pyg(_data(edge_weight=None, edge_attr=Tensor(np.ones((3, 5)))))
    assert "edge_attr of 5 columns left out: a GCN takes one weight an edge" in wide.notes
    assert Graph.from_pyg(_data(x=None)).num_features == 4
    with pytest.raises(GraphError, match=r"train_mask has shape \[4, 10\]; choose one split"):
        Graph.from_pyg(_data(train_mask=Tensor(np.ones((4, 10), bool))))
    with pytest.raises(GraphError, match="no edge_index"):
        Graph.from_pyg(SimpleNamespace())


def test_pyg_and_back() -> None:
    pytest.importorskip("torch_geometric", reason="PyTorch Geometric is not installed: its objects are imitated above")
    graph = _graph(False)
    _same(graph, Graph.from_pyg(graph.to_pyg()))


def test_dgl_by_duck_typing() -> None:
    data = _data()
    other = SimpleNamespace(
        edges=lambda: (Tensor([0, 1, 3]), Tensor([1, 2, 0])),
        num_nodes=lambda: 4,
        ndata={
            "feat": data.x,
            "label": data.y,
            "train_mask": data.train_mask,
            "val_mask": data.val_mask,
            "test_mask": data.test_mask,
        },
        edata={"weight": data.edge_weight},
    )
    _same(_graph(False), Graph.from_dgl(other))


def test_a_library_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("dgl", "networkx"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(GraphError, match=r"this needs dgl\. Install it with: pip install dgl"):
        _graph(True).to_dgl()
    with pytest.raises(GraphError, match=r'pip install "portgnn\[data\]"'):
        _graph(True).to_networkx()


def test_no_library_is_imported_to_read_an_object() -> None:
    code = (
        "import sys, numpy as np, portgnn\n"
        "from types import SimpleNamespace as S\n"
        "portgnn.Graph.from_pyg(S(edge_index=np.array([[0], [1]]), x=np.ones((2, 1))))\n"
        "print([m for m in ('torch', 'torch_geometric', 'dgl', 'networkx', 'pyarrow') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
