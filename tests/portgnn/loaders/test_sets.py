"""Training on sets of graphs: batches, readouts, every backend, kept and resumed runs, predictions."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import portgnn
from portgnn import Graph, GraphSet, predict, train
from portgnn.cli import main
from portgnn.datasets.splits import with_split
from portgnn.errors import ConfigError, GraphError, PortgnnError
from portgnn.loaders.sets import GraphBatches, PreparedSet, Shape, assembled, place
from portgnn.models.gin import GIN
from portgnn.models.initial import initial_values
from portgnn.models.layer import streams_of
from portgnn.presets import preset
from portgnn.random import dropout_keys
from portgnn.registry import backend_of

READOUTS = ("sum", "mean", "max", "attention")


def _ring_or_star(kind: int, size: int, draw: np.random.Generator) -> Graph:
    edges = [(i, (i + 1) % size) for i in range(size)] if kind else [(0, i) for i in range(1, size)]
    return Graph.from_edges(edges, draw.normal(size=(size, 3)))


def small(count: int = 40, split: str | None = "folds:5:0", **fields: Any) -> GraphSet:
    """Rings and stars of 3 to 9 nodes."""
    draw = np.random.default_rng(0)
    kinds = np.arange(count) % 2
    graphs = GraphSet.of(
        [_ring_or_star(kind, int(draw.integers(3, 10)), draw) for kind in kinds],
        **{"labels": kinds, "class_names": ("star", "ring"), "name": "shapes"} | fields,
    )
    return graphs if split is None else with_split(graphs, split)


RECIPE: dict[str, Any] = {
    "model": "gin", "hidden": 8, "epochs": 6, "batch_size": 7, "patience": 0, "dtype": "float64", "device": "cpu",
}  # fmt: skip


def _dense(graph: Graph, params: dict[str, Any], readout: str) -> np.ndarray[Any, Any]:
    """The outputs of a two-layer GIN and a readout for one graph, written out."""
    rows, adjacency = np.asarray(graph.features), graph.adjacency.toarray()
    for k in (0, 1):
        rows = (adjacency + (1 + params[f"eps{k}"]) * np.eye(len(rows))) @ rows
        inner = np.maximum(rows @ params[f"weight{k}"] + params[f"bias{k}"], 0)
        rows = inner @ params[f"outer{k}"] + params[f"outer_bias{k}"]
        rows = rows if k else np.maximum(rows, 0)
    if readout == "sum":  # the shift once a graph
        return np.asarray(inner.sum(axis=0) @ params["outer1"] + params["outer_bias1"])
    if readout == "attention":
        raised = np.exp(rows[:, -1] - rows[:, -1].max())
        return np.asarray((raised / raised.sum()) @ rows[:, :-1])
    return np.asarray({"sum": rows.sum, "mean": rows.mean, "max": rows.max}[readout](axis=0))


@pytest.mark.parametrize("readout", READOUTS)
def test_readouts_are_what_they_say(readout: str) -> None:
    graphs = small()
    result = train(graphs, readout=readout, **RECIPE)
    found = predict(result, graphs, dtype="float64")
    for number in (0, 1, 17, 39):
        expected = _dense(graphs[number], result.model.params, readout)
        np.testing.assert_allclose(found[number], expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(
            predict(result, graphs[number], dtype="float64")[0], expected, rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize(("model", "readout"), [("gin", "sum"), ("gcn", "mean"), ("gat", "max"), ("sage", "attention")])
def test_backends_agree(model: str, readout: str) -> None:
    recipe = RECIPE | {"model": model, "epochs": 2, "readout": readout, "dropout": 0.2}
    graphs = small(16, split="folds:4:0")
    known = train(graphs, **recipe)
    there = [name for name in ("torch", "mlx") if name in portgnn.available_backends()]
    for name in there:
        other = train(graphs, backend=name, **recipe)
        for curve in ("train_loss", "val_loss"):
            np.testing.assert_allclose(other.history.curves[curve], known.history.curves[curve], rtol=1e-12, atol=1e-12)
        assert other.scores == known.scores


def test_sets_are_scored_by_all_that_the_task_knows_and_watched_by_any_of_it() -> None:
    graphs = small()
    result = train(graphs, monitor="val_roc_auc", restore_best=True, **RECIPE)
    assert {"accuracy", "balanced_accuracy", "macro_f1", "roc_auc"} <= set(result.scores)
    curve = result.history.curves["val_roc_auc"]
    assert len(curve) == 6
    assert result.best_epoch == int(np.argmax(curve))
    # The scores at the best epoch are those of the model.
    rows = predict(result, graphs, dtype="float64")[graphs.val]
    right = graphs.labels[graphs.val] == 1
    above = (rows[right][:, None, 1] - rows[right][:, None, 0]) - (rows[~right][None, :, 1] - rows[~right][None, :, 0])
    assert curve[result.best_epoch] == pytest.approx(((above > 0) + 0.5 * (above == 0)).mean())


def test_batches_accumulate_and_follow_the_schedule() -> None:
    """Gradients of all batches make the step of one batch of all graphs, at the rate of the epoch."""
    more = {"optimizer": "sgd", "momentum": 0.5, "schedule": "cosine", "warmup": 1, "epochs": 6, "patience": 0}
    more |= {"dropout": 0.0, "input_dropout": 0.0, "learning_rate": 0.02}
    graphs = small(40, split="folds:4:0")
    whole = train(graphs, **RECIPE | more | {"batch_size": 1000})
    parts = train(graphs, **RECIPE | more | {"batch_size": 7, "accumulate": 100})
    for curve in ("train_loss", "val_loss"):
        np.testing.assert_allclose(parts.history.curves[curve], whole.history.curves[curve], rtol=1e-10)
    constant = train(graphs, **RECIPE | more | {"batch_size": 1000, "schedule": "constant"})
    assert constant.history.train_loss[:3] == whole.history.train_loss[:3]  # the warm-up, and the full rate
    assert constant.history.train_loss[3] != whole.history.train_loss[3]


@pytest.mark.parametrize("directed", [False, True])
def test_batches_bring_their_transposes(directed: bool) -> None:
    graphs = small() if not directed else replace(small(), union=_one_way(small().union))
    problem = PreparedSet(graphs, preset(model="gin", batch_size=16))
    engine = GraphBatches(backend_of("numpy", None, "float64"), problem)
    for batch in engine._drawn(np.zeros((4, 2), dtype=np.uint32)):
        matrix, members = batch.adjacency[0], batch.members
        turned = batch.transposes[id(matrix)]
        assert (turned is matrix) == (not directed)  # none is made where edges go both ways
        assert turned.toarray().tolist() == matrix.toarray().T.tolist()
        assert turned.has_canonical_format
        assert batch.transposes[id(members)].toarray().tolist() == members.toarray().T.tolist()


def _one_way(graph: Graph) -> Graph:
    return replace(graph, adjacency=sp.csr_array(sp.triu(graph.adjacency)))


def test_directed_sets_train_alike_on_every_backend() -> None:
    graphs = replace(small(), union=_one_way(small().union))
    recipe = RECIPE | {"undirected": False, "epochs": 3, "l2": 0.0}
    known = train(graphs, **recipe).history.train_loss
    for name in ("torch", "jax"):
        if name in portgnn.available_backends():
            np.testing.assert_allclose(train(graphs, backend=name, **recipe).history.train_loss, known, rtol=1e-12)


def test_a_sum_over_nodes_shifts_a_graph_once() -> None:
    """A graph twice as large, all of whose nodes say 0, is answered by the shift alone."""
    graphs = small()
    result = train(graphs, **RECIPE | {"epochs": 1, "normalize_features": "none"})
    params = {name: value * 0 for name, value in result.model.params.items()} | {"outer_bias1": np.array([0.25, -1.5])}
    model = replace(result.model, params=params)
    found = predict(model, graphs, dtype="float64")
    assert found.tolist() == [[0.25, -1.5]] * len(graphs)


def test_batches_have_few_shapes_and_all_graphs() -> None:
    graphs = small(200)
    problem = PreparedSet(graphs, preset(model="gin", batch_size=16))
    engine = GraphBatches(backend_of("numpy", None, "float64"), problem)
    shapes, seen = set(), 0
    for epoch in range(3):
        for batch in engine._drawn(np.full((4, 2), epoch, dtype=np.uint32)):
            matrix, members = batch.adjacency[0], batch.members
            shapes.add((batch.features.shape, matrix.shape, matrix.nnz, members.shape, members.nnz))
            assert matrix.has_canonical_format
            seen += batch.count
    assert seen == 3 * len(graphs.train)
    assert len(shapes) <= 4


def test_a_batch_is_the_graphs_themselves() -> None:
    graphs = small()
    problem = PreparedSet(graphs, preset(model="gin", normalize_features="none"))
    chosen, usual = np.array([3, 8, 30]), Shape(5, 4, 4)
    (piece,) = problem.cutter("float64").cut([chosen])
    batch = assembled(problem, piece, usual)
    nodes = graphs.nodes_of(chosen)
    n = len(nodes)
    block = batch.adjacency[0].toarray()
    assert block[:n, :n].tolist() == graphs.union.adjacency.toarray()[np.ix_(nodes, nodes)].tolist()
    assert not block[n:].any()
    assert not block[:, n:].any()
    assert batch.features[:n].tolist() == graphs.union.features[nodes].tolist()
    assert batch.members.toarray().sum(axis=1).tolist() == [*graphs.sizes[chosen], 0, 0, 0]
    assert batch.targets.labels.tolist() == [*graphs.labels[chosen], -1, -1, -1]


@pytest.mark.parametrize("rows", [3, 17, 100, 1000])
def test_a_shape_has_room(rows: int) -> None:
    usual = Shape(4, 8, 16)
    for stored in (rows, 3 * rows, 40 * rows):
        shape = usual.grown(rows, stored)
        assert shape.rows > rows
        assert shape.stored >= stored
        assert (shape.rows - rows) * shape.rows >= shape.stored - stored


def test_runs_go_on_bit_for_bit(tmp_path: Path) -> None:
    recipe = RECIPE | {"dropout": 0.3, "dtype": "float32"}
    whole = train(small(), **recipe)
    train(small(), **recipe | {"epochs": 3}, checkpoint=tmp_path / "run", every=2)
    resumed = train(small(), resume=tmp_path / "run", epochs=6)
    assert resumed.history.train_loss == whole.history.train_loss
    assert resumed.history.val_loss == whole.history.val_loss
    for name, value in whole.model.params.items():
        assert resumed.model.params[name].tobytes() == value.tobytes()
    changed = small(41)
    with pytest.raises(PortgnnError, match="belongs to another graph"):
        train(changed, resume=tmp_path / "run")


def test_models_keep_the_readout(tmp_path: Path) -> None:
    graphs = small()
    result = train(graphs, readout="attention", **RECIPE)
    result.save(tmp_path / "model.safetensors")
    loaded = portgnn.Model.load(tmp_path / "model.safetensors")
    assert loaded.config.readout == "attention"
    assert (predict(loaded, graphs) == predict(result, graphs)).all()
    found = portgnn.classify(loaded, graphs)
    assert found.split == "model"
    assert found.evaluations["test"].nodes == len(graphs.test)
    assert found.evaluations["test"].accuracy == pytest.approx(result.scores["accuracy"])
    assert found.labels.tolist() == graphs.labels.tolist()


NORMED = RECIPE | {"model": "mlp", "norm": "batch", "dropout": 0.0, "input_dropout": 0.0, "l2": 0.0, "layers": 2}


class Mixing(GIN):
    """GIN, which says that its rows depend on each other."""

    prunable = False


def test_batch_norm_keeps_what_it_saw_of_the_nodes_that_count() -> None:
    """After one step on all training graphs: nine tenths of the beginning and one of the batch, padding left out."""
    graphs = small()
    result = train(graphs, **NORMED | {"epochs": 1, "batch_size": 1000, "normalize_features": "none"})
    problem = PreparedSet(graphs, result.model.config)
    start = initial_values(problem.layers, 0)
    rows = graphs.union.features[graphs.nodes_of(np.sort(graphs.train))] @ start["weight0"]
    found = result.model.params
    np.testing.assert_allclose(found["mean0"], 0.1 * rows.mean(axis=0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found["variance0"], 0.9 + 0.1 * rows.var(axis=0, ddof=1), rtol=1e-12)
    assert "bias0" not in found  # the norm would undo it


def test_batch_norm_evaluates_each_graph_by_what_it_kept() -> None:
    graphs = small()
    result = train(graphs, **NORMED | {"normalize_features": "none"})
    p, found = result.model.params, predict(result, graphs, dtype="float64")
    for number in (0, 17):
        rows = np.asarray(graphs[number].features) @ p["weight0"]
        rows = (rows - p["mean0"]) / np.sqrt(p["variance0"] + 1e-5) * p["scale0"] + p["shift0"]
        expected = (np.maximum(rows, 0) @ p["weight1"]).sum(axis=0) + p["bias1"]
        np.testing.assert_allclose(found[number], expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(predict(result, graphs[number], dtype="float64")[0], expected, rtol=1e-12)


def test_batch_norm_does_not_see_padding() -> None:
    graphs, backend = small(), backend_of("numpy", None, "float64")
    problem = PreparedSet(graphs, preset(model="gin", norm="batch", hidden=8, layers=3))
    engine = GraphBatches(backend, problem)
    params = {name: backend.asarray(value) for name, value in initial_values(problem.layers, 0).items()}
    keys = dropout_keys(0, range(1), streams_of(problem.layers))[0].tolist()
    outcomes = []
    for shape in (Shape(5, 4, 4), Shape(9, 300, 900)):
        (piece,) = problem.cutter("float64").cut([np.array([3, 8, 30])])
        batch = place(backend, problem, assembled(problem, piece, shape))
        outcomes.append(backend.value_and_grad(engine._loss)(params, keys, batch))
    ((loss, kept), grads), ((other, kept_then), grads_then) = outcomes
    assert set(kept) == {"mean0", "mean1", "variance0", "variance1"}
    np.testing.assert_allclose(other, loss, rtol=1e-13)
    for one, then in ((kept, kept_then), (grads, grads_then)):
        for name, value in one.items():
            np.testing.assert_allclose(then[name], value, rtol=1e-11, atol=1e-13)


def test_batch_norm_agrees_on_backends_and_is_resumed(tmp_path: Path) -> None:
    """By SGD: Adam would make steps of the rounding of what has no gradient."""
    recipe = NORMED | {
        "model": "gin",
        "layers": 3,
        "dropout": 0.2,
        "optimizer": "sgd",
        "momentum": 0.9,
        "accumulate": 2,
    }
    known = train(small(), **recipe)
    for name in (name for name in ("torch", "mlx") if name in portgnn.available_backends()):
        other = train(small(), backend=name, **recipe)
        for curve in ("train_loss", "val_loss"):
            np.testing.assert_allclose(other.history.curves[curve], known.history.curves[curve], rtol=1e-12)
    train(small(), checkpoint=tmp_path / "run", every=2, **recipe | {"epochs": 3})
    resumed = train(small(), resume=tmp_path / "run", epochs=6)
    assert all((resumed.model.params[name] == value).all() for name, value in known.model.params.items())
    known.save(tmp_path / "model.safetensors")
    loaded = portgnn.Model.load(tmp_path / "model.safetensors")
    assert (predict(loaded, small()) == predict(known, small())).all()


def test_standardised_features_are_those_that_are_trained_on() -> None:
    graphs = small()
    result = train(graphs, normalize_features="standardize", **RECIPE)
    seen = np.asarray(graphs.taken(graphs.train).union.features)
    np.testing.assert_allclose(result.model.moments.mean, seen.mean(axis=0), rtol=1e-12, atol=1e-12)


def test_what_does_not_fit() -> None:
    graphs = small()
    for options, error, message in (
        ({"readout": "none"}, ConfigError, "shapes is a set of graphs, each read off its nodes: --readout sum"),
        ({"model": Mixing}, ConfigError, "depend on each other, and graphs of a set must not"),
        ({"loader": "cluster"}, ConfigError, "has batches of its own; leave --loader cluster out"),
        ({"task": "link"}, ConfigError, "--task link is for one graph"),
        ({"split": "folds:50:0"}, GraphError, "class 'star' of shapes has 20 labelled graphs, and folds:50:0 needs 50"),
    ):
        with pytest.raises(error, match=message):
            train(graphs, **RECIPE | options)
    with pytest.raises(ConfigError, match="shapes has no training split"):
        train(small(split=None), **RECIPE)
    with pytest.raises(ConfigError, match="--readout sum is for sets of graphs, and karate is one graph"):
        train("karate", epochs=1, readout="sum")
    with pytest.raises(ConfigError, match="the model says something of nodes, and shapes is a set of graphs"):
        predict(train("karate", epochs=1), graphs)
    with pytest.raises(GraphError, match="has 34 features a node; the model was trained on shapes with 3"):
        predict(train(graphs, **RECIPE), "karate")


def _tables(folder: Path) -> Path:
    graphs = small(20, split=None)
    nodes, edges = ["graph,id,label,a,b,c"], ["graph,source,target"]
    for number in range(len(graphs)):
        one, name = graphs[number], ("star", "ring")[number % 2]
        nodes += [
            f"g{number},{node},{name},{','.join(map(str, row))}" for node, row in enumerate(one.features.tolist())
        ]
        edges += [f"g{number},{source},{target}" for source, target in zip(*one.adjacency.nonzero(), strict=True)]
    (folder / "nodes.csv").write_text("\n".join(nodes))
    (folder / "edges.csv").write_text("\n".join(edges))
    return folder


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    data, model = str(_tables(tmp_path / "data")), str(tmp_path / "m.safetensors")
    options = ["--model", "gin", "--epochs", "3", "--split", "folds:5:1", "--batch-size", "8", "--device", "cpu"]
    assert main(["train", "--dataset", data, *options, "--save", model, "--json"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert len(run["train_loss"]) == 3
    assert main(["predict", model, "--dataset", data, "--out", str(tmp_path / "graphs.csv"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["graphs"], said["parts"]["test"]["nodes"]) == (20, 4)
    rows = list(csv.DictReader((tmp_path / "graphs.csv").open()))
    assert [row["graph"] for row in rows] == [f"g{number}" for number in range(20)]
    assert {row["part"] for row in rows} == {"train", "validation", "test"}
    assert main(["predict", model, "--dataset", data]) == 0
    assert "20 graphs on numpy" in capsys.readouterr().out
