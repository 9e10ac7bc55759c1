"""Gradients, dropout and handles, planted with bugs."""

from __future__ import annotations

from typing import Any

import numpy as np
from plant import adapter

from portgnn.random import keep_threshold, random_bits
from portgnn_numpy import NumPyBackend
from portgnn_numpy.backend import Sparse
from portgnn_numpy.tape import unary, value_of

# Gradients.


class _Graded(NumPyBackend):
    """A backend that spoils ((loss, aux), gradients)."""

    def spoil(self, params: Any, result: Any) -> Any:
        raise NotImplementedError

    def value_and_grad(self, fn: Any) -> Any:
        right = super().value_and_grad(fn)
        return lambda params, *args: self.spoil(params, right(params, *args))


@adapter("gradients accumulate from call to call", "value_and_grad.rules", "accumulate")
class Accumulates(NumPyBackend):
    def value_and_grad(self, fn: Any) -> Any:
        right, held = super().value_and_grad(fn), {}

        def call(params: Any, *args: Any) -> Any:
            result, grads = right(params, *args)
            for name, grad in grads.items():
                held[name] = held.get(name, 0) + grad
            return result, dict(held)

        return call


@adapter("no gradient for an unused parameter", "value_and_grad.rules")
class NoZeros(_Graded):
    def spoil(self, params: Any, result: Any) -> Any:
        return result[0], {name: grad for name, grad in result[1].items() if name != "unused"}


@adapter("auxiliary result dropped", "value_and_grad.rules")
class NoAux(_Graded):
    def spoil(self, params: Any, result: Any) -> Any:
        (loss, aux), grads = result
        return (loss, None if aux is None else (aux[0] * 0, aux[1])), grads


@adapter("value_and_grad changes its parameters", "value_and_grad.rules")
class Steps(_Graded):
    def spoil(self, params: Any, result: Any) -> Any:
        for name, grad in result[1].items():
            params[name] -= 0.01 * grad
        return result


@adapter("a bias's gradient is a mean over rows", "xp.gradient")
class MeanBias(_Graded):
    def spoil(self, params: Any, result: Any) -> Any:
        rows = max((grad.shape[0] for grad in result[1].values() if grad.ndim == 2), default=1)
        return result[0], {name: grad / (rows if grad.ndim == 1 else 1) for name, grad in result[1].items()}


# Dropout.


class _Masked(NumPyBackend):
    """A backend with another mask."""

    scale = True
    on_dense = on_handle = True

    def kept(self, key: Any, index: Any, rate: float) -> Any:
        return random_bits((int(key[0]), int(key[1])), index) < keep_threshold(rate)

    def dropout(self, x: Any, rate: float, key: Any, index: Any = None) -> Any:
        sparse = isinstance(x, Sparse)
        if not rate or not (self.on_handle if sparse else self.on_dense):
            return super().dropout(x, rate, key, index)
        size = x.nnz if sparse else int(np.prod(x.shape))
        given = x.index if sparse else index
        ids = np.arange(size, dtype=np.uint32) if given is None else np.asarray(given).view(np.uint32)
        mask = self.kept(key, ids, rate).astype(self.dtype) * np.asarray(
            1 / (1 - rate) if self.scale else 1, self.dtype
        )
        if sparse:
            return x.with_values(x.matrix.data * mask)
        mask = mask.reshape(x.shape)
        return unary(x, value_of(x) * mask, lambda g: g * mask)


@adapter("dropout unscaled", "dropout.dense", "not scaled")
class Unscaled(_Masked):
    scale = False


@adapter("dropout unscaled on handles", "dropout.handle", "not scaled")
class UnscaledHandle(_Masked):
    scale, on_dense = False, False


@adapter("same mask every epoch", "dropout.dense")
class SameMask(_Masked):
    def kept(self, key: Any, index: Any, rate: float) -> Any:
        return super().kept((1, 2), index, rate)


@adapter("keys frozen by compilation: same mask every epoch", "compile.keys")
class Frozen(NumPyBackend):
    def compile(self, step: Any) -> Any:
        run, seen = super().compile(step), []

        def frozen(state: Any, keys: Any) -> Any:
            seen.append(keys[:1])
            return run(state, np.repeat(seen[0], len(keys), axis=0))

        return frozen


@adapter("mask shifted by one", "dropout.dense", "shifted by one")
class Shifted(_Masked):
    def kept(self, key: Any, index: Any, rate: float) -> Any:
        return super().kept(key, index + np.uint32(1), rate)


@adapter("bits shifted by one", "dropout.bits")
class ShiftedBits(NumPyBackend):
    def _hash(self, key: Any, index: Any) -> Any:
        return super()._hash(key, index + np.uint32(1))


@adapter("keeps what it should drop", "dropout.dense", "drops what it should keep")
class Inverted(_Masked):
    def kept(self, key: Any, index: Any, rate: float) -> Any:
        return ~super().kept(key, index, rate)


@adapter("rate taken for the share to keep", "dropout.dense")
class Swapped(_Masked):
    def kept(self, key: Any, index: Any, rate: float) -> Any:
        return super().kept(key, index, 1 - rate)


@adapter("index ignored in dropout", "dropout.dense", "ignored")
class NoIndex(NumPyBackend):
    def dropout(self, x: Any, rate: float, key: Any, index: Any = None) -> Any:
        return super().dropout(x, rate, key, None)


@adapter("index of a handle ignored", "dropout.handle", "ignored")
class NoHandleIndex(NumPyBackend):
    def csr(self, matrix: Any, index: Any = None) -> Sparse:
        return super().csr(matrix, None)


@adapter("index lost after the first dropout on a handle", "dropout.handle")
class LostIndex(NumPyBackend):
    def dropout(self, x: Any, rate: float, key: Any, index: Any = None) -> Any:
        found = super().dropout(x, rate, key, index)
        if isinstance(x, Sparse):
            object.__setattr__(x, "index", None)
        return found


@adapter("arithmetic right shifts in the hash", "dropout.bits")
class Arithmetic(NumPyBackend):
    def _hash(self, key: Any, index: Any) -> Any:
        with np.errstate(over="ignore"):
            x = (index + np.uint32(key[0])).view(np.int32)
            x = (x ^ (x >> 16)) * np.int32(0x7FEB352D)
            x = x ^ (x >> 15) ^ np.uint32(key[1]).view(np.int32)
            x = x * np.uint32(0x846CA68B).view(np.int32)
            return x ^ (x >> 16)


@adapter("key words cut to 31 bits", "dropout.bits")
class ShortKeys(NumPyBackend):
    def _hash(self, key: Any, index: Any) -> Any:
        return super()._hash((key[0] & 0x7FFFFFFF, key[1] & 0x7FFFFFFF), index)


@adapter("unsorted indices: stored values in another order", "dropout.handle", "unsorted")
class Unsorted(_Masked):
    on_dense = False

    def kept(self, key: Any, index: Any, rate: float) -> Any:
        return super().kept(key, index, rate)

    def dropout(self, x: Any, rate: float, key: Any, index: Any = None) -> Any:
        if not isinstance(x, Sparse) or not rate:
            return super().dropout(x, rate, key, index)
        order = np.argsort(x.matrix.indices, kind="stable")
        ids = np.arange(x.nnz, dtype=np.uint32) if x.index is None else x.index
        values = x.matrix.data.copy()
        values[order] *= (self.kept(key, ids, rate) / (1 - rate)).astype(self.dtype)
        return x.with_values(values)


@adapter("gradient of dropout without the mask", "dropout.gradient", "mask is lost")
class NoMaskBack(NumPyBackend):
    def dropout(self, x: Any, rate: float, key: Any, index: Any = None) -> Any:
        if isinstance(x, Sparse):
            return super().dropout(x, rate, key, index)
        return unary(x, super().dropout(value_of(x), rate, key, index), lambda g: g)


@adapter("backward product with the values from before dropout", "dropout.gradient", "before dropout")
class StaleTranspose(NumPyBackend):
    def dropout(self, x: Any, rate: float, key: Any, index: Any = None) -> Any:
        found = super().dropout(x, rate, key, index)
        if isinstance(x, Sparse) and rate:
            found.__dict__["transposed"] = x.transposed
        return found


@adapter("dropout on a handle changes the handle", "dropout.handle")
class InPlace(NumPyBackend):
    def dropout(self, x: Any, rate: float, key: Any, index: Any = None) -> Any:
        found = super().dropout(x, rate, key, index)
        if isinstance(x, Sparse) and rate:
            x.matrix.data[:] = found.matrix.data
        return found
