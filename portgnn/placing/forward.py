"""The one forward pass, for every network and whoever computes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from portgnn.models.edges import Edges
from portgnn.models.layer import FOUND, SHARE, Kept, Layer
from portgnn.parts import message_passing
from portgnn.placing.operands import Fetched, Operands
from portgnn.protocol import CSR, Array, Backend, EdgeHandle, Key, Keys, Params


def outputs(
    backend: Backend,
    layers: Sequence[Layer],
    params: Params,
    operands: Operands,
    keys: Keys | None = None,
    found: dict[str, Array] | None = None,
) -> Array:
    """What the last of the layers gives, [rows, fan_out]: of a whole network, its logits.

    keys: the epoch's dropout keys (see `portgnn.models.layer.streams_of`), or None to evaluate without dropout.
    found: gets what parameters that are statistics come to in training, by their full names.
    """
    rows: tuple[Any, ...] = (operands.features,)
    done = 0
    for place, (layer, edges, picked, index, edge_index) in enumerate(
        zip(layers, operands.adjacency, operands.picked, operands.index, operands.edge_index, strict=True)
    ):
        if place < done:
            continue
        if keys is not None and layer.dropout:
            rows = (backend.dropout(rows[0], layer.dropout, keys[layer.number], index), *rows[1:])
        if operands.commuted and layer is layers[0]:
            rows, edges = (backend.matmul(cast(Any, edges), rows[0]),), None  # A message(x) is message(A x)
        own, message = layer.own(params), cast(Any, layer.message)  # what is carried follows as further arguments
        observed: dict[str, Array] = {}
        if layer.observes and keys is not None:
            own |= {SHARE: operands.share, FOUND: observed}
        sent, kept = message(backend, own, *rows)
        if picked is not None:
            kept = mapped(partial(backend.matmul, picked), kept)
        key = None
        if keys is not None and layer.edge_dropout:
            key = keys[len(layers) + layer.number]
        done = end_of_run(layers, operands, place)
        rows = received(backend, layers[done - 1], own, edges, sent, kept, key, edge_index, done - place)
        if found is not None:
            found.update({f"{name}{layer.number}": value for name, value in observed.items()})
    return cast(Array, rows[0])


def end_of_run(layers: Sequence[Layer], operands: Operands, place: int) -> int:
    """Behind which of the layers the one at `place` and those that do the same over the same edges end."""
    end, edges = place + 1, operands.adjacency[place]
    if edges is None or isinstance(edges, Fetched):
        return end
    while (
        end < len(layers)
        and layers[end].goes_on(layers[end - 1])
        and not layers[end].dropout
        and operands.adjacency[end] is edges
        and operands.picked[end] is None
    ):
        end += 1
    return end


def received(
    backend: Backend,
    layer: Layer,
    own: Params,
    edges: Array | CSR | EdgeHandle | None,
    sent: Array,
    kept: Kept,
    key: Key | None = None,
    edge_index: Array | None = None,
    times: int = 1,
) -> tuple[Array, ...]:
    """A layer's output and what it carries on, from what its nodes send and keep.

    own: the layer's parameters by its own names. edges: None where there are none, or the features have been multiplied
    with them ahead of time. key, edge_index: of dropout on edges. times: how many layers that go on with it, of which
    this is the last, are computed at once.
    """
    total = sent
    if edges is not None:
        if isinstance(edges, Fetched):
            edges, sent = edges.fetched(backend, sent)
        if layer.along == "edges":
            edges = Edges(message_passing(backend), edges, layer.edge_dropout, key, edge_index)
        again: dict[str, Any] = {} if times == 1 else {"times": times}
        total = layer.aggregate(backend, own, edges, sent, kept, **again)
    output = layer.update(backend, own, total, kept)
    first, *carried = output if isinstance(output, tuple) else (output,)
    return (layer.activate(backend, first), *carried)


def mapped(function: Callable[[Any], Any], kept: Kept) -> Kept:
    """What is kept, with a function applied to each of its arrays."""
    if kept is None:
        return None
    return tuple(mapped(function, each) for each in kept) if isinstance(kept, tuple) else function(kept)
