"""The array API standard 2024.12 over JAX, `Backend.xp`: jax.numpy, and what it does otherwise than the standard.

Names that are not replaced here are jax.numpy's own functions, which cost nothing more; those of two arrays also
broadcast where JAX is told not to (`ranks`).
"""

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp

# Its names become this module's own, found as fast as there; those below come in their place.
globals().update({name: value for name, value in vars(jnp).items() if not name.startswith("_")})
__array_api_version__: str = "2024.12"

from portgnn_jax.complexes import ROWS, mended  # noqa: E402
from portgnn_jax.gradients import (  # noqa: E402
    abs,
    acosh,
    asinh,
    atan2,
    copysign,
    divide,
    hypot,
    logaddexp,
    pow,
    sort,
    std,
    vector_norm,
)
from portgnn_jax.ranks import TWO, broadcasting  # noqa: E402
from portgnn_jax.standard import (  # noqa: E402
    __array_namespace_info__,
    broadcast_arrays,
    cumulative_prod,
    expand_dims,
    finfo,
    floor_divide,
    meshgrid,
    remainder,
    searchsorted,
)

__all__ = [
    "__array_namespace_info__", "abs", "acosh", "asinh", "atan2", "broadcast_arrays", "copysign", "cumulative_prod",
    "divide", "expand_dims", "finfo", "floor_divide", "hypot", "linalg", "logaddexp", "meshgrid", "pow", "remainder",
    "searchsorted", "sort", "std",
]  # fmt: skip

globals().update({name: mended(name, globals()[name]) for name in ROWS})
globals().update({name: broadcasting(globals()[name]) for name in (*TWO, "where")})

_linalg = {name: value for name, value in vars(jnp.linalg).items() if not name.startswith("_")}
linalg = SimpleNamespace(**{**_linalg, "vector_norm": vector_norm})


def __getattr__(name: str) -> Any:
    return getattr(jnp, name)
