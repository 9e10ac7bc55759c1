"""Tasks of nodes: losses beside torch's own, metrics beside scikit-learn's, one training on all backends, bad input."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from sklearn import metrics as judge

import portgnn
from portgnn import Graph, tasks
from portgnn.errors import CheckpointError, ConfigError, GraphError
from portgnn.loaders.engine import Sampled
from portgnn.loaders.source import InMemory
from portgnn.placing.prepared import Prepared
from portgnn.presets import Config
from portgnn.recipe import TaskName
from portgnn.registry import get_backend
from portgnn.tasks import TASKS
from portgnn.training import WholeGraph, fit

NODES, CLOSE = 40, 1e-13
BACKENDS = ("numpy", "torch", "jax", "mlx")
PARTS = {"train": range(20), "val": range(20, 30), "test": range(30, NODES)}


def drawn(kind: str, **fields: Any) -> Graph:
    """A graph of 40 nodes with labels of a kind, some of them unknown."""
    random = np.random.default_rng(5)
    edges, features = random.integers(0, NODES, (120, 2)), random.standard_normal((NODES, 4))
    given: Any = np.arange(NODES) % 3
    if kind == "labels":
        given = (random.random((NODES, 3)) < 0.4).astype(float)
        given[::7, 0] = np.nan
    elif kind == "regression":
        given = np.stack([1e6 + 1e5 * features[:, 0], features[:, 1] - 3], axis=1)
        given[3::5, 1] = np.nan
    return Graph.from_edges(edges, features, given, **(PARTS | fields))


def graded(config: Config, graph: Graph, backend: str = "numpy") -> tuple[float, np.ndarray[Any, Any], Any, Any]:
    """Loss and gradient of drawn outputs of the training nodes; the outputs, and these nodes' targets."""
    made, nodes = get_backend(backend, dtype="float64"), np.arange(20)
    task = tasks.of(tasks.settled(config, graph), graph)
    outputs = np.random.default_rng(1).standard_normal((20, task.outputs)) * 3
    outputs[0] = 0.0  # where a size has no slope
    counted = task.targets(nodes, nodes, 20).placed(made)

    def loss(params: Any) -> Any:
        return task.loss(made, params["z"], counted), None

    (value, _), grads = made.value_and_grad(loss)({"z": made.asarray(outputs)})
    return float(made.to_numpy(value)), np.asarray(made.to_numpy(grads["z"])), outputs, task


def held(found: tuple[float, np.ndarray[Any, Any], Any, Any], loss: Any) -> None:
    """loss: of torch's logits, differentiable."""
    z = torch.tensor(found[2], requires_grad=True)
    want = loss(z)
    want.backward()
    assert found[0] == pytest.approx(want.item(), rel=CLOSE)
    assert z.grad is not None
    np.testing.assert_allclose(found[1], z.grad.numpy(), rtol=CLOSE, atol=CLOSE * np.abs(found[1]).max())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("weights", "smoothing"), [("balanced", 0.0), ("0=2.5,2=0.5", 0.2), ("none", 0.2)])
def test_cross_entropy_is_torchs(backend: str, weights: str, smoothing: float) -> None:
    graph = drawn("classes")
    found = graded(Config(class_weights=weights, label_smoothing=smoothing), graph, backend)
    assert graph.labels is not None
    labels = torch.tensor(graph.labels[:20])
    counts = np.bincount(graph.labels[:20])
    weight = {"none": np.ones(3), "balanced": 20 / (3 * counts), "0=2.5,2=0.5": np.array([2.5, 1, 0.5])}[weights]
    weighed = torch.tensor(weight)
    held(found, lambda z: torch.nn.functional.cross_entropy(z, labels, weighed, label_smoothing=smoothing))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("weights", "smoothing"), [("1=3", 0.0), ("balanced", 0.0), ("none", 0.1)])
def test_binary_cross_entropy_is_torchs_where_labels_are_known(backend: str, weights: str, smoothing: float) -> None:
    graph = drawn("labels")
    found = graded(Config(class_weights=weights, label_smoothing=smoothing), graph, backend)
    assert graph.targets is not None
    truth = graph.targets[:20]
    known = torch.tensor(~np.isnan(truth))
    ones, zeros = (truth == 1).sum(axis=0), (truth == 0).sum(axis=0)
    positive = {"none": np.ones(3), "1=3": np.array([1.0, 3.0, 1.0]), "balanced": zeros / ones}[weights]
    smooth = torch.tensor(np.nan_to_num(truth) * (1 - smoothing) + smoothing / 2)
    each = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(positive), reduction="none")
    held(found, lambda z: each(z, smooth)[known].mean())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
@pytest.mark.parametrize("standardized", [True, False])
def test_errors_of_values_are_torchs(backend: str, loss: str, standardized: bool) -> None:
    graph = drawn("regression")
    found = graded(Config(loss=loss, huber_delta=0.7, standardize_targets=standardized), graph, backend)
    assert graph.targets is not None
    truth = graph.targets[:20]
    if standardized:
        truth = (truth - np.nanmean(truth, axis=0)) / np.nanstd(truth, axis=0)
    known, values = torch.tensor(~np.isnan(truth)), torch.tensor(np.nan_to_num(truth))
    each = {"squared": torch.nn.MSELoss(), "absolute": torch.nn.L1Loss(), "huber": torch.nn.HuberLoss(delta=0.7)}[loss]
    held(found, lambda z: each(z[known], values[known]))


def scored(kind: str, seed: int) -> tuple[dict[str, float], Any, Any]:
    graph = drawn(kind)
    task = tasks.of(tasks.settled(Config(), graph), graph)
    nodes = np.arange(20, NODES)
    outputs = np.random.default_rng(seed).standard_normal((20, task.outputs))
    outputs[:3] = np.round(outputs[:3])
    targets = task.targets(nodes, np.arange(20), 20)
    return {each.name: each.of(outputs, targets) for each in task.scored}, outputs, task


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_classes_are_scikit_learns(seed: int) -> None:
    found, outputs, task = scored("classes", seed)
    truth, said = task.graph.labels[20:], outputs.argmax(axis=1)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    assert found == pytest.approx({
        "accuracy": judge.accuracy_score(truth, said),
        "balanced_accuracy": judge.balanced_accuracy_score(truth, said),
        "macro_f1": judge.f1_score(truth, said, average="macro"),
        "micro_f1": judge.f1_score(truth, said, average="micro"),
        "roc_auc": judge.roc_auc_score(truth, shares, multi_class="ovr"),
        "average_precision": judge.average_precision_score(np.eye(3)[truth], shares),
    }, rel=1e-12)  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_labels_are_scikit_learns(seed: int) -> None:
    found, outputs, task = scored("labels", seed)
    truth = task.graph.targets[20:]
    known = ~np.isnan(truth)
    columns = [(truth[known[:, at], at], outputs[known[:, at], at]) for at in range(3)]
    assert found == pytest.approx({
        "label_accuracy": judge.accuracy_score(truth[known], outputs[known] > 0),
        "micro_f1": judge.f1_score(truth[known], outputs[known] > 0),
        "macro_f1": np.mean([judge.f1_score(y, z > 0) for y, z in columns]),
        "roc_auc": np.mean([judge.roc_auc_score(y, z) for y, z in columns]),
        "average_precision": np.mean([judge.average_precision_score(y, z) for y, z in columns]),
    }, rel=1e-12)  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_values_are_scikit_learns(seed: int) -> None:
    found, outputs, task = scored("regression", seed)
    truth, values = task.graph.targets[20:], task.answers(outputs)
    columns = [(y[~np.isnan(y)], z[~np.isnan(y)]) for y, z in zip(truth.T, values.T, strict=True)]
    assert found == pytest.approx({
        "mae": np.mean([judge.mean_absolute_error(*each) for each in columns]),
        "rmse": np.mean([judge.mean_squared_error(*each) ** 0.5 for each in columns]),
        "r2": np.mean([judge.r2_score(*each) for each in columns]),
    }, rel=1e-10)  # fmt: skip


RECIPES: dict[str, dict[str, Any]] = {
    "classes": {"class_weights": "balanced", "label_smoothing": 0.1, "monitor": "val_macro_f1"},
    "labels": {"class_weights": "balanced", "monitor": "val_average_precision"},
    "regression": {"loss": "huber", "monitor": "val_r2"},
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_task_is_one_training_on_every_backend(kind: str) -> None:
    recipe = {"dtype": "float64", "epochs": 25, "patience": 0, "restore_best": True, "normalize_features": "none"}
    first, *others = (portgnn.train(drawn(kind), backend=name, **recipe, **RECIPES[kind]) for name in BACKENDS)
    assert (first.config.task, first.history.curves[RECIPES[kind]["monitor"]]) != ("auto", [])
    for other in others:
        assert other.best_epoch == first.best_epoch
        for name, values in first.history.curves.items():
            if name != "epoch_ms":
                np.testing.assert_allclose(other.history.curves[name], values, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("kind", RECIPES)
def test_rows_and_batches_change_no_number(kind: str) -> None:
    """All rows computed, and batches of all nodes with all their neighbours: what the needed rows give."""
    backend, graph, found = get_backend("numpy", dtype="float64"), drawn(kind), []
    whole = {"loader": "neighbor", "fanout": "all", "batch_size": 20}
    for more in ({}, {"rows": "all"}, whole):
        config = Config(epochs=8, normalize_features="none", **(RECIPES[kind] | more))
        prepared = Prepared.of(graph, config)
        engine: Any = WholeGraph(backend, prepared) if more != whole else Sampled(backend, InMemory(prepared))
        done = fit(engine, 1)
        curves = [values for name, values in done.history.curves.items() if name != "epoch_ms"]
        found.append(np.concatenate([*curves, [*engine.scores(done.params, np.array(PARTS["test"])).values()]]))
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-9)


@pytest.mark.parametrize("kind", ["labels", "regression"])
def test_a_run_goes_on_and_a_model_comes_back(kind: str, tmp_path: Path) -> None:
    graph, path = (
        drawn(kind, target_names=["a", "b", "c"][: 3 if kind == "labels" else 2]),
        tmp_path / "run.safetensors",
    )
    recipe = {"patience": 0, "normalize_features": "none", **RECIPES[kind]}
    portgnn.train(graph, epochs=6, checkpoint=path, **recipe)
    resumed, whole = portgnn.train(graph, resume=path, epochs=12), portgnn.train(graph, epochs=12, **recipe)
    for name, values in whole.history.curves.items():
        assert name == "epoch_ms" or resumed.history.curves[name] == values
    assert resumed.scores == whole.scores
    loaded = portgnn.Model.load(whole.save(tmp_path / "model.safetensors"))
    assert (loaded.config.task, loaded.class_names) == (kind, graph.target_names)
    np.testing.assert_array_equal(portgnn.predict(loaded, graph), portgnn.predict(whole, graph))
    said = portgnn.estimate(loaded, graph)
    assert said.scores["test"] == pytest.approx(whole.scores, rel=1e-6)
    with pytest.raises(ConfigError, match="of nodes, and no class of each"):
        portgnn.classify(loaded, graph)


def test_values_of_a_million_are_learned_and_said_in_their_unit() -> None:
    random = np.random.default_rng(0)
    features = random.standard_normal((80, 3))
    price = 3e6 + 2e5 * (features @ [1.0, -2.0, 0.5])
    graph = Graph.from_edges([(0, 1)], features, targets=price, train=range(50), val=range(50, 60), test=range(60, 80))
    result = portgnn.train(
        graph, model="mlp", epochs=300, patience=0, normalize_features="none", input_dropout=0.0, dropout=0.0, l2=0.0
    )
    assert result.scores["r2"] > 0.95
    assert np.abs(portgnn.predict(result, graph)[60:, 0] - price[60:]).mean() == pytest.approx(result.scores["mae"])


def test_a_recipe_can_name_every_task() -> None:
    assert get_args(TaskName) == ("auto", *TASKS)


def test_labels_that_are_numbers_can_be_values() -> None:
    graph = drawn("classes", class_names=["1.5", "7", "-2"])
    result = portgnn.train(graph, task="regression", epochs=3)
    assert set(result.scores) == {"mae", "rmse", "r2"}


@pytest.mark.parametrize(
    ("fields", "recipe", "message"),
    [
        ({"labels": np.full((NODES, 2), np.inf)}, {}, "target 0 of node 0 is inf; targets are finite"),
        ({"labels": np.zeros((3, 2))}, {}, "targets have shape [3, 2]; the graph needs [40, targets]"),
        ({"labels": np.zeros(NODES, int), "targets": np.zeros(NODES)}, {}, "a graph has labels or targets, and both"),
        ({"targets": np.array([["a"]] * NODES, dtype=object)}, {}, "targets must be numbers; names"),
        ({"targets": np.r_[np.nan, np.zeros(NODES - 1)]}, {}, "node 0 of the train split has no label"),
        ({"targets": np.zeros((NODES, 2)), "target_names": ["a"]}, {}, "target_names holds 1 names for 2 targets"),
        ({"targets": np.full(NODES, 0.5)}, {"task": "labels"}, "target '0' of node 0 is 0.5, and a label"),
        ({"targets": np.zeros((NODES, 2))}, {"task": "classes"}, "has 2 targets a node, and --task classes"),
        ({"labels": np.arange(NODES) % 2}, {"task": "labels"}, "has one class a node, and --task labels"),
        ({"labels": np.arange(NODES) % 2, "class_names": ["a", "b"]}, {"task": "regression"}, "the class 'a' of"),
        ({"labels": np.arange(NODES) % 2}, {"class_weights": {"two": 2}}, "class_weights names the class 'two'"),
        ({"targets": np.zeros((NODES, 2))}, {"class_weights": "x=2"}, "class_weights names the label 'x'"),
        ({"labels": np.arange(NODES) % 2}, {"monitor": "val_r2"}, "--monitor val_r2 is not measured here"),
        ({"labels": np.arange(NODES) % 2, "val": None}, {"monitor": "val_accuracy"}, "needs a validation split"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_line(fields: dict[str, Any], recipe: dict[str, Any], message: str) -> None:
    with pytest.raises((GraphError, ConfigError), match=re.escape(message)) as caught:
        portgnn.train(Graph.from_edges([(0, 1)], np.eye(NODES), **(PARTS | fields)), epochs=2, **recipe)
    assert "\n" not in str(caught.value)


def test_a_file_with_other_constants_is_refused(tmp_path: Path) -> None:
    result = portgnn.train(drawn("regression"), epochs=2)
    bad = result.model.constants["target_scale"] * 0
    object.__setattr__(result.model, "constants", dict(result.model.constants) | {"target_scale": bad})
    with pytest.raises(CheckpointError, match="target_scale is not above 0"):
        portgnn.Model.load(result.save(tmp_path / "model.safetensors"))
