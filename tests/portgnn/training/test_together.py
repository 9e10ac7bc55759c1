"""Seeds that train together come to their own runs' numbers, on every backend; what cannot, says why and does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from portgnn import Graph, get_backend, load_graph
from portgnn.placing.prepared import Prepared
from portgnn.presets import preset
from portgnn.training import NonFiniteLossError, WholeGraph, fit
from portgnn.training import together as module
from portgnn.training.together import Shared, at_once, fit_together

SEEDS = (3, 1, 4, 0)


def _graph() -> Graph:
    """Training nodes in a corner of it, so that rows are left out and dropout has numbers of elements."""
    draw = np.random.default_rng(7)
    edges = draw.integers(0, 60, (150, 2))
    edges = edges[edges[:, 0] != edges[:, 1]]
    features = draw.random((60, 9)) * (draw.random((60, 9)) < 0.4)
    labels = draw.integers(0, 3, 60)
    return Graph.from_edges(edges, features, labels, train=np.arange(8), val=np.arange(8, 20), test=np.arange(20, 60))


def _shared(backend: str, graph: Graph, dtype: str = "float64", model: str | None = None, **values: Any) -> Shared:
    config = preset("pyg", model, **{"input_dropout": 0.0, "epochs": 30} | values)
    return Shared(WholeGraph(get_backend(backend, device="cpu", dtype=dtype), Prepared.of(graph, config)))


def _same(one: Any, other: Any, tolerance: float) -> None:
    assert (len(one.history), one.best_epoch, one.stopped_early) == (
        len(other.history), other.best_epoch, other.stopped_early,
    )  # fmt: skip
    for name in ("train_loss", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(one.history.curves[name], other.history.curves[name], rtol=0, atol=tolerance)
    assert one.params.keys() == other.params.keys()
    for name, value in one.params.items():
        np.testing.assert_allclose(value, other.params[name], rtol=0, atol=10 * tolerance, err_msg=name)


FORMS: dict[str, dict[str, Any]] = {
    "pyg": {},
    "l2, no bias, last epoch": {"l2": 5e-4, "bias": "none", "restore_best": False, "weight_decay": 0.0},
    "three layers, bias before, dense": {"layers": 3, "bias": "before", "adjacency": "dense", "features": "dense"},
    "widening": {"hidden": 2, "layers": 3},
    "every row, class weights": {"rows": "all", "class_weights": "balanced", "label_smoothing": 0.1},
    "patience, by accuracy": {"stopping": "patience", "patience": 3, "stop_after": 0.0, "monitor": "val_accuracy"},
    "sgd, clipped by value": {"optimizer": "sgd", "momentum": 0.9, "clip_value": 0.1},
    "mlp": {"model": "mlp"},
}


@pytest.mark.parametrize("form", FORMS)
def test_each_seed_is_its_own_run(form: str) -> None:
    shared = _shared("numpy", _graph(), **FORMS[form])
    assert at_once(shared.problem)[0] > 1
    # What is measured is some 1e-15: sums of the same terms in another order.
    for seed, found in zip(SEEDS, fit_together(shared, SEEDS), strict=True):
        _same(found, fit(shared, seed), 1e-13)


@pytest.mark.parametrize("backend", ["torch", "jax", "mlx"])
def test_on_every_backend(backend: str) -> None:
    shared = _shared(backend, _graph(), epochs=12)
    for seed, found in zip(SEEDS[:3], fit_together(shared, SEEDS[:3]), strict=True):
        _same(found, fit(shared, seed), 1e-13)


def test_float32_is_as_near_as_rounding_lets_it() -> None:
    shared = _shared("numpy", _graph(), "float32", epochs=10)
    for seed, found in zip(SEEDS, fit_together(shared, SEEDS), strict=True):
        _same(found, fit(shared, seed), 1e-5)


def test_the_order_and_number_of_seeds_change_nothing() -> None:
    shared = _shared("numpy", _graph(), epochs=15)
    alone = fit_together(shared, [4])[0]
    assert not isinstance(alone, NonFiniteLossError)
    _same(fit_together(shared, [9, 4, 2, 7, 5])[1], alone, 1e-13)


def test_seeds_that_stop_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of them at different epochs: the others go on in a step of their own, to the same numbers."""
    monkeypatch.setattr(module, "CHUNK_SECONDS", 1e9)  # chunks of a fixed length, however busy the machine is
    monkeypatch.setattr(module, "CHUNK_EPOCHS", 4)
    sizes: list[int] = []
    compiled = module._compiled
    monkeypatch.setattr(module, "_compiled", lambda *given: (sizes.append(given[2]), compiled(*given))[1])
    shared = _shared("numpy", load_graph("karate"), stop_after=0.0, patience=4, epochs=80, learning_rate=0.2)
    seeds = range(8)
    found = fit_together(shared, seeds)
    assert len({len(each.history) for each in found if not isinstance(each, NonFiniteLossError)}) > 2
    assert len(sizes) > 1
    assert sizes == sorted(sizes, reverse=True)
    for seed, each in zip(seeds, found, strict=True):
        _same(each, fit(shared, seed), 1e-12)


def test_one_that_diverges_takes_no_other_with_it() -> None:
    graph = _graph()
    shared = _shared("numpy", graph, "float32", epochs=30, learning_rate=3e36, weight_decay=0.0, patience=0)
    outcomes: list[str] = []
    for seed, found in zip(SEEDS, fit_together(shared, SEEDS), strict=True):
        try:
            alone: Any = fit(shared, seed)
        except NonFiniteLossError as error:
            alone = error
        assert type(found) is type(alone)
        outcomes.append(type(found).__name__)
    assert "NonFiniteLossError" in outcomes


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"input_dropout": 0.5}, "dropout on the features"),
        ({"model": "gat"}, "gat computes more than products"),
        ({"norm": "layer"}, "gcn computes more than products"),
        ({"clip_norm": 1.0}, "clipped by the norm of all"),
        ({"schedule": "cosine"}, "follows a schedule"),
        ({"warmup": 3}, "follows a schedule"),
        ({"monitor": "val_macro_f1"}, "a monitor of its own"),
    ],
)
def test_what_is_trained_one_by_one_says_why(values: dict[str, Any], reason: str) -> None:
    assert at_once(_shared("numpy", _graph(), **values).problem)[0] == 1
    assert reason in at_once(_shared("numpy", _graph(), **values).problem)[1]


def test_large_graphs_take_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = _shared("numpy", _graph())
    monkeypatch.setattr(module, "NUMBERS", 60 * 16 * 3)
    assert at_once(shared.problem)[0] == 3
    monkeypatch.setattr(module, "NUMBERS", 10)
    assert at_once(shared.problem)[0] == 1


def test_epochs_are_compiled_once() -> None:
    shared = _shared("numpy", _graph())
    assert shared.make_run(True) is shared.make_run(True)
    assert shared.make_run(False) is not shared.make_run(True)
