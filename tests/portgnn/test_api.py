"""train and predict: what a result holds, what is announced, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import portgnn
from portgnn import Graph, PortgnnError, predict, train
from portgnn.errors import BackendError, CheckpointError, ConfigError, DatasetError, GraphError

FIELDS = {
    *("dataset", "nodes", "edges", "backend", "device", "dtype", "preset", "seed", "rng", "notes", "config"),
    *("epochs_run", "best_epoch", "stopped_early", "train_loss", "val_loss", "val_accuracy", "test_accuracy"),
    *("median_train_ms", "first_epoch_ms", "environment"),
}


def test_a_result_is_one_json_document() -> None:
    result = train("karate", epochs=30, hidden=4, seed=3)
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert set(document) >= FIELDS
    assert (document["dataset"], document["nodes"], document["edges"]) == ("karate", 34, 78)
    assert (document["backend"], document["device"], document["dtype"]) == ("numpy", "cpu", "float32")
    assert (document["preset"], document["seed"], document["rng"]) == ("kipf", 3, "portable")
    assert document["config"]["hidden"] == 4
    assert len(document["train_loss"]) == len(document["val_loss"]) == document["epochs_run"]
    assert document["environment"]["portgnn"] == portgnn.__version__
    assert document["environment"]["numpy"]["version"] == np.__version__
    assert document["median_train_ms"] > 0


def test_the_first_epoch_is_not_in_the_median() -> None:
    result = train("karate", epochs=3)
    result.history.epoch_ms[:] = [1000.0, 1.0, 3.0]
    assert (result.first_epoch_ms, result.median_train_ms) == (1000.0, 2.0)
    result.history.epoch_ms[:] = [5.0]
    assert result.median_train_ms == 5.0


def test_training_is_repeatable_and_seeds_differ(csbm: Graph) -> None:
    one, again, other = (train(csbm, epochs=5, seed=seed).history.train_loss for seed in (0, 0, 1))
    assert one == again != other


def test_test_accuracy_is_that_of_the_predictions(csbm: Graph) -> None:
    result = train(csbm, epochs=100)
    logits = predict(result, csbm)
    assert logits.shape == (2708, 7)
    assert csbm.test is not None
    assert csbm.labels is not None
    assert result.test_accuracy == np.mean(logits.argmax(axis=1)[csbm.test] == csbm.labels[csbm.test])
    assert result.test_accuracy > 0.6


def test_without_splits_there_is_no_accuracy(make_graph: Callable[..., Graph]) -> None:
    result = train(replace(make_graph(0), val=None, test=None), epochs=5)
    assert result.test_accuracy is None
    assert result.to_dict()["val_loss"] == []
    assert result.best_epoch == 4


def test_the_test_split_takes_no_part_in_training(make_graph: Callable[..., Graph]) -> None:
    graph = make_graph(0)
    assert graph.labels is not None
    assert graph.test is not None
    labels = graph.labels.copy()
    labels[graph.test] = (labels[graph.test] + 1) % 3
    one, other = (train(g, epochs=20, preset="pyg") for g in (graph, replace(graph, labels=labels)))
    assert one.history.val_loss == other.history.val_loss
    for name, value in one.model.params.items():
        np.testing.assert_array_equal(value, other.model.params[name])


def test_a_model_predicts_on_another_graph(make_graph: Callable[..., Graph]) -> None:
    result = train(make_graph(0), epochs=5)
    assert predict(result, make_graph(1, nodes=50)).shape == (50, 3)
    unlabelled = replace(make_graph(1, nodes=50), labels=None, train=None, val=None, test=None, class_names=())
    np.testing.assert_array_equal(predict(result, unlabelled), predict(result, make_graph(1, nodes=50)))
    with pytest.raises(GraphError, match="has 5 features a node; the model was trained on random with 12"):
        predict(result, make_graph(1, width=5))


@pytest.mark.parametrize("trained_on", ["numpy", "torch", "mlx", "jax"])
def test_a_model_predicts_on_every_backend(trained_on: str, tmp_path: Path) -> None:
    result = train("karate", backend=trained_on, device="cpu", dtype="float64", epochs=20)
    path = result.save(tmp_path / "model.safetensors")
    reference = predict(path, "karate", dtype="float64")
    for backend in ("torch", "mlx", "jax"):
        got = predict(path, "karate", backend=backend, device="cpu", dtype="float64")
        np.testing.assert_allclose(got, reference, rtol=1e-12, atol=1e-13)


def test_the_choice_of_a_device_is_announced() -> None:
    heard: list[str] = []
    train("karate", epochs=1, announce=heard.append)
    assert heard[0] == "numpy runs on cpu, the fastest device here that passes its self-check."
    heard.clear()
    train("karate", epochs=1, device="cpu", announce=heard.append)
    train("karate", epochs=1, backend=portgnn.get_backend("numpy"), announce=heard.append)
    assert not [line for line in heard if "device" in line]


def test_the_default_dataset_is_replaced_loudly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTGNN_DATA", str(tmp_path))
    monkeypatch.setenv("PORTGNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PORTGNN_OFFLINE", "1")
    heard: list[str] = []
    result = train(epochs=1, announce=heard.append)
    assert result.dataset == "csbm-cora"
    assert any("NOT cora" in message for message in heard)
    assert any("NOT cora" in note for note in result.notes)
    with pytest.raises(DatasetError):
        train("cora", epochs=1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dataset": "corra"}, DatasetError, "cora"),
        ({"backend": "nunpy"}, BackendError, "numpy"),
        ({"device": "gpu9"}, BackendError, "no device 'gpu9'"),
        ({"dtype": "float16"}, BackendError, "unknown dtype 'float16'"),
        ({"preset": "kip"}, ConfigError, "unknown preset"),
        ({"hiden": 3}, ConfigError, "unknown hyperparameter 'hiden'"),
        ({"seed": -1}, ConfigError, "seed=-1 must be an integer"),
        ({"seed": 1.5}, ConfigError, "seed=1.5"),
        ({"seed": True}, ConfigError, "seed=True"),
        ({"epochs": 0}, ConfigError, "epochs=0 must be at least 1"),
        ({"dropout": 1.0}, ConfigError, "dropout=1.0"),
    ],
)
def test_what_cannot_be_used_is_refused_before_training(
    arguments: dict[str, Any], error: type[PortgnnError], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(**({"dataset": "karate"} | arguments))


def test_predict_refuses_a_missing_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no model file"):
        predict(tmp_path / "none", "karate")


def test_a_backend_that_is_not_registered_trains_and_keeps_its_result() -> None:
    from portgnn_numpy import NumPyBackend

    class Own(NumPyBackend):
        name = "of-my-own"

    class Wrapped:
        """A stranger's stand-in, whose class tells nothing of its framework."""

        def __init__(self) -> None:
            self._backend = Own("cpu", "float64")

        def __getattr__(self, name: str) -> Any:
            if name == "environment":
                raise AttributeError(name)
            return getattr(self._backend, name)

    own = train("karate", backend=Own("cpu", "float64"), epochs=3)
    assert own.environment["of-my-own"]["version"]
    wrapped = train("karate", backend=cast(Any, Wrapped()), epochs=3)
    assert wrapped.environment["of-my-own"] == {}
    assert wrapped.history.train_loss == own.history.train_loss
