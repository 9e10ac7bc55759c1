"""The array API over JAX, `Backend.xp`: jax.numpy, with the gradients of docs/gradients.md."""

from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp

# Its names become this module's own, found as fast as there; those below come in their place.
globals().update({name: value for name, value in vars(jnp).items() if not name.startswith("_")})
__array_api_version__: str = jnp.__array_api_version__
__array_namespace_info__: Any = jnp.__array_namespace_info__

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

__all__ = [
    "abs", "acosh", "asinh", "atan2", "copysign", "divide", "hypot", "linalg", "logaddexp", "pow", "sort", "std",
]  # fmt: skip

_linalg = {name: value for name, value in vars(jnp.linalg).items() if not name.startswith("_")}
linalg = SimpleNamespace(**{**_linalg, "vector_norm": vector_norm})


def __getattr__(name: str) -> Any:
    return getattr(jnp, name)
