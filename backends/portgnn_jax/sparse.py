"""Sparse products for JAX: sorted segment sums, whose backward pass is a segment sum over the kept transpose.

`jax.experimental.sparse.BCSR` was faster on a CPU for one product alone, but it has no kept transpose, and its
gradient scatters. Sorted segments stay inside jit on every device.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class JaxCSR:
    """A sparse matrix as sorted rows, columns and values, and the order that sorts them by column."""

    shape: tuple[int, int]
    rows: jax.Array
    columns: jax.Array
    values: jax.Array
    index: jax.Array | None
    to_transposed: jax.Array
    rows_transposed: jax.Array
    columns_transposed: jax.Array

    @property
    def nnz(self) -> int:
        return int(self.values.shape[0])

    def with_values(self, values: jax.Array) -> JaxCSR:
        return replace(self, values=values)

    def product(self, x: jax.Array) -> Any:
        backward = (self.to_transposed, self.rows_transposed, self.columns_transposed)
        return _product(self.shape, x, self.values, self.rows, self.columns, *backward)


def place(matrix: sp.csr_array, index: NDArray[np.uint32] | None, dtype: Any, put: Any) -> JaxCSR:
    """A canonical SciPy matrix on a device. put: moves a NumPy array there."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    columns = matrix.indices.astype(np.int32)
    order = np.argsort(columns, kind="stable").astype(np.int32)
    return JaxCSR(
        matrix.shape,
        put(rows),
        put(columns),
        put(matrix.data.astype(dtype)),
        None if index is None else put(np.asarray(index, dtype=np.uint32)),
        put(order),
        put(columns[order]),
        put(rows[order]),
    )


def _segments(x: jax.Array, values: jax.Array, rows: jax.Array, columns: jax.Array, count: int) -> jax.Array:
    messages = jnp.take(x, columns, axis=0, mode="clip") * values[:, None]
    return jax.ops.segment_sum(messages, rows, num_segments=count, indices_are_sorted=True, mode="clip")


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(
    shape: tuple[int, int],
    x: jax.Array,
    values: jax.Array,
    rows: jax.Array,
    columns: jax.Array,
    to_transposed: jax.Array,
    rows_transposed: jax.Array,
    columns_transposed: jax.Array,
) -> jax.Array:
    return _segments(x, values, rows, columns, shape[0])


def _forward(shape: tuple[int, int], x: jax.Array, values: jax.Array, *parts: jax.Array) -> tuple[jax.Array, Any]:
    rows, columns, *transposed = parts
    return _segments(x, values, rows, columns, shape[0]), (values, *transposed)


def _backward(shape: tuple[int, int], kept: Any, grad: jax.Array) -> tuple[Any, ...]:
    values, to_transposed, rows, columns = kept
    flipped = jnp.take(values, to_transposed, mode="clip")
    return _segments(grad, flipped, rows, columns, shape[1]), *(None,) * 6


_product.defvjp(_forward, _backward)
