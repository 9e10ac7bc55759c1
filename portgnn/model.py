"""The one graph convolutional network: a pure function of parameters, operands and dropout keys.

H_{l+1} = relu(A H_l W_l) with A = D^-1/2 (A + I) D^-1/2 (Kipf & Welling 2017, eq. 2 and 9).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.operands import Operands
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, Params
from portgnn.random import glorot_uniform


def parameter_shapes(config: Config, dimensions: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all parameters: `weight0`, …, and `bias0`, … where the recipe has biases.

    dimensions: widths from the features to the classes.
    """
    layers = range(config.layers)
    shapes: dict[str, tuple[int, ...]] = {
        f"weight{layer}": (dimensions[layer], dimensions[layer + 1]) for layer in layers
    }
    if config.bias != "none":
        shapes |= {f"bias{layer}": (dimensions[layer + 1],) for layer in layers}
    return shapes


def init_params(config: Config, dimensions: tuple[int, ...], seed: int) -> dict[str, NDArray[np.float64]]:
    """Glorot weights and zero biases, float64, on the host."""
    shapes = parameter_shapes(config, dimensions)
    weights = glorot_uniform({name: (s[0], s[1]) for name, s in shapes.items() if len(s) == 2}, seed)
    return weights | {name: np.zeros(s) for name, s in shapes.items() if len(s) == 1}


def gcn(backend: Backend, params: Params, operands: Operands, config: Config, keys: Any = None) -> Array:
    """Logits [rows, c]. keys: one dropout key a layer, or None to evaluate without dropout."""
    hidden: Any = operands.features
    for layer, rate in enumerate(config.dropout_rates()):
        weight, adjacency = params[f"weight{layer}"], operands.adjacency[layer]
        if keys is not None and rate:
            hidden = backend.dropout(hidden, rate, keys[layer], operands.index[layer])
        narrows = weight.shape[1] <= weight.shape[0]
        if adjacency is None:
            hidden = backend.matmul(hidden, weight)
        elif narrows or layer == 0 or config.bias == "before":
            hidden = backend.matmul(hidden, weight)
            if config.bias == "before":
                hidden = hidden + params[f"bias{layer}"]
            hidden = backend.matmul(adjacency, hidden)
        else:  # a product with A costs its number of columns: take it on the narrower side of W
            hidden = backend.matmul(backend.matmul(adjacency, hidden), weight)
        if config.bias == "after":
            hidden = hidden + params[f"bias{layer}"]
        if layer + 1 < config.layers:
            hidden = backend.relu(hidden)
    return hidden
