"""Sparse matrices for torch: CSR where the device has a CSR product, edge lists where it has none (MPS)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class TorchCSR:
    """A sparse matrix and its transpose, which holds the same values in the order `to_transposed`.

    rows: row of each stored value, kept for devices without a CSR product only.
    """

    shape: tuple[int, int]
    indptr: torch.Tensor
    indices: torch.Tensor
    values: torch.Tensor
    rows: torch.Tensor | None
    index: torch.Tensor | None
    to_transposed: torch.Tensor | None = None
    transposed: TorchCSR | None = field(default=None, repr=False)
    matrix: torch.Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.rows is None:
            # The parts come from a canonical SciPy matrix: checking them again costs more than the product.
            matrix = torch.sparse_csr_tensor(self.indptr, self.indices, self.values, self.shape, check_invariants=False)
            object.__setattr__(self, "matrix", matrix)

    @property
    def nnz(self) -> int:
        return int(self.values.shape[0])

    def with_values(self, values: torch.Tensor) -> TorchCSR:
        """The same pattern with other values, transposed too."""
        transposed = self.transposed
        assert transposed is not None
        assert self.to_transposed is not None
        parts = (transposed.shape, transposed.indptr, transposed.indices)
        flipped = TorchCSR(*parts, values.index_select(0, self.to_transposed), transposed.rows, None)
        return TorchCSR(
            self.shape, self.indptr, self.indices, values, self.rows, self.index, self.to_transposed, flipped
        )

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """self @ x, x [columns, k], without a gradient."""
        if self.matrix is not None:
            return self.matrix @ x
        assert self.rows is not None
        messages = x.index_select(0, self.indices) * self.values.unsqueeze(1)
        return x.new_zeros((self.shape[0], x.shape[1])).index_add_(0, self.rows, messages)


def place(
    matrix: sp.csr_array,
    index: NDArray[np.uint32] | None,
    dtype: torch.dtype,
    device: torch.device,
    has_csr: bool,
) -> TorchCSR:
    """A canonical SciPy matrix and its transpose on a torch device."""

    def to(x: NDArray[Any], kind: torch.dtype) -> torch.Tensor:
        return torch.tensor(x).to(device=device, dtype=kind)

    def half(csr: sp.csr_array) -> Any:
        rows = None if has_csr else to(np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr)), torch.int32)
        ints = torch.int32 if csr.nnz < 2**31 else torch.int64
        return csr.shape, to(csr.indptr, ints), to(csr.indices, ints), to(csr.data, dtype), rows

    numbered = sp.csr_array((np.arange(1, matrix.nnz + 1), matrix.indices, matrix.indptr), shape=matrix.shape).T.tocsr()
    order = numbered.data - 1
    transposed = sp.csr_array((matrix.data[order], numbered.indices, numbered.indptr), shape=numbered.shape)
    ids = None if index is None else to(np.asarray(index, dtype=np.uint32).view(np.int32), torch.int32)
    return TorchCSR(*half(matrix), ids, to(order, torch.int64), TorchCSR(*half(transposed), None))


class SpMM(torch.autograd.Function):
    """CSR times dense, whose backward pass is a product with the kept transpose.

    torch's own backward of this product transposes to CSC on every call, which was 40 times slower.
    """

    @staticmethod
    def forward(ctx: Any, handle: TorchCSR, x: torch.Tensor) -> torch.Tensor:
        ctx.handle = handle
        return handle.product(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, ctx.handle.transposed.product(grads[0].contiguous())


def csr_product_works(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this build of torch multiplies CSR on this device: MPS and some CPU builds do not."""
    # Not symmetric, with an empty row: a wrong answer must not pass for a right one.
    example = sp.csr_array(np.array([[0.0, 2.0, 1.0], [0, 0, 0], [3.0, 0, 0]]))
    with warnings.catch_warnings():  # torch says once a process that its CSR is in beta
        warnings.simplefilter("ignore")
        try:
            x = torch.arange(6, dtype=dtype, device=device).reshape(3, 2)
            got = place(example, None, dtype, device, True).product(x).cpu().double()
        except (RuntimeError, NotImplementedError, TypeError):
            return False
    return got.tolist() == [[8.0, 11.0], [0.0, 0.0], [0.0, 3.0]]
