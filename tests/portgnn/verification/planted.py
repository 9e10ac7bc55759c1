"""Broken backends, and broken parts of the library: what `verify` and the kit must each reject.

Every row is a mistake that somebody could make. Those of an adapter are subclasses of the NumPy adapter, which
is right; those of the loop or the objective replace a function of the library for the time of one test.
"""

from __future__ import annotations

from typing import Any

import planted_gradients  # noqa: F401
import planted_library  # noqa: F401
import planted_numbers  # noqa: F401
import planted_optimizers  # noqa: F401
import planted_training  # noqa: F401

# Importing these fills the table, in this order.
import planted_verbs  # noqa: F401
from plant import PLANTED, Planted, with_value

from portgnn_numpy import NumPyBackend
from portgnn_numpy.backend import Sparse
from portgnn_numpy.tape import unary, value_of

__all__ = ["PLANTED", "OtherOrder", "Planted"]

# Right, but added up in another order: must pass.


class OtherOrder(NumPyBackend):
    def matmul(self, a: Any, b: Any) -> Any:
        product = super().matmul(a, b)
        if isinstance(a, Sparse):
            return product
        x, y = value_of(a), value_of(b)
        half = x.shape[1] // 2
        value = x[:, half:][:, ::-1] @ y[half:][::-1] + x[:, :half] @ y[:half]
        return with_value(product, value)

    def spmm(self, a: Sparse, x: Any) -> Any:
        backwards = a.matrix[:, ::-1]
        return unary(x, backwards @ value_of(x)[::-1], lambda g: a.matrix[::-1].T @ g[::-1])
