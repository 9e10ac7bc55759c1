"""The array API over torch, `Backend.xp`: array-api-compat's namespace, with the gradients of docs/gradients.md."""

from typing import Any

import array_api_compat.torch as compat

# Its names become this module's own, found as fast as there; those below come in their place.
globals().update({name: getattr(compat, name) for name in dir(compat) if not name.startswith("_")})
__array_api_version__: str = compat.__array_api_version__
__array_namespace_info__: Any = compat.__dict__["__array_namespace_info__"]

from portgnn_torch.gradients import (  # noqa: E402
    acosh,
    asinh,
    atan2,
    clip,
    floor_divide,
    hypot,
    logaddexp,
    take_along_axis,
)

__all__ = ["acosh", "asinh", "atan2", "clip", "floor_divide", "hypot", "logaddexp", "take_along_axis"]


def __getattr__(name: str) -> Any:
    return getattr(compat, name)
