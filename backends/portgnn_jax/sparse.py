"""Sparse products for JAX, which stay inside jit and keep their transpose for the backward pass.

`Segments`, for CPUs: gather, multiply, sorted segment sum. `Pieces`, for GPUs: rows cut into pieces of equal
length, which XLA gathers, multiplies and sums in one kernel without atomics; pieces of one row are then summed the
same way, level by level. On an H100 Pieces is the faster one, on a CPU Segments is, by three times.
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

from portgnn.parts import transposed_order

WASTE = 64
"""Places for each stored value at most, where each row of a batch's matrix is one piece."""
PIECE = 16
"""Stored values summed by one program step; shorter pieces are padded with zeros."""


@dataclass(frozen=True, eq=False)
class Segments:
    """Rows, columns and values of a matrix, sorted by row. numbers: element numbers of the values."""

    rows: jax.Array
    columns: jax.Array
    values: jax.Array
    numbers: jax.Array
    count: int

    def product(self, x: jax.Array) -> jax.Array:
        messages = jnp.take(x, self.columns, axis=0, mode="clip") * self.values[:, None]
        return jax.ops.segment_sum(messages, self.rows, num_segments=self.count, indices_are_sorted=True, mode="clip")


@dataclass(frozen=True, eq=False)
class Pieces:
    """Columns, values and element numbers [pieces, PIECE], padded with value 0; and how pieces make rows.

    levels: at each, which sums of the level before belong together, [sums, PIECE], and which of those are padding.
    """

    columns: jax.Array
    values: jax.Array
    numbers: jax.Array
    levels: tuple[tuple[jax.Array, jax.Array], ...]

    def product(self, x: jax.Array) -> jax.Array:
        if not x.shape[0]:  # of which nothing can be taken
            last = self.levels[-1][0] if self.levels else self.columns
            return jnp.zeros((last.shape[0], *x.shape[1:]), x.dtype)
        found = jnp.take(x, self.columns, axis=0, mode="clip")
        sums = jnp.sum(found * self.values[:, :, None], axis=1)
        for members, real in self.levels:
            sums = jnp.sum(jnp.take(sums, members, axis=0, mode="clip") * real[:, :, None], axis=1)
        return sums


for _kind, _static in ((Segments, ["count"]), (Pieces, [])):
    _data = [name for name in _kind.__dataclass_fields__ if name not in _static]
    jax.tree_util.register_dataclass(_kind, data_fields=_data, meta_fields=_static)


@dataclass(frozen=True, eq=False)
class JaxCSR:
    """A sparse matrix and its transpose, ready to multiply."""

    shape: tuple[int, int]
    nnz: int
    forward: Segments | Pieces
    backward: Segments | Pieces

    def product(self, x: jax.Array) -> Any:
        return _fused_product(self.forward, self.backward, x)

    def with_dropout(self, mask: Any) -> JaxCSR:
        """The same matrix with each value times `mask(element numbers)`."""

        def drop(half: Any) -> Any:
            return replace(half, values=half.values * mask(half.numbers))

        return replace(self, forward=drop(self.forward), backward=drop(self.backward))


jax.tree_util.register_dataclass(JaxCSR, data_fields=["forward", "backward"], meta_fields=["shape", "nnz"])


def place(matrix: sp.csr_array, index: NDArray[np.uint32] | None, dtype: Any, put: Any, pieces: bool) -> JaxCSR:
    """A canonical SciPy matrix on a device. put: moves a NumPy array there. pieces: as `Pieces`, else `Segments`."""
    numbers = np.arange(matrix.nnz, dtype=np.uint32) if index is None else np.array(index, dtype=np.uint32)
    order = transposed_order(matrix)
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    data = matrix.data.astype(dtype)
    make = _pieces if pieces else _segments
    columns = matrix.indices.astype(np.int32)
    forward = make(rows, columns, data, numbers, matrix.shape[0], put)
    backward = make(columns[order], rows[order], data[order], numbers[order], matrix.shape[1], put)
    return JaxCSR(matrix.shape, int(matrix.nnz), forward, backward)


def place_pair(matrix: sp.csr_array, transposed: sp.csr_array, dtype: Any, put: Any, pieces: bool) -> JaxCSR:
    """A matrix and its transpose, which may be itself."""
    forward = _half(matrix, dtype, put, pieces)
    backward = forward if transposed is matrix else _half(transposed, dtype, put, pieces)
    return JaxCSR(matrix.shape, int(matrix.nnz), forward, backward)


def _half(matrix: sp.csr_array, dtype: Any, put: Any, pieces: bool) -> Segments | Pieces:
    """One way of a batch's matrix, in a form whose arrays' shapes its own shape says as nearly as can be: a compiled
    step is made for them. As pieces, each row is one, of so many values as the longest has, in few classes.
    """
    counts, data = np.diff(matrix.indptr), matrix.data.astype(dtype, copy=False)
    columns, numbers = matrix.indices.astype(np.int32, copy=False), np.zeros(matrix.nnz, dtype=np.uint32)
    longest = max(1 << (max(int(counts.max(initial=1)), 1) - 1).bit_length(), 1)
    if not pieces or not matrix.nnz or longest * len(counts) > WASTE * max(matrix.nnz, 1):
        rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), counts)
        return (_pieces if pieces else _segments)(rows, columns, data, numbers, matrix.shape[0], put)
    longest = max(longest, PIECE) if longest > 1 else 1
    at = matrix.indptr[:-1, None] + np.arange(longest, dtype=matrix.indptr.dtype)
    real = at < matrix.indptr[1:, None]
    at = np.where(real, at, 0)
    values = np.where(real, data[at], data.dtype.type(0))
    return Pieces(put(columns[at]), put(values), put(np.zeros((1, 1), dtype=np.uint32)), ())


def _segments(rows: Any, columns: Any, values: Any, numbers: Any, count: int, put: Any) -> Segments:
    return Segments(put(rows), put(columns), put(values), put(numbers), count)


def _pieces(rows: Any, columns: Any, values: Any, numbers: Any, count: int, put: Any) -> Pieces:
    bounds = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))])
    at, real, bounds = cut(bounds)
    levels = []
    while np.diff(bounds).max(initial=1) > 1:
        members, present, bounds = cut(bounds)
        levels.append((put(members), put(present.astype(values.dtype))))
    if not len(values):  # padding must have something to point at
        columns, values, numbers = np.zeros(1, np.int32), np.zeros(1, values.dtype), np.zeros(1, np.uint32)
    padded = np.where(real, values[at], values.dtype.type(0))
    return Pieces(put(columns[at]), put(padded), put(numbers[at]), tuple(levels))


def cut(bounds: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[Any]]:
    """Cuts consecutive ranges into pieces of PIECE: members [pieces, PIECE], which are real, pieces' own bounds.

    An empty range keeps one piece of padding, so that every row has a sum.
    """
    lengths = np.diff(bounds)
    pieces = np.maximum(-(-lengths // PIECE), 1)
    after = np.concatenate([[0], np.cumsum(pieces)])
    owner = np.repeat(np.arange(len(lengths)), pieces)
    start = bounds[:-1][owner] + (np.arange(after[-1]) - after[:-1][owner]) * PIECE
    at = start[:, None] + np.arange(PIECE)
    real = at < bounds[1:][owner][:, None]
    return np.where(real, at, 0).astype(np.int32), real, after


@partial(jax.custom_vjp)
def _product(forward: Any, backward: Any, x: jax.Array) -> Any:
    return forward.product(x)


def _product_forward(forward: Any, backward: Any, x: jax.Array) -> tuple[jax.Array, Any]:
    return forward.product(x), backward


def _product_backward(backward: Any, grad: jax.Array) -> tuple[Any, ...]:
    return None, None, backward.product(grad)


_product.defvjp(_product_forward, _product_backward)

# Jitted also where nothing around it is: its parts alone would write out every gathered row.
_fused_product = jax.jit(_product)
