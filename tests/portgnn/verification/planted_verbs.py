"""Products, elementwise verbs and the way in and out, planted with bugs."""

from __future__ import annotations

from typing import Any

import numpy as np
from plant import Replaced, adapter, with_value

from portgnn_numpy import NumPyBackend
from portgnn_numpy.backend import Sparse
from portgnn_numpy.tape import Var, unary, value_of


@adapter("forward product used in the backward pass", "spmm.gradient", "not with its transpose")
class ForwardInBackward(NumPyBackend):
    def spmm(self, a: Sparse, x: Any) -> Any:
        square = a.shape[0] == a.shape[1]
        return unary(x, a.matrix @ value_of(x), lambda g: (a.matrix if square else a.matrix.T) @ g)


@adapter("sparse product with the transpose", "spmm", "transpose")
class Transposed(NumPyBackend):
    def spmm(self, a: Sparse, x: Any) -> Any:
        m = a.matrix.T if a.shape[0] == a.shape[1] else a.matrix
        return unary(x, m @ value_of(x), lambda g: m.T @ g)


@adapter("transpose dropped from the gradient of a dense product", "matmul.gradient")
class DenseGradient(NumPyBackend):
    def matmul(self, a: Any, b: Any) -> Any:
        if isinstance(a, Sparse) or not hasattr(b, "vjp") or hasattr(a, "vjp"):
            return super().matmul(a, b)
        return unary(b, a @ b.value, lambda g: (a if a.shape[0] == a.shape[1] else a.T) @ g)


@adapter("duplicates overwritten, not summed", "spmm", "only the last counts")
class Overwritten(NumPyBackend):
    def spmm(self, a: Sparse, x: Any) -> Any:
        rows = np.repeat(np.arange(a.shape[0]), np.diff(a.matrix.indptr))

        def product(dense: Any) -> Any:
            out = np.zeros((a.shape[0], dense.shape[1]), dense.dtype)
            out[rows] += a.matrix.data[:, None] * dense[a.matrix.indices]
            return out

        return unary(x, product(value_of(x)), lambda g: a.transposed @ g)


@adapter("isolated nodes given NaN", "spmm", "NaN")
class IsolatedNaN(NumPyBackend):
    def spmm(self, a: Sparse, x: Any) -> Any:
        empty = np.where(np.diff(a.matrix.indptr) == 0, np.nan, 1.0).astype(self.dtype)[:, None]
        return super().spmm(a, x) * empty


def tf32(x: Any, lost: int = 13) -> Any:
    """float32 without its last 13 bits, which is how tensor cores read it."""
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) >> lost << lost).view(np.float32)


@adapter("TF32 products", "matmul", "TF32")
class TF32(NumPyBackend):
    def matmul(self, a: Any, b: Any) -> Any:
        product = super().matmul(a, b)
        return product if isinstance(a, Sparse) else with_value(product, tf32(value_of(a)) @ tf32(value_of(b)))


@adapter("TF32 products in the backward pass alone", "matmul.gradient", "TF32")
class TF32Back(NumPyBackend):
    def matmul(self, a: Any, b: Any) -> Any:
        product = super().matmul(a, b)
        if isinstance(product, Var):
            right = product.vjp
            assert right is not None
            product.vjp = lambda g: right(tf32(g))
        return product


@adapter("bfloat16 products", "matmul", "bfloat16")
class BFloat16Products(NumPyBackend):
    def matmul(self, a: Any, b: Any) -> Any:
        product = super().matmul(a, b)
        if isinstance(a, Sparse):
            return product
        x, y = (tf32(value_of(one), 16) for one in (a, b))
        return with_value(product, x @ y)


@adapter("float16 accumulation", "matmul", "less than single precision")
class Float16(NumPyBackend):
    def matmul(self, a: Any, b: Any) -> Any:
        product = super().matmul(a, b)
        if isinstance(a, Sparse):
            return product
        return with_value(product, value_of(product).astype(np.float16).astype(np.float32))


@adapter("float16 accumulation in the sparse product", "spmm")
class Float16Sparse(NumPyBackend):
    def spmm(self, a: Sparse, x: Any) -> Any:
        value = (a.matrix @ value_of(x)).astype(np.float16).astype(np.float32)
        return unary(x, value, lambda g: a.transposed @ g)


# Elementwise.


@adapter("gradient of relu at 0 is 1", "relu.gradient", "1 and not 0")
class ReluOne(NumPyBackend):
    def relu(self, x: Any) -> Any:
        raw = value_of(x)
        return unary(x, np.maximum(raw, 0), lambda g: g * (raw >= 0))


@adapter("gradient of relu at 0 is a half", "relu.gradient", "0.5 and not 0")
class ReluHalf(NumPyBackend):
    def relu(self, x: Any) -> Any:
        raw = value_of(x)
        return unary(x, np.maximum(raw, 0), lambda g: g * (np.sign(raw) + 1) / 2)


@adapter("log-softmax over the wrong axis", "log_softmax", "wrong axis")
class WrongAxis(NumPyBackend):
    def log_softmax(self, x: Any) -> Any:
        raw = value_of(x)
        shifted = raw - raw.max(axis=0, keepdims=True)
        value = shifted - np.log(np.exp(shifted).sum(axis=0, keepdims=True))
        return unary(x, value, lambda g: g - np.exp(value) * g.sum(axis=0, keepdims=True))


@adapter("log-softmax that overflows", "log_softmax", "NaN or infinity")
class Overflows(NumPyBackend):
    def log_softmax(self, x: Any) -> Any:
        raw = value_of(x)
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            value = raw - np.log(np.exp(raw).sum(axis=-1, keepdims=True))
        return unary(x, value, lambda g: g - np.exp(value) * g.sum(axis=-1, keepdims=True))


@adapter("log-softmax in single precision inside float64", "log_softmax", "single precision", "float64")
class SingleExp(NumPyBackend):
    def log_softmax(self, x: Any) -> Any:
        raw = value_of(x)
        shifted = raw - raw.max(axis=-1, keepdims=True)
        exp = np.exp(shifted.astype(np.float32)).astype(np.float64)
        value = shifted - np.log(exp.sum(axis=-1, keepdims=True))
        return unary(x, value, lambda g: g - np.exp(value) * g.sum(axis=-1, keepdims=True))


@adapter("argmax breaks ties the other way", "xp.argmax", "last of equal")
class Ties(NumPyBackend):
    def __init__(self, device: str, dtype: str) -> None:
        super().__init__(device, dtype)

        def argmax(x: Any, *, axis: int) -> Any:
            raw = value_of(x)
            return raw.shape[-1] - 1 - np.flip(raw, -1).argmax(axis=axis)

        self.xp = Replaced(self.xp, argmax=argmax)  # type: ignore[assignment]


@adapter("sum leaves float32 in a float64 backend", "xp", "float32", "float64")
class SingleSum(NumPyBackend):
    def __init__(self, device: str, dtype: str) -> None:
        super().__init__(device, dtype)
        inner = self.xp

        def total(x: Any, **axes: Any) -> Any:
            found = inner.sum(x, **axes)
            return np.float32(found) if isinstance(found, np.floating) else found

        self.xp = Replaced(inner, sum=total)  # type: ignore[assignment]


@adapter("float32 leaks into float64", "asarray", "float32", "float64")
class Leaks(NumPyBackend):
    def asarray(self, x: Any) -> Any:
        found = super().asarray(x)
        return found.astype(np.float32) if found.dtype == np.float64 else found


@adapter("sparse values stored in float32 in a float64 backend", "spmm", dtype="float64")
class LeakySparse(NumPyBackend):
    def _sparse(self, matrix: Any) -> Any:
        return (matrix * (1 / 3)).astype(np.float32).astype(np.float64) * 3


@adapter("arrays that share the caller's memory", "asarray", "caller's memory", "float64")
class Shared(NumPyBackend):
    def asarray(self, x: Any) -> Any:
        return x if getattr(x, "dtype", None) == np.float64 else super().asarray(x)


@adapter("arrays cached by shape: parameters shared between seeds", "asarray")
class Cached(NumPyBackend):
    def asarray(self, x: Any) -> Any:
        host = np.asarray(x)
        cache = self.__dict__.setdefault("_cache", {})
        if host.dtype.kind != "f" or host.ndim != 2:
            return super().asarray(x)
        return cache.setdefault(host.shape, super().asarray(x)).copy()


@adapter("to_numpy hands out the array's own memory", "asarray")
class Exposed(NumPyBackend):
    def to_numpy(self, x: Any) -> Any:
        return np.asarray(x)
