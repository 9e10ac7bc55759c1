"""Loss and accuracy over the counted rows of an output."""

from __future__ import annotations

from portgnn.operands import Operands
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, Params


def cross_entropy(backend: Backend, logits: Array, operands: Operands) -> Array:
    """Mean over the counted rows of -log softmax(logits)[label]; 0-d."""
    return backend.xp.sum(operands.targets * backend.log_softmax(logits))


def l2_penalty(backend: Backend, params: Params, config: Config) -> Array:
    """l2 / 2 * ||W0||^2: TensorFlow's `l2_loss` of the first layer's weight (tkipf/gcn, models.py)."""
    weight = params["weight0"]
    return backend.xp.sum(weight * weight) * (0.5 * config.l2)


def loss(backend: Backend, logits: Array, operands: Operands, params: Params, config: Config) -> Array:
    """The training and validation loss: cross-entropy and, where the recipe has one, the penalty."""
    data = cross_entropy(backend, logits, operands)
    return data + l2_penalty(backend, params, config) if config.l2 else data


def correct(backend: Backend, logits: Array, operands: Operands) -> Array:
    """How many counted rows have their label as the first of the largest logits; 0-d integer."""
    return backend.xp.sum(backend.xp.argmax(logits, axis=-1) == operands.labels)
