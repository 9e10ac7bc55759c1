"""Sparse matrices for torch in three forms: its own CSR, a Triton kernel on CUDA, edge lists where it has neither."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from portgnn_torch.persistent.trace import traced


class Form(Enum):
    """How a device multiplies a sparse matrix."""

    CSR = "torch's own CSR product"
    KERNEL = "a Triton kernel over CSR arrays"
    EDGES = "gather, multiply, add by row: for MPS, which has no CSR"


@dataclass(frozen=True, eq=False)
class TorchCSR:
    """A sparse matrix and its transpose, which holds the same values in the order `to_transposed`.

    plan: what the form multiplies with: a CSR tensor, a kernel's `RowSums`, or the row of each stored value.
    index: element numbers of the stored values, None for 0, 1, 2, ….
    """

    form: Form
    shape: tuple[int, int]
    indptr: torch.Tensor
    indices: torch.Tensor
    values: torch.Tensor
    plan: Any
    index: torch.Tensor | None
    to_transposed: torch.Tensor | None = None
    transposed: TorchCSR | None = field(default=None, repr=False)

    @property
    def nnz(self) -> int:
        return int(self.values.shape[0])

    def with_values(self, values: torch.Tensor, flipped: torch.Tensor | None = None) -> TorchCSR:
        """The same pattern with other values. flipped: they in the transpose's order, where already known."""
        other = self.transposed
        if other is not None:
            assert self.to_transposed is not None
            if flipped is None:
                flipped = values.index_select(0, self.to_transposed)
            other = other.with_values(flipped)
        plan = _csr_tensor(self.indptr, self.indices, values, self.shape) if self.form is Form.CSR else self.plan
        parts = (self.form, self.shape, self.indptr, self.indices, values, plan)
        return TorchCSR(*parts, self.index, self.to_transposed, other)

    @traced("spmm")
    def product(self, x: torch.Tensor) -> torch.Tensor:
        """self @ x, x [columns, k], without a gradient."""
        return self.sums(x.to(self.values.dtype)).to(x.dtype)

    def short_sums(self, x: torch.Tensor, into: torch.Tensor | None = None) -> torch.Tensor:
        """`sums` of a matrix most of whose rows hold a handful of values or none; added to `into` in place."""
        if self.form is Form.KERNEL:
            total: torch.Tensor = self.plan.short_product(self.indices, self.values, x, into)
            return total
        total = self.sums(x)
        return total if into is None else into.add_(total)

    def sums(self, x: torch.Tensor) -> torch.Tensor:
        """The product with an x of the values' own dtype."""
        product: torch.Tensor
        if self.form is Form.KERNEL:
            product = self.plan.product(self.indices, self.values, x)
        elif self.form is Form.CSR:
            product = self.plan @ x
        else:
            messages = x.index_select(0, self.indices) * self.values.unsqueeze(1)
            product = x.new_zeros((self.shape[0], x.shape[1])).index_add_(0, self.plan, messages)
        return product


def stored_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of a matrix's values and sums: float32 for bfloat16, since values are few and sums need it."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


def _csr_tensor(indptr: Any, indices: Any, values: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    # The parts come from a canonical SciPy matrix: checking them again costs more than the product.
    return torch.sparse_csr_tensor(indptr, indices, values, shape, device=values.device, check_invariants=False)


def placed(device: torch.device, x: NDArray[Any], kind: torch.dtype) -> torch.Tensor:
    """A host array on the device, in another dtype. Copies."""
    host = np.asarray(x, order="C")
    # torch.tensor would do, at several times the cost; this takes no array that nobody may write, and copies anyway.
    shared = torch.from_numpy(host if host.flags.writeable else host.copy())
    return shared.to(device=device, dtype=kind, copy=True)


def place(
    matrix: sp.csr_array, index: NDArray[np.uint32] | None, dtype: torch.dtype, device: torch.device, form: Form
) -> TorchCSR:
    """A canonical SciPy matrix and its transpose on a torch device."""
    wide = torch.int32 if matrix.nnz < 2**31 else torch.int64

    to = partial(placed, device)

    def half(parts: tuple[Any, Any, Any], shape: tuple[int, int], **links: Any) -> TorchCSR:
        starts, columns, data = parts
        indptr, indices, values = to(starts, wide), to(columns, wide), to(data, dtype)
        plan: Any
        if form is Form.CSR:
            plan = _csr_tensor(indptr, indices, values, shape)
        elif form is Form.KERNEL:
            from portgnn_torch.kernels import RowSums

            plan = RowSums(indptr)
        else:
            plan = to(np.repeat(np.arange(shape[0]), np.diff(starts)), torch.int32)
        return TorchCSR(form, shape, indptr, indices, values, plan, **links)

    numbers = sp.csr_array((np.arange(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape).tocsc()
    order = numbers.data
    ids = None if index is None else np.asarray(index, dtype=np.uint32).view(np.int32)
    by_kernel = None  # a kernel alone drops values of the transpose by their own numbers; others take those over
    if form is Form.KERNEL:
        by_kernel = to(order.astype(np.int32) if ids is None else ids[order], torch.int32)
    flipped = (numbers.indptr, numbers.indices, matrix.data[order])
    transposed = half(flipped, matrix.shape[::-1], index=by_kernel)
    links = {"index": None if ids is None else to(ids, torch.int32), "to_transposed": to(order, torch.int64)}
    return half((matrix.indptr, matrix.indices, matrix.data), matrix.shape, transposed=transposed, **links)


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


def best_form(device: torch.device, dtype: torch.dtype) -> Form:
    """The fastest form that gives a right product on this device."""
    tried = [Form.KERNEL, Form.CSR] if device.type == "cuda" else [Form.CSR]
    return next((form for form in tried if product_is_right(device, dtype, form)), Form.EDGES)


def product_is_right(device: torch.device, dtype: torch.dtype, form: Form) -> bool:
    """Whether a form works here: MPS and some CPU builds have no CSR product, and Triton may be missing."""
    # Not symmetric, with an empty row and one beyond the kernel's piece length: a wrong answer must not pass.
    matrix = sp.csr_array(np.vstack([np.zeros((1, 3000)), np.eye(2, 3000), np.arange(1.0, 3001.0)[None] / 3000]))
    x = np.stack([np.arange(3000.0) / 3000, np.ones(3000), np.cos(np.arange(3000.0))], axis=1)
    with warnings.catch_warnings():  # torch says once a process that its CSR is in beta
        warnings.simplefilter("ignore")
        try:
            product = place(matrix, None, dtype, device, form).product(torch.tensor(x, dtype=dtype, device=device))
            got = product.cpu().double().numpy()
        # An absent or broken compiler raises whatever it likes, and training must not break on it.
        except Exception:
            return False
    scale = 3e-2 if dtype == torch.bfloat16 else 1e-5
    return bool(np.allclose(got, matrix @ x, rtol=scale, atol=scale * 10))
