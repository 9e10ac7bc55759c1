"""CuPy as a portgnn backend: the same tape over CuPy's arrays and cuSPARSE's product."""

from __future__ import annotations

from typing import Any

import array_api_compat.cupy as xp
import cupy
import cupyx.scipy.sparse as csp
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.protocol import Capabilities, Key
from portgnn.random import MULTIPLIER_1, MULTIPLIER_2, SHIFTS
from portgnn_numpy.arrays import Array
from portgnn_numpy.backend import TapeBackend


class CuPyBackend(TapeBackend):
    """The tape on one CUDA device."""

    name = "cupy"

    def __init__(self, device: str = "cuda", dtype: str = "float32") -> None:
        super().__init__(xp, device, dtype)
        self._device = cupy.cuda.Device(int(device.partition(":")[2] or 0))
        self._device.use()
        self.capabilities = Capabilities(
            lazy=True,
            # cuSPARSE's product with a transpose adds with atomics.
            deterministic=False,
        )

    @staticmethod
    def devices() -> tuple[str, ...]:
        try:
            count = cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError:
            return ()
        return tuple(f"cuda:{i}" if i else "cuda" for i in range(count))

    @staticmethod
    def dtypes(device: str) -> tuple[str, ...]:
        return ("float64", "float32")

    @staticmethod
    def environment() -> dict[str, Any]:
        runtime = cupy.cuda.runtime
        return {
            "version": cupy.__version__,
            "cuda": runtime.runtimeGetVersion(),
            "gpu": runtime.getDeviceProperties(0)["name"].decode(),
        }

    def _from_host(self, x: NDArray[Any]) -> Array:
        with self._device:
            return cupy.asarray(x)

    def _sparse(self, matrix: sp.csr_array) -> Any:
        with self._device:
            parts = (matrix.data.astype(self.dtype), matrix.indices, matrix.indptr)
            return csp.csr_matrix(tuple(cupy.asarray(part) for part in parts), shape=matrix.shape)

    def _transpose(self, matrix: Any) -> Any:
        return matrix.T

    def _hash(self, key: Key, index: Array) -> Array:
        x = index + np.uint32(key[0])
        x ^= x >> np.uint32(SHIFTS[0])
        x *= np.uint32(MULTIPLIER_1)
        x ^= x >> np.uint32(SHIFTS[1])
        x ^= np.uint32(key[1])
        x *= np.uint32(MULTIPLIER_2)
        x ^= x >> np.uint32(SHIFTS[2])
        return x.view(cupy.int32)

    def to_numpy(self, x: Array) -> NDArray[Any]:
        return np.array(cupy.asnumpy(x), copy=True)

    def synchronize(self, *arrays: Array) -> None:
        self._device.synchronize()
