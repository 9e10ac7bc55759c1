"""Numbers too small for the dtype become 0, as everywhere else, whatever `np.seterr` makes of it for the caller.

The exponential of a saturated softmax underflows, and so do squares of vanishing gradients: neither is a mistake. What
overflows or is no number is left to the caller's setting.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


def to_zero(function: Callable[P, R]) -> Callable[P, R]:
    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with np.errstate(under="ignore"):
            return function(*args, **kwargs)

    return call
