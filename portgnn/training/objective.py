"""What is minimised: the task's loss and the recipe's penalty; and which parameters a recipe penalises or decays."""

from __future__ import annotations

from collections.abc import Mapping

from portgnn.models.layer import Layer, Parameter, parameters_of
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, Params
from portgnn.tasks import Counted, Task

Coefficients = Mapping[str, float]
"""A coefficient for some parameters, by their names."""


def penalties(config: Config, layers: tuple[Layer, ...]) -> dict[str, float]:
    """Which parameters the loss penalises: the recipe's `l2` on the weights of the first layer.

    It is their part in the rule that counts, and not their names: biases stay free, as in tkipf/gcn (models.py).
    """
    found = parameters_of(layers[:1])
    return {name: config.l2 for name, parameter in found.items() if parameter.role == "weight" and config.l2}


def decays(config: Config, layers: tuple[Layer, ...], head: Mapping[str, Parameter] | None = None) -> dict[str, float]:
    """Which parameters the optimizer decays: those that have a rule of their own, and by `weight_decay` all others.

    head: the task's own, by their full names.
    """
    found = {
        name: config.weight_decay if parameter.decay is None else parameter.decay
        for name, parameter in (parameters_of(layers) | dict(head or {})).items()
    }
    return {name: value for name, value in found.items() if value}


def l2_penalty(backend: Backend, params: Params, penalised: Coefficients) -> Array:
    """The sum of l2 / 2 * ||W||^2 over the penalised parameters: TensorFlow's `l2_loss` (tkipf/gcn, models.py)."""
    terms = [backend.xp.sum(params[name] * params[name]) * (0.5 * l2) for name, l2 in penalised.items()]
    total: Array = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def loss(
    backend: Backend, task: Task, outputs: Array, counted: Counted, params: Params, penalised: Coefficients
) -> Array:
    """The training and validation loss: that of the task's outputs and, where the recipe has one, the penalty."""
    data = task.loss(backend, outputs, counted)
    return data + l2_penalty(backend, params, penalised) if penalised else data
