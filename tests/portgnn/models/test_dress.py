"""Residuals, norms and jumps around any layer: what they compute, by hand, and which layers wear them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from portgnn import Graph, get_backend
from portgnn.errors import ConfigError
from portgnn.models.dress import Dressed
from portgnn.models.initial import initial_values
from portgnn.models.layer import shapes_of
from portgnn.placing import forward
from portgnn.placing.edges import Looped
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import Config, preset


def _run(graph: Graph, **options: Any) -> tuple[Any, dict[str, Any], Any, Any]:
    """Logits, parameters, dense features and the symmetric A."""
    own = {"hidden": 4, "l2": 0.0, "rows": "all", "features": "dense", "normalize_features": "none", "bias": "after"}
    prepared = Prepared.of(graph, Config(**own | options))
    random = np.random.default_rng(0)
    start = initial_values(prepared.layers, 0)
    params = {name: value + 0.1 * random.standard_normal(value.shape) for name, value in start.items()}
    backend = get_backend("numpy", dtype="float64")
    logits = forward.outputs(backend, prepared.layers, params, place(backend, prepared, None, training=False))
    a = Looped.of(graph.adjacency).weighted("symmetric").toarray()
    return backend.to_numpy(logits), params, np.asarray(prepared.features), a


def _normed(h: Any, p: dict[str, Any], layer: int, axis: int) -> Any:
    centred = h - h.mean(axis=axis, keepdims=True)
    return centred / np.sqrt(h.var(axis=axis, keepdims=True) + 1e-5) * p[f"scale{layer}"] + p[f"shift{layer}"]


def _convolved(h: Any, p: dict[str, Any], a: Any, layer: int) -> Any:
    return a @ h @ p[f"weight{layer}"] + p[f"bias{layer}"]


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_linear_residuals_norms_and_all_layers_side_by_side(make_graph: Any, norm: str) -> None:
    options = {"norm": norm, "residual": "linear", "jumping": "cat"}
    logits, p, x, a = _run(make_graph(1), **options)
    seen, h = [], x
    for layer in range(2):
        h = _convolved(h, p, a, layer) + h @ p[f"residual{layer}"]
        h = np.maximum(_normed(h, p, layer, 1 if norm == "layer" else 0), 0)
        seen.append(h)
    want = np.concatenate(seen, axis=1) @ p["weight2"] + p["bias2"]
    np.testing.assert_allclose(logits, want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("jumping", ["max", "sum", "last"])
def test_added_residuals_and_joined_layers(make_graph: Any, jumping: str) -> None:
    logits, p, x, a = _run(make_graph(1), residual="add", jumping=jumping, layers=3)
    seen, h = [], x
    for layer in range(3):
        after = np.maximum(_convolved(h, p, a, layer), 0)
        h = after + h if layer else after  # features are wider than what they become
        seen.append(h)
    joined = {"max": np.max(seen, axis=0), "sum": np.sum(seen, axis=0), "last": seen[-1]}[jumping]
    np.testing.assert_allclose(logits, joined @ p["weight3"] + p["bias3"], rtol=1e-12, atol=1e-13)


def test_a_layer_without_options_wears_nothing() -> None:
    plain = Config().network.built(9, 3)
    assert not any(isinstance(layer, Dressed) for layer in plain)
    dressed = Config(norm="layer").network.built(9, 3)
    assert [isinstance(layer, Dressed) for layer in dressed] == [True, False]  # the last has no norm
    assert shapes_of(dressed)["scale0"] == (16,)
    assert shapes_of(Config(jumping="cat", layers=3).network.built(9, 3))["weight3"] == (48, 3)
    assert shapes_of(Config(jumping="max", layers=3).network.built(9, 3))["weight3"] == (16, 3)


def test_batch_norm_is_of_all_rows_and_refuses_batches(make_graph: Any) -> None:
    assert not Config(norm="batch").network.prunable
    for loader in ("neighbor", "cluster"):
        with pytest.raises(ConfigError, match=r"rows of this gcn depend on each other.*leave --loader .* --norm layer"):
            Config(norm="batch", loader=loader)
    with pytest.raises(ConfigError, match="norm="):
        preset("kipf", norm="instance")
