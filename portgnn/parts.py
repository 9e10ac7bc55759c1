"""Ready-made parts for adapters, written over the array API alone. An adapter takes them or brings its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.protocol import Array, Params, Run, State, Step


class Adam:
    """Bias-corrected Adam (Kingma & Ba 2015, Algorithm 1) as pure functions of array-API operators.

    The corrections 1 - beta**t are carried in the state by c <- beta * c + (1 - beta): a sum of positive
    terms, where 1 - beta**t itself would lose four digits of float32 in the first steps.
    """

    def __init__(
        self,
        backend: Any,
        learning_rate: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: Mapping[str, float] | None,
    ) -> None:
        self._asarray: Callable[[NDArray[Any]], Array] = backend.asarray
        self._sqrt: Callable[[Array], Array] = backend.xp.sqrt
        self._rate, self._beta1, self._beta2, self._eps = learning_rate, beta1, beta2, eps
        self._decay = {name: value for name, value in (weight_decay or {}).items() if value}

    def init(self, params: Params) -> State:
        state = {f"m.{name}": self._asarray(np.zeros(value.shape)) for name, value in params.items()}
        state |= {f"v.{name}": self._asarray(np.zeros(value.shape)) for name, value in params.items()}
        return state | {"c1": self._asarray(np.zeros(())), "c2": self._asarray(np.zeros(()))}

    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        c1 = state["c1"] * self._beta1 + (1.0 - self._beta1)
        c2 = state["c2"] * self._beta2 + (1.0 - self._beta2)
        rate = self._rate / c1
        after: State = {"c1": c1, "c2": c2}
        updated: Params = {}
        for name, value in params.items():
            grad = grads[name]
            if name in self._decay:
                grad = grad + self._decay[name] * value
            m = state[f"m.{name}"] * self._beta1 + grad * (1.0 - self._beta1)
            v = state[f"v.{name}"] * self._beta2 + (grad * grad) * (1.0 - self._beta2)
            updated[name] = value - (m * rate) / (self._sqrt(v / c2) + self._eps)
            after[f"m.{name}"], after[f"v.{name}"] = m, v
        return updated, after


def plain_loop(
    step: Step, fetch: Callable[[list[tuple[Array, ...]]], NDArray[np.float64]], settle: Callable[..., None]
) -> Run:
    """A `Run` that calls `step` once an epoch with keys as Python ints.

    fetch: brings a chunk's metrics to the host together. settle: called with the new state after each step,
    for lazy frameworks whose graph would otherwise grow.
    """

    def run(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
        metrics = []
        for row in keys.tolist():
            state, measured = step(state, row)
            settle(state, measured)
            metrics.append(measured)
        return state, fetch(metrics)

    return run
