"""NumPy and SciPy as a portgnn backend: always there, and in float64 the reference for all others."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import array_api_compat.numpy as xp
import numpy as np
import scipy
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.parts import FasterRun, compiled
from portgnn.protocol import Capabilities, Key, Run, Step
from portgnn.random import HASH, dropout_mask, keep_threshold, random_bits
from portgnn_numpy.arrays import Array
from portgnn_numpy.backend import TapeBackend
from portgnn_numpy.csr import product
from portgnn_numpy.optim import InPlaceAdam
from portgnn_numpy.recording import WORTH_RECORDING, made, recorded
from portgnn_numpy.underflow import to_zero

LARGE = 1 << 20
"""Stored values of a square matrix from which on it is asked whether it is its own transpose."""
NARROW = 32
"""Columns up to which the largest number of a row is found across rows."""


class NumPyBackend(TapeBackend):
    """The tape over NumPy with SciPy's CSR product."""

    name = "numpy"

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        super().__init__(xp, device, dtype)
        self.capabilities = Capabilities(
            lazy=False,
            deterministic=True,
            forks=True,
        )

    @staticmethod
    def devices() -> tuple[str, ...]:
        return ("cpu",)

    @staticmethod
    def dtypes(device: str) -> tuple[str, ...]:
        return ("float64", "float32")

    @staticmethod
    def environment() -> dict[str, Any]:
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        return {
            "version": np.__version__,
            "scipy": scipy.__version__,
            "blas": f"{blas['name']} {blas['version']}",
            "loops": compiled.described(),
        }

    _adam = InPlaceAdam

    def _from_host(self, x: NDArray[Any]) -> Array:
        return x

    def _sparse(self, matrix: sp.csr_array) -> sp.csr_array:
        return matrix.astype(self.dtype)

    def _adopted(self, matrix: sp.csr_array) -> sp.csr_array:
        return matrix if matrix.dtype == self.dtype else self._sparse(matrix)

    def _transpose(self, matrix: sp.csr_array) -> Any:
        is_square = matrix.shape[0] == matrix.shape[1] and matrix.nnz >= LARGE
        if is_square and compiled.is_symmetric(matrix.indptr, matrix.indices, matrix.data):
            return matrix  # rows of sums are kept in registers, and cores may share in them
        # The CSC view of the same arrays: SciPy's product with it is as fast as with a sorted CSR copy, and
        # after dropout on stored values it needs no second set of them.
        return matrix.T

    def _product(self, matrix: Any, x: Array) -> Array:
        return product(matrix, x)

    def _hash(self, key: Key, index: Array) -> Array:
        return made(key, lambda words, out: _put(random_bits((words[0], words[1]), index), out))

    def _mask(self, key: Key, index: int | Array, rate: float) -> Array:
        numbers = None if isinstance(index, int) else index.view(np.uint32)
        elements, threshold, scale = index if numbers is None else numbers, keep_threshold(rate), 1.0 / (1.0 - rate)
        shape = (index,) if numbers is None else numbers.shape
        threads = compiled.threads_for(math.prod(shape))

        def make(words: Key, out: Array | None) -> Array:
            if not compiled.WORK.ready:
                return _put(dropout_mask((words[0], words[1]), elements, rate, self.dtype), out)
            mask = np.empty(shape, dtype=self.dtype) if out is None else out
            compiled.mask(mask, numbers, (int(words[0]), int(words[1])), threshold, scale, HASH, threads)
            return mask

        return made(key, make)

    def _largest(self, x: Array) -> Array:
        # Of short rows NumPy finds it three times as fast across them, and any order gives the same.
        if x.ndim == 2 and x.shape[1] <= NARROW:
            return x.T.copy().max(axis=0)[:, None]
        return super()._largest(x)

    def compile(self, step: Step) -> Run:
        return to_zero(FasterRun(partial(recorded, step), self._plain(step), WORTH_RECORDING))

    def to_numpy(self, x: Array) -> NDArray[Any]:
        return np.array(x, copy=True)

    def synchronize(self, *arrays: Array) -> None:
        """NumPy has finished by the time it returns."""


def _put(x: Array, out: Array | None) -> Array:
    """x, in `out` where there is one."""
    if out is None:
        return x
    np.copyto(out, x)
    return out
