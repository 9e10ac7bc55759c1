"""The graph record: canonical form, both normalisations, and every fault in what comes in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from portgnn import Graph
from portgnn.errors import GraphError
from portgnn.graphs.graph import canonical_csr
from portgnn.placing.edges import normalized_adjacency
from portgnn.placing.features import row_normalized

WEIGHTS = hnp.arrays(
    np.float64,
    st.integers(1, 8).map(lambda n: (n, n)),
    elements=st.sampled_from([0.0, 0.0, 1.0, 0.25, 3.0]),
)


@given(WEIGHTS)
@settings(deadline=None)
def test_normalisation_is_the_dense_formula(weights: Any) -> None:
    with_loops = weights + np.diag(np.where(np.diag(weights) == 0, 1.0, 0.0))
    degree = np.diag(1 / np.sqrt(with_loops.sum(axis=1)))
    got = normalized_adjacency(canonical_csr(weights)).toarray()
    np.testing.assert_allclose(got, degree @ with_loops @ degree, rtol=1e-15, atol=0)


def test_normalisation_keeps_existing_loops_and_gives_isolated_nodes_one() -> None:
    got = normalized_adjacency(canonical_csr(np.diag([4.0, 0.0]))).toarray()
    np.testing.assert_array_equal(got, np.eye(2))


def test_normalisation_leaves_its_input_alone() -> None:
    adjacency = canonical_csr(np.array([[0.0, 2.0], [2.0, 0.0]]))
    normalized_adjacency(adjacency)
    np.testing.assert_array_equal(adjacency.toarray(), [[0, 2], [2, 0]])


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_rows_are_divided_by_their_sum_and_zero_rows_stay(form: Any) -> None:
    features = form(np.array([[1.0, 3.0], [0.0, 0.0], [0.0, 5.0], [0.25, 0.25]]))
    got = row_normalized(features)
    dense = got.toarray() if sp.issparse(got) else got
    assert sp.issparse(got) == sp.issparse(features)
    np.testing.assert_array_equal(dense, [[0.25, 0.75], [0, 0], [0, 1], [0.5, 0.5]])
    assert features.sum() == 9.5  # the input is not changed


def test_csr_becomes_canonical_without_touching_the_input() -> None:
    messy = sp.csr_array(
        (np.array([1.0, 2.0, 4.0, 0.0]), np.array([2, 0, 2, 1]), np.array([0, 3, 4, 4], dtype=np.int64)), shape=(3, 3)
    )
    clean = canonical_csr(messy)
    assert clean.indices.tolist() == [0, 2]
    assert clean.data.tolist() == [2.0, 5.0]
    assert clean.indptr.tolist() == [0, 2, 2, 2]
    assert clean.indices.dtype == clean.indptr.dtype == np.int32
    assert messy.indices.tolist() == [2, 0, 2, 1]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=30), st.randoms())
@settings(deadline=None)
def test_the_order_of_edges_does_not_matter(edges: list[tuple[int, int]], random: Any) -> None:
    shuffled = edges.copy()
    random.shuffle(shuffled)
    one, other = (Graph.from_edges(np.array(e).reshape(-1, 2).astype(int), np.ones((6, 1))) for e in (edges, shuffled))
    for part in ("data", "indices", "indptr"):
        np.testing.assert_array_equal(getattr(one.adjacency, part), getattr(other.adjacency, part))
    assert one.is_undirected
    assert one.num_edges == len({frozenset(edge) for edge in edges})


def test_edges_store_source_in_the_column() -> None:
    graph = Graph.from_edges([[0, 1], [0, 1], [2, 2]], np.ones((3, 1)), undirected=False)
    np.testing.assert_array_equal(graph.adjacency.toarray(), [[0, 0, 0], [1, 0, 0], [0, 0, 1]])
    assert not graph.is_undirected
    assert graph.num_edges == 2


def test_weights_of_repeated_edges_are_summed() -> None:
    graph = Graph.from_edges([[0, 1], [0, 1]], np.ones((2, 1)), weights=[1.0, 2.5], undirected=False)
    assert graph.adjacency[1, 0] == 3.5


def test_symmetrised_keeps_the_larger_weight_and_says_so() -> None:
    graph = Graph(sp.csr_array(np.array([[0.0, 2.0], [5.0, 0.0]])), np.ones((2, 1))).symmetrized()
    assert graph.adjacency.toarray().tolist() == [[0, 5], [5, 0]]
    assert graph.notes == ("edges symmetrised",)
    assert graph.num_edges == 1


def test_masks_become_node_numbers_and_classes_get_names() -> None:
    graph = _graph(train=np.array([True, False, False, True]), val=None, test=None)
    assert graph.train is not None
    assert graph.train.tolist() == [0, 3]
    assert graph.class_names == ("0", "1")
    assert _graph(class_names=("a", "b", "c")).num_classes == 3


def test_with_splits_replaces_all_three() -> None:
    graph = _graph().with_splits([3], [2], [1])
    assert [part.tolist() for part in (graph.train, graph.val, graph.test) if part is not None] == [[3], [2], [1]]


def test_an_adjacency_may_be_a_plain_list() -> None:
    assert _graph(adjacency=[[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]).num_edges == 1


def _graph(**changes: Any) -> Graph:
    ring = np.roll(np.eye(4), 1, axis=1)
    fields: dict[str, Any] = {
        "adjacency": sp.csr_array(ring + ring.T),
        "features": np.ones((4, 2)),
        "labels": np.array([0, 1, 0, 1]),
        "train": np.array([0]),
        "val": np.array([1]),
        "test": np.array([2, 3]),
    }
    return Graph(**(fields | changes))


def _with(value: float, at: tuple[int, int]) -> Any:
    array = np.ones((4, 2))
    array[at] = value
    return array


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "not square": ({"adjacency": sp.csr_array((4, 3))}, r"square, not \[4, 3\]"),
    "no nodes": ({"adjacency": sp.csr_array((0, 0))}, "no nodes"),
    "nan weight": ({"adjacency": sp.csr_array(np.diag([1, 1, np.nan, 1]))}, "edge 2 -> 2 has weight nan"),
    "negative weight": ({"adjacency": sp.csr_array(np.diag([1, -2.0, 1, 1]))}, "edge 1 -> 1 has weight -2"),
    "nan feature": ({"features": _with(np.nan, (2, 1))}, "NaN or infinity, first at node 2, column 1 \\(1 such"),
    "infinite feature": ({"features": _with(np.inf, (3, 0))}, "first at node 3, column 0"),
    "sparse nan": ({"features": sp.csr_array(_with(np.nan, (2, 1)))}, "first at node 2, column 1"),
    "feature rows": ({"features": np.ones((3, 2))}, "3 rows, the graph has 4 nodes"),
    "no features": ({"features": np.ones((4, 0))}, "no columns"),
    "flat features": ({"features": np.ones(4)}, r"shape \[nodes, features\], not \[4\]"),
    "text features": ({"features": np.array([["a"]] * 4)}, "must be numbers"),
    "label count": ({"labels": np.array([0, 1])}, r"shape \[2\]; the graph needs \[4\]"),
    "float labels": (
        {"labels": np.array([0.0, 1.5, 0, 1])},
        "must be integers, not float64: label 1.5 of node 1 is no whole",
    ),
    "label below": ({"labels": np.array([0, -2, 0, 1])}, "label -2 of node 1"),
    "label above": ({"class_names": ("a",)}, r"label 1 of node 1 is out of range \(0 to 0"),
    "labels are ids": ({"labels": np.array([10, 20, 30, 40])}, "number the classes"),
    "train out of range": ({"train": np.array([4])}, "train split names node 4; nodes go from 0 to 3"),
    "test negative": ({"test": np.array([-1])}, "test split names node -1"),
    "empty split": ({"val": np.array([], dtype=int)}, "val split is empty"),
    "empty mask": ({"val": np.zeros(4, dtype=bool)}, "val split is empty"),
    "repeated node": ({"test": np.array([2, 2])}, "test split names a node twice"),
    "overlap": ({"test": np.array([1, 2])}, "node 1 is in the val split and in the test split"),
    "split of floats": ({"train": np.array([0.5])}, "list of node numbers or a mask"),
    "split unlabelled": ({"labels": np.array([0, 1, -1, 1])}, "node 2 of the test split has no label"),
    "no labels": ({"labels": None}, "node 0 of the train split has no label"),
    "node ids": ({"node_ids": np.array(["a"])}, "one name for each of 4 nodes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named(fault: str) -> None:
    changes, message = FAULTS[fault]
    with pytest.raises(GraphError, match=message):
        _graph(**changes)


@pytest.mark.parametrize(
    ("edges", "weights", "message"),
    [
        ([[0, 1], [2, 4]], None, "edge 1 joins 2 and 4; nodes go from 0 to 3"),
        ([[-1, 1]], None, "edge 0 joins -1 and 1"),
        ([[0, 1, 2]], None, r"shape \[edges, 2\]"),
        ([[0.5, 1.0]], None, "must be integers"),
        ([[0, 1]], [1.0, 2.0], "one for each of 1 edges"),
        ([[0, 1]], [np.inf], "weight inf"),
    ],
)
def test_each_fault_of_an_edge_list_is_named(edges: Any, weights: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        Graph.from_edges(edges, np.ones((4, 1)), weights=weights)


def test_no_edges_is_a_graph() -> None:
    assert Graph.from_edges([], np.ones((3, 1))).num_edges == 0
