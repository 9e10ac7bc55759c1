"""What a network pays, hides and explains: the same on every backend, and what it is by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import portgnn
from portgnn import cli
from portgnn.explaining.explain import answers_with
from portgnn.explaining.explanation import Explainer
from portgnn.graphs.graph import Graph
from portgnn.models.layer import Layer, Parameter
from portgnn.registry import available_backends, get_backend

Streams = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def graph() -> Graph:
    random = np.random.default_rng(2)
    dense = np.triu(random.random((14, 14)) < 0.2, 1) * random.choice([0.5, 2.0], (14, 14))
    dense[6] = dense[:, 6] = 0.0
    return Graph(
        sp.csr_array(dense + dense.T), random.standard_normal((14, 5)), labels=np.arange(14) % 2,
        class_names=("even", "odd"), train=np.arange(8), val=np.arange(8, 14),
        node_ids=np.array([f"n{at}" for at in range(14)], dtype=object),
        feature_names=("a", "b", "c", "d", "e"), name="drawn",
    )  # fmt: skip


def _model(graph: Graph, network: Any, **options: Any) -> portgnn.Model:
    model: portgnn.Model = portgnn.train(graph, model=network, epochs=3, dtype="float64", **options).model
    return model


@pytest.mark.parametrize("method", ["mask", "gradient"])
def test_every_backend_explains_alike(method: Any, graph: Graph) -> None:
    others = [name for name in available_backends() if name != "numpy"]
    for network, options in (("gcn", {}), ("gat", {"heads": 2, "hidden": 3, "activation": "relu"})):
        model = _model(graph, network, **options)
        expected = portgnn.explain(model, graph, 3, method=method, epochs=12, dtype="float64")
        for name in others if network == "gcn" else ("torch",):
            devices = available_backends()[name]
            if "cpu" not in devices:
                continue
            found = portgnn.explain(
                model, graph, 3, method=method, epochs=12, backend=name, device="cpu", dtype="float64"
            )
            for scores in ("edge_scores", "feature_scores", "node_scores"):
                assert np.abs(getattr(found, scores) - getattr(expected, scores)).max() <= 1e-12, (name, scores)


def _nudged(graph: Graph, model: portgnn.Model, node: int, edge: tuple[int, int], by: float) -> float:
    """A logit where one edge's messages are a little stronger."""
    explainer = Explainer(model, graph, get_backend("numpy", dtype="float64"))
    around, row = explainer.around(node)
    at = around.edges.tolist().index(list(edge))
    mask = np.ones((len(around.edges), 1))
    mask[at] += by
    backend = around.backend
    outputs, _ = around.outputs(backend.asarray(around.features), backend.asarray(mask))
    return float(backend.to_numpy(outputs)[row].max())


@pytest.mark.parametrize("network", ["gcn", "sage", "gin", "gatv2", "gcn2", "cheb", "appnp"])
def test_a_gradient_is_the_slope(network: str, graph: Graph) -> None:
    options = {"gcn2": {"layers": 2, "hidden": 6}, "appnp": {"hops": 2}}.get(network, {})
    model = _model(graph, network, **options)
    found = portgnn.explain(model, graph, 3, method="gradient", dtype="float64")
    for at in found.top_edges(3):
        edge = tuple(found.edges[at].tolist())
        slope = (_nudged(graph, model, 3, edge, 1e-5) - _nudged(graph, model, 3, edge, -1e-5)) / 2e-5  # type: ignore[arg-type]
        assert found.edge_scores[at] == pytest.approx(slope, rel=1e-5, abs=1e-9)
    logits = portgnn.predict(model, graph, dtype="float64")[3]
    assert portgnn.predict(model, graph, dtype="float64").argmax(axis=1)[3] == ("even", "odd").index(found.answer)
    assert found.predicted == pytest.approx(np.exp(logits.max()) / np.exp(logits).sum())


def test_all_edges_and_none_are_the_graph_and_one_without(graph: Graph) -> None:
    for network in ("gcn", "gat", "sage", "gin"):
        model = _model(graph, network)
        explainer = Explainer(model, graph, get_backend("numpy", dtype="float64"))
        around, row = explainer.around(3)
        full = answers_with(around, row, np.ones(len(around.edges), dtype=bool))
        assert np.abs(full - portgnn.predict(model, graph, dtype="float64")[3]).max() < 1e-12
    # Of a sum over neighbours alone: without messages it is the graph without edges.
    bare = Graph(sp.csr_array((14, 14)), graph.features, name="bare", feature_names=graph.feature_names)
    none = answers_with(around, row, np.zeros(len(around.edges), dtype=bool))
    assert np.abs(none - portgnn.predict(model, bare, dtype="float64")[3]).max() < 1e-12


def test_only_the_receptive_field_is_computed(graph: Graph) -> None:
    model = _model(graph, "gcn")
    found = portgnn.explain(model, graph, "n3")
    reached = np.linalg.matrix_power((graph.adjacency.toarray() != 0) + np.eye(14), 2)[3] > 0
    assert found.nodes.tolist() == np.flatnonzero(reached).tolist()
    assert len(found.nodes) < 14
    alone = portgnn.explain(model, graph, 6)  # a node without an edge
    assert len(alone.edges) == 0
    assert alone.with_edges == alone.without_edges == pytest.approx(alone.predicted)


def test_masks_find_the_edge_that_decides() -> None:
    """Node 0's answer is its neighbour 1's feature; eight other neighbours say nothing."""
    dense = np.zeros((40, 40))
    dense[0, 1:10] = dense[1:10, 0] = 1.0
    labels = np.zeros(40, dtype=np.int64)
    features = np.zeros((40, 3))
    features[:, 2] = 1.0
    for at in range(10, 40, 2):
        dense[at, at + 1] = dense[at + 1, at] = 1.0
        features[at + 1, 0] = labels[at] = at % 4 == 0
    features[1, 0] = 9.0  # of nine neighbours it is the only one that says something
    fitted = np.arange(10, 40, 2)
    graph = Graph(sp.csr_array(dense), features, labels=labels, train=fitted[3:], val=fitted[:3])
    model = portgnn.train(
        graph,
        model="sage",
        layers=1,
        epochs=200,
        learning_rate=0.1,
        input_dropout=0.0,
        l2=0.0,
        normalize_features="none",
    ).model
    found = portgnn.explain(model, graph, 0, method="gradient", answer="1", edges=1)
    assert found.edges[found.top_edges(1)[0]].tolist() == [1, 0]
    assert found.feature_name(int(found.top_features(1)[0])) == "0"
    assert found.with_edges > found.predicted - 0.05 > found.without_edges + 0.3
    # Of a mask, the others may end anywhere that says the same: the entropy wants them at 0 or at 1.
    for seed in range(3):
        masked = portgnn.explain(model, graph, 0, method="mask", answer="1", epochs=400, seed=seed)
        assert masked.edge_scores[masked.edges.tolist().index([1, 0])] > 0.6, seed


@dataclass(frozen=True)
class Summing(Layer):
    """Adds messages up by itself, edge by edge."""

    @property
    def along(self) -> Any:
        return "edges"

    def parameters(self) -> Any:
        return {"weight": Parameter((self.fan_in, self.fan_out))}

    def message(self, backend: Any, params: Any, x: Any) -> Any:
        return backend.matmul(x, params["weight"]), None

    def aggregate(self, backend: Any, params: Any, edges: Any, sent: Any, kept: Any) -> Any:
        return edges.sum(edges.gather(sent, "source"))

    def update(self, backend: Any, params: Any, total: Any, kept: Any) -> Any:
        return total


@dataclass(frozen=True)
class SummingNet(portgnn.Network):
    """Adds up."""

    def built(self, features: int, classes: int) -> tuple[Layer, ...]:
        return (Summing(0, features, classes, is_last=True),)


def test_a_network_of_ones_own_is_explained(graph: Graph) -> None:
    model = _model(graph, SummingNet)
    found = portgnn.explain(model, graph, 3, method="gradient", dtype="float64")
    sent = np.asarray(graph.features) @ model.params["weight0"]
    answer = ("even", "odd").index(found.answer)
    assert np.allclose(found.edge_scores, sent[found.edges[:, 0], answer], rtol=0, atol=1e-12)


def test_attention_is_a_share(graph: Graph) -> None:
    model = _model(graph, "gat", heads=3, hidden=2)
    found = portgnn.attention(model, graph, dtype="float64")
    sums = np.zeros((14, 3))
    np.add.at(sums, found.edges[:, 1], found.weights)
    assert np.abs(sums - 1).max() < 1e-12
    rows = np.asarray(graph.features) @ model.params["weight0"]
    by_head = rows.reshape(14, 3, 2)
    of, to = ((by_head * model.params[f"{end}0"]).sum(axis=2) for end in ("source", "target"))
    scores = of[found.edges[:, 0]] + to[found.edges[:, 1]]
    raised = np.exp(np.where(scores > 0, scores, 0.2 * scores))
    sums = np.zeros((14, 3))
    np.add.at(sums, found.edges[:, 1], raised)
    assert np.abs(found.weights - raised / sums[found.edges[:, 1]]).max() < 1e-12
    assert portgnn.attention(model, graph, layer=2).weights.shape == (len(found.edges), 1)
    with pytest.raises(portgnn.PortgnnError, match=r"^this gcn pays no attention to edges"):
        portgnn.attention(_model(graph, "gcn"), graph)


def test_a_hidden_layer_is_what_it_is_by_hand(graph: Graph) -> None:
    model = _model(graph, "gcn")
    a = graph.adjacency.toarray() + np.eye(14)
    root = 1 / np.sqrt(a.sum(axis=1))
    hidden = np.maximum(root[:, None] * a * root @ np.asarray(graph.features) @ model.params["weight0"], 0)
    for layer in (None, 1):
        assert np.abs(portgnn.embed(model, graph, layer=layer, dtype="float64") - hidden).max() < 1e-12
    assert np.array_equal(portgnn.embed(model, graph, layer=2), portgnn.predict(model, graph))
    with pytest.raises(portgnn.PortgnnError, match="layer=3 is none of this gcn, which has the layers 1 to 2"):
        portgnn.embed(model, graph, layer=3)
    with pytest.raises(portgnn.PortgnnError, match="layer=0 must be"):
        portgnn.embed(model, graph, layer=0)


def test_what_cannot_be_explained_says_why(graph: Graph) -> None:
    model = _model(graph, "gcn")
    for given, said in (
        ({"node": 14}, r"drawn has no node 14; it has the numbers 0 to 13"),
        ({"node": -1}, r"drawn has no node -1"),
        ({"node": "Zoe"}, r"drawn has no node 'Zoe'"),
        ({"node": 3, "method": "shap"}, r"method='shap' must be gradient or mask"),
        ({"node": 3, "answer": "old"}, r"answer='old' is none of what the model says of a node: 'even', 'odd'"),
        ({"node": 3, "epochs": 0}, r"epochs=0 must be"),
    ):
        with pytest.raises(portgnn.PortgnnError, match=said):
            portgnn.explain(model, graph, **given)  # type: ignore[arg-type]
    with pytest.raises(portgnn.PortgnnError, match="the model scores pairs of nodes"):
        portgnn.explain(portgnn.train("karate", task="link", epochs=1), "karate", 0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return portgnn.train("karate", epochs=5).save(tmp_path_factory.mktemp("saved") / "k.safetensors")


def test_the_command_explains_and_draws(saved: Path, tmp_path: Path, capsys: Streams) -> None:
    words = ["explain", str(saved), "--dataset", "karate", "--node", "8", "--edges", "3", "--epochs", "5"]
    assert cli.main([*words, "--method", "mask", "--out", str(tmp_path / "why.svg")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("node 8: ")
    assert "with these 3 edges alone" in out
    picture = (tmp_path / "why.svg").read_text()
    assert "learned masks" in picture
    assert cli.main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["edges"]) == 3
    assert set(document["edges"][0]) == {"source", "target", "score"}
    assert cli.main(["explain", str(saved), "--dataset", "karate", "--node", "34"]) == 2
    assert capsys.readouterr().err == "error: karate has no node 34; it has the numbers 0 to 33\n"
    assert cli.main([*words, "--out", str(tmp_path / "why.txt")]) == 2
    assert "must end in .png, .svg, .pdf" in capsys.readouterr().err


def test_predict_writes_rows_of_a_layer(saved: Path, tmp_path: Path, capsys: Streams) -> None:
    words = ["predict", str(saved), "--dataset", "karate", "--layer", "1"]
    expected = portgnn.embed(saved, "karate", layer=1)
    for name in ("h.csv", "h.npz", "h.parquet"):
        assert cli.main([*words, "--out", str(tmp_path / name)]) == 0
    assert np.array_equal(np.load(tmp_path / "h.npz")["hidden"], expected)
    table = np.genfromtxt(tmp_path / "h.csv", delimiter=",", skip_header=1, dtype=np.float32)
    assert np.array_equal(table[:, 1:], expected)
    capsys.readouterr()
    assert cli.main([*words, "--json", "--rows"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["width"] == 16
    assert np.allclose(document["rows"][5]["hidden"], expected[5])
    assert cli.main([*words[:-1], "7"]) == 2
    assert "layer=7 is none of this gcn, which has the layers 1 to 2" in capsys.readouterr().err


def test_predict_writes_to_stdout_and_rows_into_json(saved: Path, tmp_path: Path, capsys: Streams) -> None:
    words = ["predict", str(saved), "--dataset", "karate"]
    assert cli.main([*words, "--out", str(tmp_path / "n.csv")]) == 0
    capsys.readouterr()
    assert cli.main([*words, "--out", "-"]) == 0
    assert capsys.readouterr().out == (tmp_path / "n.csv").read_text()
    assert cli.main([*words, "--json", "--rows"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["rows"]) == 34
    assert {"node", "predicted", "probability", "part"} <= set(document["rows"][0])
    assert cli.main([*words, "--out", "-", "--json"]) == 2
    assert "--out - and --json both write to stdout" in capsys.readouterr().err
    assert cli.main([*words, "--rows"]) == 2
    assert "--rows is of --json" in capsys.readouterr().err
