"""Sparse matrices for torch in three forms: its own CSR, a Triton kernel on CUDA, edge lists where it has neither."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property, partial
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from portgnn_torch import loops
from portgnn_torch.loops import csr_tensor
from portgnn_torch.persistent.trace import traced


class Form(Enum):
    """How a device multiplies a sparse matrix."""

    CSR = "torch's own CSR product"
    KERNEL = "a Triton kernel over CSR arrays"
    EDGES = "gather, multiply, add by row: for MPS, which has no CSR"


@dataclass(frozen=True, eq=False)
class TorchCSR:
    """A sparse matrix, and its transpose when that is asked for: only a gradient does.

    plan: what the form multiplies with: a CSR tensor (None: made for a product that wants it), a kernel's `RowSums`, or
    the row of each stored value.
    index: element numbers of the stored values, None for 0, 1, 2, ….
    turned: the transpose, where it comes from another matrix of the same pattern.
    """

    form: Form
    shape: tuple[int, int]
    indptr: torch.Tensor
    indices: torch.Tensor
    values: torch.Tensor
    plan: Any
    index: torch.Tensor | None
    turned: TorchCSR | None = field(default=None, repr=False)

    @property
    def nnz(self) -> int:
        return int(self.values.shape[0])

    @cached_property
    def transposed(self) -> TorchCSR:
        """The transpose; where this is its own, as of an undirected graph, they share their arrays."""
        if self.turned is not None:
            return self.turned
        parts = (self.indptr, self.indices, self.values)
        if self.shape[0] == self.shape[1] and self.form is Form.CSR and loops.is_symmetric(*parts):
            return TorchCSR(self.form, self.shape, *parts, self.plan, None)
        indptr, indices, values = turned(self.shape, self.indptr, self.indices, self.values)
        own = (self.indptr, self.indices, self.values)
        if all(torch.equal(each, other) for each, other in zip((indptr, indices, values), own, strict=True)):
            return TorchCSR(self.form, self.shape, self.indptr, self.indices, self.values, self.plan, None)
        return self._flipped(indptr, indices, values)

    def _flipped(self, indptr: torch.Tensor, indices: torch.Tensor, values: torch.Tensor) -> TorchCSR:
        shape = self.shape[::-1]
        plan = plan_of(self.form, indptr, indices, values, shape)
        return TorchCSR(self.form, shape, indptr, indices, values, plan, None)

    def with_transpose(self) -> TorchCSR:
        """Itself, with all that it makes of its transpose at once and none of it later."""
        numbers = torch.arange(self.nnz, dtype=self.indices.dtype, device=self.indices.device)
        indptr, indices, order = turned(self.shape, self.indptr, self.indices, numbers)
        made = {
            "to_transposed": order,
            "transposed": self._flipped(indptr, indices, self.values.index_select(0, order)),
        }
        self.__dict__.update(made)
        if self.form is Form.KERNEL:
            self.__dict__["turned_index"] = self.turned_index
        return self

    @cached_property
    def to_transposed(self) -> torch.Tensor:
        """[stored values]: which of these each of the transpose's is."""
        numbers = torch.arange(self.nnz, dtype=self.indices.dtype, device=self.indices.device)
        return turned(self.shape, self.indptr, self.indices, numbers)[2]

    @cached_property
    def turned_index(self) -> torch.Tensor:
        """Element numbers of the transpose's stored values, int32."""
        order = self.to_transposed
        return order.to(torch.int32) if self.index is None else self.index.index_select(0, order)

    def with_values(self, values: torch.Tensor, flipped: torch.Tensor | None = None) -> TorchCSR:
        """The same pattern with other values. flipped: they in the transpose's order, where already known."""
        if flipped is None:
            flipped = values.index_select(0, self.to_transposed)
        return self._with(values, self.transposed._with(flipped))

    def _with(self, values: torch.Tensor, turned: TorchCSR | None = None) -> TorchCSR:
        plan = None if self.form is Form.CSR else self.plan  # which is made where it is asked for
        return TorchCSR(self.form, self.shape, self.indptr, self.indices, values, plan, self.index, turned)

    def _own(self) -> torch.Tensor:
        """The plan of torch's own CSR."""
        plan = self.plan
        return csr_tensor(self.indptr, self.indices, self.values, self.shape) if plan is None else plan

    @traced("spmm")
    def product(self, x: torch.Tensor) -> torch.Tensor:
        """self @ x, x [columns, k], without a gradient."""
        return self.sums(x.to(self.values.dtype)).to(x.dtype)

    def product_add(
        self, x: torch.Tensor, scale: float, added: torch.Tensor | None = None, share: float = 1.0
    ) -> torch.Tensor:
        """scale * (self @ x) + share * added, x [columns, k], added [rows, k], without a gradient."""
        kind = self.values.dtype
        return self.sums(x.to(kind), scale, None if added is None else added.to(kind), share).to(x.dtype)

    def short_sums(self, x: torch.Tensor, into: torch.Tensor | None = None) -> torch.Tensor:
        """`sums` of a matrix most of whose rows hold a handful of values or none; added to `into` in place."""
        if self.form is Form.KERNEL:
            total: torch.Tensor = self.plan.short_product(self.indices, self.values, x, into)
            return total
        total = self.sums(x)
        return total if into is None else into.add_(total)

    def sums(
        self, x: torch.Tensor, scale: float = 1.0, added: torch.Tensor | None = None, share: float = 1.0
    ) -> torch.Tensor:
        """`product_add` with arrays of the values' own dtype."""
        product: torch.Tensor
        if self.form is Form.KERNEL:
            product = self.plan.product(self.indices, self.values, x, scale, added, share)
            return product
        if self.form is Form.CSR and added is not None:
            return torch.addmm(added, self._own(), x, beta=share, alpha=scale)
        if self.form is Form.CSR and loops.may_serve(self.indices, self.values, x):
            product = loops.product(self.indptr, self.indices, self.values, self.shape, self.plan, x.contiguous())
        elif self.form is Form.CSR:
            product = self._own() @ x
        else:
            messages = x.index_select(0, self.indices) * self.values.unsqueeze(1)
            product = x.new_zeros((self.shape[0], x.shape[1])).index_add_(0, self.plan, messages)
        product = product if scale == 1.0 else product * scale
        if added is None:
            return product
        return product + (added if share == 1.0 else added * share)


def stored_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of a matrix's values and sums: float32 for bfloat16, since values are few and sums need it."""
    return torch.float32 if dtype == torch.bfloat16 else dtype


AT_ONCE = 1 << 20
"""Stored values up to which a matrix has its transpose from the start: a recording of a step's operations should find
it. A larger one has it when a gradient asks, and evaluation never does."""
LEAST = 32
"""Stored values that the longest row of a batch's matrix is taken to have at least."""
_HOST = {torch.float64: np.float64, torch.float32: np.float32, torch.int64: np.int64, torch.int32: np.int32}


def placed(device: torch.device, x: NDArray[Any], kind: torch.dtype) -> torch.Tensor:
    """A copy of a host array on the device, in another dtype."""
    # On the CPU first, by name: a default device may be another, or none that holds numbers.
    if kind in _HOST:  # cast before it travels, and in one copy
        return torch.from_numpy(np.array(x, dtype=_HOST[kind], order="C")).to(device=device)
    return torch.tensor(x, device="cpu").to(device=device, dtype=kind)


def plan_of(
    form: Form, indptr: torch.Tensor, indices: torch.Tensor, values: torch.Tensor, shape: tuple[int, int]
) -> Any:
    """What a form multiplies with; see `TorchCSR`."""
    if form is Form.CSR:
        return csr_tensor(indptr, indices, values, shape)
    if form is Form.KERNEL:
        from portgnn_torch.kernels import RowSums

        return RowSums(indptr)
    return rows_of(indptr, len(values))


def rows_of(indptr: torch.Tensor, stored: int) -> torch.Tensor:
    """The row of each stored value, int32."""
    numbers = torch.arange(len(indptr) - 1, dtype=torch.int32, device=indptr.device)
    return torch.repeat_interleave(numbers, indptr[1:] - indptr[:-1], output_size=stored)


def turned(
    shape: tuple[int, int], indptr: torch.Tensor, indices: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Row pointers, column indices and values of a matrix's transpose."""
    if indices.device.type == "cuda":
        return turned_by_sorting(shape, indptr, indices, values)
    parts = (each.cpu().numpy() for each in (values, indices, indptr))
    turned = sp.csr_array(tuple(parts), shape=shape).tocsc()
    pointers, rows, flipped = (
        torch.from_numpy(each).to(device=indices.device) for each in (turned.indptr, turned.indices, turned.data)
    )
    return pointers.to(indptr.dtype), rows.to(indices.dtype), flipped


def turned_by_sorting(
    shape: tuple[int, int], indptr: torch.Tensor, indices: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same on a device that sorts faster than a matrix comes from the host."""
    columns, order = torch.sort(indices, stable=True)
    ends = torch.arange(shape[1] + 1, dtype=indices.dtype, device=indices.device)
    rows = rows_of(indptr, len(values)).to(indices.dtype)
    return (
        torch.searchsorted(columns, ends).to(indptr.dtype),
        rows.index_select(0, order),
        values.index_select(0, order),
    )


def place(
    matrix: sp.csr_array, index: NDArray[np.uint32] | None, dtype: torch.dtype, device: torch.device, form: Form
) -> TorchCSR:
    """A canonical SciPy matrix on a torch device."""
    wide = torch.int32 if matrix.nnz < 2**31 else torch.int64
    to = partial(placed, device)
    indptr, indices, values = to(matrix.indptr, wide), to(matrix.indices, wide), to(matrix.data, dtype)
    numbers = None if index is None else to(np.asarray(index, dtype=np.uint32).view(np.int32), torch.int32)
    plan = plan_of(form, indptr, indices, values, matrix.shape)
    made = TorchCSR(form, matrix.shape, indptr, indices, values, plan, numbers)
    return made.with_transpose() if matrix.nnz <= AT_ONCE else made


def place_pair(
    matrix: sp.csr_array, transposed: sp.csr_array, dtype: torch.dtype, device: torch.device, form: Form
) -> TorchCSR:
    """A matrix and its transpose, which may be itself, on a torch device; on the CPU by their own arrays."""
    made = _adopted(matrix, dtype, device, form)
    if transposed is matrix:
        back = TorchCSR(form, made.shape, made.indptr, made.indices, made.values, made.plan, None)
    else:
        back = _adopted(transposed, dtype, device, form)
    return replace(made, turned=back)


def _adopted(matrix: sp.csr_array, dtype: torch.dtype, device: torch.device, form: Form) -> TorchCSR:
    wide = torch.int32 if matrix.nnz < 2**31 else torch.int64
    parts = ((matrix.indptr, wide), (matrix.indices, wide), (matrix.data, dtype))
    indptr, indices, values = (torch.from_numpy(each).to(device=device, dtype=kind) for each, kind in parts)
    plan: Any = None
    if form is Form.KERNEL:
        from portgnn_torch.kernels import RowSums

        # Seen on the host, where it costs nothing to know; in few classes, since a recorded step is made for one.
        longest = int(np.diff(matrix.indptr).max(initial=0))
        plan = RowSums(indptr, longest if longest <= 1 else max(1 << (longest - 1).bit_length(), LEAST))
    else:
        plan = plan_of(form, indptr, indices, values, matrix.shape)
    return TorchCSR(form, matrix.shape, indptr, indices, values, plan, None)


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


class SpMMAdd(torch.autograd.Function):
    """scale * (CSR times dense) + added, in one pass."""

    @staticmethod
    def forward(ctx: Any, handle: TorchCSR, x: torch.Tensor, added: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.handle, ctx.scale = handle, scale
        return handle.product_add(x, scale, added)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, torch.Tensor, torch.Tensor, None]:
        return None, ctx.handle.transposed.product_add(grads[0].contiguous(), ctx.scale), grads[0], None


class Propagate(torch.autograd.Function):
    """x after so many times x = (1 - restart) * (CSR times x) + restart * what it began with.

    That is a polynomial of the matrix, and the gradient is the same one of its transpose (by Horner's rule either): no
    step has a gradient of its own for where x began, to be added to those of the others.
    """

    @staticmethod
    def forward(ctx: Any, handle: TorchCSR, x: torch.Tensor, restart: float, times: int, fused: bool) -> torch.Tensor:
        ctx.handle, ctx.given = handle, (restart, times, fused)
        return propagated(handle, x.contiguous(), *ctx.given)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, torch.Tensor, None, None, None]:
        return None, propagated(ctx.handle.transposed, grads[0].contiguous(), *ctx.given), None, None, None


def propagated(handle: TorchCSR, first: torch.Tensor, restart: float, times: int, fused: bool) -> torch.Tensor:
    """`Propagate` without a gradient. fused: each step in one pass, and not in plain operations."""
    x, share = first, None if fused else first * restart
    for _ in range(times):
        if share is None:
            x = handle.product_add(x, 1.0 - restart, first, restart)
        else:
            x = handle.product(x) * (1.0 - restart) + share
    return x


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
