"""Adam for MLX's CPU device, through NumPy's view of the same memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import mlx.core as mx
import numpy as np

from portgnn.parts import Adam
from portgnn.protocol import Params, State


class HostAdam:
    """`portgnn.parts.Adam` on shared memory.

    As some fifty small operations of a lazy graph the step took longer than the sparse products of a training epoch;
    NumPy runs the same ones without building the graph.
    """

    def __init__(self, dtype: str, *rates: Any) -> None:
        """rates: learning rate, beta1, beta2, eps and weight decay, as `Backend.adam` takes them."""
        self._dtype: mx.Dtype = getattr(mx, dtype)
        self._adam = Adam(partial(np.zeros, dtype=dtype), np.sqrt, *rates)

    def init(self, params: Params) -> State:
        return self._shared(self._adam.init(params))

    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        mx.eval(params, grads, state)
        views = ({name: np.array(value, copy=False) for name, value in part.items()} for part in (params, grads, state))
        params, state = self._adam.step(*views)
        return self._shared(params), self._shared(state)

    def _shared(self, arrays: dict[str, Any]) -> dict[str, mx.array]:
        return {name: mx.array(value, self._dtype) for name, value in arrays.items()}
