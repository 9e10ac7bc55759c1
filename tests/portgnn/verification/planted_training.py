"""Adam, compiled epochs, and the library's own model, objective and loop, planted with bugs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from plant import PLANTED, Planted, adapter, everywhere, library

from portgnn import parts
from portgnn.models.initial import initial_values
from portgnn.placing import forward
from portgnn.placing.edges import Looped
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import Config
from portgnn.random import dropout_keys
from portgnn.tasks import Classes
from portgnn.training import Course, WholeGraph, fit, objective, whole
from portgnn_numpy import NumPyBackend

# Adam.


class _Adam(parts.Adam):
    corrected, inside, decoupled, everywhere, decays = True, False, False, False, True

    def step(self, params: Any, grads: Any, state: Any) -> Any:
        c1, c2 = state["c1"] * self._beta1 + (1 - self._beta1), state["c2"] * self._beta2 + (1 - self._beta2)
        after, updated = {"c1": c1, "c2": c2}, {}
        by1, by2 = (c1, c2) if self.corrected else (c1 * 0 + 1, c2 * 0 + 1)
        everywhere = max(self._decay.values(), default=0.0)
        for name, value in params.items():
            decay = (everywhere if self.everywhere else self._decay.get(name, 0.0)) if self.decays else 0.0
            grad = grads[name] + (0.0 if self.decoupled else decay) * value
            m = state[f"m.{name}"] * self._beta1 + grad * (1 - self._beta1)
            v = state[f"v.{name}"] * self._beta2 + grad * grad * (1 - self._beta2)
            root = self._sqrt(v / by2 + self._eps) if self.inside else self._sqrt(v / by2) + self._eps
            updated[name] = value - m * (self._rate / by1) / root
            if self.decoupled:
                updated[name] = updated[name] - self._rate * decay * value
            after[f"m.{name}"], after[f"v.{name}"] = m, v
        return updated, after


def _adam(name: str, first: str, hint: str = "", **flags: bool) -> None:
    kind = type("Wrong", (_Adam,), flags)

    class Backend(NumPyBackend):
        def adam(self, *args: Any, **options: Any) -> Any:
            optimizer = super().adam(*args, **options)
            optimizer.__class__ = kind
            return optimizer

    adapter(name, first, hint)(Backend)


_adam("Adam without bias correction", "adam.first-step", "without bias correction", corrected=False)
_adam("eps inside the root", "adam.first-step", "inside the square root", inside=True)
_adam("weight decay decoupled", "adam.weight-decay", "decoupled", decoupled=True)
_adam("weight decay on the bias", "adam.weight-decay", "that have none", everywhere=True)
_adam("weight decay missing", "adam.weight-decay", "missing", decays=False)


@adapter("Adam counts its steps outside its state", "adam.state", "more than its state")
class HiddenCounter(NumPyBackend):
    def adam(self, *args: Any, **options: Any) -> Any:
        optimizer = super().adam(*args, **options)
        right, seen = optimizer.step, [0]

        def step(params: Any, grads: Any, state: Any) -> Any:
            seen[0] += 1
            t = seen[0] - 1
            before = {"c1": np.asarray(1 - 0.9**t, self.dtype), "c2": np.asarray(1 - 0.999**t, self.dtype)}
            return right(params, grads, state | before)

        optimizer.step = step  # type: ignore[method-assign]
        return optimizer


@adapter("beta1 and beta2 exchanged", "adam.50-steps")
class Betas(NumPyBackend):
    def adam(self, learning_rate: float, beta1: float = 0.9, beta2: float = 0.999, *rest: Any, **options: Any) -> Any:
        return super().adam(learning_rate, beta2, beta1, *rest, **options)


# Compiled epochs.


class _Compiled(NumPyBackend):
    def loop(self, run: Any, state: Any, keys: Any) -> Any:
        raise NotImplementedError

    def compile(self, step: Any) -> Any:
        run = super().compile(step)
        return lambda state, keys: self.loop(run, state, keys)


@adapter("stale parameters after a lazy step", "compile.keys|compile.epochs")
class Stale(_Compiled):
    def loop(self, run: Any, state: Any, keys: Any) -> Any:
        after, metrics = run(state, keys)
        before = run(state, keys[:-1])[0] if len(keys) > 1 else state
        return {name: before[name] if name.startswith("param.") else value for name, value in after.items()}, metrics


@adapter("epochs skipped by compile", "compile.keys|compile.epochs")
class Skips(_Compiled):
    def loop(self, run: Any, state: Any, keys: Any) -> Any:
        after, metrics = run(state, keys[::2])
        return after, np.repeat(metrics, 2, axis=0)[: len(keys)]


@adapter("the warm-up of a captured graph trains", "compile.epochs")
class WarmUp(_Compiled):
    def loop(self, run: Any, state: Any, keys: Any) -> Any:
        if not getattr(self, "_warm", False) and any(name.startswith("param.") for name in state):
            self._warm = True
            state, _ = run(state, keys[:1])
        return run(state, keys)


@adapter("donated state reused for results", "compile.epochs", "changed when another run")
class Reused(_Compiled):
    def loop(self, run: Any, state: Any, keys: Any) -> Any:
        after, metrics = run(state, keys)
        held = self.__dict__.setdefault("_held", {})
        for name, value in after.items():
            buffer = held.setdefault((name, value.shape, str(value.dtype)), np.empty_like(value))
            buffer[...] = value
        return {name: held[name, value.shape, str(value.dtype)] for name, value in after.items()}, metrics


@adapter("a compiled run goes on from its own last state", "compile.epochs|compile.keys")
class OwnState(NumPyBackend):
    def compile(self, step: Any) -> Any:
        run, held = super().compile(step), {}

        def loop(state: Any, keys: Any) -> Any:
            after, metrics = run(held or state, keys)
            held.update(after)
            return after, metrics

        return loop


@adapter("metrics of the epoch before", "compile.keys|compile.epochs")
class LateMetrics(_Compiled):
    def loop(self, run: Any, state: Any, keys: Any) -> Any:
        after, metrics = run(state, keys)
        return after, np.roll(metrics, 1, axis=0)


def _lazy(dtype: str) -> Any:
    from portgnn_mlx import MLXBackend

    class NoWait(MLXBackend):
        def synchronize(self, *arrays: Any) -> None:
            """Returns at once, with the graph not evaluated."""

    return NoWait("cpu", dtype)


PLANTED.append(Planted("synchronize does not wait", "synchronize", _lazy, hint="before the work is done"))


# The library's own model, objective and loop.


@library("unmasked loss", "model.loss")
def unmasked(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Classes.loss

    def loss(task: Any, backend: Any, outputs: Any, counted: Any) -> Any:
        weights = backend.to_numpy(counted.weights)
        weights[weights.sum(axis=1) == 0, 0] = weights.sum() / counted.count
        return right(task, backend, outputs, replace(counted, weights=backend.asarray(weights)))

    monkeypatch.setattr(Classes, "loss", loss)


@library("mean over all nodes", "model.loss", "mean over all nodes")
def mean_over_all(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Classes.loss

    def loss(task: Any, backend: Any, outputs: Any, counted: Any) -> Any:
        return right(task, backend, outputs, counted) * (counted.count / 30)

    monkeypatch.setattr(Classes, "loss", loss)


@library("L2 as a norm, not squared", "model.loss")
def norm(monkeypatch: pytest.MonkeyPatch) -> None:
    def l2_penalty(backend: Any, params: Any, penalised: Any) -> Any:
        return backend.xp.sqrt(backend.xp.sum(params["weight0"] * params["weight0"])) * penalised["weight0"]

    monkeypatch.setattr(objective, "l2_penalty", l2_penalty)


@library("evaluation with dropout on", "model.logits")
def noisy_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    right = forward.outputs

    def outputs(backend: Any, layers: Any, params: Any, given: Any, keys: Any = None) -> Any:
        keys = dropout_keys(0, range(1), len(layers))[0].tolist() if keys is None else keys
        return right(backend, layers, params, given, keys)

    monkeypatch.setattr(forward, "outputs", outputs)


@library("parameters shared between seeds", "init")
def one_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere(monkeypatch, initial_values, lambda layers, seed: initial_values(layers, 0))


@library("dropout keys shared between layers", "dropout.keys")
def shared_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    def same(seed: int, epochs: range, layers: int) -> Any:
        return np.repeat(dropout_keys(seed, epochs, 1), layers, axis=1)

    everywhere(monkeypatch, dropout_keys, same)


@library("adjacency without self-loops", "host.normalisation|model.logits")
def no_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Looped.weighted

    def weighted(self: Looped, rule: Any) -> Any:
        found = right(self, "sum")  # where the loops are stored zeros
        sums = np.asarray(found.sum(axis=1)).ravel()
        scale = 1 / np.sqrt(np.where(sums == 0, 1, sums))
        found.data *= np.repeat(scale, np.diff(found.indptr)) * scale[found.indices]
        return found

    monkeypatch.setattr(Looped, "weighted", weighted)


@library("validation on the training nodes", "compile.epochs")
def trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_training_nodes(backend: Any, prepared: Any, nodes: Any, training: bool) -> Any:
        return place(backend, prepared, prepared.graph.train, training)

    monkeypatch.setattr(whole, "place", on_training_nodes)  # the engine's alone


@library("best parameters not restored", "fit")
def last_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_run_again(self: Any, before: Any, epochs: range) -> Any:
        return self._on_device(before)

    monkeypatch.setattr(Course, "_again", not_run_again)


@library("early stopping an epoch late", "fit")
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Config.stops

    class Impatient:
        """The rule as the check sees it stays; the loop's comes too late."""

        def __init__(self, config: Config) -> None:
            self._config = config

        def __getattr__(self, name: str) -> Any:
            return getattr(self._config, name)

        def stops(self, losses: list[float]) -> bool:
            return right(self._config, losses[:-1]) if len(losses) > 1 else False

    def late_fit(engine: Any, *rest: Any, **options: Any) -> Any:
        if not isinstance(engine, WholeGraph):
            return fit(engine, *rest, **options)
        problem = engine.problem
        slow = Prepared(problem.graph, Impatient(problem.config), problem.adjacency)  # type: ignore[arg-type]
        return fit(WholeGraph(engine.backend, slow), *rest, **options)

    everywhere(monkeypatch, fit, late_fit)
