"""What MLX's own types get wrong and no function around them can mend. Mended once, where this MLX has the fault."""

from __future__ import annotations

from typing import Any

import mlx.core as mx


def mend_dtype_equality() -> None:
    """Lets an MLX dtype be compared with None.

    `mx.float32 == None` raises TypeError in MLX 0.32, so `None in dtypes`, and each search of a table of dtypes for
    something else, ends there. The standard wants an answer. An object of our own beside it would be none: a dtype
    that comes from an array is MLX's, and says False to everything that is not.
    """
    try:
        if (mx.float32 == None) is False:  # noqa: E711
            return
    except TypeError:
        pass
    equal, unequal = mx.Dtype.__eq__, mx.Dtype.__ne__

    def __eq__(self: Any, other: object) -> bool:
        return other is not None and bool(equal(self, other))

    def __ne__(self: Any, other: object) -> bool:
        return other is None or bool(unequal(self, other))

    mx.Dtype.__eq__ = __eq__  # type: ignore[method-assign]
    mx.Dtype.__ne__ = __ne__  # type: ignore[method-assign]
