"""What a layer of a trained network makes of each node."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from portgnn.checkpoints.model import Model
from portgnn.errors import ConfigError
from portgnn.hyperparameters import whole_number
from portgnn.placing import forward
from portgnn.placing.whole import place
from portgnn.prediction.predict import Target, Trained, prepared_for, target_of, trained_model
from portgnn.protocol import Backend
from portgnn.registry import backend_of
from portgnn.tasks.heads import NODES
from portgnn.training import memory


def embed(
    model_or_path: Trained,
    graph: Target,
    *,
    layer: int | None = None,
    backend: str | Backend = "numpy",
    device: str | None = None,
    dtype: object = "float32",
    unknown: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
) -> NDArray[np.floating]:
    """Rows [nodes, width] of a layer of a trained network, after its activation and without dropout.

    layer: from 1; None for the last hidden one. Each of `Model.layers` is one: of some networks, a step of a polynomial
        or of a propagation. The last one's rows are what `portgnn.predict` says.

    Raises ConfigError for a layer that the network does not have, and for a model of whole graphs; else what
    `portgnn.predict` raises.
    """
    trained = trained_model(model_or_path)
    layers = trained.layers[: layer_number(trained, layer)]
    single = target_of(graph, None, unknown, ignore, trained.config.targets)
    made = backend_of(backend, device, dtype)
    prepared = prepared_for(trained, single)
    with memory.told(prepared, made):
        operands = place(made, prepared, None, training=False, layers=layers)
        params = {name: made.asarray(value) for name, value in trained.params.items()}
        rows: NDArray[np.floating] = made.to_numpy(forward.outputs(made, layers, params, operands))
    return rows


def layer_number(trained: Model, layer: int | None) -> int:
    """The number of a layer of a model of nodes, from 1; None for the last hidden one. Raises ConfigError."""
    if trained.config.readout not in NODES:
        raise ConfigError(
            f"the model reads whole graphs out (readout={trained.config.readout}), and layers are of nodes"
        )
    count = len(trained.layers)
    if layer is None:
        if count == 1:
            raise ConfigError("the model has one layer, and so no hidden one; its rows are what portgnn.predict says")
        return count - 1
    number = whole_number("layer", layer, 1)
    if number > count:
        raise ConfigError(f"layer={number} is none of this {trained.config.model}, which has the layers 1 to {count}")
    return number


def as_columns(rows: NDArray[np.floating]) -> dict[str, NDArray[np.generic]]:
    """A column each, by a name."""
    return {f"hidden {at}": np.ascontiguousarray(rows[:, at]) for at in range(rows.shape[1])}
