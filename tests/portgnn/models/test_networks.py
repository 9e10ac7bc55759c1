"""The seam between a network and whoever computes it: another network serves all of them, with no edit there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from portgnn import Graph, get_backend
from portgnn.checkpoints.model import read_config
from portgnn.disk.folder import write_graph
from portgnn.errors import ConfigError
from portgnn.loaders.batch import as_tree, assemble, from_tree, place_batch
from portgnn.loaders.engine import Sampled
from portgnn.loaders.inference import Inference
from portgnn.loaders.neighbor import batches
from portgnn.loaders.on_disk import OnDisk
from portgnn.loaders.source import InMemory
from portgnn.models import NETWORKS, Layer, Parameter, Stacked
from portgnn.models.initial import initial_values
from portgnn.models.layer import Weighting
from portgnn.placing import forward
from portgnn.placing.edges import Looped
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import Config
from portgnn.random import dropout_keys
from portgnn.training import WholeGraph, fit, initial_state, make_loss, parameters_of

MakeGraph = Callable[..., Graph]
RULES: tuple[Weighting, ...] = ("symmetric", "laplacian", "mean", "sum", "neighbours", "pattern")


@dataclass(frozen=True)
class Mean(Layer):
    """W_own x + W_neighbour mean(x of the neighbours) + b (Hamilton et al. 2017, GraphSAGE with the mean)."""

    keeps = True

    def parameters(self) -> Mapping[str, Parameter]:
        weight = Parameter((self.fan_in, self.fan_out))
        return {"own": weight, "neighbour": weight, "bias": Parameter((self.fan_out,), "zeros", "bias")}

    def message(self, backend: Any, params: Any, x: Any) -> tuple[Any, Any]:
        return backend.matmul(x, params["neighbour"]), backend.matmul(x, params["own"])

    def update(self, backend: Any, params: Any, total: Any, kept: Any) -> Any:
        return total + kept + params["bias"]


@dataclass(frozen=True)
class SAGE(Stacked):
    weighting = "mean"

    def layer(self, **place: Any) -> Layer:
        return Mean(**place)


def _recipe(**changes: Any) -> Config:
    return Config(**{"model": SAGE, "hidden": 5, "l2": 0.0, **changes})


def _source(graph: Graph, **changes: Any) -> InMemory:
    return InMemory(Prepared.of(graph, _recipe(**changes)))


def _dense(adjacency: Any, rule: Weighting) -> Any:
    a = adjacency.toarray()
    looped = a + np.diag(np.diag(a) == 0)
    if rule == "symmetric":
        root = 1 / np.sqrt(looped.sum(axis=1))
        return root[:, None] * looped * root
    if rule == "laplacian":
        sums = np.sqrt(a.sum(axis=1))
        return -a / np.where(a == 0, 1, np.outer(sums, sums))
    if rule == "neighbours":
        return (a != 0).astype(float)
    if rule == "mean":
        sums = a.sum(axis=1, keepdims=True)
        return a / np.where(sums == 0, 1, sums)
    return a if rule == "sum" else (looped != 0).astype(float)


def _weighted(graph: Graph) -> Graph:
    """Weights of many sizes, some loops, and a node without a neighbour."""
    draw = np.random.default_rng(0)
    dense = graph.adjacency.toarray() * draw.choice([1e-20, 0.5, 3.0], graph.adjacency.shape)
    dense = np.maximum(dense, dense.T) + np.diag(np.arange(len(dense)) % 4 == 0) * 2.0
    dense[5, :] = dense[:, 5] = 0.0
    return replace(graph, adjacency=sp.csr_array(dense))


@pytest.mark.parametrize("rule", RULES)
def test_weights_are_functions_of_the_graph_in_memory_on_disk_and_in_samples(
    make_graph: MakeGraph, tmp_path: Path, rule: Weighting
) -> None:
    weighing = type("Weighing", (SAGE,), {"weighting": rule})
    for number, graph in enumerate((make_graph(1), _weighted(make_graph(1)))):
        want = _dense(graph.adjacency, rule)
        looped = Looped.of(graph.adjacency)
        found = looped.weighted(rule)
        np.testing.assert_allclose(found.toarray(), want, rtol=1e-14)
        assert found.nnz == looped.matrix.nnz  # the diagonal is stored, where it counts and where not
        config = Config(model=weighing, loader="neighbor", fanout="all")
        disk = OnDisk(write_graph(graph, tmp_path / f"{number}.graph"), config)
        nodes = np.array([0, 5, 17, 39])
        for source in (InMemory(Prepared.of(graph, config)), disk):
            np.testing.assert_allclose(source.rows(nodes).toarray(), want[nodes], rtol=1e-14)


@pytest.mark.parametrize("features", ["sparse", "dense"])
def test_needed_rows_batches_and_chunks_are_the_whole_graph(make_graph: MakeGraph, features: str) -> None:
    graph, backend = make_graph(3, nodes=60), get_backend("numpy", dtype="float64")
    changes = {"features": features, "loader": "neighbor", "batch_size": 3, "fanout": "all"}
    source = _source(graph, rows="all", **changes)
    params = {name: value + 0.1 for name, value in initial_values(source.layers, 0).items()}
    assert list(params) == ["own0", "own1", "neighbour0", "neighbour1", "bias0", "bias1"]
    keys = dropout_keys(1, range(1), 2)[0].tolist()

    def gradients(task: Any, operands: Any) -> tuple[float, dict[str, Any]]:
        (loss, _), found = backend.value_and_grad(make_loss(backend, operands, task))(params, keys)
        return float(loss), found

    train = graph.train
    assert train is not None
    loss, want = gradients(source, place(backend, source.prepared, train, training=True))
    needed = _source(graph, **changes)
    operands = place(backend, needed.prepared, train, training=True)
    assert all(matrix is not None for matrix in operands.picked)
    few, found = gradients(needed, operands)
    summed: dict[str, Any] = dict.fromkeys(params, 0.0)
    total = 0.0
    for block in batches(needed, train, np.random.default_rng(0)):
        part, each = gradients(needed, from_tree(as_tree(place_batch(backend, assemble(needed, block)))))
        share = len(block.nodes) / len(train)
        total += share * part
        summed = {name: summed[name] + share * each[name] for name in params}
    assert few == pytest.approx(loss, rel=1e-12)
    assert total == pytest.approx(loss, rel=1e-12)
    for name, value in want.items():
        assert np.abs(value).max() > 0
        np.testing.assert_allclose(found[name], value, rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(summed[name], value, rtol=1e-11, atol=1e-14)
    logits = forward.outputs(backend, source.layers, params, place(backend, source.prepared, None, training=False))
    x, a = source.prepared.features, _dense(graph.adjacency, "mean")
    hidden = np.maximum(a @ (x @ params["neighbour0"]) + x @ params["own0"] + params["bias0"], 0)
    by_hand = a @ (hidden @ params["neighbour1"]) + hidden @ params["own1"] + params["bias1"]
    np.testing.assert_allclose(logits, by_hand, rtol=1e-12, atol=1e-14)
    for nodes in (None, np.array([0, 7, 59])):
        chunks = Inference(backend, needed, nodes, chunk=20).logits(params)
        np.testing.assert_allclose(chunks, by_hand if nodes is None else by_hand[nodes], rtol=1e-12, atol=1e-14)


def test_it_trains_on_backends_alike_whole_and_in_batches(make_graph: MakeGraph) -> None:
    pytest.importorskip("torch")
    graph = make_graph(4, nodes=60)
    for changes in (
        {},
        {"loader": "neighbor", "batch_size": 8, "fanout": "2", "epochs": 3},
        {"loader": "cluster", "batch_size": 20, "epochs": 3},
    ):
        losses = []
        for name in ("numpy", "torch"):
            source = _source(graph, **{"epochs": 15, "patience": 0, **changes})
            backend = get_backend(name, device="cpu", dtype="float64")
            engine: Any = Sampled(backend, source) if changes else WholeGraph(backend, source.prepared)
            losses.append(fit(engine, 0).history.train_loss)
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-12)
        assert changes or losses[0][-1] < losses[0][0]


def test_another_parameter_moves_no_other() -> None:
    class More(Mean):
        def parameters(self) -> Mapping[str, Parameter]:
            return {"first": Parameter((3, 4)), **super().parameters(), "drawn": Parameter((2,), _ramp)}

    def _ramp(generator: Any, shape: tuple[int, ...]) -> Any:
        return np.arange(shape[0]) + 0 * generator.random()

    plain, more = (initial_values((kind(0, 9, 5), kind(1, 5, 3)), 7) for kind in (Mean, More))
    assert {name: plain[name].tobytes() for name in plain} == {name: more[name].tobytes() for name in plain}
    np.testing.assert_array_equal(more["drawn1"], [0.0, 1.0])
    drawn = [value.ravel()[0] for name, value in more.items() if not name.startswith(("bias", "drawn"))]
    assert len(set(drawn)) == len(drawn)


def test_a_network_that_mixes_rows_computes_all(make_graph: MakeGraph) -> None:
    mixing = type("Mixing", (SAGE,), {"prunable": False})
    graph = make_graph(2)
    for kind, everything in ((SAGE, False), (mixing, True)):
        operands = place(get_backend("numpy"), Prepared.of(graph, Config(model=kind)), graph.train, training=True)
        assert (operands.labels.shape[0] == graph.num_nodes) is everything


def test_networks_are_found_by_name() -> None:
    assert Config(hidden=7).network == NETWORKS["gcn"](hidden=7)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"unknown network 'gnc'\. Did you mean .*'gcn'"):
        Config(model="gnc")
    with pytest.raises(ConfigError, match=r"dropout=1\.5 must be at least 0 and below 1"):
        SAGE(dropout=1.5)


def test_a_network_of_a_million_steps_is_refused_by_its_record() -> None:
    with pytest.raises(ConfigError, match=r"layers=10000 of terms=100 are 1000000 steps, of at most 10000"):
        read_config({"model": "cheb", "layers": 10_000, "terms": 100})
    assert read_config({"model": "cheb", "layers": 5_000, "terms": 2}).layers == 5_000


def test_states_hold_the_parameters_by_name(make_graph: MakeGraph) -> None:
    backend, source = get_backend("numpy"), _source(make_graph(0))
    assert set(parameters_of(initial_state(backend, source, 0))) == set(initial_values(source.layers, 0))
