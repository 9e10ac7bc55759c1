"""What NumPy and SciPy would convert without a word on the way into a graph: refused, or taken for what it is."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from portgnn import Graph
from portgnn.errors import GraphError

ONES = np.ones((3, 1))


def _graph(labels: Any, **more: Any) -> Graph:
    return Graph(sp.csr_array((len(labels), len(labels))), np.ones((len(labels), 1)), labels, **more)


# weights


@pytest.mark.parametrize("undirected", [True, False])
@pytest.mark.parametrize(
    ("edges", "weights", "said"),
    [
        ([[0, 1], [1, 2]], [1, -4], r"edge 1 -> 2 has weight -4\.0; weights must be finite and not negative"),
        ([[0, 1], [0, 1]], [4, -4], r"edge 0 -> 1 has weight -4\.0"),
        ([[0, 1], [0, 1]], [5, -4], r"edge 0 -> 1 has weight -4\.0"),
        ([[0, 1], [1, 0]], [5, -4], r"edge 1 -> 0 has weight -4\.0"),
        ([[0, 1], [1, 2]], [1, -np.inf], "edge 1 -> 2 has weight -inf"),
        ([[0, 1], [1, 0]], [1, np.nan], "edge 1 -> 0 has weight nan"),
        ([[0, 1], [0, 1]], [np.inf, -np.inf], "edge 0 -> 1 has weight inf"),
        ([[0, 1], [0, 1]], [1e308, 1e308], "edge [01] -> [01] has weight inf"),
        ([[0, 1], [2, 1]], [1e308, 1e308], "weights of the edges of node 1 add up to more than"),
        ([[0, 1]], [1 + 2j], "weights must be numbers, not complex128"),
        ([[0, 1]], ["7"], "weights must be numbers, not <U1"),
        ([[0, 1]], [None], "weights must be numbers, and 'None' is none"),
        ([[0, 1], [1, 2]], np.ma.array([1, 2], mask=[0, 1]), r"weights hides 1 values under a mask, first at \[1\]"),
        (np.ma.array([[0, 1], [1, 2]], mask=[[0, 0], [0, 1]]), None, r"edges hides 1 values under a mask"),
        ([[0, 1]], np.array([np.longdouble("1e400")]), "edge 0 -> 1 has weight inf"),
    ],
)
def test_a_weight_is_looked_at_before_it_is_summed(edges: Any, weights: Any, said: str, undirected: bool) -> None:
    with pytest.raises(GraphError, match=said):
        Graph.from_edges(edges, ONES, weights=weights, undirected=undirected)


@pytest.mark.parametrize("form", ["coo", "csr", "csc", "bsr", "dia", "lil", "dok", "array"])
def test_an_adjacency_is_looked_at_in_every_form(form: str) -> None:
    dense = np.array([[0, 1, 0], [1, 0, -2.0], [0, 2, 0]])
    matrix = dense if form == "array" else sp.coo_array(dense).asformat(form)
    with pytest.raises(GraphError, match=r"edge 2 -> 1 has weight -2\.0"):
        Graph(matrix, ONES)
    with pytest.raises(GraphError, match=r"edge 1 -> 2 has weight -2\.0"):
        Graph.from_scipy(matrix, ONES)
    with pytest.raises(GraphError, match="adjacency must be numbers, not complex128"):
        Graph(matrix * 1j, ONES)


def test_opposite_values_at_one_place_do_not_cancel_unseen() -> None:
    place = ([0, 0], [1, 1])
    with pytest.raises(GraphError, match=r"edge 1 -> 0 has weight -3\.0"):
        Graph(sp.coo_array(([3.0, -3.0], place), shape=(3, 3)), ONES)
    with pytest.raises(GraphError, match="NaN or infinity, first at node 0, column 1"):
        Graph(sp.csr_array((3, 3)), sp.coo_array(([1e308, 1e308], place), shape=(3, 3)))


def test_both_ways_with_different_weights_is_said() -> None:
    graph = Graph.from_edges([[0, 1], [1, 0], [1, 2]], ONES, weights=[1.0, 5.0, 2.0])
    assert graph.adjacency.toarray().tolist() == [[0, 5, 0], [5, 0, 2], [0, 2, 0]]
    assert graph.notes == ("1 edges given both ways with different weights: the larger counts",)


def test_repeated_edges_are_said() -> None:
    edges = [[0, 1], [0, 1], [0, 1], [1, 2]]
    assert Graph.from_edges(edges, ONES).notes == ("2 repeated edges counted once",)
    assert Graph.from_edges(edges, ONES, weights=[1, 1, 1, 1], notes=("x",)).notes == ("x", "2 repeated edges summed")


@pytest.mark.parametrize("damage", ["index", "below", "pointer", "coo"])
def test_places_outside_of_a_matrix_are_refused(damage: str) -> None:
    matrix: Any = sp.csr_array(np.array([[0, 1.0, 0], [1, 0, 1], [0, 1, 0]]))
    if damage == "coo":
        matrix = matrix.tocoo()
        matrix.row[0] = 1 << 30
    elif damage == "pointer":
        matrix.indptr[1] = 1 << 30
    else:
        matrix.indices[2] = 1 << 30 if damage == "index" else -1
    for make in (lambda: Graph(matrix, ONES), lambda: Graph.from_scipy(matrix, ONES), lambda: Graph(np.eye(3), matrix)):
        with pytest.raises(GraphError, match=r"holds a value at index|row pointers that do not rise"):
            make()


# small types


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "bool", "float32", "longdouble"])
@pytest.mark.parametrize("count", [256, 300, 70_000])
def test_repeats_are_summed_in_64_bits(dtype: str, count: int) -> None:
    ones = np.ones(count, dtype=dtype)
    place = (np.zeros(count, int), np.ones(count, int))
    coo = sp.coo_array((ones, place), shape=(3, 3))
    csr = sp.csr_array((3, 3))
    csr.data, csr.indices, csr.indptr = ones, np.ones(count, np.int32), np.array([0, count, count, count], np.int32)
    for matrix in (coo, csr):
        graph = Graph(matrix, matrix)
        assert (graph.adjacency[0, 1], graph.features[0, 1]) == (count, count)  # type: ignore[index]
        assert (graph.adjacency.dtype, graph.features.dtype) == (np.float64, np.float64)
        assert Graph.from_scipy(matrix, ONES).adjacency[1, 0] == count
    edges = np.tile(np.array([[0, 1]], dtype=np.int8), (count, 1))
    for weights in (ones, ones.astype(np.float16)):
        assert Graph.from_edges(edges, ONES, weights=weights, undirected=False).adjacency[1, 0] == count


def test_small_types_of_node_numbers() -> None:
    nodes = np.arange(200, dtype=np.uint8)
    graph = Graph.from_edges(np.stack([nodes[:-1], nodes[1:]], axis=1), np.ones((300, 1)))
    assert graph.num_edges == 199
    labels = np.arange(300, dtype=np.uint16) % 256
    assert _graph(labels.astype(np.uint8)).num_classes == 256
    assert Graph(np.eye(300), np.ones((300, 1)), np.zeros(300), train=nodes).train.tolist() == list(range(200))  # type: ignore[union-attr]


# features


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (ONES + 1j, "features must be numbers, not complex128"),
        (sp.csr_array(ONES + 1j), "features must be numbers, not complex128"),
        (np.array([["1"], ["2"], ["3"]]), "features must be numbers"),
        (np.array([[1], [None], [2]], dtype=object), "features must be numbers, and 'None' is none"),
        (np.ma.array(ONES, mask=[[0], [1], [0]]), r"features hides 1 values under a mask, first at \[1, 0\]"),
        ([np.ma.array([1.0], mask=[1])] * 3, r"features hides 3 values under a mask"),
        (np.float64(1), r"shape \[nodes, features\]"),
        (np.full((3, 1), np.longdouble("1e4000")), "NaN or infinity"),
    ],
)
def test_features_that_are_no_real_numbers(features: Any, said: str) -> None:
    with pytest.raises(GraphError, match=said), np.errstate(over="ignore"):
        Graph(sp.csr_array((3, 3)), features)


def test_features_of_any_real_type_are_taken() -> None:
    for features in (
        ONES.astype(np.float16),
        ONES.astype(bool),
        ONES.astype(object),
        np.ma.array(ONES, mask=False),
        np.array([[1], [True], [np.float32(1)]], dtype=object),
        [[1], [1], [1]],
        np.matrix(ONES),
    ):
        np.testing.assert_array_equal(Graph(sp.csr_array((3, 3)), features).features, ONES)


class _Tensor:
    """bfloat16 on a device, with a gradient: what a framework's tensor of that kind offers."""

    dtype = "framework.bfloat16"

    def __init__(self, detached: bool = False) -> None:
        self.detached = detached

    def detach(self) -> _Tensor:
        return _Tensor(True)

    def float(self) -> Any:
        assert self.detached
        return np.full((3, 1), 2.0, np.float32)


def test_tensors_are_brought_to_numpy() -> None:
    np.testing.assert_array_equal(Graph(sp.csr_array((3, 3)), _Tensor()).features, 2 * ONES)


def test_torch_tensors() -> None:
    torch = pytest.importorskip("torch")
    dense = torch.ones(3, 1, dtype=torch.bfloat16, requires_grad=True)
    np.testing.assert_array_equal(Graph(sp.csr_array((3, 3)), dense).features, ONES)
    twice = torch.sparse_coo_tensor([[0, 0], [0, 0]], torch.tensor([200, 200], dtype=torch.uint8), (3, 1))
    assert Graph(sp.csr_array((3, 3)), twice).features.toarray().tolist() == [[400], [0], [0]]  # type: ignore[union-attr]
    csr = torch.tensor([[0.0, 2, 0], [0, 0, 0], [0, 0, 0]]).to_sparse_csr()
    assert Graph(csr, ONES).adjacency[0, 1] == 2


# labels


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1, -1, 1]),
        np.array([0, 1, np.nan, 1]),
        np.array([0, 1, -1, 1], dtype=np.float32),
        np.array([0, 1, None, 1], dtype=object),
        np.array([0, 1.0, float("nan"), 1], dtype=object),
        np.ma.array([0, 1, 7, 1], mask=[0, 0, 1, 0]),
        np.ma.array([0, 1, 7, 1], mask=[0, 0, 1, 0], dtype=np.uint8),
        np.ma.array([0, 1, 0.5, 1], mask=[0, 0, 1, 0]),
        [0, 1, None, 1],
        [0, 1, float("nan"), True + 0],
    ],
)
def test_every_marker_of_an_unknown_label(labels: Any) -> None:
    graph = _graph(labels)
    assert graph.labels is not None
    assert graph.labels.tolist() == [0, 1, -1, 1]
    assert graph.labels.dtype == np.int64
    assert graph.class_names == ("0", "1")


def test_pandas_missing_values() -> None:
    pandas = pytest.importorskip("pandas")
    for dtype in ("Int64", "float64", "Float64", "object"):
        graph = _graph(pandas.Series([0, 1, None, 1], dtype=dtype))
        assert graph.labels is not None
        assert graph.labels.tolist() == [0, 1, -1, 1]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "float16"])
def test_labels_of_every_integer_type(dtype: str) -> None:
    graph = _graph(np.array([0, 2, 1], dtype=dtype))
    assert graph.labels is not None
    assert graph.labels.tolist() == [0, 2, 1]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array([0, 2**64 - 1], dtype=np.uint64), "label 18446744073709551615 of node 1 is out of range"),
        (np.array([0, 2**63], dtype=object), "labels must be integers|out of range"),
        (np.array([0, 0.5]), "label 0.5 of node 1 is no whole number"),
        (np.array([0, np.inf]), "label inf of node 1 is no whole number"),
        (np.array([0, "x"], dtype=object), "labels must be integers, not 'x'; put names into class_names"),
        (np.array(["a", "b"]), "labels must be integers, not <U1; put names into class_names"),
        (np.array([True, False]), "labels must be integers, not bool"),
        (np.array([0, True], dtype=object), "labels must be integers"),
        (np.array([0, -3]), "label -3 of node 1 is out of range"),
        (np.array([1 + 0j, 0]), "labels must be integers, not complex128"),
    ],
)
def test_labels_that_are_none(labels: Any, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        _graph(labels)


# splits


def test_masks_of_zero_and_one() -> None:
    for kind in (np.int64, np.uint8, np.float32, bool):
        graph = _graph([0, 1, 0, 1], train=np.array([0, 1, 1, 0], dtype=kind))
        assert graph.train is not None
        assert graph.train.tolist() == [1, 2]
    two = _graph([0, 1], train=np.array([0, 1]))  # a list of both nodes as much as a mask, and a list came first
    assert two.train is not None
    assert two.train.tolist() == [0, 1]
    with pytest.raises(GraphError, match="the train split hides 1 values under a mask"):
        _graph([0, 1, 0], train=np.ma.array([0, 1], mask=[0, 1]))


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_any_weights_give_the_exact_sum_or_are_refused(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 5))
    edges = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=12))
    values = st.sampled_from([0.0, 1.0, 2.5, -1.0, 255.0, np.inf, np.nan, -0.0])
    weights = data.draw(st.lists(values, min_size=len(edges), max_size=len(edges)))
    pairs = np.array(edges, dtype=int).reshape(-1, 2)
    bad = any(not np.isfinite(w) or w < 0 for w in weights)
    directed = np.zeros((n, n))
    for (source, target), weight in zip(edges, weights, strict=True):
        directed[target, source] += weight
    for undirected in (False, True):
        if bad:
            with pytest.raises(GraphError, match="weights must be finite and not negative"):
                Graph.from_edges(pairs, np.ones((n, 1)), weights=weights, undirected=undirected)
        else:
            graph = Graph.from_edges(pairs, np.ones((n, 1)), weights=weights, undirected=undirected)
            wanted = np.maximum(directed, directed.T) if undirected else directed
            np.testing.assert_array_equal(graph.adjacency.toarray(), wanted)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": [0, 1, 0], "class_names": ("a", "a")}, "class_names holds 'a' more than once"),
        ({"node_ids": ["a", "b", "a"]}, "node_ids holds 'a' more than once"),
        ({"labels": [0, 1, 0], "class_names": 5}, "class_names=5 must be a list of texts"),
        ({"labels": [0, 1, 0], "class_names": "ab"}, "class_names='ab' must be a list of texts"),
        ({"notes": "done"}, "notes='done' must be a list of texts"),
        ({"num_nodes": -3}, "num_nodes=-3 must be a whole number"),
        ({"num_nodes": 10**12}, "features have 3 rows, the graph has 1000000000000 nodes"),
        ({"num_nodes": "a"}, "num_nodes='a' must be a whole number"),
    ],
)
def test_names_and_sizes_that_are_none(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=re.escape(message)):
        Graph.from_edges([[0, 1], [1, 2]], np.eye(3), **fields)


def test_a_name_that_is_no_text_is_shown_as_one() -> None:
    assert "'5'" in repr(Graph.from_edges([[0, 1]], np.eye(3), name=5))
