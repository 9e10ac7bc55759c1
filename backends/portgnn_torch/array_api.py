"""The array API standard 2024.12 over torch, `Backend.xp`: array-api-compat's namespace, and what that leaves open.

Names that are not replaced here are array-api-compat's own functions, which cost nothing more.
"""

from typing import Any

import array_api_compat.torch as compat

# Its names become this module's own, found as fast as there; those below come in their place.
globals().update({name: getattr(compat, name) for name in dir(compat) if not name.startswith("_")})
__array_api_version__: str = "2024.12"

from portgnn_torch.columns import add  # noqa: E402
from portgnn_torch.complexes import ROWS, mended  # noqa: E402
from portgnn_torch.gradients import (  # noqa: E402
    acosh,
    asinh,
    atan2,
    clip,
    hypot,
    logaddexp,
    take_along_axis,
)
from portgnn_torch.standard import (  # noqa: E402
    __array_namespace_info__,
    broadcast_arrays,
    finfo,
    floor_divide,
    iinfo,
    meshgrid,
    remainder,
    result_type,
    std,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
)

__all__ = [
    "__array_namespace_info__", "acosh", "add", "asinh", "atan2", "broadcast_arrays", "clip", "finfo", "floor_divide",
    "hypot", "iinfo", "logaddexp", "meshgrid", "remainder", "result_type", "std", "take_along_axis", "unique_all",
    "unique_counts", "unique_inverse", "unique_values",
]  # fmt: skip

globals().update({name: mended(name) for name in ROWS})


def __getattr__(name: str) -> Any:
    return getattr(compat, name)
