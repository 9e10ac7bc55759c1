"""The standard's functions of two arrays, which broadcast whatever JAX is told about ranks.

Under JAX_NUMPY_RANK_PROMOTION=raise (or the option of that name) jax.numpy refuses operands of different ranks, which
the standard demands to broadcast. Here the axes that are missing are written out. Operators stay JAX's own, as its user
wants them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
from jax import lax

TWO = (
    "add", "atan2", "bitwise_and", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "copysign",
    "divide", "equal", "floor_divide", "greater", "greater_equal", "hypot", "less", "less_equal", "logaddexp",
    "logical_and", "logical_or", "logical_xor", "maximum", "minimum", "multiply", "nextafter", "not_equal", "pow",
    "remainder", "subtract",
)  # fmt: skip
"""Of the array API standard 2024.12; and `where`, of three."""


def broadcasting(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, on arrays that all have the rank of the highest; 0-d ones and Python numbers stay."""

    @wraps(function)
    def ranked(*arrays: Any, **options: Any) -> Any:
        ranks = [np.ndim(x) for x in arrays]
        most = max(ranks, default=0)
        if all(rank in (0, most) for rank in ranks):
            return function(*arrays, **options)
        return function(
            *(
                x if rank in (0, most) else lax.expand_dims(x, range(most - rank))
                for x, rank in zip(arrays, ranks, strict=True)
            ),
            **options,
        )

    return ranked
