"""The one training step, and what it is made of: every engine's epochs are made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portgnn import metrics
from portgnn.models.initial import initial_values
from portgnn.placing import forward
from portgnn.placing.operands import Operands
from portgnn.protocol import Array, Backend, Optimizer, Params, State, Step
from portgnn.training import objective
from portgnn.training.engine import Task
from portgnn.training.state import join_state, parameters_of, split_state

Share = Callable[[Array, Params], tuple[Array, Params]]
"""Loss and gradients of one process in, those of all processes out."""


def make_loss(
    backend: Backend, operands: Operands, task: Task, penalised: bool = True
) -> Callable[[Params, Any], tuple[Array, None]]:
    """`loss(params, keys) -> (loss, None)` on the rows that the operands count, with dropout.

    penalised: with the recipe's penalty, which only one of several processes adds.
    """
    layers, penalties = task.layers, objective.penalties(task.config, task.layers) if penalised else {}

    def loss(params: Params, keys: Any) -> tuple[Array, None]:
        logits = forward.outputs(backend, layers, params, operands, keys)
        return objective.loss(backend, logits, operands, params, penalties), None

    return loss


def make_measure(
    backend: Backend, operands: Operands, task: Task, penalised: bool = True
) -> Callable[[Params], tuple[Array, ...]]:
    """`measure(params) -> (loss, *sums of the task's metrics)` on the rows that the operands count, without dropout."""
    measures = metrics.of(task.config)
    layers, penalties = task.layers, objective.penalties(task.config, task.layers) if penalised else {}

    def measure(params: Params) -> tuple[Array, ...]:
        logits = forward.outputs(backend, layers, params, operands)
        loss = objective.loss(backend, logits, operands, params, penalties)
        return loss, *measures.sums(backend.xp, logits, operands.labels)

    return measure


def make_optimizer(backend: Backend, task: Task) -> Optimizer:
    """Adam with the recipe's weight decay."""
    config = task.config
    decays = objective.decays(config, task.layers)
    return backend.adam(config.learning_rate, config.beta1, config.beta2, config.eps, decays)


def make_step(
    backend: Backend, task: Task, loss: Callable[..., tuple[Array, None]], share: Share | None = None
) -> Callable[..., tuple[State, tuple[Array, ...]]]:
    """`step(state, keys, *batch) -> (state, (loss,))`: gradients of `loss(params, keys, *batch)`, then the optimizer.

    share: between the two, where several processes take the step together.
    """
    value_and_grad = backend.value_and_grad(loss)
    optimizer = make_optimizer(backend, task)

    def step(state: State, keys: Any, *batch: Any) -> tuple[State, tuple[Array, ...]]:
        params, moments = split_state(state)
        (value, _), grads = value_and_grad(params, keys, *batch)
        if share is not None:
            value, grads = share(value, grads)
        params, moments = optimizer.step(params, grads, moments)
        return join_state(params, moments), (value,)

    return step


def validated(step: Step, measure: Callable[[Params], tuple[Array, ...]] | None) -> Step:
    """The step, followed by a measurement of the parameters that it leads to; the step itself where there is none."""
    if measure is None:
        return step

    def both(state: State, keys: Any) -> tuple[State, tuple[Array, ...]]:
        after, metrics = step(state, keys)
        return after, (*metrics, *measure(parameters_of(after)))

    return both


def initial_state(backend: Backend, task: Task, seed: int) -> State:
    """Parameters of a seed and a fresh optimizer's state, on the device."""
    host = initial_values(task.layers, seed)
    params = {name: backend.asarray(value) for name, value in host.items()}
    moments = make_optimizer(backend, task).init(params)
    return join_state(params, moments)
