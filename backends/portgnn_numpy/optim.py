"""Adam on NumPy arrays, in place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.parts import Adam
from portgnn.protocol import Params, State
from portgnn_numpy.underflow import to_zero


class InPlaceAdam(Adam):
    """`portgnn.parts.Adam` that writes over parameters and moments: the same operations in the same order.

    Fresh arrays for each of its fifteen operations took longer than the operations themselves.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scratch: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}

    @to_zero
    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        c1, c2 = self._corrections(state)
        rate = self._rate / c1
        for name, value in params.items():
            m, v = state[f"m.{name}"], state[f"v.{name}"]
            a, b = self._two_like(name, value)
            grad = grads[name]
            if name in self._decay:
                np.multiply(value, self._decay[name], out=a)
                np.add(grad, a, out=a)
                grad = a
            np.multiply(grad, 1.0 - self._beta1, out=b)
            m *= self._beta1
            m += b
            np.multiply(grad, grad, out=a)
            a *= 1.0 - self._beta2
            v *= self._beta2
            v += a
            np.divide(v, c2, out=a)
            np.sqrt(a, out=a)
            a += self._eps
            np.multiply(m, rate, out=b)
            b /= a
            value -= b
        return params, state | {"c1": c1, "c2": c2}

    def _two_like(self, name: str, value: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        kept = self._scratch.get(name)
        if kept is None or kept[0].shape != value.shape:
            kept = self._scratch[name] = (np.empty_like(value), np.empty_like(value))
        return kept
