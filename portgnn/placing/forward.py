"""The one forward pass, for every network and whoever computes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from portgnn.models.layer import Layer
from portgnn.placing.operands import Operands
from portgnn.protocol import CSR, Array, Backend, Key, Params


def outputs(
    backend: Backend, layers: Sequence[Layer], params: Params, operands: Operands, keys: Sequence[Key] | None = None
) -> Array:
    """What the last of the layers gives, [rows, fan_out]: of a whole network, its logits.

    keys: one dropout key a layer, or None to evaluate without dropout.
    """
    hidden: Array | CSR = operands.features
    for layer, edges, picked, index in zip(layers, operands.adjacency, operands.picked, operands.index, strict=True):
        if keys is not None and layer.dropout:
            hidden = backend.dropout(hidden, layer.dropout, keys[layer.number], index)
        own = layer.own(params)
        sent, kept = layer.message(backend, own, hidden)
        if picked is not None and kept is not None:
            kept = backend.matmul(picked, kept)
        hidden = received(backend, layer, own, edges, sent, kept)
    return cast(Array, hidden)


def received(
    backend: Backend, layer: Layer, own: Params, edges: Array | CSR | None, sent: Array, kept: Array | None
) -> Array:
    """A layer's output from what its nodes send and keep. own: the layer's parameters by its own names.

    edges: None where the features have been multiplied with them ahead of time.
    """
    total = sent if edges is None else layer.aggregate(backend, own, edges, sent, kept)
    return layer.activate(backend, layer.update(backend, own, total, kept))
