"""The values that a network's parameters begin with: of a seed and the parameter's name alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from portgnn.models.layer import Layer, Parameter, parameters_of
from portgnn.random import glorot_bound, parameter_stream


def initial_values(
    layers: tuple[Layer, ...], seed: int, head: Mapping[str, Parameter] | None = None
) -> dict[str, NDArray[np.float64]]:
    """The values that the parameters begin with, float64, on the host. head: parameters beside those of the layers."""
    declared = parameters_of(layers) | dict(head or {})
    return {name: _drawn(name, parameter, seed) for name, parameter in declared.items()}


def _drawn(name: str, parameter: Parameter, seed: int) -> NDArray[np.float64]:
    if parameter.init == "zeros":
        return np.zeros(parameter.shape)
    if parameter.init == "ones":
        return np.ones(parameter.shape)
    stream = parameter_stream(seed, name)
    if parameter.init == "glorot":
        bound = glorot_bound(parameter.shape)
        return stream.uniform(-bound, bound, size=parameter.shape)
    return np.asarray(parameter.init(stream, parameter.shape), dtype=np.float64)
