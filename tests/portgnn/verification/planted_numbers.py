"""Faults that show at some sizes, rates or hyperparameters alone, or that need time: of adapters."""

from __future__ import annotations

from typing import Any

import numpy as np
from plant import Replaced, adapter

from portgnn_numpy import NumPyBackend
from portgnn_numpy.backend import Sparse
from portgnn_numpy.tape import unary, value_of

# Doors.


@adapter("arrays that share the caller's memory where dtypes agree", "asarray", "caller's memory")
class SharedAlike(NumPyBackend):
    def asarray(self, x: Any) -> Any:
        return x if getattr(x, "dtype", None) == np.float32 else super().asarray(x)


@adapter("int32 arrays that share the caller's memory", "asarray", "caller's memory")
class SharedIntegers(NumPyBackend):
    def asarray(self, x: Any) -> Any:
        return x if getattr(x, "dtype", None) == np.int32 else super().asarray(x)


@adapter("booleans that share the caller's memory", "asarray", "caller's memory")
class SharedBooleans(NumPyBackend):
    def asarray(self, x: Any) -> Any:
        return x if getattr(x, "dtype", None) == np.bool_ else super().asarray(x)


@adapter("a caller's element numbers kept by csr", "csr", "caller's arrays")
class KeptNumbers(NumPyBackend):
    def csr(self, matrix: Any, index: Any = None) -> Sparse:
        return Sparse(self._sparse(matrix), self._transpose, index)


@adapter("a caller's columns kept by csr", "csr")
class KeptColumns(NumPyBackend):
    def _sparse(self, matrix: Any) -> Any:
        import scipy.sparse as sp

        parts = (matrix.data.astype(self.dtype), matrix.indices, matrix.indptr)
        return sp.csr_array(parts, shape=matrix.shape, copy=False)


@adapter("csr scales the caller's values", "csr|spmm")
class Scaled(NumPyBackend):
    def _sparse(self, matrix: Any) -> Any:
        found = super()._sparse(matrix)
        matrix.data[:] = matrix.data * 2
        return found


# Sizes.


@adapter("dense products wrong past 64 columns", "matmul")
class Past64(NumPyBackend):
    def matmul(self, a: Any, b: Any) -> Any:
        if isinstance(a, Sparse) or value_of(b).shape[1] <= 64:
            return super().matmul(a, b)
        product = super().matmul(a, b)
        (product.value if hasattr(product, "vjp") else product)[:, 64:] = 0
        return product


@adapter("sparse products wrong past 64 columns", "spmm")
class SparsePast64(NumPyBackend):
    def spmm(self, a: Sparse, x: Any) -> Any:
        value = a.matrix @ value_of(x)
        value[:, 64:] = 0
        return unary(x, value, lambda g: a.transposed @ g)


@adapter("sparse products wrong past 2^16 rows", "spmm")
class Past16Bits(NumPyBackend):
    def spmm(self, a: Sparse, x: Any) -> Any:
        value = a.matrix @ value_of(x)
        value[65534:] = 0
        return unary(x, value, lambda g: a.transposed @ g)


@adapter("a bias's gradient wrong past 4,096 rows", "xp.gradient")
class BiasPast4096(NumPyBackend):
    def value_and_grad(self, fn: Any) -> Any:
        right = super().value_and_grad(fn)

        def call(params: Any, *args: Any) -> Any:
            result, grads = right(params, *args)
            if any(g.ndim == 2 and g.shape[0] > 4096 for g in grads.values()):
                grads = {n: g * 4096 / 4097 if g.ndim == 1 else g for n, g in grads.items()}
            return result, grads

        return call


@adapter("random bits repeat after 2^16 elements", "dropout.bits")
class ShortCounter(NumPyBackend):
    def _hash(self, key: Any, index: Any) -> Any:
        index = np.arange(index.size, dtype=np.uint32) % 65535 if index.size > 65535 and index.ndim == 1 else index
        return super()._hash(key, index)


@adapter("relu forgets the last row of an odd number", "relu")
class OddRows(NumPyBackend):
    def relu(self, x: Any) -> Any:
        raw = value_of(x)
        value = np.maximum(raw, 0)
        if len(raw) % 2 and len(raw) > 1:
            value[-1] = raw[-1]
        return unary(x, value, lambda g: g * (raw > 0))


@adapter("log-softmax sums 128 classes at most", "log_softmax")
class Classes128(NumPyBackend):
    def log_softmax(self, x: Any) -> Any:
        raw = value_of(x)
        shifted = raw - raw.max(axis=-1, keepdims=True)
        value = shifted - np.log(np.exp(shifted[:, :64]).sum(axis=-1, keepdims=True))
        return unary(x, value, lambda g: g - np.exp(value) * g.sum(axis=-1, keepdims=True))


# Rates and hyperparameters.


@adapter("dropout does nothing at rates up to 0.05", "dropout.dense|dropout.handle")
class RareDropout(NumPyBackend):
    def dropout(self, x: Any, rate: float, key: Any, index: Any = None) -> Any:
        return x if rate <= 0.05 else super().dropout(x, rate, key, index)


@adapter("dropout's rate in steps of 0.1", "dropout.dense")
class CoarseRates(NumPyBackend):
    def dropout(self, x: Any, rate: float, key: Any, index: Any = None) -> Any:
        return super().dropout(x, round(rate, 1), key, index)


def _adam(name: str, hint: str, **fixed: float) -> None:
    class Backend(NumPyBackend):
        def adam(self, *args: Any, **options: Any) -> Any:
            named = dict(zip(("learning_rate", "beta1", "beta2", "eps", "weight_decay"), args, strict=False))
            return super().adam(**(named | options | fixed))

    adapter(name, "adam.50-steps|adam.first-step", hint)(Backend)


_adam("Adam ignores beta1", "ignores beta1", beta1=0.9)
_adam("Adam ignores beta2", "ignores beta2", beta2=0.999)
_adam("Adam ignores eps", "ignores eps", eps=1e-8)
_adam("Adam has a rate of its own", "", learning_rate=0.01)


@adapter("Adam keeps a part of its state in another dtype", "adam.state", "comes back from the host", "float64")
class NarrowState(NumPyBackend):
    def adam(self, *args: Any, **options: Any) -> Any:
        optimizer = super().adam(*args, **options)
        right, step = optimizer.init, optimizer.step

        def counting(params: Any, grads: Any, state: Any) -> Any:
            count = state.pop("count")
            params, state = step(params, grads, state)
            return params, state | {"count": count + np.float32(1)}

        optimizer.init = lambda params: right(params) | {"count": np.zeros((), np.float32)}  # type: ignore[method-assign]
        optimizer.step = counting  # type: ignore[method-assign]
        return optimizer


@adapter("Adam forgets its moments after 1,000 steps", "adam.1100-steps")
class Forgets(NumPyBackend):
    def adam(self, *args: Any, **options: Any) -> Any:
        optimizer = super().adam(*args, **options)
        right, calls = optimizer.step, [0]

        def step(params: Any, grads: Any, state: Any) -> Any:
            calls[0] += 1
            if calls[0] > 1000:
                state = {name: value * (0 if name[0] == "m" else 1) for name, value in state.items()}
            return right(params, grads, state)

        optimizer.step = step  # type: ignore[method-assign]
        return optimizer


# Time.


@adapter("every epoch's state is kept", "compile.leaks")
class KeepsStates(NumPyBackend):
    def compile(self, step: Any) -> Any:
        kept = self.__dict__.setdefault("_states", [])

        def remembering(state: Any, keys: Any) -> Any:
            after, metrics = step(state, keys)
            kept.append({name: np.array(value) for name, value in after.items()})
            return after, metrics

        return super().compile(remembering)


@adapter("every epoch's masks are kept", "compile.leaks")
class KeepsMasks(NumPyBackend):
    def _mask(self, key: Any, index: Any, rate: float) -> Any:
        mask = super()._mask(key, index, rate)
        self.__dict__.setdefault("_masks", {})[(key[0], key[1], str(mask.shape))] = mask
        return mask


@adapter("compile_batches holds on to the first batch", "batches.step|batches")
class FirstBatch(NumPyBackend):
    def compile_batches(self, step: Any) -> Any:
        first: list[Any] = []

        def run(state: Any, keys: Any, batch: Any) -> Any:
            first.append(batch)
            return step(state, keys.tolist(), first[0])

        return run


@adapter("compile_batches freezes its keys", "batches.step|batches")
class FrozenKeys(NumPyBackend):
    def compile_batches(self, step: Any) -> Any:
        first: list[Any] = []

        def run(state: Any, keys: Any, batch: Any) -> Any:
            first.append(keys.tolist())
            return step(state, first[0], batch)

        return run


@adapter("compile_batches returns the state it was given", "batches.step|batches")
class OldState(NumPyBackend):
    def compile_batches(self, step: Any) -> Any:
        def run(state: Any, keys: Any, batch: Any) -> Any:
            kept = {name: np.array(value) for name, value in state.items()}
            return kept, step(state, keys.tolist(), batch)[1]

        return run


# The namespace.


def _function(name: str, replaced: str, wrong: Any, first: str = "xp.elementwise", dtype: str = "float32") -> None:
    class Backend(NumPyBackend):
        def __init__(self, device: str, dtype: str) -> None:
            super().__init__(device, dtype)
            self.xp = Replaced(self.xp, **{replaced: wrong})  # type: ignore[assignment]

    adapter(name, first, f"xp.{replaced}", dtype)(Backend)


_function("exp in single precision", "exp", lambda x: np.exp(value_of(x).astype(np.float32)).astype(np.float64),
          dtype="float64")  # fmt: skip
_function("sin without range reduction", "sin", lambda x: np.sin(np.float32(x).astype(np.float16)).astype(np.float32))
_function("sign turns NaN into 0", "sign", lambda x: np.nan_to_num(np.sign(x)))
_function("maximum loses NaN", "maximum", np.fmax)
_function("round halves upwards", "round", lambda x: np.floor(x + np.float32(0.5)))
_function("expm1 as exp minus 1", "expm1", lambda x: np.exp(x) - np.float32(1))
_function("sqrt of minus zero is zero", "sqrt", lambda x: np.sqrt(value_of(x)) + np.float32(0))
_function("std with a correction of 1 always", "std", lambda x, *, axis=None, keepdims=False, correction=0:
          np.std(x, axis=axis, keepdims=keepdims, ddof=1), "xp.statistics")  # fmt: skip
_function("remainder with the dividend's sign", "remainder", np.fmod)
_function("max passes over NaN", "max", lambda x, *, axis=None, keepdims=False: np.fmax.reduce(x, axis=axis,
          keepdims=keepdims), "xp.statistics")  # fmt: skip
