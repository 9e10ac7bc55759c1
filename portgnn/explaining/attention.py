"""What nodes pay their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import ConfigError
from portgnn.explaining.overlay import Overlay, Watched
from portgnn.parts import message_passing
from portgnn.placing import forward
from portgnn.placing.operands import Operands
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.prediction.hidden import layer_number
from portgnn.prediction.predict import Target, Trained, prepared_for, target_of, trained_model
from portgnn.protocol import Backend, Params
from portgnn.registry import backend_of
from portgnn.training import memory


@dataclass(frozen=True, eq=False)
class Attention:
    """edges: int64 [m, 2], sources and targets, by target; each node's own place is among them. weights: [m, heads],
    what a target pays a source: those of one target sum to 1. layer: from 1.
    """

    edges: NDArray[np.int64]
    weights: NDArray[np.floating]
    layer: int

    def __repr__(self) -> str:
        """One line: the arrays have too many."""
        return f"Attention: {self.weights.shape[1]} heads of layer {self.layer} on {len(self.edges)} edges"


def attention(
    model_or_path: Trained,
    graph: Target,
    *,
    layer: int | None = None,
    backend: str | Backend = "numpy",
    device: str | None = None,
    dtype: object = "float32",
    unknown: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
) -> Attention:
    """The shares that a layer's softmax over each node's edges gives them, for each head and without dropout.

    layer: from 1, as for `portgnn.embed`; None for the first that takes one. Any network whose layers do has them, GAT,
        GATv2 and your own.

    Raises ConfigError where the layer, or none, pays attention; else what `portgnn.predict` raises.
    """
    trained = trained_model(model_or_path)
    asked = None if layer is None else layer_number(trained, layer)
    layer_number(trained, 1)
    single = target_of(graph, None, unknown, ignore, trained.config.targets)
    made = backend_of(backend, device, dtype)
    prepared = prepared_for(trained, single)
    layers = trained.layers[:asked]
    with memory.told(prepared, made):
        seen = _watched(made, prepared, layers, {name: made.asarray(value) for name, value in trained.params.items()})
    paying = [at for at, each in enumerate(seen, start=1) if each is not None and each.shares]
    number = asked if asked is not None else next(iter(paying), 0)
    if number not in paying:
        which = f"layer {number} of this {trained.config.model}" if number else f"this {trained.config.model}"
        others = f"; its layers {', '.join(map(str, paying))} do" if paying else ""
        raise ConfigError(f"{which} pays no attention to edges{others}. Networks that do: gat, gatv2")
    matrix = prepared.adjacency
    targets = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    edges = np.stack([matrix.indices.astype(np.int64), targets], axis=1)
    found: Any = seen[number - 1]
    return Attention(edges, made.to_numpy(found.shares[0]), number)


def _watched(backend: Backend, prepared: Prepared, layers: Any, params: Params) -> list[Watched | None]:
    """The edges of each layer, after all rows have gone along them."""
    operands = place(backend, prepared, None, training=False, layers=layers)
    handle = message_passing(backend).edges(prepared.adjacency)
    watched = [None if layer.along != "edges" else Watched(handle) for layer in layers]
    seen = tuple(plain if each is None else each for plain, each in zip(operands.adjacency, watched, strict=True))
    overlay: Any = Overlay(backend)
    forward.outputs(overlay, layers, params, _with(operands, seen))
    return watched


def _with(operands: Operands, adjacency: tuple[object, ...]) -> Operands:
    return Operands(**vars(operands) | {"adjacency": adjacency})
