"""Optimizers, schedules, clipping and accumulation: beside torch.optim, in chunks, resumed, sampled and distributed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portgnn
from portgnn import Graph, get_backend, load_graph
from portgnn.errors import ConfigError
from portgnn.loaders.engine import Sampled
from portgnn.loaders.links import LinkProblem, Links
from portgnn.loaders.source import InMemory
from portgnn.placing.prepared import Prepared
from portgnn.presets import Config, preset
from portgnn.random import dropout_keys
from portgnn.training import Fit, Progress, WholeGraph, fit, initial_state, loop, scheduled, step
from portgnn.training.optimizers import optimizer_of
from portgnn.training.schedules import PLACE, rates, schedule_of

RECORD = Path(__file__).parents[3] / "bench" / "results" / "optimizers.json"
# A recipe whose validation loss turns, so that "plateau" has something to do.
TURNS = Config(hidden=8, dropout=0.2, input_dropout=0.0, learning_rate=0.2, l2=0.0, epochs=60, patience=0)
PLATEAU: dict[str, Any] = {"schedule": "plateau", "schedule_patience": 2, "warmup": 5}
# The rate falls after epoch 10 for the first time, and epoch 18 is the best.
STEEP = {"optimizer": "sgd", "learning_rate": 10.0, "dropout": 0.5, **PLATEAU}


def _fit(graph: Graph, config: Config, **more: Any) -> Fit:
    return fit(WholeGraph(get_backend("numpy", dtype="float64"), Prepared.of(graph, config)), 0, **more)


def _same(one: Fit, other: Fit) -> None:
    assert one.history.train_loss == other.history.train_loss
    assert one.history.val_loss == other.history.val_loss
    for name, value in one.params.items():
        np.testing.assert_array_equal(value, other.params[name])


@pytest.mark.parametrize("row", ["sgd, Nesterov, plateau", "rmsprop with momentum", "adamw", "adam, clipped by norm"])
def test_steps_are_those_of_torch_optim(row: str) -> None:
    pytest.importorskip("torch")
    from bench.studies import optimizers

    options = optimizers.rows()[row]
    assert optimizers.apart(optimizers.ours("numpy", 120, options), optimizers.theirs(120, options)) < 1e-13


def test_the_record_holds_every_optimizer_schedule_and_clip_within_what_is_claimed() -> None:
    pytest.importorskip("torch")
    from bench.studies import optimizers

    record = json.loads(RECORD.read_text())
    assert {row["row"]: row["options"] for row in record["rows"]} == optimizers.rows()
    assert (record["dataset"], record["epochs"], record["steps"]) == ("cora", 200, 3000)
    for row in record["rows"]:
        assert set(row["curves"]) == {"torch", "mlx", "jax"}
        assert max(row["curves"].values()) < 1e-12, row
        assert set(row["beside_torch"]) == {"numpy", "torch", "mlx", "jax"}
        assert max(row["beside_torch"].values()) < 1e-13, row
    kills = record["kill_and_resume"]
    assert (kills["kills"], kills["unreadable"], kills["largest_difference"]) == (20, 0, 0.0)
    assert kills["same_history"]


def test_adam_at_a_constant_rate_is_the_adapters_own() -> None:
    backend = get_backend("numpy")
    assert type(optimizer_of(backend, Config(), {})) is type(backend.adam(0.01))
    assert schedule_of(backend, Config()) is None

    def epoch(state: Any, keys: Any) -> Any:
        raise NotImplementedError

    assert scheduled(backend, Config(), epoch) is epoch


def test_adam_under_a_schedule_that_stands_still_has_the_bits_of_plain_adam(make_graph: Callable[..., Graph]) -> None:
    """A rate out of the state, and the portable steps, change nothing."""
    same = TURNS.with_(schedule="plateau", schedule_patience=1000, weight_decay=0.01)
    _same(_fit(make_graph(7), same), _fit(make_graph(7), TURNS.with_(weight_decay=0.01)))


def test_gradients_below_the_norm_keep_their_bits(make_graph: Callable[..., Graph]) -> None:
    _same(_fit(make_graph(7), TURNS.with_(clip_norm=1e3)), _fit(make_graph(7), TURNS))
    cut = _fit(make_graph(7), TURNS.with_(clip_norm=1e-3))
    assert cut.history.train_loss[1:] != _fit(make_graph(7), TURNS).history.train_loss[1:]


def test_clipping_of_what_overflows_when_squared() -> None:
    """Norms of 1e30 in float32; and none at all."""
    backend = get_backend("numpy")
    optimizer = optimizer_of(backend, Config(optimizer="sgd", learning_rate=1.0, clip_norm=2.0), {})
    for size, want in ((1e18, [1.2, 1.6]), (0.1, [0.3, 0.4]), (0.0, [0.0, 0.0])):
        params = {"x": np.zeros(1, np.float32), "y": np.zeros(1, np.float32)}
        grads = {"x": np.array([-3 * size], np.float32), "y": np.array([-4 * size], np.float32)}
        after, _ = optimizer.step(params, grads, {})
        np.testing.assert_allclose([after["x"][0], after["y"][0]], want, rtol=1e-6)


def test_rates_of_a_run() -> None:
    base = {"learning_rate": 1.0, "epochs": 8}
    assert rates(Config(**base, warmup=4)).tolist() == [0.25, 0.5, 0.75, 1.0, 1.0]
    stepwise = Config(**base, schedule="step", schedule_every=3, schedule_factor=0.1)
    np.testing.assert_allclose(rates(stepwise), [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01])
    smooth = rates(Config(**base, schedule="exponential", schedule_every=2, schedule_factor=0.25))
    np.testing.assert_allclose(smooth, 0.5 ** np.arange(8))
    cosine = rates(Config(**base, schedule="cosine", warmup=4, min_learning_rate=0.2))
    np.testing.assert_allclose(cosine, [0.25, 0.5, 0.75, 1, 1, 0.6 + 0.4 * 0.5**0.5, 0.6, 0.6 - 0.4 * 0.5**0.5])
    plateau = rates(Config(**base, schedule="plateau", schedule_patience=2, min_learning_rate=0.3))
    assert plateau.tolist() == [1.0, 0.5, 0.3]


COSINE = {"schedule": "cosine", "warmup": 7, "optimizer": "sgd", "learning_rate": 1.0, "momentum": 0.9}


@pytest.mark.parametrize("options", [STEEP, COSINE], ids=["plateau", "cosine"])
def test_chunks_rewinding_and_resuming_change_nothing(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    """The best epoch is run again from the start of its chunk, with the rates and counters of then."""
    graph = load_graph("karate")
    config = Config(hidden=8, l2=5e-4, epochs=60, patience=0, restore_best=True, **options)
    monkeypatch.setattr(loop, "CHUNK_EPOCHS", 1)
    single = _fit(graph, config)
    assert 10 < single.best_epoch < 59
    monkeypatch.setattr(loop, "CHUNK_SECONDS", 60.0)
    monkeypatch.setattr(loop, "CHUNK_EPOCHS", 1000)
    kept: list[Progress] = []

    class Keeper:
        every = 7

        def keep(self, progress: Progress) -> None:
            kept.append(replace(progress, history=progress.history.copy()))

        def stop(self) -> bool:
            return False

        def leave(self) -> None:
            raise NotImplementedError

    _same(_fit(graph, config), single)
    _same(_fit(graph, config, checkpointer=Keeper()), single)
    for progress in kept[1::3]:
        _same(_fit(graph, config, progress=progress), single)
    if options is STEEP:
        # At epochs 0, 7, 14, 21: the warm-up's five rates; then one lower, before the best.
        assert [int(progress.state[PLACE]) for progress in kept[:3]] == [0, 5, 6]


def test_a_changing_rate_compiles_nothing_anew(
    make_graph: Callable[..., Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("jax")
    traced, right = [0], step.optimizer_of

    def counted(*arguments: Any) -> Any:
        optimizer = right(*arguments)
        inner = optimizer.step

        def stepped(*given: Any) -> Any:
            traced[0] += 1
            return inner(*given)

        optimizer.step = stepped  # type: ignore[method-assign]
        return optimizer

    monkeypatch.setattr(step, "optimizer_of", counted)
    backend = get_backend("jax", device="cpu", dtype="float64")
    prepared = Prepared.of(make_graph(7), TURNS.with_(schedule="cosine", warmup=3, optimizer="sgd"))
    run, state = WholeGraph(backend, prepared).make_run(False), initial_state(backend, prepared, 0)
    for start in (0, 5, 20):
        state, _ = run(state, dropout_keys(0, range(start, start + 5), 2))
        assert traced[0] == 1


def test_batches_follow_the_schedule_of_epochs(make_graph: Callable[..., Graph]) -> None:
    """One batch of all nodes is the whole graph's epoch; several take the same rate within one."""
    graph, backend = make_graph(7), get_backend("numpy", dtype="float64")
    sampled = TURNS.with_(loader="neighbor", fanout="all", batch_size=10_000, epochs=20, **PLATEAU)
    whole = _fit(graph, TURNS.with_(epochs=20, **PLATEAU))
    done = fit(Sampled(backend, InMemory(Prepared.of(graph, sampled))), 0)
    np.testing.assert_allclose(done.history.val_loss, whole.history.val_loss, rtol=1e-12)
    source = InMemory(Prepared.of(graph, sampled.with_(batch_size=5, accumulate=3)))
    run, state = Sampled(backend, source).make_run(True), initial_state(backend, source, 0)
    state, _ = run(state, dropout_keys(0, range(4), 2))
    assert int(state[PLACE]) == 4


def test_accumulation_without_batches_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"accumulate=4 adds up gradients of batches, .* leave --accumulate out"):
        portgnn.train("karate", accumulate=4)


@pytest.mark.parametrize("validate", [True, False])
def test_epochs_of_links_follow_the_schedule(validate: bool) -> None:
    backend = get_backend("numpy", dtype="float64")
    config = preset(
        "gae", link_val=0.1, link_seed=5, schedule="plateau", schedule_patience=0, schedule_threshold=0.5, warmup=2
    )
    problem = LinkProblem.of(load_graph("karate"), config, None)
    state = initial_state(backend, problem, 0)
    state, _ = Links(backend, problem).make_run(validate)(state, dropout_keys(0, range(5), 2))
    assert int(state[PLACE]) == 4  # two of the warm-up, the first loss, and two that did not fall by half


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_bfloat16_keeps_float32_beside_the_parameters(optimizer: str) -> None:
    """Steps that bfloat16 cannot show add up, and rates have more digits than it has."""
    pytest.importorskip("torch")
    backend = get_backend("torch", device="cpu", dtype="bfloat16")
    config = Config(optimizer=optimizer, learning_rate=0.001003, epochs=300, warmup=1)
    made = optimizer_of(backend, config, {})
    params = {"x": backend.asarray(np.array([1.0]))}
    state, gradient = made.init(params), {"x": backend.asarray(np.array([0.25]))}
    if optimizer == "rmsprop":
        state["square.x"] = backend.asarray(np.array([0.0625], np.float32).view(np.int32))
    for _ in range(200):
        params, state = made.step(params, gradient, state)
        state = {name: backend.asarray(backend.to_numpy(value)) for name, value in state.items()}
    moved = 1.0 - state["master.x"].numpy().view(np.float32)[0]
    one = 0.001003 * (0.25 if optimizer == "sgd" else 1.0)
    np.testing.assert_allclose(moved, 200 * one, rtol=2e-4)
