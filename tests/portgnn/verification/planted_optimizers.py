"""The library's own optimizers, schedules, clipping and accumulation, planted with bugs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from plant import library

from portgnn.parts import Adam
from portgnn.training import batches, optimizers, schedules
from portgnn.training.schedules import PLACE, WAITED, Schedule


@library("SGD's velocity is damped", "optimizer.sgd", "(1 - momentum)")
def damped(monkeypatch: pytest.MonkeyPatch) -> None:
    right = optimizers.decayed

    def step(self: Any, params: Any, grads: Any, state: Any) -> Any:
        updated, after = {}, {}
        for name, value in params.items():
            grad = right(grads[name], value, self._decay.get(name, 0.0))
            if self._momentum:
                velocity = state[f"velocity.{name}"] * self._momentum + grad * (1 - self._momentum)
                grad = grad + velocity * self._momentum if self._nesterov else velocity
                after[f"velocity.{name}"] = velocity
            updated[name] = value - grad * self._rate
        return updated, after

    monkeypatch.setattr(optimizers.Sgd, "step", step)


@library("weight decay missing from the portable optimizers", "optimizer.sgd", "weight decay is missing")
def undecayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "decayed", lambda grad, value, decay: grad)


@library("AdamW adds its decay to the gradient", "optimizer.adamw", "not decoupled")
def coupled(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(self: Any, params: Any, grads: Any, state: Any) -> Any:
        pulled = {name: grads[name] + value * self._apart.get(name, 0.0) for name, value in params.items()}
        return Adam.step(self, params, pulled, state)

    monkeypatch.setattr(optimizers.AdamW, "step", step)


@library("each gradient is clipped by a norm of its own", "optimizer.clipping")
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    right = optimizers.clipped_by_norm

    def clipped(xp: Any, grads: Any, most: float) -> Any:
        return {name: right(xp, {name: grad}, most)[name] for name, grad in grads.items()}

    monkeypatch.setattr(optimizers, "clipped_by_norm", clipped)


@library("gradients below the norm are scaled up to it", "optimizer.clipping")
def up(monkeypatch: pytest.MonkeyPatch) -> None:
    def clipped(xp: Any, grads: Any, most: float) -> Any:
        norm = xp.sqrt(sum(xp.sum(grad * grad) for grad in grads.values()) + 1e-12)
        return {name: grad * (most / norm) for name, grad in grads.items()}

    monkeypatch.setattr(optimizers, "clipped_by_norm", clipped)


@library("the schedule goes on before its epoch", "optimizer.schedule")
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Schedule.rate

    def rate(self: Any, state: Any) -> Any:
        return right(self, state | {PLACE: self._backend.xp.minimum(state[PLACE] + 1, self._places[-1])})

    monkeypatch.setattr(Schedule, "rate", rate)


@library("plateau waits no epoch", "optimizer.schedule")
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Schedule.advanced

    def advanced(self: Any, state: Any, loss: Any) -> Any:
        return right(self, state | ({WAITED: state[WAITED] * 0 + 99} if WAITED in state else {}), loss)

    monkeypatch.setattr(Schedule, "advanced", advanced)


@library("the warm-up is left out", "optimizer.schedule")
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    right = schedules.rates

    def rates(config: Any) -> Any:
        found = right(config)
        return np.concatenate([np.full(config.warmup, config.learning_rate), found[config.warmup :]])

    monkeypatch.setattr(schedules, "rates", rates)


@library("accumulated batches count alike, whatever their size", "optimizer.accumulation", dtype="float64")
def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    right = batches.BatchSteps.__call__

    def called(self: Any, state: Any, keys: Any, batch: Any, count: int) -> Any:
        return right(self, state, keys, batch, 1)

    monkeypatch.setattr(batches.BatchSteps, "__call__", called)


@library("what is left over at an epoch's end makes no step", "optimizer.accumulation", dtype="float64")
def dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def finished(self: Any, state: Any, keys: Any) -> Any:
        return {name: value for name, value in state.items() if not name.startswith("sum")}

    monkeypatch.setattr(batches.BatchSteps, "finished", finished)
