"""The loss over the counted rows of an output, and which parameters a recipe penalises."""

from __future__ import annotations

from collections.abc import Mapping

from portgnn.models.layer import Layer, parameters_of
from portgnn.placing.operands import Counted
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, Params

Coefficients = Mapping[str, float]
"""A coefficient for some parameters, by their names."""


def penalties(config: Config, layers: tuple[Layer, ...]) -> dict[str, float]:
    """Which parameters the loss penalises: the recipe's `l2` on the weights of the first layer.

    It is their part in the rule that counts, and not their names: biases stay free, as in tkipf/gcn (models.py).
    """
    found = parameters_of(layers[:1])
    return {name: config.l2 for name, parameter in found.items() if parameter.role == "weight" and config.l2}


def decays(config: Config, layers: tuple[Layer, ...]) -> dict[str, float]:
    """Which parameters the optimizer decays: those that have a rule of their own, and by `weight_decay` all others."""
    found = {
        name: config.weight_decay if parameter.decay is None else parameter.decay
        for name, parameter in parameters_of(layers).items()
    }
    return {name: value for name, value in found.items() if value}


def cross_entropy(backend: Backend, logits: Array, operands: Counted) -> Array:
    """Mean over the counted rows of -log softmax(logits)[label]; 0-d."""
    mean: Array = backend.xp.sum(operands.targets * backend.log_softmax(logits))
    return mean


def l2_penalty(backend: Backend, params: Params, penalised: Coefficients) -> Array:
    """The sum of l2 / 2 * ||W||^2 over the penalised parameters: TensorFlow's `l2_loss` (tkipf/gcn, models.py)."""
    terms = [backend.xp.sum(params[name] * params[name]) * (0.5 * l2) for name, l2 in penalised.items()]
    total: Array = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def loss(backend: Backend, logits: Array, operands: Counted, params: Params, penalised: Coefficients) -> Array:
    """The training and validation loss: cross-entropy and, where the recipe has one, the penalty."""
    data = cross_entropy(backend, logits, operands)
    return data + l2_penalty(backend, params, penalised) if penalised else data
