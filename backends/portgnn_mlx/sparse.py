"""Sparse products for MLX, which has no sparse matrices.

On the CPU device MLX's arrays share memory with NumPy, and SciPy's product through that memory was 18 times
faster than MLX's scatter-add; it ends MLX's lazy graph at each product, which on a CPU costs little. On a GPU
the product stays inside the graph, so that `mx.compile` can take it: as a kernel of our own, or, where that does
not work, as gather and scatter-add.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import mlx.core as mx
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.parts import transposed_order

Product = Callable[[mx.array], Any]


@dataclass(frozen=True, eq=False)
class HostCSR:
    """A sparse matrix in memory that SciPy and MLX's CPU device share."""

    matrix: sp.csr_array
    index: NDArray[np.uint32] | None
    product: Product

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.matrix.shape
        return rows, columns

    @property
    def nnz(self) -> int:
        return int(self.matrix.nnz)

    def with_mask(self, mask: NDArray[Any]) -> HostCSR:
        parts = (self.matrix.data * mask, self.matrix.indices, self.matrix.indptr)
        return host_csr(sp.csr_array(parts, shape=self.matrix.shape, copy=False), self.index)


def host_csr(matrix: sp.csr_array, index: NDArray[np.uint32] | None) -> HostCSR:
    dtype = getattr(mx, str(matrix.dtype))
    transposed = matrix.T

    @mx.custom_function
    def product(x: mx.array) -> mx.array:
        return mx.array(matrix @ np.array(x, copy=False), dtype)

    @product.vjp
    def pull(primals: Any, cotangent: mx.array, output: mx.array) -> mx.array:
        return mx.array(transposed @ np.array(cotangent, copy=False), dtype)

    return HostCSR(matrix, index, product)


@dataclass(frozen=True, eq=False)
class EdgeCSR:
    """A sparse matrix as arrays of rows, columns and values, sorted by row, on any MLX device."""

    shape: tuple[int, int]
    rows: mx.array
    columns: mx.array
    values: mx.array
    index: mx.array | None

    @property
    def nnz(self) -> int:
        return int(self.values.shape[0])

    def with_mask(self, mask: mx.array) -> EdgeCSR:
        return EdgeCSR(self.shape, self.rows, self.columns, self.values * mask, self.index)

    def product(self, x: mx.array) -> mx.array:
        """self @ x; MLX differentiates the gather and the scatter itself."""
        if not self.nnz or not x.shape[1]:  # of nothing to scatter MLX makes an error, or ends the process
            return mx.zeros((self.shape[0], x.shape[1]), x.dtype)
        messages = x[self.columns] * self.values[:, None]
        return mx.zeros((self.shape[0], x.shape[1]), x.dtype).at[self.rows].add(messages)


@dataclass(frozen=True, eq=False)
class KernelCSR:
    """A sparse matrix and its transpose as CSR arrays on a GPU. to_transposed: order of the transpose's values."""

    shape: tuple[int, int]
    indices: mx.array
    values: mx.array
    rows: Any
    index: mx.array | None
    to_transposed: mx.array | None = None
    transposed: KernelCSR | None = None

    @property
    def nnz(self) -> int:
        return int(self.values.shape[0])

    def with_mask(self, mask: mx.array) -> KernelCSR:
        assert self.transposed is not None
        assert self.to_transposed is not None
        flipped = replace(self.transposed, values=self.transposed.values * mask[self.to_transposed])
        return replace(self, values=self.values * mask, transposed=flipped)

    def multiply(self, x: mx.array) -> mx.array:
        product: mx.array = self.rows.product(self.indices, self.values, x)
        return product

    def product(self, x: mx.array) -> Any:
        """self @ x, with the transpose's product as its gradient."""
        transposed = self.transposed
        assert transposed is not None

        @mx.custom_function
        def forward(x: mx.array) -> mx.array:
            return self.multiply(x)

        @forward.vjp
        def pull(primals: Any, cotangent: mx.array, output: mx.array) -> mx.array:
            return transposed.multiply(cotangent)

        return forward(x)


def kernel_csr(matrix: sp.csr_array, index: NDArray[np.uint32] | None, dtype: mx.Dtype) -> KernelCSR:
    from portgnn_mlx.kernels import RowSums

    order = transposed_order(matrix).astype(np.int32)
    flipped = sp.csr_array(matrix.T.tocsr())
    ids = None if index is None else mx.array(np.asarray(index, dtype=np.uint32))

    def half(csr: sp.csr_array, **links: Any) -> KernelCSR:
        columns, values = mx.array(csr.indices.astype(np.int32)), mx.array(csr.data, dtype)
        return KernelCSR(csr.shape, columns, values, RowSums(csr.indptr), **links)

    return half(matrix, index=ids, to_transposed=mx.array(order), transposed=half(flipped, index=None))


def edge_csr(matrix: sp.csr_array, index: NDArray[np.uint32] | None, dtype: mx.Dtype) -> EdgeCSR:
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    ids = None if index is None else mx.array(np.asarray(index, dtype=np.uint32))
    columns = mx.array(matrix.indices.astype(np.int32))
    return EdgeCSR(matrix.shape, mx.array(rows), columns, mx.array(matrix.data, dtype), ids)
