"""What follows a layer, element by element, from the standard's functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, cast

from portgnn.parts import elu

if TYPE_CHECKING:
    from portgnn.protocol import Array, Backend

Activation = Literal["relu", "elu", "leaky_relu", "gelu"]


def activated(backend: Backend, x: Array, activation: Activation) -> Array:
    """The activation of each element.

    elu: that of Clevert et al. 2016, alpha 1. leaky_relu: slope 0.01 below 0 (Maas et al. 2013). gelu: the form with
    tanh (Hendrycks & Gimpel 2016, section 2), since the standard has no error function.
    """
    xp = backend.xp
    if activation == "relu":
        return backend.relu(x)
    if activation == "elu":
        return cast("Array", elu(backend, x))
    if activation == "leaky_relu":
        return leaky_relu(backend, x, 0.01)
    return 0.5 * x * (1.0 + xp.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))


def leaky_relu(backend: Backend, x: Array, slope: float) -> Array:
    """x where it is above 0, else slope * x; the gradient at 0 is slope."""
    return slope * x + (1.0 - slope) * backend.relu(x)
