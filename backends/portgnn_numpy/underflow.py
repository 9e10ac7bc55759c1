"""Numbers too small for the dtype become 0, as everywhere else, whatever `np.seterr` makes of it for the caller.

The exponential of a saturated softmax underflows, and so do squares of vanishing gradients: neither is a mistake. What
overflows or is no number is left to the caller's setting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")


_THREAD = threading.local()


def to_zero(function: Callable[P, R]) -> Callable[P, R]:
    """The function, in which what underflows is 0."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        # Once, by the outermost of them: a step on a small graph calls eleven, and each change of the setting takes
        # as long as a product of small matrices.
        if getattr(_THREAD, "ignores", False):
            return function(*args, **kwargs)
        _THREAD.ignores = True
        try:
            with np.errstate(under="ignore"):
                return function(*args, **kwargs)
        finally:
            _THREAD.ignores = False

    return call
