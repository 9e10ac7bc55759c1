"""The one training step, and what it is made of: every engine's epochs are made of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portgnn import model, objective
from portgnn.operands import Operands
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, Optimizer, Params, State, Step
from portgnn.training.engine import Task
from portgnn.training.state import join_state, parameters_of, split_state

Share = Callable[[Array, Params], tuple[Array, Params]]
"""Loss and gradients of one process in, those of all processes out."""


def make_loss(backend: Backend, operands: Operands, config: Config) -> Callable[[Params, Any], tuple[Array, None]]:
    """`loss(params, keys) -> (loss, None)` on the rows that the operands count, with dropout."""

    def loss(params: Params, keys: Any) -> tuple[Array, None]:
        logits = model.gcn(backend, params, operands, config, keys)
        return objective.loss(backend, logits, operands, params, config), None

    return loss


def make_measure(backend: Backend, operands: Operands, config: Config) -> Callable[[Params], tuple[Array, Array]]:
    """`measure(params) -> (loss, right answers)` on the rows that the operands count, without dropout."""

    def measure(params: Params) -> tuple[Array, Array]:
        logits = model.gcn(backend, params, operands, config)
        loss = objective.loss(backend, logits, operands, params, config)
        return loss, objective.correct(backend, logits, operands)

    return measure


def make_optimizer(backend: Backend, config: Config) -> Optimizer:
    """Adam with the recipe's weight decay on every parameter."""
    names = model.parameter_shapes(config, (1,) * (config.layers + 1))
    decay = dict.fromkeys(names, config.weight_decay) if config.weight_decay else {}
    return backend.adam(config.learning_rate, config.beta1, config.beta2, config.eps, decay)


def make_step(
    backend: Backend, config: Config, loss: Callable[..., tuple[Array, None]], share: Share | None = None
) -> Callable[..., tuple[State, tuple[Array, ...]]]:
    """`step(state, keys, *batch) -> (state, (loss,))`: gradients of `loss(params, keys, *batch)`, then the optimizer.

    share: between the two, where several processes take the step together.
    """
    value_and_grad = backend.value_and_grad(loss)
    optimizer = make_optimizer(backend, config)

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
    host = model.init_params(task.config, task.dimensions, seed)
    params = {name: backend.asarray(value) for name, value in host.items()}
    moments = make_optimizer(backend, task.config).init(params)
    return join_state(params, moments)
