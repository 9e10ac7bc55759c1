"""A link task: its decoder and loss beside dense ones, its curves on every backend, kept runs, predictions."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import portgnn
from portgnn.errors import ConfigError, GraphError, PortgnnError
from portgnn.graphs.graph import Graph
from portgnn.graphs.links import LinkGraph
from portgnn.loaders.links import LinkProblem, Links, SampledLinks
from portgnn.placing import forward
from portgnn.placing.whole import place
from portgnn.prediction.links import predict_links
from portgnn.presets import preset
from portgnn.random import dropout_keys
from portgnn.registry import get_backend
from portgnn.tasks.link import Asked, Link, picking, signs
from portgnn.training import initial_state, parameters_of

QUICK: dict[str, Any] = {"dataset": "karate", "task": "link", "dtype": "float64", "seed": 1, "epochs": 12}
MLP: dict[str, Any] = {"decoder": "mlp", "link_apart": 0.3, "negatives": 2, "dropout": 0.5, "input_dropout": 0.3}


def _params(width: int, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = {"head.weight0": (width, width), "head.bias0": (width,), "head.weight1": (width, 1), "head.bias1": (1,)}
    return {name: random.standard_normal(shape) for name, shape in shapes.items()}


def _dense_scores(rows: np.ndarray, pairs: np.ndarray, params: dict[str, np.ndarray] | None) -> list[float]:
    """Pair by pair, as the papers state them: by a decoder without parameters, with one matrix, or with four arrays."""
    found = []
    for i, j in pairs:
        if params is not None and "head.bias0" not in params:
            found.append(math.fsum((rows[i][:, None] * params["head.weight0"] * rows[j]).ravel()))
            continue
        both = rows[i] * rows[j]
        if params is None:
            found.append(math.fsum(both))
            continue
        columns = zip(params["head.weight0"].T, params["head.bias0"], strict=True)
        hidden = [max(math.fsum(both * weight) + bias, 0) for weight, bias in columns]
        found.append(math.fsum(np.array(hidden) * params["head.weight1"][:, 0]) + params["head.bias1"][0])
    return found


@pytest.mark.parametrize("decoder", ["dot", "mlp", "bilinear"])
def test_decoder_and_loss_are_the_papers(decoder: str) -> None:
    random = np.random.default_rng(4)
    rows, pairs = random.standard_normal((9, 5)), random.integers(0, 9, (14, 2))
    rows[3] = 0.0
    joined = np.arange(14) < 6
    count = {"dot": 0, "bilinear": 1, "mlp": 4}[decoder]
    params = dict(list(_params(5, 2).items())[:count])
    backend = get_backend("numpy", dtype="float64")
    task = Link(preset("gae", decoder=decoder))
    assert {name: each.shape for name, each in task.parameters(5).items()} == {
        name: value.shape for name, value in params.items()
    }
    weights, labels = np.full(14, 1 / 14), signs(joined)
    picked = [backend.csr(picking(each, 9)) for each in (pairs[:6], pairs[6:])]
    asked = Asked(weights=weights, labels=labels, count=14, picked=tuple(picked))

    def loss(given: dict[str, Any]) -> tuple[Any, Any]:
        scores = task.head(backend, given, given["rows"], asked)
        return task.loss(backend, scores, asked), scores

    (value, scores), grads = backend.value_and_grad(loss)({"rows": rows, **params})
    expected = _dense_scores(rows, pairs, params or None)
    assert np.allclose(scores, expected, rtol=0, atol=1e-13)
    entropy = [-math.log(1 / (1 + math.exp(-s if y else s))) for s, y in zip(expected, joined, strict=True)]
    assert value == pytest.approx(math.fsum(entropy) / 14, abs=1e-14)
    step = 1e-6
    for name, at in (("rows", (0, 2)), ("rows", (3, 1)), ("head.weight0", (1, 1)), ("head.bias1", (0,))):
        if name not in {"rows", *params}:
            continue
        moved = []
        for sign in (step, -step):
            other = {key: array.copy() for key, array in ({"rows": rows} | params).items()}
            other[name][at] += sign
            moved.append(float(loss(other)[0]))
        assert grads[name][at] == pytest.approx((moved[0] - moved[1]) / (2 * step), abs=1e-8)


def test_a_pair_of_zero_score_has_the_gradient_of_a_half() -> None:
    """log(1 + exp(s)) made of relu and abs would have none there."""
    backend = get_backend("numpy", dtype="float64")
    task, asked = Link(preset("gae")), Asked(weights=np.ones(1), labels=-np.ones(1), count=1, picked=())
    (_, _), grads = backend.value_and_grad(lambda p: (task.loss(backend, p["s"], asked), None))({"s": np.zeros(1)})
    assert grads["s"].tolist() == [0.5]


def test_the_loss_of_large_scores_is_finite() -> None:
    backend = get_backend("numpy", dtype="float64")
    task = Link(preset("gae"))
    asked = Asked(weights=np.full(4, 0.25), labels=np.array([1.0, 1, -1, -1]), count=4, picked=())
    assert float(task.loss(backend, np.array([800.0, -800, 800, -800]), asked)) == 400.0


@pytest.mark.parametrize("recipe", [{}, MLP], ids=["dot", "mlp"])
def test_an_epoch_is_one_step_on_the_dense_graph(recipe: dict[str, Any]) -> None:
    """The training loss of the first epoch, out of a dense forward pass without anything of the engine's."""
    graph = portgnn.load_graph("karate")
    config = preset("gae", link_seed=5, link_val=0.1, **(recipe | {"dropout": 0.0, "input_dropout": 0.0}))
    problem = LinkProblem.of(graph, config, None)
    backend = get_backend("numpy", dtype="float64")
    engine = Links(backend, problem)
    state = initial_state(backend, problem, 3)
    params = {name: np.array(value) for name, value in parameters_of(state).items()}  # a step consumes its state
    keys = dropout_keys(3, range(1), 2)
    _, curves = engine.make_run(True)(dict(state), keys)
    messages = problem.graph.links.messages.toarray() + np.eye(34)
    scale = 1 / np.sqrt(messages.sum(1))
    smooth = messages * np.outer(scale, scale)
    features = sp.csr_array(graph.features).toarray()
    rows = smooth @ np.maximum(smooth @ features @ params["weight0"], 0) @ params["weight1"]
    edges = problem.graph.links.train
    negatives = problem.graph.links.negatives(keys[0], config.negatives)
    assert len(negatives) == config.negatives * len(edges)
    head = params if config.decoder == "mlp" else None
    joined = np.mean([np.logaddexp(0, -s) for s in _dense_scores(rows, edges, head)])
    apart = np.mean([np.logaddexp(0, s) for s in _dense_scores(rows, negatives, head)])
    assert curves["train_loss"][0] == pytest.approx((joined + apart) / 2, abs=1e-13)


@pytest.mark.parametrize("options", [{}, {"link_apart": 0.3}, {"decoder": "bilinear", "undirected": False}])
def test_every_pair_is_asked_for_with_the_paper_s_weights(options: dict[str, Any]) -> None:
    """tkipf/gae, train.py, on the dense graph: norm * mean of the weighted cross-entropy, labels with a diagonal."""
    graph = portgnn.load_graph("karate")
    if "undirected" in options:
        graph = replace(graph, adjacency=sp.csr_array(sp.triu(graph.adjacency)))
    config = preset("gae-kipf", link_seed=5, **options)
    problem, backend = LinkProblem.of(graph, config, None), get_backend("numpy", dtype="float64")
    state = initial_state(backend, problem, 3)
    params = {name: np.array(value) for name, value in parameters_of(state).items()}
    engine = Links(backend, problem)
    rows = backend.to_numpy(
        forward.outputs(backend, problem.layers, params, place(backend, problem.prepared, None, training=False))
    )
    _, curves = engine.make_run(False)(dict(state), dropout_keys(3, range(1), 2))
    links = problem.graph.links
    adjacency = np.zeros((34, 34))
    for i, j in links.train:
        adjacency[i, j] = 1
        adjacency[j, i] = "undirected" not in options or adjacency[j, i]
    total = adjacency.sum()
    labels = adjacency + np.eye(34)
    scores = rows @ params.get("head.weight0", np.eye(16)) @ rows.T
    pos_weight, norm = (34 * 34 - total) / total, 34 * 34 / ((34 * 34 - total) * 2)
    each = pos_weight * labels * np.logaddexp(0, -scores) + (1 - labels) * np.logaddexp(0, scores)
    messages_alone = (links.messages.toarray() > 0) & (labels == 0)
    assert messages_alone.any() == bool(config.link_apart)
    assert curves["train_loss"][0] == pytest.approx(norm * np.where(messages_alone, 0, each).mean(), abs=1e-13)


def test_every_pair_is_asked_for_where_that_can_be() -> None:
    for options, told in (
        ({"decoder": "mlp"}, "negatives=0 scores every pair at once, by products; take --decoder dot or bilinear"),
        ({"loader": "neighbor"}, "negatives=0 scores every pair at once; leave --loader neighbor out"),
    ):
        with pytest.raises(ConfigError, match=told):
            portgnn.train(**QUICK, preset="gae-kipf", **options)
    many = Graph.from_edges([[0, 1], [1, 2]], sp.csr_array((20_001, 1)))
    with pytest.raises(ConfigError, match="every pair of the 20001 nodes of"):
        portgnn.train(many, preset="gae-kipf", task="link", link_val=0, link_test=0)


def _directed() -> Graph:
    """Edges go from a node to some of the next, and features tell where a node lies."""
    at = np.arange(40)
    edges = [(i, i + step) for step in (1, 2, 3, 5) for i in range(40 - step)]
    return Graph.from_edges(edges, np.exp(-((at[:, None] - at[::2]) ** 2) / 4.0), undirected=False)


def test_links_of_a_directed_graph_have_directions() -> None:
    graph = _directed()
    options: dict[str, Any] = QUICK | {"undirected": False, "decoder": "bilinear", "epochs": 60, "dataset": graph}
    told: list[str] = []
    result = portgnn.train(**options, announce=told.append)
    assert not any("turned round" in each for each in told)
    found = predict_links(result, graph, dtype="float64")
    assert found.held_out["test"] == result.scores
    assert result.scores["roc_auc"] > 0.8
    assert found.joined.tolist() == [True] * 14 + [False] * 14
    there, back = (predict_links(result, graph, pairs, dtype="float64") for pairs in
                   (found.pairs[:14], found.pairs[:14, ::-1]))  # fmt: skip
    assert not back.joined.any()
    assert (there.scores > back.scores).all()
    best = predict_links(result, graph, node=20, k=3)
    assert not best.joined.any()
    # A symmetric decoder can be taken, and is told of.
    portgnn.train(**options | {"decoder": "dot", "epochs": 1}, announce=told.append)
    assert any("the decoder dot scores a pair of nodes as it scores the pair turned round" in each for each in told)


@pytest.mark.parametrize("other", [{"backend": "torch"}, {"loader": "neighbor", "fanout": "all"}])
def test_directed_links_are_the_reference_s(other: dict[str, Any]) -> None:
    if other.get("backend", "numpy") not in portgnn.available_backends():
        pytest.skip("torch is not installed")
    options = QUICK | {"undirected": False, "decoder": "bilinear", "dataset": _directed(), "epochs": 5, "device": "cpu"}
    ours, reference = portgnn.train(**options | other), portgnn.train(**options)
    for curve in ("train_loss", "val_loss", "val_roc_auc"):
        np.testing.assert_allclose(ours.history.curves[curve], reference.history.curves[curve], rtol=1e-12)


def test_negatives_are_other_ones_each_epoch_and_never_edges() -> None:
    graph = portgnn.load_graph("karate")
    links = LinkGraph.of(graph, 0.1, 0.2, 0.0, 2).links
    drawn = [links.negatives(epoch, 1) for epoch in dropout_keys(2, range(30), 2)]
    assert len({each.tobytes() for each in drawn}) == 30
    pairs = np.concatenate(drawn)
    assert not graph.adjacency[pairs[:, 0], pairs[:, 1]].any()
    assert (pairs[:, 0] < pairs[:, 1]).all()


@pytest.mark.parametrize(
    ("name", "recipe"),
    [("torch", {}), ("mlx", MLP), ("jax", MLP), ("torch", {"preset": "gae-kipf"})],
    ids=["torch-dot", "mlx-mlp", "jax-mlp", "torch-every-pair"],
)
def test_curves_are_the_reference_s(name: str, recipe: dict[str, Any]) -> None:
    """bench/studies/links.py takes all 200 epochs, on Cora."""
    if name not in portgnn.available_backends():
        pytest.skip(f"{name} is not installed")
    ours, reference = (portgnn.train(**QUICK, **recipe, backend=each, device="cpu") for each in (name, "numpy"))
    for curve, values in reference.history.curves.items():
        if curve != "epoch_ms":
            assert np.allclose(ours.history.curves[curve], values, rtol=0, atol=1e-12), curve
    assert ours.scores == pytest.approx(reference.scores, abs=1e-12)


ALL = {"loader": "neighbor", "fanout": "all", "dtype": "float64", "patience": 0, "epochs": 3, "device": "cpu"}


@pytest.mark.parametrize("name", ["numpy", "torch", "mlx"])
@pytest.mark.parametrize("recipe", [{}, {"decoder": "mlp", "negatives": 3, "model": "sage", "link_apart": 0.3}])
def test_a_batch_of_all_edges_and_neighbours_is_the_whole_graph(name: str, recipe: dict[str, Any]) -> None:
    if name not in portgnn.available_backends():
        pytest.skip(f"{name} is not installed")
    common = QUICK | ALL | {"backend": name, "dropout": 0.3, "input_dropout": 0.2} | recipe
    whole = portgnn.train(**common | {"loader": "full"})
    sampled = portgnn.train(**common)
    for curve in ("train_loss", "val_loss", "val_roc_auc"):
        np.testing.assert_allclose(sampled.history.curves[curve], whole.history.curves[curve], rtol=1e-12)
    assert sampled.scores == pytest.approx(whole.scores, rel=1e-12)


def test_gradients_of_batches_add_up_to_those_of_all_edges() -> None:
    """Each edge is asked for in one batch, with negatives of its own, and counts as often as any other."""
    common = (
        QUICK | ALL | {"optimizer": "sgd", "learning_rate": 0.1, "negatives": 2, "dropout": 0.0, "input_dropout": 0.0}
    )
    whole = portgnn.train(**common)
    parts = portgnn.train(**common | {"batch_size": 10, "accumulate": 100})
    for curve in ("train_loss", "val_loss"):
        np.testing.assert_allclose(parts.history.curves[curve], whole.history.curves[curve], rtol=1e-12)


def test_sampled_batches_ask_for_each_edge_once_and_go_on_as_they_would_have(tmp_path: Path) -> None:
    recipe = QUICK | ALL | {"fanout": "2", "batch_size": 10, "epochs": 4}
    problem = LinkProblem.of(portgnn.load_graph("karate"), preset(task="link", link_seed=0, **_settled(recipe)), None)
    engine = SampledLinks(get_backend("numpy", dtype="float64"), problem)
    keys = dropout_keys(0, range(2), 2)
    train = problem.graph.links.train
    batches = [list(engine._batches(key)) for key in keys]
    assert [sum(edges.shape[0] // 2 for _, (edges, _) in one) for one in batches] == [len(train)] * 2
    assert {edges.shape[0] // 2 for _, (edges, _) in batches[0]} == {10, len(train) % 10}
    found = portgnn.train(**recipe)
    portgnn.train(**recipe | {"epochs": 2}, checkpoint=tmp_path / "run", every=1)
    resumed = portgnn.train(resume=tmp_path / "run", epochs=4)
    assert resumed.history.curves["train_loss"] == found.history.curves["train_loss"]
    assert all((resumed.model.params[name] == value).all() for name, value in found.model.params.items())


def _settled(recipe: dict[str, Any]) -> dict[str, Any]:
    return {name: recipe[name] for name in ("fanout", "batch_size", "loader")}


def test_a_run_that_goes_on_draws_what_it_would_have_drawn(tmp_path: Path) -> None:
    whole = portgnn.train(**QUICK, **MLP)
    kept = tmp_path / "run.ckpt"
    portgnn.train(**(QUICK | {"epochs": 5}), **MLP, checkpoint=kept)
    again = portgnn.train(resume=kept, epochs=12)
    assert {k: v for k, v in again.history.curves.items() if k != "epoch_ms"} == {
        k: v for k, v in whole.history.curves.items() if k != "epoch_ms"
    }
    assert all((again.model.params[name] == value).all() for name, value in whole.model.params.items())
    assert again.scores == whole.scores


def test_a_model_of_links_comes_back_from_its_file_and_scores_as_it_was_tested(tmp_path: Path) -> None:
    result = portgnn.train(**QUICK, **MLP)
    assert result.config.task == "link"
    assert result.config.link_seed == 1  # the run's own
    assert set(result.scores) == {"roc_auc", "average_precision", "mrr", "hits"}
    path = result.save(tmp_path / "links.safetensors")
    graph = portgnn.load_graph("karate")
    found = predict_links(path, graph, dtype="float64")
    assert found.held_out["test"] == result.scores
    assert found.held_out["validation"]["roc_auc"] == result.history.curves["val_roc_auc"][-1]
    assert found.joined.sum() == 7 == len(found.pairs) / 2
    same = predict_links(path, graph, found.pairs[:3, ::-1], dtype="float64")
    assert np.allclose(same.scores, found.scores[:3], rtol=0, atol=1e-15)
    assert np.allclose(same.probabilities, 1 / (1 + np.exp(-found.scores[:3])))
    assert predict_links(path, graph, np.zeros((0, 2), dtype=int)).scores.shape == (0,)


def test_the_best_new_links_of_a_node_are_those_of_the_highest_scores() -> None:
    result = portgnn.train(**QUICK)
    graph = portgnn.load_graph("karate")
    best = predict_links(result, graph, node="3", k=4, dtype="float64")
    assert (best.pairs[:, 0] == 3).all()
    assert not best.joined.any()
    others = [j for j in range(34) if j != 3 and not graph.adjacency[3, j]]
    scores = predict_links(result, graph, [[3, j] for j in others], dtype="float64").scores
    assert best.pairs[:, 1].tolist() == [others[at] for at in np.argsort(-scores, kind="stable")[:4]]


def test_another_graph_is_scored_along_all_of_its_edges() -> None:
    result = portgnn.train(**QUICK)
    graph = portgnn.load_graph("karate")
    fewer = graph.adjacency.tolil()
    fewer[0, 1] = fewer[1, 0] = 0
    other = replace(graph, adjacency=sp.csr_array(fewer))
    found = predict_links(result, other, [[0, 1]])
    assert found.held_out == {}
    assert "another" in found.notes[0] or "not the graph" in found.notes[0]
    with pytest.raises(ConfigError, match="not trained on this graph"):
        predict_links(result, other)


def test_names_of_nodes_stand_for_them() -> None:
    ids = np.array([f"n{i}" for i in range(34)], dtype=object)
    graph = replace(portgnn.load_graph("karate"), node_ids=ids)
    result = portgnn.train(graph, task="link", epochs=2)
    named, numbered = (predict_links(result, graph, each) for each in ([["n0", "n9"]], [[0, 9]]))
    assert named.scores == numbered.scores
    with pytest.raises(GraphError, match="node 'n99' is not in karate"):
        predict_links(result, graph, [["n99", "n1"]])


@pytest.mark.parametrize(
    ("options", "kind", "told"),
    [
        ({"loader": "cluster"}, ConfigError, "links join nodes of several clusters; leave --loader cluster out"),
        ({"hits_k": 8}, ConfigError, "hits_k=8 needs as many negative pairs, and the validation part of karate has 3"),
        ({"link_val": 0.5, "link_test": 0.5}, ConfigError, "leave no message edges of the 78 edges of karate"),
        ({"link_val": 0.001}, ConfigError, "link_val=0.001 of 78 edges of karate is less than one"),
        ({"decoder": "cosine"}, ConfigError, "decoder='cosine' is not one of dot, mlp, bilinear"),
    ],
)
def test_what_cannot_be_trained_is_said_in_a_line(options: dict[str, Any], kind: type[PortgnnError], told: str) -> None:
    with pytest.raises(kind) as raised:
        portgnn.train(**QUICK, **options)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_graphs_without_links_to_learn_are_refused() -> None:
    everything = np.ones((6, 6)) - np.eye(6)
    for adjacency, options, told in (
        (everything, {}, "an edge joins every pair of nodes"),
        (np.zeros((6, 6)), {}, "has no edges between different nodes"),
    ):
        with pytest.raises(PortgnnError, match=told):
            portgnn.train(
                Graph(sp.csr_array(adjacency), np.eye(6)), task="link", link_val=0.2, link_test=0.2, **options
            )
    directed = Graph(sp.csr_array(np.eye(6, k=1)), np.eye(6))
    assert portgnn.train(directed, task="link", link_val=0.2, link_test=0.2, epochs=1).edges == 5


@pytest.mark.parametrize(
    ("asked", "kind", "told"),
    [
        ({"pairs": [[0, 99]]}, GraphError, "node 99 is not in karate, whose nodes are 0 to 33"),
        ({"pairs": [["x", "1"]]}, GraphError, "node 'x' is not in karate"),
        ({"pairs": [[1, 1]]}, GraphError, "pair 0 joins node 1 with itself"),
        ({"pairs": [1, 2]}, GraphError, "must have the shape [pairs, 2], and not [2]"),
        ({"pairs": np.ones((2, 3))}, GraphError, "and not [2, 3]"),
        ({"pairs": [[0.5, 1]]}, GraphError, "0.5 is no node"),
        ({"node": 99}, GraphError, "node 99 is not in karate"),
        ({"node": 0, "k": 18}, ConfigError, "k=18 new links of node 0 were asked for, and there are 17 candidates"),
        ({"node": 0, "k": 0}, ConfigError, "k=0 must be an integer, 1 or more"),
        ({"node": 0, "pairs": [[0, 1]]}, ConfigError, "two questions"),
    ],
)
def test_what_cannot_be_predicted_is_said_in_a_line(
    asked: dict[str, Any], kind: type[PortgnnError], told: str, trained: portgnn.TrainResult
) -> None:
    with pytest.raises(kind) as raised:
        predict_links(trained, portgnn.load_graph("karate"), **asked)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def trained() -> portgnn.TrainResult:
    return portgnn.train(**QUICK)


def test_a_model_of_one_kind_does_not_answer_for_the_other(trained: portgnn.TrainResult) -> None:
    graph = portgnn.load_graph("karate")
    with pytest.raises(ConfigError, match="knows no classes; take portgnn"):
        portgnn.classify(trained, graph)
    with pytest.raises(ConfigError, match="train one with --task link"):
        predict_links(portgnn.train("karate", epochs=1), graph)
    assert portgnn.predict(trained, graph).shape == (34, trained.config.embedding)


def test_the_recipe_of_links_is_the_paper_s() -> None:
    found = asdict(preset(task="link"))
    assert found["preset"] == "gae"
    assert (found["hidden"], found["embedding"], found["epochs"], found["learning_rate"]) == (32, 16, 200, 0.01)
    assert (found["link_val"], found["link_test"], found["decoder"]) == (0.05, 0.1, "dot")
    assert preset(model="gcn").preset == preset().preset == "kipf"
    assert preset(model="gat", task="link").task == "link"
    assert preset(model="gat", task="link").model == "gat"


@pytest.mark.parametrize(
    ("method", "wrong", "check"),
    [
        ("loss", lambda right: lambda *given: 0.5 * right(*given), "link.loss"),
        (
            "loss",
            lambda right: lambda task, backend, out, counted: right(task, backend, -1 * out, counted),
            "link.loss",
        ),
        ("scores", lambda right: lambda task, backend, params, a, b: right(task, backend, params, a, a), "link.scores"),
    ],
    ids=["half the loss", "labels turned round", "one end for both"],
)
def test_verify_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch, method: str, wrong: Any, check: str) -> None:
    def only_links(name: str) -> bool:
        return name.startswith("link.")

    assert portgnn.verify("numpy", dtype="float64", only=only_links, draw=3).passed
    monkeypatch.setattr(Link, method, wrong(getattr(Link, method)))
    assert portgnn.verify("numpy", dtype="float64", only=only_links, draw=3).first_failure == check


def test_whole_trainings_are_not_followed_for_links() -> None:
    with pytest.raises(ConfigError, match="about nodes, and gae is of pairs"):
        portgnn.verify_seeds("numpy", seeds=1, dataset="karate", preset="gae")
