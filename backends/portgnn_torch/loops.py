"""Sparse products and dropout masks on the CPU by the loops that `portgnn.parts.compiled` compiles.

A product with torch's own matrix is prepared anew in each call, which takes longer than a small product; and the loops
keep a row's sums in registers. They are taken where they give torch's own bits, since a run may begin with the one and
go on with the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from portgnn.parts import compiled
from portgnn.random import HASH, dropout_mask, keep_threshold
from portgnn_torch.recording import opaque

_REAL = {torch.float32: "f", torch.float64: "d"}
"""NumPy's character of a dtype that loops are made for."""


def may_serve(indices: torch.Tensor, values: torch.Tensor, x: torch.Tensor) -> bool:
    """Whether a product of this kind may be taken by compiled loops, now or later."""
    fits = indices.dtype == torch.int32 and values.dtype in _REAL and x.dim() == 2 and values.device.type == "cpu"
    return fits and compiled.may_compile()


class Bound:
    """`product` into one array, of those tensors that are others in each epoch; weights that an optimizer writes over
    keep their place. Arguments: those of `product`, with None for these tensors, and what it gave.
    """

    def __init__(self, given: Sequence[Any], total: torch.Tensor) -> None:
        self._given, self._total = given, torch.empty_like(total)
        self._loop: Any = None
        _, _, values, _, _, x = given
        self._matrix = tuple(0 if each is None else each.data_ptr() for each in given[:3])
        self._from, self._to = 0 if x is None else x.data_ptr(), self._total.data_ptr()
        self._has_values = values is not None

    def __call__(self, *moving: torch.Tensor) -> torch.Tensor:
        loop, (starts, places, weights) = self._loop, self._matrix
        if loop is None:
            return self._first(*moving)
        rows, width = self._total.shape
        weights = weights if self._has_values else moving[0].data_ptr()
        loop(0, rows, width, 0, starts, places, weights, self._from or moving[-1].data_ptr(), self._to)
        return self._total

    def _first(self, *moving: torch.Tensor) -> torch.Tensor:
        rest = list(moving)
        indptr, indices, values, shape, plan, x = self._given
        values = rest.pop(0) if values is None else values
        found = product(indptr, indices, values, shape, plan, rest.pop(0) if x is None else x)
        width, real = self._total.shape[1], _REAL[values.dtype]
        if compiled.WORK.ready and agrees(real, width):
            self._loop = compiled.product_loop(width, real)
        return found


def _bound(given: Sequence[Any], total: torch.Tensor) -> Bound | None:
    indptr, indices = given[:2]
    if indptr is None or indices is None or not 0 < total.shape[1] <= compiled.WIDEST:
        return None
    return Bound(given, total) if indices.shape[0] * total.shape[1] < compiled.SHARED else None


@opaque(_bound)
def product(
    indptr: torch.Tensor,
    indices: torch.Tensor,
    values: torch.Tensor,
    shape: tuple[int, int],
    plan: torch.Tensor | None,
    x: torch.Tensor,
) -> torch.Tensor:
    """A @ x, x [columns, k] and contiguous, of what `may_serve`. plan: A as torch's own matrix, where it is at hand."""
    rows, width = shape[0], x.shape[1]
    work, real = values.shape[0] * width, _REAL[values.dtype]
    if not (compiled.WORK.counts(work) and agrees(real, width)):
        found: torch.Tensor = (csr_tensor(indptr, indices, values, shape) if plan is None else plan) @ x
        return found
    total = torch.empty((rows, width), dtype=values.dtype, device="cpu")
    addresses = (indptr.data_ptr(), indices.data_ptr(), values.data_ptr(), x.data_ptr(), total.data_ptr())
    threads = torch.get_num_threads() if work >= compiled.SHARED else 1
    compiled.product_at(addresses, rows, width, real, indptr.numpy, threads)
    return total


def csr_tensor(indptr: Any, indices: Any, values: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """torch's own matrix of parts that are known to be canonical."""
    # They come from a canonical SciPy matrix: checking them again costs more than the product.
    return torch.sparse_csr_tensor(indptr, indices, values, shape, device=values.device, check_invariants=False)


def is_symmetric(indptr: torch.Tensor, indices: torch.Tensor, values: torch.Tensor) -> bool:
    """Whether a canonical matrix [n, n] was found to be its own transpose, at no great cost."""
    if values.device.type != "cpu" or values.dtype not in _REAL:
        return False
    return bool(compiled.is_symmetric(indptr.numpy(), indices.numpy(), values.numpy()))


@cache
def agrees(real: str, width: int) -> bool:
    """Whether a compiled loop gives the bits of torch's own product here, which may round otherwise elsewhere."""
    draw = np.random.default_rng(0)
    dense = draw.standard_normal((48, 40)) * (np.arange(48)[:, None] > np.arange(40))  # rows of 0 to 40 values
    matrix, x = sp.csr_array(dense.astype(real)), torch.from_numpy(draw.standard_normal((40, width)).astype(real))
    indptr, indices, values = (torch.from_numpy(each) for each in (matrix.indptr, matrix.indices, matrix.data))
    total = torch.empty((48, width), dtype=values.dtype, device="cpu")
    addresses = [each.data_ptr() for each in (indptr, indices, values, x, total)]
    compiled.product_at(addresses, 48, width, real, indptr.numpy)
    return torch.equal(total, csr_tensor(indptr, indices, values, (48, 40)) @ x)


def masks(words: Any, index: int | NDArray[np.uint32], rate: float, dtype: str) -> torch.Tensor:
    """`portgnn.random.dropout_mask`; of keys of several epochs, whose words are arrays [epochs, 1, …], one an epoch."""
    if not compiled.WORK.ready:
        return torch.from_numpy(dropout_mask(words, index, rate, dtype))
    shape = (index,) if isinstance(index, int) else index.shape
    keys = [words] if isinstance(words[0], int) else list(zip(*(each.ravel().tolist() for each in words), strict=True))
    made = np.empty((len(keys), *shape), dtype=dtype)
    numbers = None if isinstance(index, int) else np.ascontiguousarray(index)
    threads = torch.get_num_threads() if made[0].size >= compiled.SHARED else 1
    for out, key in zip(made, keys, strict=True):
        compiled.mask(out, numbers, key, keep_threshold(rate), 1.0 / (1.0 - rate), HASH, threads)
    return torch.from_numpy(made[0] if isinstance(words[0], int) else made)
