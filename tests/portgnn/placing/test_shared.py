"""What is made before the first step: once for all placements of a graph, in threads, with the numbers of before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import Graph, get_backend
from portgnn.graphs.arrays import canonical_csr, is_symmetric
from portgnn.graphs.fingerprint import fingerprints
from portgnn.models import NETWORKS
from portgnn.placing import edges, field
from portgnn.placing.edges import Looped
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import Shared, place, receptive_field
from portgnn.presets import Config
from portgnn.training import WholeGraph, fit

RULES = ("symmetric", "laplacian", "mean", "sum", "neighbours", "pattern")


def drawn(seed: int, nodes: int = 60, density: float = 0.1, undirected: bool = True, **splits: Any) -> Graph:
    draw = np.random.default_rng(seed)
    matrix = sp.random_array((nodes, nodes), density=density, rng=draw, format="csr")
    adjacency = matrix.maximum(matrix.T) if undirected else matrix
    order = draw.permutation(nodes)
    parts = {"train": order[: nodes // 3], "val": order[nodes // 3 : nodes // 2], "test": order[nodes // 2 :]}
    features = draw.standard_normal((nodes, 9)).astype(np.float32)
    return Graph(adjacency, features, draw.integers(0, 3, nodes), class_names=("a", "b", "c"), **parts | splits)


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """rows="auto" decides on graphs of any size, and everything is done in several parts by several threads."""
    monkeypatch.setattr(field, "SMALL", 0)
    monkeypatch.setattr(field, "LOOK", 7)
    monkeypatch.setattr(edges, "PART", 5)
    monkeypatch.setattr("portgnn._system.threads.host_threads", lambda: 3)


def _weights(adjacency: sp.csr_array, rule: str) -> sp.csr_array:
    """The rules of `portgnn.placing.edges`, of whole arrays."""
    added = adjacency.diagonal() == 0
    looped = canonical_csr(adjacency + sp.diags_array(added.astype(np.float64)))
    rows = np.repeat(np.arange(len(added)), np.diff(looped.indptr))
    plain = np.where(added[rows] & (rows == looped.indices), 0.0, looped.data)
    degree, all_of = np.bincount(rows, plain, len(added)), np.asarray(looped.sum(axis=1)).ravel()
    scale, size, total = 1.0 / np.sqrt(all_of), np.sqrt(degree), np.where(degree == 0, 1.0, degree)
    both = size[rows] * size[looped.indices]
    data = {
        "symmetric": looped.data * (scale[rows] * scale[looped.indices]),
        "laplacian": np.where(both == 0, 0.0, -plain / np.where(both == 0, 1.0, both)),
        "mean": plain / total[rows],
        "sum": plain,
        "neighbours": np.where(added[rows] & (rows == looped.indices), 0.0, 1.0),
        "pattern": np.ones(looped.nnz),
    }[rule]
    return sp.csr_array((data, looped.indices, looped.indptr), shape=looped.shape)


@pytest.mark.parametrize("rule", RULES)
def test_weights_in_parts_have_the_bits_of_whole_arrays(rule: Any, small_is_large: None) -> None:
    for seed in range(4):
        adjacency = drawn(seed, undirected=bool(seed % 2)).adjacency
        if seed == 3:
            adjacency = canonical_csr(adjacency + sp.diags_array(np.arange(60) % 2 * 0.5))
        got, want = Looped.of(adjacency).weighted(rule), _weights(adjacency, rule)
        for name in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
        assert got.indices.dtype == np.int32


def test_a_product_in_threads_has_the_bits_of_one(small_is_large: None, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = Prepared.of(drawn(1), Config(bias="after", input_dropout=0.0, rows="all"))
    backend = get_backend("numpy", dtype="float64")
    several = place(backend, prepared, None, training=False).features
    monkeypatch.setattr("portgnn._system.threads.host_threads", lambda: 1)
    np.testing.assert_array_equal(several, place(backend, prepared, None, training=False).features)
    np.testing.assert_allclose(several, prepared.adjacency @ prepared.features, rtol=1e-15, atol=1e-15)


def _levels(graph: Graph, rows: Any, nodes: Any) -> list[int]:
    return [len(each) for each in receptive_field(Prepared.of(graph, Config(rows=rows)), np.asarray(nodes))]


def test_auto_takes_all_nodes_where_most_are_read(small_is_large: None) -> None:
    ring = np.roll(np.eye(40), 1, axis=1)
    graph = Graph(ring + ring.T, np.ones((40, 1)), np.zeros(40, dtype=int))
    # Of a ring, k nodes in a row read k + 2 rows and k + 4.
    assert _levels(graph, "auto", range(26)) == _levels(graph, "needed", range(26)) == [30, 28, 26]
    assert _levels(graph, "auto", range(27)) == [40, 29, 27]
    assert _levels(graph, "auto", range(29)) == [40, 40, 29]
    assert _levels(graph, "auto", range(30)) == [40, 40, 30]
    assert _levels(graph, "auto", range(31)) == [40, 40, 40]
    assert _levels(graph, "needed", range(31)) == [35, 33, 31]
    assert _levels(graph, "all", range(3)) == [40, 40, 40]


def test_auto_cuts_small_graphs_as_needed_does() -> None:
    graph = drawn(0, density=0.5)
    assert _levels(graph, "auto", [3, 4, 5]) == _levels(graph, "needed", [3, 4, 5])
    assert field.widest(Config(), field.SMALL, 100) == 100
    assert field.widest(Config(), field.SMALL + 1, 100) == 75
    assert field.widest(Config(rows="needed"), field.SMALL + 1, 100) == 100
    assert field.widest(Config(rows="all"), 1, 100) == 0


GRAPHS = {
    "drawn": drawn(5),
    "no edges": drawn(6, density=0.0),
    "isolated nodes": drawn(7, density=0.01),
    "one node": Graph(np.zeros((1, 1)), np.ones((1, 4)), [0], train=[0], class_names=("a", "b")),
    "all nodes train": drawn(8, train=np.arange(60), val=None, test=None),
}


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("model", ["gcn", "sage", "gat", "appnp", "sgc"])
def test_losses_and_scores_are_the_same_whatever_is_cut(name: str, model: str, small_is_large: None) -> None:
    runs = []
    for rows in ("auto", "needed", "all"):
        config = Config(model=model, rows=rows, epochs=4, patience=0)  # type: ignore[arg-type]
        engine = WholeGraph(get_backend("numpy", dtype="float64"), Prepared.of(GRAPHS[name], config))
        done, test = fit(engine, 0), GRAPHS[name].test
        # Not those of ranks: where two answers are equal but for rounding, the last digit decides which is first.
        found = {} if test is None else engine.scores(done.params, test)
        scores = [each for key, each in found.items() if key not in ("roc_auc", "average_precision")]
        curves = [each for key, each in done.history.curves.items() if key.endswith("loss")]
        runs.append(np.concatenate([*curves, scores]))
    assert model in NETWORKS
    for run in runs[1:]:
        np.testing.assert_allclose(run, runs[0], rtol=1e-12)


def test_placements_of_all_nodes_share_what_is_on_the_device(small_is_large: None) -> None:
    graph = drawn(2, density=0.2)
    assert graph.train is not None
    backend, shared = get_backend("numpy"), Shared()
    for dropout in (0.0, 0.5):
        prepared = Prepared.of(graph, Config(rows="auto", bias="after", input_dropout=dropout))
        shared = Shared()
        trained = place(backend, prepared, graph.train, training=True, shared=shared)
        held, rest = (place(backend, prepared, each, training=False, shared=shared) for each in (graph.val, None))
        assert held.features is rest.features
        assert (trained.features is held.features) == (dropout == 0.0)
        assert rest.adjacency[1] is (trained.adjacency[0] or rest.adjacency[1])
    assert trained.adjacency[0] is rest.adjacency[1]


def test_some_rows_of_a_product_are_taken_of_that_of_all() -> None:
    graph = drawn(3, density=0.05)
    backend, shared = get_backend("numpy", dtype="float64"), Shared()
    prepared = Prepared.of(graph, Config(rows="needed", bias="after", input_dropout=0.0))
    place(backend, prepared, None, training=False, shared=shared)
    nodes = np.array([3, 17])
    taken = place(backend, prepared, nodes, training=True, shared=shared)
    made = place(backend, prepared, nodes, training=True)
    assert 2 < len(made.features) < 60
    np.testing.assert_array_equal(taken.features, made.features)


def test_whether_a_matrix_is_symmetric() -> None:
    draw = np.random.default_rng(0)
    for _ in range(30):
        dense = draw.integers(0, 3, (6, 6)) * (draw.random((6, 6)) < 0.3)
        for each in (dense, dense + dense.T, np.where(dense + dense.T, 1 + np.triu(dense), 0)):
            assert is_symmetric(canonical_csr(each)) == np.array_equal(each, each.T)
    graph = drawn(1)
    assert graph.is_undirected
    assert "is_undirected" in vars(graph)


FINGERPRINTS = {
    "dense": ("3739a91d85a81fda", "4489419b0f0fc1f9"),
    "dense, zeros": ("8e17e7a59cd0df68", "f5fb25704e765321"),
    "sparse": ("8e17e7a59cd0df68", "f5fb25704e765321"),
    "across blocks": ("940b03bcf1a3e4bc", "ae5e23c985eaa5fe"),
}
"""As 0.1 had them, which are in users' files."""


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_fingerprints_stay_as_they_were(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = (np.arange(60 * 9).reshape(60, 9) * 7919 % 1009 / 1009).astype(np.float32)
    if name != "dense":
        values = np.where(values < 0.5, np.float32(-0.0), values)
    ring = sp.csr_array((np.ones(60), (np.arange(60), (np.arange(60) * 7 + 1) % 60)), shape=(60, 60))
    features: Any = sp.csr_array(values) if name == "sparse" else values
    if name == "across blocks":
        monkeypatch.setattr("portgnn.graphs.fingerprint.BLOCK", 10)
        features = values * np.float64(1.5)
    graph = Graph(ring, features, np.arange(60) % 4, train=[1, 2], val=[3])
    assert tuple(each[:16] for each in fingerprints(graph)) == FINGERPRINTS[name]
