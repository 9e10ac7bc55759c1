"""MLX as a portgnn backend: lazy arrays, the native value_and_grad, Metal, CUDA or the CPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import mlx.core as mx
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.parts import Adam, MasterWeights, checked_loss
from portgnn.protocol import BatchRun, BatchStep, Capabilities, Key, LossFn, Optimizer, Params, Run, State, Step, Watch
from portgnn.random import MULTIPLIER_1, MULTIPLIER_2, SHIFTS, dropout_mask, keep_threshold, random_bits
from portgnn_mlx import array_api, optim
from portgnn_mlx.collectives import MLXCollectives, join, launch_environment
from portgnn_mlx.kernels import kernel_is_right
from portgnn_mlx.optim import HostAdam, KernelAdam
from portgnn_mlx.sparse import EdgeCSR, HostCSR, KernelCSR, edge_csr, host_csr, kernel_csr

EPOCHS_A_CALL = 4
"""Epochs that one compiled call runs, so that they share its cost."""


class MLXBackend:
    """MLX on its "gpu" (Metal or CUDA) or "cpu" device.

    shared_memory: products and dropout bits through NumPy's view of the same memory. By default on the CPU
    device only; switched off there, the CPU runs what a GPU would.
    """

    name = "mlx"
    xp: Any = array_api
    # Operators are MLX's own and take no rule of ours; decompositions have no gradient in MLX 0.32.
    gaps: ClassVar = {
        "gradient.operator [*][*], base 0": "MLX gives NaN for x**y at 0, 0: use xp.pow",
        "gradient.operator [*][*], 0 to the number 0": "MLX gives NaN for x**0 at 0: use xp.pow",
        "gradient.operator /, large": "MLX divides by the square, 0 where that overflows: use xp.divide",
        "gradient.linalg.eigh": "MLX has no gradient of eigh: use linalg.eigvalsh",
        "gradient.linalg.matrix_norm": "MLX has no gradient of the SVD: use the Frobenius norm",
        "gradient.linalg.pinv": "MLX has no gradient of the SVD: use linalg.solve",
        "gradient.linalg.qr": "MLX has no gradient of QR: use linalg.cholesky or linalg.solve",
        "gradient.linalg.svdvals": "MLX has no gradient of the SVD: use linalg.eigvalsh of x.T @ x",
    }

    def __init__(self, device: str = "cpu", dtype: str = "float32", shared_memory: bool | None = None) -> None:
        self.device, self.dtype = device, dtype
        self._device = mx.Device(mx.gpu if device == "gpu" else mx.cpu)
        self._float: mx.Dtype = getattr(mx, dtype)
        # NumPy has no bfloat16.
        self._on_host = (device == "cpu" and dtype != "bfloat16") if shared_memory is None else shared_memory
        self._has_kernel = self._adam_has_kernel = False
        if not self._on_host and device == "gpu":
            with mx.stream(self._device):
                self._has_kernel, self._adam_has_kernel = kernel_is_right(), optim.kernel_is_right()
        self._counters: dict[int, Any] = {}
        self.capabilities = Capabilities(
            lazy=True,
            deterministic=device == "cpu" or self._has_kernel,
        )

    @staticmethod
    def devices() -> tuple[str, ...]:
        return ("gpu", "cpu") if mx.is_available(mx.gpu) else ("cpu",)

    @staticmethod
    def dtypes(device: str) -> tuple[str, ...]:
        return ("float64", "float32", "bfloat16") if device == "cpu" else ("float32", "bfloat16")

    @staticmethod
    def join(transport: str | None, timeout: float, watch: Watch) -> MLXCollectives:
        return join(transport, timeout, watch)

    @staticmethod
    def launch_environment(rank: int, size: int, port: int, folder: Path) -> dict[str, str]:
        return launch_environment(rank, size, port, folder)

    @staticmethod
    def environment() -> dict[str, Any]:
        return {
            "version": version("mlx"),
            "metal": mx.metal.is_available(),
            "gpu": mx.is_available(mx.gpu),
            "tf32": os.environ.get("MLX_ENABLE_TF32", "1") != "0",
        }

    @staticmethod
    def troubles(machine: Mapping[str, Any]) -> tuple[str, ...]:
        said = []
        if "chip" in machine and str(machine.get("macos", "")).startswith("26.") and "dev" in version("mlx"):
            said.append(
                f"mlx {version('mlx')} was built from source: with Xcode 26.5 products of more than 8 rows came out "
                "wrong "
                "(ml-explore/mlx#3586). Install a release, or run portgnn verify first"
            )
        if str(machine.get("chip", "")).startswith("Apple M5") and os.environ.get("MLX_ENABLE_TF32", "0") != "0":
            said.append(
                "MLX_ENABLE_TF32 is on: this chip multiplies float32 with 10 bits then (ml-explore/mlx#3860). Unset it"
            )
        return tuple(said)

    def asarray(self, x: NDArray[Any]) -> mx.array:
        host = np.asarray(x)
        kind = {"f": self._float, "i": mx.int32, "u": mx.int32, "b": mx.bool_}[host.dtype.kind]
        if host.dtype.kind in "iu":
            host = host.astype(np.uint32 if host.dtype.kind == "u" else np.int32).view(np.int32)
        if kind == mx.bfloat16:
            host = host.astype(np.float32)
        with mx.stream(self._device):
            return mx.array(host, dtype=kind)

    def to_numpy(self, x: mx.array) -> NDArray[Any]:
        with mx.stream(self._device):
            return np.array(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x, copy=True)

    def csr(self, matrix: sp.csr_array, index: NDArray[np.uint32] | None = None) -> Any:
        if self._on_host:
            return host_csr(matrix.astype(self.dtype), None if index is None else np.array(index, dtype=np.uint32))
        with mx.stream(self._device):
            place = kernel_csr if self._has_kernel and matrix.nnz else edge_csr
            # Stored values are few beside the sums: in float32 they cost little, and the sums need it.
            return place(matrix, index, mx.float32 if self._float == mx.bfloat16 else self._float)

    def matmul(self, a: Any, b: mx.array) -> mx.array:
        return self.spmm(a, b) if isinstance(a, HostCSR | EdgeCSR | KernelCSR) else a @ b

    def spmm(self, a: HostCSR | EdgeCSR | KernelCSR, x: mx.array) -> Any:
        return a.product(x.astype(mx.float32)).astype(x.dtype) if x.dtype == mx.bfloat16 else a.product(x)

    def relu(self, x: mx.array) -> mx.array:
        # Of a tie MLX's maximum gives the gradient to its second argument; NaN stays.
        return mx.maximum(x, 0.0)

    def log_softmax(self, x: mx.array) -> mx.array:
        if not x.size:  # MLX looks for no maximum there
            return x
        if x.dtype != mx.float64:
            wide = x.astype(mx.float32)
            return (wide - mx.logsumexp(wide, axis=-1, keepdims=True)).astype(x.dtype)
        shifted = x - mx.stop_gradient(mx.max(x, axis=-1, keepdims=True))
        return shifted - mx.log(array_api.sum(array_api.exp(shifted), axis=-1, keepdims=True))

    def random_bits(self, key: Key, index: int | mx.array) -> mx.array:
        if self._on_host:
            return mx.array(self._host_bits(key, index))
        return self._unsigned_bits(key, index).view(mx.int32)

    def _unsigned_bits(self, key: Key, index: int | mx.array) -> mx.array:
        x = self._counter(index) if isinstance(index, int) else index.astype(mx.uint32)
        x = x + _word(key[0])
        x = x ^ (x >> SHIFTS[0])
        x = x * _word(MULTIPLIER_1)
        x = x ^ (x >> SHIFTS[1])
        x = x ^ _word(key[1])
        x = x * _word(MULTIPLIER_2)
        return x ^ (x >> SHIFTS[2])

    def _counter(self, n: int) -> Any:
        if n not in self._counters:
            self._counters[n] = np.arange(n, dtype=np.uint32) if self._on_host else mx.arange(n, dtype=mx.uint32)
        return self._counters[n]

    def _host_bits(self, key: Key, index: Any) -> NDArray[np.int32]:
        ids = self._counter(index) if isinstance(index, int) else np.array(index, copy=False).view(np.uint32)
        return random_bits((int(key[0]), int(key[1])), ids)

    def dropout(self, x: Any, rate: float, key: Key, index: mx.array | None = None) -> Any:
        if rate == 0.0:
            return x
        if isinstance(x, HostCSR):
            return x.with_mask(self._host_mask(key, x.nnz if x.index is None else x.index, rate))
        if isinstance(x, EdgeCSR | KernelCSR):
            return x.with_mask(self._mask(key, x.nnz if x.index is None else x.index, rate))
        mask = self._mask(key, x.size if index is None else index, rate)
        dropped: mx.array = x * (mask if mask.shape == x.shape else mask.reshape(x.shape))
        return dropped

    def _host_mask(self, key: Key, index: Any, rate: float) -> NDArray[Any]:
        ids = index if isinstance(index, int) else np.array(index, copy=False).view(np.uint32)
        return dropout_mask((int(key[0]), int(key[1])), ids, rate, self.dtype)

    def _mask(self, key: Key, index: Any, rate: float) -> mx.array:
        if self._on_host:
            return mx.array(self._host_mask(key, index, rate), self._float)
        # The order of signed numbers, without a view as such: mx.compile makes no kernel across a view.
        bits = self._unsigned_bits(key, index) ^ _word(2**31)
        return (bits < _word(keep_threshold(rate) + 2**31)).astype(self._float) * (1.0 / (1.0 - rate))

    def value_and_grad(self, fn: LossFn) -> Callable[..., tuple[tuple[mx.array, Any], Params]]:
        native = mx.value_and_grad(lambda *given: checked_loss(fn(*given)))

        def wrapped(params: Params, *args: Any) -> tuple[tuple[mx.array, Any], Params]:
            with mx.stream(self._device):
                (loss, aux), grads = native(params, *args)
            return (loss, aux), grads

        return wrapped

    def adam(
        self,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: Mapping[str, float] | None = None,
    ) -> Optimizer:
        # mlx.optimizers.Adam leaves the bias correction off unless asked and holds its state inside.
        if self._on_host:
            return HostAdam(self.dtype, learning_rate, beta1, beta2, eps, weight_decay)
        wide = mx.float32 if self._float == mx.bfloat16 else self._float
        kind = KernelAdam if self._adam_has_kernel else Adam
        return self.widened(
            kind(partial(mx.zeros, dtype=wide), mx.sqrt, learning_rate, beta1, beta2, eps, weight_decay)
        )

    def widened(self, inner: Optimizer) -> Optimizer:
        if self._float != mx.bfloat16:
            return inner
        bits = (lambda x: x.view(mx.int32), lambda x: x.view(mx.float32))
        return MasterWeights(inner, lambda x: x.astype(mx.float32), lambda x: x.astype(self._float), *bits)

    def compile(self, step: Step) -> Run:
        def several(state: State, keys: Any) -> tuple[State, list[mx.array]]:
            measured: list[mx.array] = []
            for key in keys:
                state, metrics = step(state, key)
                measured += metrics
                if self._on_host:  # a lazy graph must not grow from epoch to epoch
                    mx.eval(state, *metrics)
            return state, measured

        fused = several if self._on_host else mx.compile(several)

        def run(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
            measured = []
            with mx.stream(self._device):
                start = 0
                while start < len(keys):
                    size = EPOCHS_A_CALL if len(keys) - start >= EPOCHS_A_CALL else 1
                    words = keys[start : start + size].tolist()
                    state, metrics = fused(state, words if self._on_host else _scalars(words))
                    mx.async_eval(state, metrics)  # a GPU works on these while the next are made
                    measured += metrics
                    start += size
                rows = np.array([value.item() for value in measured], dtype=np.float64)
            return state, rows.reshape(len(keys), -1)

        return run

    def compile_batches(self, step: BatchStep) -> BatchRun:
        def run(state: State, keys: NDArray[np.uint32], batch: Any) -> tuple[State, tuple[mx.array, ...]]:
            with mx.stream(self._device):
                state, measured = step(state, keys.tolist(), batch)
                mx.eval(state, *measured)
            return state, measured

        return run

    def synchronize(self, *arrays: mx.array) -> None:
        mx.eval(*arrays)
        mx.synchronize(mx.default_stream(self._device))


def _scalars(words: Any) -> Any:
    """Key words as 0-d arrays: a compiled function must not take them for constants."""
    return [_scalars(word) for word in words] if isinstance(words, list) else mx.array(words, mx.uint32)


def _word(value: Any) -> mx.array:
    """A key word or constant as uint32, so that arithmetic wraps and never widens."""
    return mx.array(value, mx.uint32) if isinstance(value, int) else value
