"""Adapters with a planted fault: the harness must refuse to time them."""

from __future__ import annotations

from typing import Any

from portgnn_numpy import NumPyBackend


class ForgetsScale(NumPyBackend):
    """Dropout without the factor 1 / (1 - rate)."""

    name = "forgets-scale"

    def _mask(self, key: Any, index: Any, rate: float) -> Any:
        return super()._mask(key, index, rate) * (1.0 - rate)


class WrongOnLargeGraphs(NumPyBackend):
    """Right on the matrices of every check, the largest graph's and the edge sizes' too; wrong between them."""

    name = "wrong-on-large-graphs"

    def spmm(self, a: Any, x: Any) -> Any:
        product = super().spmm(a, x)
        return product * 1.001 if 3000 < a.shape[0] < 4000 else product
