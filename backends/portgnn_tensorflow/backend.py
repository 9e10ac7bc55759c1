"""TensorFlow as a portgnn backend: GradientTape, and one `tf.function` for an epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import scipy.sparse as sp
import tensorflow as tf
from numpy.typing import NDArray

from portgnn.parts import Adam, checked_loss, plain_batches
from portgnn.protocol import BatchRun, BatchStep, Capabilities, Key, LossFn, Params, Run, State, Step
from portgnn.random import MULTIPLIER_1, MULTIPLIER_2, SHIFTS, keep_threshold
from portgnn_tensorflow import array_api
from portgnn_tensorflow.sparse import TensorFlowCSR, place


class TensorFlowBackend:
    """TensorFlow on its "cpu" or "gpu" device (`gpu:1`, … where there are several)."""

    name = "tensorflow"
    xp: Any = array_api

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        kind, _, number = device.partition(":")
        if kind != "cpu":  # a switch of the whole process, which would round products to 11 bits
            tf.config.experimental.enable_tensor_float_32_execution(False)
        self.device, self.dtype = device, dtype
        self._device, self._float = f"/{kind.upper()}:{number or 0}", tf.as_dtype(dtype)
        self.capabilities = Capabilities(lazy=False, deterministic=kind == "cpu")

    @staticmethod
    def devices() -> tuple[str, ...]:
        count = len(tf.config.list_physical_devices("GPU"))
        return (*(f"gpu:{i}" if i else "gpu" for i in range(count)), "cpu")

    @staticmethod
    def dtypes(device: str) -> tuple[str, ...]:
        return ("float64", "float32")

    @staticmethod
    def environment() -> dict[str, Any]:
        build = tf.sysconfig.get_build_info()
        return {
            "version": tf.__version__,
            "cuda": build.get("cuda_version"),
            "threads": tf.config.threading.get_intra_op_parallelism_threads(),
        }

    def asarray(self, x: NDArray[Any]) -> Any:
        host = np.asarray(x)
        kind = {"f": self.dtype, "b": "bool"}.get(host.dtype.kind, "int32")
        if host.dtype.kind == "u":
            host = host.astype(np.uint32).view(np.int32)
        with tf.device(self._device):
            # A copy of our own: TensorFlow keeps the memory of an array that it is given.
            return tf.constant(np.array(host, dtype=kind))

    def to_numpy(self, x: Any) -> NDArray[Any]:
        return np.array(x.numpy(), copy=True)

    def csr(self, matrix: sp.csr_array, index: NDArray[np.uint32] | None = None) -> TensorFlowCSR:
        with tf.device(self._device):
            return place(matrix, index, self.dtype)

    def matmul(self, a: Any, b: Any) -> Any:
        return self.spmm(a, b) if isinstance(a, TensorFlowCSR) else tf.matmul(a, b)

    def spmm(self, a: TensorFlowCSR, x: Any) -> Any:
        return a.product(x)

    def relu(self, x: Any) -> Any:
        return tf.nn.relu(x)

    def log_softmax(self, x: Any) -> Any:
        return tf.nn.log_softmax(x, axis=-1)

    def random_bits(self, key: Key, index: int | Any) -> Any:
        x = tf.range(index) if isinstance(index, int) else index
        x = tf.bitcast(x, tf.uint32) + _word(key[0])
        x = (x ^ _shifted(x, SHIFTS[0])) * _word(MULTIPLIER_1)
        x = ((x ^ _shifted(x, SHIFTS[1])) ^ _word(key[1])) * _word(MULTIPLIER_2)
        return tf.bitcast(x ^ _shifted(x, SHIFTS[2]), tf.int32)

    def dropout(self, x: Any, rate: float, key: Key, index: Any = None) -> Any:
        if rate == 0.0:
            return x
        if isinstance(x, TensorFlowCSR):
            return x.with_dropout(lambda numbers: self._mask(key, numbers, rate))
        mask = self._mask(key, int(np.prod(x.shape)) if index is None else index, rate)
        return x * tf.reshape(mask, x.shape)

    def _mask(self, key: Key, index: Any, rate: float) -> Any:
        return tf.cast(self.random_bits(key, index) < keep_threshold(rate), self._float) * (1.0 / (1.0 - rate))

    def value_and_grad(self, fn: LossFn) -> Callable[..., tuple[tuple[Any, Any], Params]]:
        def call(params: Params, *args: Any) -> tuple[tuple[Any, Any], Params]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(list(params.values()))
                loss, aux = checked_loss(fn(params, *args))
            grads = tape.gradient(loss, params, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            # Of a gather it is a list of rows.
            return (loss, aux), {name: tf.convert_to_tensor(grad) for name, grad in grads.items()}

        return call

    def adam(
        self,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: Mapping[str, float] | None = None,
    ) -> Adam:
        def zeros(shape: Any) -> Any:
            return self.asarray(np.zeros(shape))

        return Adam(zeros, tf.sqrt, learning_rate, beta1, beta2, eps, weight_decay)

    def compile(self, step: Step) -> Run:
        @tf.function(autograph=False)
        def epoch(state: State, keys: Any) -> tuple[State, Any]:
            after, metrics = step(state, keys)
            return after, tf.stack([tf.cast(value, tf.float64) for value in metrics])

        traced: dict[Any, Any] = {}

        def run(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
            rows = []
            with tf.device(self._device):
                words = tf.constant(keys)
                # One program for each set of shapes, kept here: TensorFlow would look for it anew in each epoch, and
                # warn that it traces often, since another `compile` traces another step.
                kind = (keys.shape[1:], *sorted((name, tuple(x.shape)) for name, x in state.items()))
                if kind not in traced:
                    traced[kind] = epoch.get_concrete_function(state, words[0])
                for number in range(len(keys)):
                    state, metrics = traced[kind](state, words[number])
                    rows.append(metrics)
            return state, np.array([row.numpy() for row in rows], dtype=np.float64).reshape(len(keys), -1)

        return run

    def compile_batches(self, step: BatchStep) -> BatchRun:
        plain = plain_batches(cast(Any, self), step)

        def call(state: State, keys: NDArray[np.uint32], batch: Any) -> tuple[State, tuple[Any, ...]]:
            with tf.device(self._device):
                return plain(state, keys, batch)

        return call

    def synchronize(self, *arrays: Any) -> None:
        tf.test.experimental.sync_devices()


def _word(value: Any) -> Any:
    return value if tf.is_tensor(value) else tf.constant(int(value), tf.uint32)


def _shifted(x: Any, by: int) -> Any:
    return tf.bitwise.right_shift(x, tf.constant(by, tf.uint32))
