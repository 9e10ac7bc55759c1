"""What layers compute for each edge, in torch's own gathers, with gradients of their own.

Autograd's backward of a gather adds on CUDA in whatever order threads arrive; here every sum over edges, forward and
backward, is a product with a matrix of ones, whose order is fixed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from portgnn_torch.loops import csr_tensor
from portgnn_torch.sparse import Form, TorchCSR, place, placed


@dataclass(frozen=True, eq=False)
class TorchEdges:
    """Edges as torch's gathers and the sparse products take them.

    into: [targets, edges] of ones, and out_of: [sources, edges] of ones: they sum edges' values. rows, columns: the
    ends, [edges]. asking: the targets, in the order of the sources. offsets: int64 [targets + 1]. filled: [targets, 1],
    whether a target has edges; None if all have.
    """

    weights: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    asking: torch.Tensor
    offsets: torch.Tensor
    into: TorchCSR
    out_of: TorchCSR
    filled: torch.Tensor | None
    blocks: dict[Any, Any] = field(default_factory=dict, repr=False)

    @cached_property
    def leaving(self) -> torch.Tensor:
        """The sources, each as often as edges leave it: [edges], beside `asking`."""
        counts = self.out_of.indptr[1:] - self.out_of.indptr[:-1]
        numbers = torch.arange(len(counts), dtype=self.columns.dtype, device=self.columns.device)
        return torch.repeat_interleave(numbers, counts, output_size=len(self.columns))

    @property
    def sums(self) -> torch.dtype:
        """Of sums over edges: float32 for bfloat16."""
        return self.into.values.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """(targets, sources)."""
        return self.into.shape[0], self.out_of.shape[0]

    def matrix(self, values: torch.Tensor) -> torch.Tensor:
        """The edges' values [edges] as torch's CSR matrix [targets, sources]."""
        return csr_tensor(self.into.indptr, self.columns, values, self.shape)

    def transposed(self, values: torch.Tensor) -> torch.Tensor:
        """Its transpose."""
        order = self.out_of.indices
        return csr_tensor(self.out_of.indptr, self.asking, values.index_select(0, order), self.shape[::-1])

    def big(self, columns: int) -> bool:
        """Whether places in an array of so many columns, with a row a node, need 64 bits."""
        return max(self.into.shape[0], self.out_of.shape[0]) * columns >= 2**31


def place_edges(
    matrix: sp.csr_array, dtype: torch.dtype, sums: torch.dtype, device: torch.device, form: Form
) -> TorchEdges:
    """A canonical matrix [targets, sources] on the device. dtype: of the weights; sums: of the matrices of ones."""
    counts = np.diff(matrix.indptr)
    numbers = np.arange(matrix.nnz, dtype=np.int32)
    into = sp.csr_array((np.ones(matrix.nnz), numbers, matrix.indptr), shape=(matrix.shape[0], matrix.nnz))
    ends = (np.ones(matrix.nnz), (matrix.indices, numbers))
    out_of = sp.csr_array(ends, shape=(matrix.shape[1], matrix.nnz))
    out_of.sort_indices()

    to = partial(placed, device)
    rows = np.repeat(np.arange(len(counts)), counts)
    wide = torch.int32 if matrix.nnz < 2**31 else torch.int64
    return TorchEdges(
        weights=to(np.asarray(matrix.data, dtype=np.float64), dtype),
        rows=to(rows, wide),
        columns=to(matrix.indices, wide),
        asking=to(rows[out_of.indices], wide),
        offsets=to(matrix.indptr, torch.int64),
        into=place(into, None, sums, device, form),
        out_of=place(out_of, None, sums, device, form),
        filled=None if counts.all() else to((counts > 0)[:, None], torch.bool),
    )


class Gather(torch.autograd.Function):
    """Rows of x by number; backward sums them by a product. summed: [nodes, edges]."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, numbers: torch.Tensor, summed: TorchCSR) -> torch.Tensor:
        ctx.summed = summed
        return x.index_select(0, numbers)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return ctx.summed.product(grads[0].contiguous()), None, None


class SegmentSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: TorchEdges, values: torch.Tensor) -> torch.Tensor:
        ctx.edges = a
        return a.into.product(values.contiguous())

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, torch.Tensor]:
        return None, grads[0].index_select(0, ctx.edges.rows)


class SegmentMax(torch.autograd.Function):
    """Equal values that are the largest share the gradient evenly."""

    @staticmethod
    def forward(ctx: Any, a: TorchEdges, values: torch.Tensor) -> torch.Tensor:
        found = largest(a, values)
        ctx.edges, ctx.first = a, values == found.index_select(0, a.rows)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, torch.Tensor]:
        a, ties = ctx.edges, ctx.first.to(grads[0].dtype)
        shares = grads[0] / a.into.product(ties).clamp(min=1.0)
        return None, shares.index_select(0, a.rows) * ties


class EdgeSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: TorchEdges, scores: torch.Tensor) -> torch.Tensor:
        raised = torch.exp(scores - largest(a, scores).index_select(0, a.rows))
        shares = raised / a.into.product(raised).index_select(0, a.rows)
        ctx.edges, ctx.shares = a, shares
        return shares

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, torch.Tensor]:
        a, shares = ctx.edges, ctx.shares
        weighted = grads[0] * shares
        return None, weighted - shares * a.into.product(weighted).index_select(0, a.rows)


class EdgeProduct(torch.autograd.Function):
    """Sums of sources' rows times the edges' values, head by head; rows of edges are made anew in the backward pass."""

    @staticmethod
    def forward(ctx: Any, a: TorchEdges, values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        ctx.edges = a
        ctx.save_for_backward(values, x)
        return a.into.product(_times(x.index_select(0, a.columns), values))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, torch.Tensor, torch.Tensor]:
        a, (values, x) = ctx.edges, ctx.saved_tensors
        received = grads[0].contiguous().index_select(0, a.rows)
        both = (received * x.index_select(0, a.columns)).reshape(*values.shape, x.shape[1] // values.shape[1])
        of_values = both.sum(2)
        return None, of_values, a.out_of.product(_times(received, values))


def largest(a: TorchEdges, values: torch.Tensor) -> torch.Tensor:
    """[targets, …]; 0 for a target without an edge. No gradient."""
    with torch.no_grad():
        if a.into.form is Form.EDGES:  # MPS has no segment_reduce
            into = a.rows.long().reshape(-1, *(1,) * (values.ndim - 1)).expand_as(values)
            found = values.new_zeros(len(a.offsets) - 1, *values.shape[1:])
            return found.scatter_reduce_(0, into, values, "amax", include_self=False)
        wide = values.float() if values.dtype == torch.bfloat16 else values
        found = torch.segment_reduce(wide.contiguous(), "max", offsets=a.offsets, axis=0, unsafe=True).to(values.dtype)
        if a.filled is None:
            return found
        return torch.where(a.filled.reshape(-1, *(1,) * (found.ndim - 1)), found, torch.zeros_like(found))


def _times(rows: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """[edges, heads * width] times [edges, heads]."""
    by_head = rows.reshape(*values.shape, rows.shape[1] // values.shape[1])
    return (by_head * values.unsqueeze(2)).reshape(rows.shape)
