"""The training loop: stopping, restoring, chunks, and what it refuses."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from portgnn import Graph, get_backend
from portgnn.errors import ConfigError
from portgnn.placing.prepared import Prepared
from portgnn.presets import Config, preset
from portgnn.training import Fit, NonFiniteLossError, WholeGraph, fit, loop

# A recipe whose validation loss turns within some twenty epochs, so that early stopping has something to do.
TURNS = Config(hidden=8, dropout=0.2, input_dropout=0.0, learning_rate=0.2, l2=0.0, epochs=80)


def _fit(graph: Graph, config: Config, seed: int = 0, **more: Any) -> Fit:
    return fit(WholeGraph(get_backend("numpy", dtype="float64"), Prepared.of(graph, config)), seed, **more)


def _same(one: Fit, other: Fit) -> None:
    assert one.history.train_loss == other.history.train_loss
    assert one.history.val_loss == other.history.val_loss
    assert (one.best_epoch, one.stopped_early) == (other.best_epoch, other.stopped_early)
    for name, value in one.params.items():
        np.testing.assert_array_equal(value, other.params[name])


STOPPING = {
    "window": {"stopping": "window", "patience": 5},
    "patience": {"stopping": "patience", "patience": 7},
    "patience with restore": {"stopping": "patience", "patience": 7, "restore_best": True},
    "restore without stopping": {"patience": 0, "restore_best": True},
    "after the middle": {"stopping": "window", "patience": 5, "stop_after": 0.5, "restore_best": True},
}


@pytest.mark.parametrize("rule", STOPPING)
def test_chunks_change_nothing(make_graph: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    graph, config = make_graph(7), replace(TURNS, **STOPPING[rule])  # type: ignore[arg-type]
    monkeypatch.setattr(loop, "CHUNK_EPOCHS", 1)
    single = _fit(graph, config)
    monkeypatch.setattr(loop, "CHUNK_SECONDS", 60.0)
    for length in (7, 25, 1000):
        monkeypatch.setattr(loop, "CHUNK_EPOCHS", length)
        _same(_fit(graph, config), single)


@pytest.mark.parametrize("rule", [name for name in STOPPING if name != "restore without stopping"])
def test_training_stops_at_the_first_epoch_that_the_rule_names(make_graph: Callable[..., Graph], rule: str) -> None:
    graph, config = make_graph(7), replace(TURNS, **STOPPING[rule])  # type: ignore[arg-type]
    full = _fit(graph, replace(config, patience=0))
    losses = full.history.val_loss
    expected = next(n for n in range(1, len(losses) + 1) if config.stops(losses[:n]))
    stopped = _fit(graph, config)
    assert stopped.stopped_early
    assert len(stopped.history) == expected < config.epochs
    assert stopped.history.val_loss == losses[:expected]
    assert len(stopped.history.epoch_ms) == len(stopped.history.val_accuracy) == expected


def test_stopped_training_returns_the_last_epoch_it_kept(make_graph: Callable[..., Graph]) -> None:
    graph, config = make_graph(7), replace(TURNS, patience=5)
    stopped = _fit(graph, config)
    assert stopped.stopped_early
    cut = _fit(graph, replace(config, epochs=len(stopped.history), patience=0))
    for name, value in stopped.params.items():
        np.testing.assert_array_equal(value, cut.params[name])


@pytest.mark.parametrize("rule", [name for name in STOPPING if "restore" in name])
def test_restoring_returns_the_parameters_of_the_best_epoch(make_graph: Callable[..., Graph], rule: str) -> None:
    graph, config = make_graph(7), replace(TURNS, **STOPPING[rule])  # type: ignore[arg-type]
    restored = _fit(graph, config)
    assert restored.best_epoch == int(np.argmin(restored.history.val_loss))
    assert restored.best_epoch < len(restored.history) - 1
    cut = _fit(graph, replace(config, epochs=restored.best_epoch + 1, patience=0, restore_best=False))
    last = _fit(graph, replace(config, epochs=len(restored.history), patience=0, restore_best=False))
    for name, value in restored.params.items():
        np.testing.assert_array_equal(value, cut.params[name])
        assert not np.array_equal(value, last.params[name])


def test_the_same_seed_gives_the_same_bits_and_another_does_not(make_graph: Callable[..., Graph]) -> None:
    graph = make_graph(1)
    _same(_fit(graph, TURNS), _fit(graph, TURNS))
    assert _fit(graph, TURNS, seed=1).history.train_loss != _fit(graph, TURNS).history.train_loss


def test_history_is_reported_after_each_chunk(make_graph: Callable[..., Graph], monkeypatch: Any) -> None:
    monkeypatch.setattr(loop, "CHUNK_EPOCHS", 4)
    monkeypatch.setattr(loop, "CHUNK_SECONDS", 60.0)
    seen: list[int] = []
    _fit(make_graph(1), replace(TURNS, epochs=10, patience=0), on_chunk=lambda history: seen.append(len(history)))
    assert seen == [1, 5, 9, 10]


def test_without_validation_the_last_epoch_is_the_best(make_graph: Callable[..., Graph]) -> None:
    done = _fit(replace(make_graph(1), val=None), replace(TURNS, epochs=12))
    assert done.history.val_loss == done.history.val_accuracy == []
    assert (done.best_epoch, len(done.history), done.stopped_early) == (11, 12, False)


def test_what_a_recipe_needs_must_be_there(make_graph: Callable[..., Graph]) -> None:
    graph = make_graph(1)
    with pytest.raises(ConfigError, match="no training split"):
        _fit(replace(graph, train=None), TURNS)
    with pytest.raises(ConfigError, match="restore_best needs a validation split"):
        _fit(replace(graph, val=None), replace(TURNS, restore_best=True))


@pytest.mark.parametrize("setting", ["warn", "raise"])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_diverging_run_says_so_once(make_graph: Callable[..., Graph], setting: Any) -> None:
    """Whatever NumPy was told about numbers that overflow."""
    wanted = r"loss is (nan|inf) at epoch \d.*smaller --learning-rate"
    with np.errstate(all=setting), pytest.raises(NonFiniteLossError, match=wanted):
        _fit(make_graph(1), replace(TURNS, learning_rate=1e200))


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_second_moment_that_overflows_is_no_quiet_end(make_graph: Callable[..., Graph]) -> None:
    """Such a parameter moves no more, and every loss is finite."""
    graph = make_graph(1)
    recipe = replace(preset("kipf"), l2=1e300, epochs=2, patience=0, learning_rate=1e-200)
    with pytest.raises(NonFiniteLossError, match=r"v\.weight0 of the optimizer is no longer finite after epoch \d"):
        _fit(graph, recipe)


def test_training_learns(csbm: Graph) -> None:
    done = fit(WholeGraph(get_backend("numpy"), Prepared.of(csbm, preset("kipf"))), 0)
    assert done.history.train_loss[0] == pytest.approx(np.log(7), rel=0.05)
    assert done.history.train_loss[-1] < 1.0
    assert max(done.history.val_accuracy) > 0.7


def test_metrics_are_those_of_the_parameters_after_the_step(make_graph: Callable[..., Graph]) -> None:
    """The validation loss of the last epoch is that of the parameters that training returns."""
    from portgnn.placing import forward
    from portgnn.placing.whole import place
    from portgnn.training import objective

    graph = make_graph(1)
    config = replace(TURNS, epochs=5, patience=0, l2=0.1)
    prepared = Prepared.of(graph, config)
    backend = get_backend("numpy", dtype="float64")
    done = fit(WholeGraph(backend, prepared), 0)
    operands = place(backend, prepared, graph.val, training=False)
    logits = forward.outputs(backend, prepared.layers, done.params, operands)
    loss = objective.loss(
        backend, prepared.task, logits, operands, done.params, objective.penalties(config, prepared.layers)
    )
    assert done.history.val_loss[-1] == pytest.approx(float(loss), rel=1e-14)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_adam_is_the_algorithm_of_the_paper(decay: float) -> None:
    """Kingma & Ba 2015, Algorithm 1, with the corrections 1 - beta**t written out."""
    backend = get_backend("numpy", dtype="float64")
    optimizer = backend.adam(0.05, 0.9, 0.99, 1e-8, {"w": decay})
    params = {"w": np.array([1.0, -2.0, 0.5])}
    state = optimizer.init(params)
    expected, m, v = params["w"].copy(), np.zeros(3), np.zeros(3)
    draw = np.random.default_rng(0)
    for t in itertools.islice(itertools.count(1), 50):
        gradient = draw.normal(size=3)
        params, state = optimizer.step(params, {"w": gradient}, state)
        decayed = gradient + decay * expected
        m, v = 0.9 * m + 0.1 * decayed, 0.99 * v + 0.01 * decayed**2
        expected = expected - 0.05 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
        np.testing.assert_allclose(params["w"], expected, rtol=1e-12)
