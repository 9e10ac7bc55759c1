"""Sparse products for TensorFlow: its CSR matrices, whose kernels are reached by `tf.raw_ops`.

Beside `tf.sparse.sparse_dense_matmul` they share rows among threads: at 50,000 rows and 64 columns they took a quarter
of its time on one core, and a sixth of that of a gather and a segment sum (TensorFlow 2.21, float32).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import tensorflow as tf
from numpy.typing import NDArray

from portgnn.parts import transposed_order


@dataclass(frozen=True, eq=False)
class Half:
    """A matrix or its transpose. places: row and column of each value, int64 [nnz, 2]. numbers: for dropout, int32."""

    shape: tuple[int, int]
    places: Any
    values: Any
    numbers: Any

    @property
    def matrix(self) -> Any:
        """TensorFlow's CSR matrix, made for each product: a traced function cannot take one from outside."""
        return tf.raw_ops.SparseTensorToCSRSparseMatrix(
            indices=self.places, values=self.values, dense_shape=tf.constant(self.shape, tf.int64)
        )

    def product(self, x: Any) -> Any:
        if not self.values.shape[0] or not x.shape[1]:
            return tf.zeros((self.shape[0], x.shape[1]), x.dtype)
        product = tf.raw_ops.SparseMatrixMatMul(a=self.matrix, b=x)
        return tf.ensure_shape(product, (self.shape[0], x.shape[1]))  # the operation does not say it inside a function

    def scaled(self, mask: Any) -> Half:
        return Half(self.shape, self.places, self.values * mask(self.numbers), self.numbers)


@dataclass(frozen=True, eq=False)
class TensorFlowCSR:
    """A sparse matrix and its transpose, ready to multiply."""

    forward: Half
    backward: Half

    @property
    def shape(self) -> tuple[int, int]:
        return self.forward.shape

    @property
    def nnz(self) -> int:
        return int(self.forward.values.shape[0])

    def product(self, x: Any) -> Any:
        """self @ x, with the transpose's product as its gradient."""

        @tf.custom_gradient
        def product(x: Any) -> Any:
            return self.forward.product(x), self.backward.product

        return product(x)

    def with_dropout(self, mask: Any) -> TensorFlowCSR:
        """The same matrix with each value times `mask(element numbers)`."""
        return TensorFlowCSR(self.forward.scaled(mask), self.backward.scaled(mask))


def place(matrix: sp.csr_array, index: NDArray[np.uint32] | None, dtype: str) -> TensorFlowCSR:
    """A canonical SciPy matrix on the device that is current."""
    numbers = np.arange(matrix.nnz, dtype=np.uint32) if index is None else np.array(index, dtype=np.uint32)
    order = transposed_order(matrix)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    columns, data = matrix.indices.astype(np.int64), matrix.data.astype(dtype)

    def half(shape: tuple[int, int], rows: Any, columns: Any, data: Any, numbers: Any) -> Half:
        places = np.stack([rows, columns], axis=1).astype(np.int64)
        return Half(shape, *(tf.constant(x) for x in (places, data, numbers.view(np.int32))))

    shape = (int(matrix.shape[0]), int(matrix.shape[1]))
    flipped = half(shape[::-1], columns[order], rows[order], data[order], numbers[order])
    return TensorFlowCSR(half(shape, rows, columns, data, numbers), flipped)
