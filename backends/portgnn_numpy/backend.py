"""The tape as a backend, over any array-API namespace that comes with a sparse product."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.parts import Adam, checked_loss, plain_loop
from portgnn.protocol import Capabilities, Key, LossFn, Params, Run, Step
from portgnn.random import keep_threshold
from portgnn_numpy.arrays import Array
from portgnn_numpy.namespace import tape_over
from portgnn_numpy.tape import Tape, Var, backward, unary, value_of
from portgnn_numpy.underflow import to_zero


@dataclass(frozen=True, eq=False)
class Sparse:
    """A sparse matrix of the namespace's library and its transpose, made on first use and kept."""

    matrix: Any
    transpose: Callable[[Any], Any]
    index: Array | None

    @property
    def shape(self) -> tuple[int, int]:
        shape: tuple[int, int] = self.matrix.shape
        return shape

    @property
    def nnz(self) -> int:
        return int(self.matrix.nnz)

    @cached_property
    def transposed(self) -> Any:
        return self.transpose(self.matrix)

    def with_values(self, values: Array) -> Sparse:
        """The same pattern with other values, sharing the index arrays."""
        kind = type(self.matrix)
        parts = (values, self.matrix.indices, self.matrix.indptr)
        return Sparse(kind(parts, shape=self.matrix.shape, copy=False), self.transpose, self.index)


class TapeBackend(ABC):
    """Every verb of the protocol on the tape. A subclass says which namespace, device and sparse library."""

    name: str
    capabilities: Capabilities
    _adam: type[Adam] = Adam

    def __init__(self, namespace: Any, device: str, dtype: str) -> None:
        self.device, self.dtype = device, dtype
        self.xp = tape_over(namespace)
        self._ns = namespace
        self._float = getattr(namespace, dtype)
        self._counters: dict[int, Array] = {}

    # What a subclass provides.

    @abstractmethod
    def _from_host(self, x: NDArray[Any]) -> Array:
        """A host array of the right dtype, on the device."""

    @abstractmethod
    def _sparse(self, matrix: sp.csr_array) -> Any:
        """A canonical matrix as the sparse library's own, in the instance's dtype."""

    def _adopted(self, matrix: sp.csr_array) -> Any:
        """`_sparse` of a matrix whose arrays nobody changes."""
        return self._sparse(matrix)

    @abstractmethod
    def _transpose(self, matrix: Any) -> Any:
        """Its transpose, ready to multiply."""

    def _product(self, matrix: Any, x: Array) -> Array:
        """What `_sparse` or `_transpose` gave, times x [columns, k]."""
        return matrix @ x

    @abstractmethod
    def _hash(self, key: Key, index: Array) -> Array:
        """`portgnn.random.random_bits` on the device; index: uint32."""

    @abstractmethod
    def to_numpy(self, x: Array) -> NDArray[Any]:
        """See `portgnn.protocol.Backend`."""

    @abstractmethod
    def synchronize(self, *arrays: Array) -> None:
        """See `portgnn.protocol.Backend`."""

    # The protocol.

    def asarray(self, x: NDArray[Any]) -> Array:
        host = np.asarray(x)
        kind = {"f": self.dtype, "i": "int32", "u": "int32", "b": "bool"}[host.dtype.kind]
        return self._from_host(np.array(host, dtype=kind, copy=True))

    def csr(self, matrix: sp.csr_array, index: NDArray[np.uint32] | None = None) -> Sparse:
        ids = None if index is None else self._from_host(np.array(index, dtype=np.uint32))
        return Sparse(self._sparse(matrix), self._transpose, ids)

    def csr_with_transpose(self, matrix: sp.csr_array, transposed: sp.csr_array) -> Sparse:
        """See `portgnn.protocol.Transposing`."""
        made = Sparse(self._adopted(matrix), self._transpose, None)
        made.__dict__["transposed"] = made.matrix if transposed is matrix else self._adopted(transposed)
        return made

    @to_zero
    def matmul(self, a: Any, b: Any) -> Any:
        return self.spmm(a, b) if isinstance(a, Sparse) else self.xp.matmul(a, b)

    @to_zero
    def spmm(self, a: Sparse, x: Any) -> Any:
        return unary(x, self._product(a.matrix, value_of(x)), lambda grad: self._product(a.transposed, grad))

    def relu(self, x: Any) -> Any:
        raw = value_of(x)
        # The mask comes from the input: at exactly 0 the gradient is 0.
        return unary(x, self._ns.maximum(raw, raw.dtype.type(0)), lambda g: g * (raw > 0))

    @to_zero
    def log_softmax(self, x: Any) -> Any:
        raw = value_of(x)
        # The arrays' own sums and maxima: the namespace's are the same behind three more calls.
        shifted = raw - self._largest(raw)
        value = shifted - self._ns.log(self._ns.exp(shifted).sum(axis=-1, keepdims=True))

        def pull(grad: Array) -> Array:
            return grad - self._ns.exp(value) * grad.sum(axis=-1, keepdims=True)

        return unary(x, value, pull)

    def _largest(self, x: Array) -> Array:
        """The largest of each row, as [..., 1]."""
        return x.max(axis=-1, keepdims=True)

    def random_bits(self, key: Key, index: int | Array) -> Array:
        if isinstance(index, int):
            if index not in self._counters:
                self._counters[index] = self._ns.arange(index, dtype=self._ns.uint32)
            return self._hash(key, self._counters[index])
        return self._hash(key, index.view(self._ns.uint32))

    @to_zero
    def dropout(self, x: Any, rate: float, key: Key, index: Array | None = None) -> Any:
        if rate == 0.0:
            return x
        if isinstance(x, Sparse):
            return x.with_values(x.matrix.data * self._mask(key, x.nnz if x.index is None else x.index, rate))
        raw = value_of(x)
        mask = self._mask(key, int(raw.size) if index is None else index, rate).reshape(raw.shape)
        return unary(x, raw * mask, lambda grad: grad * mask)

    def _mask(self, key: Key, index: int | Array, rate: float) -> Array:
        """1 / (1 - rate) for the elements that are kept, 0 for the others."""
        kept = self._ns.astype(self.random_bits(key, index) < keep_threshold(rate), self._float)
        kept *= 1.0 / (1.0 - rate)
        return kept

    def value_and_grad(self, fn: LossFn) -> Callable[..., tuple[tuple[Array, Any], Params]]:
        @to_zero
        def wrapped(params: Params, *args: Any) -> tuple[tuple[Array, Any], Params]:
            tape = Tape(tape_over)
            recorded = {name: Var.leaf(value, tape) for name, value in params.items()}
            try:
                loss, aux = checked_loss(fn(recorded, *args))
                if isinstance(loss, Var):
                    grads = backward(loss, recorded, self._ns.zeros_like)
                else:
                    grads = {name: self._ns.zeros_like(value) for name, value in params.items()}
            finally:
                tape.clear()  # it and its Vars hold each other
            return (value_of(loss), _unwrapped(aux)), grads

        return wrapped

    def adam(
        self,
        learning_rate: float,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: Mapping[str, float] | None = None,
    ) -> Adam:
        zeros = partial(self._ns.zeros, dtype=self._float)
        return self._adam(zeros, self._ns.sqrt, learning_rate, beta1, beta2, eps, weight_decay)

    def compile(self, step: Step) -> Run:
        return to_zero(self._plain(step))

    def _plain(self, step: Step) -> Run:
        def fetch(metrics: list[tuple[Array, ...]]) -> NDArray[np.float64]:
            return np.array([[float(value) for value in row] for row in metrics], dtype=np.float64)

        return plain_loop(step, fetch, lambda *_: None)


def _unwrapped(aux: Any) -> Any:
    if isinstance(aux, tuple | list):
        parts = [_unwrapped(x) for x in aux]
        return type(aux)(*parts) if hasattr(aux, "_fields") else type(aux)(parts)
    if isinstance(aux, dict):
        return {name: _unwrapped(x) for name, x in aux.items()}
    return value_of(aux)
