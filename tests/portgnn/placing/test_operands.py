"""Cutting a graph to the rows that a loss reads changes no number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import Graph, get_backend
from portgnn.models.initial import initial_values
from portgnn.placing import forward
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import Config
from portgnn.random import dropout_keys
from portgnn.training import WholeGraph, fit, initial_state, make_loss, objective, parameters_of

CONFIGS = [
    pytest.param({"layers": layers, "features": features, "adjacency": adjacency, "bias": bias}, id=name)
    for layers, bias in ((1, "none"), (2, "none"), (2, "before"), (3, "after"))
    for features in ("sparse", "dense")
    for adjacency in ("csr", "dense")
    for name in (f"{layers} layers, bias {bias}, {features}, {adjacency}",)
]


def _prepared(graph: Graph, rows: str, changes: dict[str, Any]) -> Prepared:
    return Prepared.of(graph, Config(rows=rows, hidden=5, **changes))  # type: ignore[arg-type]


def _loss_and_gradients(prepared: Prepared) -> tuple[float, dict[str, Any]]:
    backend = get_backend("numpy", dtype="float64")
    assert prepared.graph.train is not None
    operands = place(backend, prepared, prepared.graph.train, training=True)
    state = initial_state(backend, prepared, 1)
    params = parameters_of(state)
    keys = dropout_keys(1, range(1), prepared.config.layers)[0].tolist()
    (loss, _), gradients = backend.value_and_grad(make_loss(backend, operands, prepared))(params, keys)
    return float(loss), gradients


@pytest.mark.parametrize("changes", CONFIGS)
def test_loss_and_gradients_are_those_of_all_rows(make_graph: Callable[..., Graph], changes: dict[str, Any]) -> None:
    graph = make_graph(3, nodes=60)
    needed, gradients = _loss_and_gradients(_prepared(graph, "needed", changes))
    everything, expected = _loss_and_gradients(_prepared(graph, "all", changes))
    assert needed == pytest.approx(everything, rel=1e-12)
    assert set(gradients) == set(expected)
    for name, gradient in gradients.items():
        assert np.abs(expected[name]).max() > 0, name
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("changes", CONFIGS)
def test_trajectories_are_those_of_all_rows(make_graph: Callable[..., Graph], changes: dict[str, Any]) -> None:
    graph = make_graph(4, nodes=60)
    backend = get_backend("numpy", dtype="float64")
    runs = [fit(WholeGraph(backend, _prepared(graph, rows, changes | {"epochs": 20})), 0) for rows in ("needed", "all")]
    for name in ("train_loss", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(getattr(runs[0].history, name), getattr(runs[1].history, name), rtol=1e-12)
    for name, value in runs[0].params.items():
        np.testing.assert_allclose(value, runs[1].params[name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("features", ["sparse", "dense"])
def test_csr_and_dense_adjacency_agree(make_graph: Callable[..., Graph], features: str) -> None:
    graph = make_graph(5)
    losses = [_loss_and_gradients(_prepared(graph, "all", {"features": features, "adjacency": a}))[0]
              for a in ("csr", "dense")]  # fmt: skip
    assert losses[0] == pytest.approx(losses[1], rel=1e-13)


def test_only_the_receptive_field_is_placed() -> None:
    """On a path of 9 nodes, a loss on node 0 through 2 layers reads nodes 0, 1 and 2."""
    path = [[i, i + 1] for i in range(8)]
    graph = Graph.from_edges(path, np.ones((9, 2)), [0, 1] * 4 + [0], train=[0])
    prepared = Prepared.of(graph, Config(features="dense"))
    operands = place(get_backend("numpy"), prepared, graph.train, training=True)
    assert operands.features.shape == (3, 2)
    assert [block.shape for block in operands.adjacency if block is not None] == [(2, 3), (1, 2)]
    assert operands.index[0] is not None
    assert operands.index[0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert operands.count == 1


def test_targets_weigh_each_counted_row_alike(make_graph: Callable[..., Graph]) -> None:
    graph = make_graph(0)
    assert graph.val is not None
    assert graph.labels is not None
    for rows in ("needed", "all"):
        operands = place(get_backend("numpy", dtype="float64"), _prepared(graph, rows, {}), graph.val, training=False)
        weights = np.abs(operands.weights)  # the loss carries its sign in them or outside
        assert weights.sum() == pytest.approx(1)
        assert abs(operands.weights.sum()) == pytest.approx(1)
        counted = operands.labels >= 0
        assert counted.sum() == operands.count == len(graph.val)
        assert sorted(operands.labels[counted]) == sorted(graph.labels[graph.val])
        np.testing.assert_array_equal(weights[counted].argmax(axis=1), operands.labels[counted])
        assert not weights[~counted].any()


def test_evaluation_multiplies_the_features_ahead_of_time(make_graph: Callable[..., Graph]) -> None:
    """The product is left out of each epoch, and the logits stay what they were."""
    backend = get_backend("numpy", dtype="float64")
    prepared = _prepared(make_graph(2), "all", {"features": "dense"})
    ahead = place(backend, prepared, None, training=False)
    assert ahead.adjacency[0] is None
    assert place(backend, prepared, None, training=True).adjacency[0] is not None
    params = initial_values(prepared.layers, 0)
    a, x = prepared.adjacency.toarray(), prepared.features
    expected = a @ np.maximum(a @ (x @ params["weight0"]), 0) @ params["weight1"]
    np.testing.assert_allclose(
        forward.outputs(backend, prepared.layers, params, ahead), expected, rtol=1e-12, atol=1e-14
    )


def test_features_take_the_form_that_suits_their_density(make_graph: Callable[..., Graph]) -> None:
    graph = make_graph(0)
    assert not sp.issparse(Prepared.of(graph, Config()).features)
    thin = Graph(graph.adjacency, sp.csr_array(np.eye(40)))
    assert sp.issparse(Prepared.of(thin, Config()).features)
    assert not sp.issparse(Prepared.of(thin, Config(features="dense")).features)
    assert sp.issparse(Prepared.of(graph, Config(features="sparse")).features)


def test_the_penalty_is_half_the_squared_first_weight() -> None:
    backend = get_backend("numpy", dtype="float64")
    params = {"weight0": np.array([[1.0, 2.0]]), "weight1": np.array([[100.0]])}
    penalised = objective.penalties(Config(l2=0.1, bias="after"), Config(bias="after").network.built(2, 1))
    assert objective.l2_penalty(backend, params, penalised) == pytest.approx(0.25)


def test_element_numbers_fit_the_values_that_they_number() -> None:
    """Of rows cut from sparse features; a product with them, made ahead of time, has none."""
    features = sp.csr_array(np.array([[0.0], [0.0], [1.0], [0.0], [0.0]]))
    graph = Graph(sp.csr_array(np.eye(5, k=1)), features, np.zeros(5, np.int64), train=np.array([1]))
    given: list[tuple[int, int | None]] = []

    class Recording:
        def __getattr__(self, name: str) -> Any:
            return getattr(get_backend("numpy"), name)

        def csr(self, matrix: sp.csr_array, index: Any = None) -> Any:
            given.append((matrix.nnz, None if index is None else len(index)))
            return get_backend("numpy").csr(matrix, index)

    for input_dropout in (0.0, 0.5):
        prepared = Prepared.of(graph, Config(features="sparse", adjacency="csr", input_dropout=input_dropout))
        operands = place(Recording(), prepared, graph.train, training=True)
        assert (operands.adjacency[0] is None) is (input_dropout == 0)
        assert given
        assert all(numbers in (None, stored) for stored, numbers in given)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("rows", ["needed", "all"])
def test_dense_features_are_multiplied_as_the_whole_normalised_matrix_would_be(
    make_graph: Callable[..., Graph], normalize: bool, rows: str
) -> None:
    drawn = make_graph()
    features = np.random.default_rng(0).random((drawn.num_nodes, 37), dtype=np.float32) + 0.1
    graph = replace(drawn, features=features, feature_names=())
    prepared = _prepared(
        graph, rows, {"bias": "after", "layers": 1, "input_dropout": 0.0, "normalize_features": normalize}
    )
    assert graph.train is not None
    placed = place(get_backend("numpy", dtype="float64"), prepared, graph.train, training=True)
    assert placed.adjacency[0] is None
    wanted = prepared.adjacency @ prepared.features
    np.testing.assert_allclose(placed.features, wanted if rows == "all" else wanted[graph.train], rtol=1e-13)
    narrow = place(get_backend("numpy", dtype="float32"), prepared, graph.train, training=True)
    np.testing.assert_array_equal(narrow.features, np.asarray(placed.features, dtype=np.float32))


@pytest.mark.parametrize(
    ("hidden", "features", "commuted"), [(8, "dense", True), (4, "dense", False), (8, "sparse", False)]
)
def test_narrow_dropped_out_features_meet_the_adjacency_first(hidden: int, features: str, commuted: bool) -> None:
    """One product a step in place of a forward and a backward one; losses and gradients are the same."""
    draw = np.random.default_rng(4)
    edges = sp.csr_array(sp.random_array((40, 40), density=0.1, rng=draw))
    graph = Graph(
        edges + edges.T,
        draw.random((40, 9)),
        draw.integers(0, 3, 40),
        np.arange(20),
        np.arange(20, 30),
        np.arange(30, 40),
    )
    prepared = Prepared.of(graph, Config(hidden=hidden, features=features))  # type: ignore[arg-type]
    backend = get_backend("numpy", dtype="float64")
    operands = place(backend, prepared, np.arange(20), training=True)
    assert operands.commuted == commuted
    assert not place(backend, prepared, np.arange(20), training=False).commuted
    if features == "sparse":
        return
    params, keys = parameters_of(initial_state(backend, prepared, 1)), dropout_keys(2, range(1), 2)[0].tolist()
    found = [
        backend.value_and_grad(make_loss(backend, replace(operands, commuted=way), prepared))(params, keys)
        for way in (False, True)
    ]
    (one, _), gradients = found[0]
    (other, _), others = found[1]
    np.testing.assert_allclose(backend.to_numpy(one), backend.to_numpy(other), rtol=1e-13)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(backend.to_numpy(gradient), backend.to_numpy(others[name]), rtol=1e-11, atol=1e-14)
