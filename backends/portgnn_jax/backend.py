"""JAX as a portgnn backend: value_and_grad, jit, and several epochs in one compiled loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from jax import lax
from jax.extend.backend import backends
from numpy.typing import NDArray

from portgnn.parts import Adam, MasterWeights, checked_loss
from portgnn.protocol import (
    BatchRun,
    BatchStep,
    Capabilities,
    EdgeDropout,
    Key,
    LossFn,
    Optimizer,
    Params,
    Run,
    State,
    Step,
)
from portgnn.random import MULTIPLIER_1, MULTIPLIER_2, SHIFTS, keep_threshold
from portgnn_jax import array_api, edges
from portgnn_jax.cache import keep_compiled
from portgnn_jax.edges import JaxEdges
from portgnn_jax.sparse import JaxCSR, place, place_pair

CHUNK = 64
"""Epochs in one compiled loop; its size is fixed so that no chunk compiles anew."""


class JAXBackend:
    """JAX on one device.

    precision: of dense products. JAX multiplies float32 in TF32 on CUDA unless told otherwise, with relative
    errors near 3e-4; "highest" means float32. pieces: the sparse form that `portgnn_jax.sparse` describes; None takes
    it on GPUs only.
    """

    name = "jax"
    xp: Any = array_api
    # Operators are JAX's own and take no rule of ours.
    gaps: ClassVar = {
        "gradient.operator abs, 0": "JAX gives 1 for abs(x) at 0: use xp.abs",
        "gradient.operator [*][*], base 0": "JAX gives NaN for x**y at 0, 0: use xp.pow",
        "gradient.operator /, large": "JAX multiplies by the inverse square, 0 where that underflows: use xp.divide",
    }

    def __init__(
        self, device: str = "cpu", dtype: str = "float32", precision: str = "highest", pieces: bool | None = None
    ) -> None:
        keep_compiled()
        if dtype == "float64":
            # A switch of the whole process; arrays of float32 instances keep their explicit dtype under it.
            jax.config.update("jax_enable_x64", True)
        self.device, self.dtype = device, dtype
        self._float = jnp.dtype(dtype)
        kind, _, number = device.partition(":")
        self._device = jax.devices(kind)[int(number or 0)]
        self._precision = precision
        self._pieces = kind != "cpu" if pieces is None else pieces
        self.capabilities = Capabilities(
            lazy=True,
            deterministic=kind == "cpu" or self._pieces,
        )

    @staticmethod
    def devices() -> tuple[str, ...]:
        # What JAX has found, under its names: cuda, rocm, tpu, …
        kinds = sorted(backends(), key="cpu".__eq__)
        return tuple(f"{kind}:{i}" if i else kind for kind in kinds for i in range(len(jax.devices(kind))))

    @staticmethod
    def dtypes(device: str) -> tuple[str, ...]:
        return ("float64", "float32", "bfloat16")

    @staticmethod
    def environment() -> dict[str, Any]:
        return {
            "version": jax.__version__,
            "platform": jax.default_backend(),
            "x64": bool(jax.config.read("jax_enable_x64")),
        }

    def asarray(self, x: NDArray[Any]) -> jax.Array:
        host = np.asarray(x)
        kind = host.dtype.kind
        if kind == "u":
            host = host.astype(np.uint32).view(np.int32)
        # A copy of our own: device_put may keep the caller's memory, which the caller may write to.
        kinds: dict[str, Any] = {"f": self._float, "i": "int32", "u": "int32", "b": "bool"}
        return self._put(np.array(host, dtype=kinds[kind]))

    def _put(self, x: NDArray[Any]) -> jax.Array:
        return jax.device_put(x, self._device)

    def to_numpy(self, x: jax.Array) -> NDArray[Any]:
        return np.array(x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x, copy=True)

    def csr(self, matrix: sp.csr_array, index: NDArray[np.uint32] | None = None) -> JaxCSR:
        # Stored values are few beside the sums: in float32 they cost little, and the sums need it.
        stored = np.dtype("float32") if self.dtype == "bfloat16" else self._float
        return place(matrix, index, stored, self._put, self._pieces)

    def csr_with_transpose(self, matrix: sp.csr_array, transposed: sp.csr_array) -> JaxCSR:
        """See `portgnn.protocol.Transposing`."""
        stored = np.dtype("float32") if self.dtype == "bfloat16" else self._float
        return place_pair(matrix, transposed, stored, self._put, self._pieces)

    def matmul(self, a: Any, b: jax.Array) -> Any:
        return self.spmm(a, b) if isinstance(a, JaxCSR) else jnp.matmul(a, b, precision=self._precision)

    def spmm(self, a: JaxCSR, x: jax.Array) -> Any:
        return a.product(x.astype(jnp.float32)).astype(x.dtype) if self.dtype == "bfloat16" else a.product(x)

    def edges(self, matrix: sp.csr_array) -> JaxEdges:
        return edges.place_edges(matrix, self._float, self._put, self._pieces)

    def edge_weights(self, a: JaxEdges) -> jax.Array:
        return a.weights

    def gather(self, a: JaxEdges, x: jax.Array, end: str) -> Any:
        return (edges.gather_sources if end == "source" else edges.gather_targets)(a, x)

    def segment_sum(self, a: JaxEdges, values: jax.Array) -> Any:
        return edges.segment_sum(a, values)

    def segment_max(self, a: JaxEdges, values: jax.Array) -> Any:
        return edges.segment_max(a, values)

    def edge_softmax(self, a: JaxEdges, scores: jax.Array) -> Any:
        return edges.edge_softmax(a, scores)

    def edge_spmm(self, a: JaxEdges, values: jax.Array, x: jax.Array) -> Any:
        return edges.edge_spmm(a, values, x)

    def attend(
        self, a: JaxEdges, rows: jax.Array, target: jax.Array, weights: jax.Array, slope: float,
        dropout: EdgeDropout | None = None, dynamic: bool = False,
    ) -> Any:  # fmt: skip
        mask = None
        if dropout is not None and dropout.rate:
            shape = (a.rows.shape[0], weights.shape[0])
            index: Any = shape[0] * shape[1] if dropout.numbers is None else dropout.numbers
            mask = self._mask(dropout.key, index, dropout.rate).reshape(shape)
        return edges.attend(a, rows, target, weights, mask, slope, dynamic)

    def relu(self, x: jax.Array) -> Any:
        return jax.nn.relu(x)

    def log_softmax(self, x: jax.Array) -> Any:
        wide = x.astype(jnp.float32) if self.dtype == "bfloat16" else x
        return jax.nn.log_softmax(wide, axis=-1).astype(x.dtype)

    def random_bits(self, key: Key, index: int | jax.Array) -> Any:
        x = lax.iota(jnp.uint32, index) if isinstance(index, int) else index.view(jnp.uint32)
        x = x + jnp.uint32(key[0])
        x = x ^ (x >> SHIFTS[0])
        x = x * jnp.uint32(MULTIPLIER_1)
        x = x ^ (x >> SHIFTS[1])
        x = x ^ jnp.uint32(key[1])
        x = x * jnp.uint32(MULTIPLIER_2)
        return lax.bitcast_convert_type(x ^ (x >> SHIFTS[2]), jnp.int32)

    def dropout(self, x: Any, rate: float, key: Key, index: jax.Array | None = None) -> Any:
        if rate == 0.0:
            return x
        if isinstance(x, JaxCSR):
            return x.with_dropout(lambda numbers: self._mask(key, numbers, rate))
        return x * self._mask(key, x.size if index is None else index, rate).reshape(x.shape)

    def _mask(self, key: Key, index: int | jax.Array, rate: float) -> Any:
        kept = self.random_bits(key, index) < keep_threshold(rate)
        return kept.astype(self._float) * (1.0 / (1.0 - rate))

    def value_and_grad(self, fn: LossFn) -> Callable[..., tuple[tuple[jax.Array, Any], Params]]:
        return jax.value_and_grad(lambda *given: checked_loss(fn(*given)), has_aux=True)

    def adam(
        self,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: Mapping[str, float] | None = None,
    ) -> Optimizer:
        wide = jnp.dtype("float32" if self.dtype == "bfloat16" else self.dtype)
        zeros = partial(jnp.zeros, dtype=wide, device=self._device)
        return self.widened(Adam(zeros, jnp.sqrt, learning_rate, beta1, beta2, eps, weight_decay))

    def widened(self, inner: Optimizer) -> Optimizer:
        if self.dtype != "bfloat16":
            return inner
        bits = (lambda x: x.view(jnp.int32), lambda x: x.view(jnp.float32))
        return MasterWeights(inner, lambda x: x.astype(jnp.float32), lambda x: x.astype(self._float), *bits)

    def compile(self, step: Step) -> Run:
        loops: dict[bool, Callable[..., tuple[State, jax.Array]]] = {}
        # After each turn of a loop of open length, a GPU asks the host whether to go on: full chunks have their own.
        has_fixed = self._device.platform != "cpu"

        def run(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
            rows = []
            for start in range(0, len(keys), CHUNK):
                part = keys[start : start + CHUNK]
                fixed = has_fixed and len(part) == CHUNK
                if fixed not in loops:
                    loops[fixed] = _loop(step, state, self._put(keys[0]), fixed)
                padded = np.zeros((CHUNK, *keys.shape[1:]), dtype=np.uint32)
                padded[: len(part)] = part
                state, metrics = loops[fixed](state, self._put(padded), len(part))
                rows.append((metrics, len(part)))
            return state, np.concatenate([np.asarray(row, dtype=np.float64)[:size] for row, size in rows])

        return run

    def compile_batches(self, step: BatchStep) -> BatchRun:
        jitted = jax.jit(step, donate_argnums=0)
        return lambda state, keys, batch: jitted(state, self._put(keys), batch)

    def synchronize(self, *arrays: jax.Array) -> None:
        jax.block_until_ready(arrays)


def _loop(step: Step, state: State, key: jax.Array, fixed: bool) -> Callable[..., tuple[State, jax.Array]]:
    """Up to CHUNK steps (always CHUNK, where `fixed`) in one jitted loop, which donates the state.

    The matrices that `step` closes over become arguments: as constants they would be copied into the program,
    and XLA would spend minutes folding them.
    """
    closed, shape = jax.make_jaxpr(step, return_shape=True)(state, key)
    structure = jax.tree.structure(shape)
    dtype = next(iter(state.values())).dtype

    def call(constants: list[Any], state: State, key: jax.Array) -> tuple[State, jax.Array]:
        flat = jax.core.eval_jaxpr(closed.jaxpr, constants, *jax.tree.leaves((state, key)))
        after, metrics = jax.tree.unflatten(structure, flat)
        return after, jnp.stack([jnp.asarray(value).astype(dtype) for value in metrics])

    width = len(shape[1])

    def many(constants: list[Any], state: State, keys: jax.Array, epochs: int) -> tuple[State, jax.Array]:
        def body(epoch: Any, carried: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
            state, metrics = carried
            state, measured = call(constants, state, keys[epoch])
            return state, metrics.at[epoch].set(measured)

        return lax.fori_loop(0, CHUNK if fixed else epochs, body, (state, jnp.zeros((CHUNK, width), dtype)))

    jitted = jax.jit(many, donate_argnums=1)
    return lambda state, keys, epochs: jitted(closed.consts, state, keys, epochs)
