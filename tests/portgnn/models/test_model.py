"""The network against the formula, written out densely in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from portgnn import Graph, get_backend
from portgnn.metrics import ACCURACY
from portgnn.models.initial import initial_values
from portgnn.models.layer import Layer, shapes_of
from portgnn.placing import forward
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import Config
from portgnn.random import dropout_keys, keep_threshold, random_bits
from portgnn.training import objective


def _formula(prepared: Prepared, params: dict[str, Any], masks: list[Any] | None = None) -> Any:
    config, a = prepared.config, prepared.adjacency.toarray()
    hidden = np.asarray(prepared.features)
    for layer in range(config.layers):
        if masks is not None:
            hidden = hidden * masks[layer]
        bias = params.get(f"bias{layer}", 0.0)
        product = hidden @ params[f"weight{layer}"]
        hidden = a @ (product + bias) if config.bias == "before" else a @ product + bias
        if layer + 1 < config.layers:
            hidden = np.maximum(hidden, 0)
    return hidden


def _params(prepared: Prepared) -> dict[str, Any]:
    """Biases too, which start at zero, are drawn: a forgotten one must show."""
    shapes = shapes_of(prepared.layers)
    draw = np.random.default_rng(0)
    return {name: draw.normal(size=shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("bias", ["none", "after", "before"])
@pytest.mark.parametrize("hidden", [2, 30])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_logits_are_the_formula(make_graph: Callable[..., Graph], layers: int, hidden: int, bias: Any) -> None:
    config = Config(layers=layers, hidden=hidden, bias=bias, features="dense")
    prepared = Prepared.of(make_graph(1), config)
    backend, params = get_backend("numpy", dtype="float64"), _params(prepared)
    for training in (True, False):
        operands = place(backend, prepared, None, training=training)
        got = forward.outputs(backend, prepared.layers, params, operands)
        np.testing.assert_allclose(got, _formula(prepared, params), rtol=1e-11, atol=1e-12)


def test_dropout_hits_the_elements_that_the_hash_names(make_graph: Callable[..., Graph]) -> None:
    config = Config(layers=2, hidden=6, features="dense", input_dropout=0.3, dropout=0.6)
    prepared = Prepared.of(make_graph(1), config)
    backend, params = get_backend("numpy", dtype="float64"), _params(prepared)
    keys = dropout_keys(0, range(1), 2)[0].tolist()
    masks = []
    for layer, rate in enumerate((0.3, 0.6)):
        width = prepared.dimensions[layer]
        index = np.arange(40 * width, dtype=np.uint32).reshape(40, width)
        masks.append((random_bits(tuple(keys[layer]), index) < keep_threshold(rate)) / (1 - rate))
    got = forward.outputs(backend, prepared.layers, params, place(backend, prepared, None, training=True), keys)
    np.testing.assert_allclose(got, _formula(prepared, params, masks), rtol=1e-11, atol=1e-12)


def test_dropout_on_sparse_features_hits_stored_values_alone(make_graph: Callable[..., Graph]) -> None:
    config = Config(layers=1, features="sparse")
    prepared = Prepared.of(make_graph(1), config)
    backend = get_backend("numpy", dtype="float64")
    dropped = backend.dropout(place(backend, prepared, None, training=True).features, 0.5, (1, 2)).matrix
    kept = random_bits((1, 2), np.arange(prepared.features.nnz, dtype=np.uint32)) < 0
    np.testing.assert_array_equal(dropped.data, np.where(kept, prepared.features.data * 2, 0))


def _layers(config: Config) -> tuple[Layer, ...]:
    return config.network.built(9, 3)


def test_parameters_have_the_shapes_of_the_recipe() -> None:
    assert shapes_of(_layers(Config())) == {"weight0": (9, 16), "weight1": (16, 3)}
    assert shapes_of(_layers(Config(layers=1, bias="after"))) == {"weight0": (9, 3), "bias0": (3,)}


def test_initial_parameters_are_glorot_and_zero() -> None:
    params = initial_values(_layers(Config(bias="after")), seed=5)
    assert not params["bias0"].any()
    assert not params["bias1"].any()
    assert 0 < np.abs(params["weight0"]).max() <= np.sqrt(6 / 25)
    again = initial_values(_layers(Config()), seed=5)
    np.testing.assert_array_equal(again["weight1"], params["weight1"])  # biases do not shift the draws


def test_loss_and_accuracy_are_the_formulas(make_graph: Callable[..., Graph]) -> None:
    graph = make_graph(1)
    assert graph.val is not None
    assert graph.labels is not None
    config = Config(features="dense", l2=0.0)
    prepared = Prepared.of(graph, config)
    backend, params = get_backend("numpy", dtype="float64"), _params(prepared)
    operands = place(backend, prepared, graph.val, training=False)
    logits = forward.outputs(backend, prepared.layers, params, operands)
    expected = _formula(prepared, params)[graph.val]
    share = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
    labels = graph.labels[graph.val]
    loss = -np.log(share[np.arange(len(labels)), labels]).mean()
    assert float(objective.loss(backend, prepared.task, logits, operands, params, {})) == pytest.approx(loss, rel=1e-12)
    assert int(ACCURACY.sums(backend.xp, logits, operands)[0]) == (expected.argmax(axis=1) == labels).sum()
