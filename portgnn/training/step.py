"""The one training step, and what it is made of: every engine's epochs are made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from portgnn.models.initial import initial_values
from portgnn.models.layer import Parameter
from portgnn.placing import forward
from portgnn.placing.operands import Operands
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, Keys, Optimizer, Params, State, Step
from portgnn.training import objective
from portgnn.training.engine import Problem
from portgnn.training.optimizers import optimizer_of
from portgnn.training.schedules import schedule_of
from portgnn.training.state import join_state, parameters_of, split_state

Share = Callable[[Array, Params], tuple[Array, Params]]
"""Loss and gradients of one process in, those of all processes out."""


def make_loss(
    backend: Backend, operands: Operands, problem: Problem, penalised: bool = True
) -> Callable[[Params, Any], tuple[Array, Params | None]]:
    """`loss(params, keys) -> (loss, found)` on the rows that the operands count, with dropout.

    found: what parameters that are statistics come to; None where none is.

    penalised: with the recipe's penalty, which only one of several processes adds.
    """
    task = problem.task
    layers, penalties = problem.layers, objective.penalties(problem.config, problem.layers) if penalised else {}

    def loss(params: Params, keys: Keys) -> tuple[Array, Params | None]:
        found: Params = {}
        rows = forward.outputs(backend, layers, params, operands, keys, found)
        outputs = task.head(backend, params, rows, operands)
        return objective.loss(backend, task, outputs, operands, params, penalties), found or None

    return loss


def make_measure(
    backend: Backend, operands: Operands, problem: Problem, penalised: bool = True
) -> Callable[[Params], tuple[Array, ...]]:
    """`measure(params) -> (loss, *sums of the task's metrics)` on the rows that the operands count, without dropout."""
    task, measures = problem.task, problem.task.measures
    layers, penalties = problem.layers, objective.penalties(problem.config, problem.layers) if penalised else {}

    def measure(params: Params) -> tuple[Array, ...]:
        outputs = task.head(backend, params, forward.outputs(backend, layers, params, operands), operands)
        loss = objective.loss(backend, task, outputs, operands, params, penalties)
        return loss, *measures.sums(backend.xp, outputs, operands)

    return measure


def head_of(problem: Problem) -> Mapping[str, Parameter]:
    """The parameters that the task has beside those of the network, by name."""
    return problem.task.parameters(problem.layers[-1].fan_out)


def make_optimizer(backend: Backend, problem: Problem) -> Optimizer:
    """The recipe's, with its weight decay."""
    return optimizer_of(backend, problem.config, objective.decays(problem.config, problem.layers, head_of(problem)))


def make_step(
    backend: Backend, problem: Problem, loss: Callable[..., tuple[Array, Params | None]], share: Share | None = None
) -> Callable[..., tuple[State, tuple[Array, ...]]]:
    """`step(state, keys, *batch) -> (state, (loss,))`: gradients of `loss(params, keys, *batch)`, then the optimizer.

    What the loss found of parameters that are statistics takes their place; no gradient reaches them.

    share: between the two, where several processes take the step together.
    """
    value_and_grad = backend.value_and_grad(loss)
    optimizer = make_optimizer(backend, problem)

    def step(state: State, keys: Keys, *batch: Any) -> tuple[State, tuple[Array, ...]]:
        params, moments = split_state(state)
        (value, found), grads = value_and_grad(params, keys, *batch)
        if share is not None:
            value, grads = share(value, grads)
        params, moments = optimizer.step(params, grads, moments)
        return join_state(params | (found or {}), moments), (value,)

    return step


def validated(step: Step, measure: Callable[[Params], tuple[Array, ...]] | None) -> Step:
    """The step, followed by a measurement of the parameters that it leads to; the step itself where there is none."""
    if measure is None:
        return step

    def both(state: State, keys: Keys) -> tuple[State, tuple[Array, ...]]:
        after, metrics = step(state, keys)
        return after, (*metrics, *measure(parameters_of(after)))

    return both


def scheduled(backend: Backend, config: Config, epoch: Step) -> Step:
    """An epoch, followed by the schedule's going on; the epoch itself where the rate stays as it is.

    "plateau" judges by the second of the epoch's numbers, the validation loss, and where there is none by the first.
    """
    schedule = schedule_of(backend, config)
    if schedule is None:
        return epoch

    def going_on(state: State, keys: Keys) -> tuple[State, tuple[Array, ...]]:
        after, measured = epoch(state, keys)
        return schedule.advanced(after, measured[:2][-1]), measured

    return going_on


def initial_state(backend: Backend, problem: Problem, seed: int) -> State:
    """Parameters of a seed and a fresh optimizer's state, on the device."""
    host = initial_values(problem.layers, seed, head_of(problem))
    params = {name: backend.asarray(value) for name, value in host.items()}
    moments = make_optimizer(backend, problem).init(params)
    return join_state(params, moments)
