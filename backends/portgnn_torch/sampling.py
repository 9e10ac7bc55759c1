"""Neighbour sampling where the graph lies: the rows that `portgnn.loaders.neighbor` draws on the host, bit for bit.

Nothing is looked at on the host, and shapes depend on nobody's numbers, so that a step that samples fits into a CUDA
graph. Arrays are as long as they may have to be: `Rows.most`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from portgnn.parts.sampling import Hop
from portgnn.protocol import Key
from portgnn_torch.sampled_rows import Drawn, Rows
from portgnn_torch.sparse import Form, TorchCSR, stored_dtype

Bits = Callable[[Any, torch.Tensor], torch.Tensor]
"""`Backend.random_bits`."""


@dataclass(frozen=True, eq=False)
class SampledCSR(TorchCSR):
    """A sampled matrix. rows: of each stored value; places: its column, or the number of columns where it is none.

    ordered: whether the columns ascend from value to value. longest: values that a row has at most.
    """

    rows: torch.Tensor = field(default=None, repr=False)  # type: ignore[assignment]
    places: torch.Tensor = field(default=None, repr=False)  # type: ignore[assignment]
    ordered: bool = False

    @cached_property
    def transposed(self) -> TorchCSR:
        height, width = self.shape
        columns, order = (self.places, None) if self.ordered else torch.sort(self.places, stable=True)
        ends = torch.arange(width + 1, dtype=columns.dtype, device=columns.device)
        indptr = torch.searchsorted(columns, ends, out_int32=True)
        rows, values = (each if order is None else each[order] for each in (self.rows, self.values))
        shape, longest = (width, height), 1 if self.ordered else height
        plan = plan_of(self.form, indptr, columns.clamp(max=width - 1), longest)
        return TorchCSR(self.form, shape, indptr, rows, values, plan, None)


def free_bytes(device: torch.device) -> int:
    """What is left of a CUDA device's memory, with what torch holds and has not lent."""
    lent = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + lent


def plan_of(form: Form, indptr: torch.Tensor, rows: torch.Tensor, longest: int) -> Any:
    """As `portgnn_torch.sparse.plan_of`, of a matrix with values behind its last row. rows: of each value."""
    if form is Form.KERNEL:
        from portgnn_torch.kernels import RowSums

        return RowSums.bounded(indptr, longest)
    return None if form is Form.CSR else rows


def sample_rows(
    rows: Rows, nodes: torch.Tensor, fanout: int, key: Any, bits: Bits, form: Form, dtype: torch.dtype,
    scaled: bool, keeps: bool, narrow: bool,
) -> Hop:  # fmt: skip
    """See `portgnn.parts.sampling.Sampling`."""
    n, count, stored = rows.n, len(nodes), rows.most(len(nodes), fanout)
    real = nodes < n
    inside = torch.where(real, nodes, 0)
    sizes = torch.where(real, rows.others[inside].clamp(max=fanout) + 1, 0)
    indptr = torch.zeros(count + 1, dtype=torch.int32, device=nodes.device)
    torch.cumsum(sizes, 0, dtype=torch.int32, out=indptr[1:])
    if form is Form.KERNEL:
        from portgnn_torch.sampling_kernels import drawn_by_kernel

        drawn = drawn_by_kernel(rows, nodes, indptr, fanout, key, stored, dtype, scaled)
    else:
        drawn = drawn_by_arrays(rows, inside, sizes, indptr, fanout, key, bits, stored, dtype, scaled)
    here = drawn.columns < n
    if not narrow:
        columns = torch.where(here, drawn.columns, 0)
        plan = plan_of(form, indptr, drawn.rows, fanout + 1)
        shape = (count, n)
        block = SampledCSR(form, shape, indptr, columns, drawn.values, plan, None, None, drawn.rows, drawn.columns)
        every: Any = torch.arange(n, dtype=torch.int32, device=nodes.device)
        return Hop(block, every, None)
    width = min(n, stored)
    marks = torch.zeros(n + 1, dtype=torch.int32, device=nodes.device)
    marks.index_fill_(0, drawn.columns.long(), 1)
    ranks = torch.cumsum(marks[:n], 0, dtype=torch.int32)
    wanted = torch.arange(1, width + 1, dtype=torch.int32, device=nodes.device)
    level: Any = torch.searchsorted(ranks, wanted, out_int32=True)  # n behind the last
    columns = torch.where(here, ranks[torch.where(here, drawn.columns, 0)] - 1, 0)
    places = torch.where(here, columns, width)
    shape = (count, width)
    plan = plan_of(form, indptr, drawn.rows, fanout + 1)
    block = SampledCSR(form, shape, indptr, columns, drawn.values, plan, None, None, drawn.rows, places)
    return Hop(block, level, _picking(ranks[inside] - 1, real, width, form, dtype) if keeps else None)


def _picking(places: torch.Tensor, real: torch.Tensor, width: int, form: Form, dtype: torch.dtype) -> TorchCSR:
    """What picks the rows at `places`, ascending, where there are `real` ones: these come first."""
    count = len(places)
    rows = torch.arange(count, dtype=torch.int32, device=places.device)
    indptr = torch.zeros(count + 1, dtype=torch.int32, device=places.device)
    torch.cumsum(real, 0, dtype=torch.int32, out=indptr[1:])
    columns, values = torch.where(real, places, 0), real.to(dtype)
    plan = plan_of(form, indptr, rows, 1)
    sorting = torch.where(real, places, width)
    return SampledCSR(form, (count, width), indptr, columns, values, plan, None, None, rows, sorting, True)


def drawn_by_arrays(
    rows: Rows, nodes: torch.Tensor, sizes: torch.Tensor, indptr: torch.Tensor, fanout: int, key: Any, bits: Bits,
    stored: int, dtype: torch.dtype, scaled: bool,
) -> Drawn:  # fmt: skip
    """The draw in torch's own operations. nodes: those that are none are any; sizes: 0 for these."""
    others, loops, beyond = rows.others[nodes].long(), rows.loops[nodes].long(), 2**31
    slots = torch.arange(fanout + 1, device=nodes.device)
    words = bits(key, nodes[:, None] * fanout + slots[:fanout].int()).long() & 0xFFFFFFFF
    picked = torch.full((len(nodes), fanout + 1), beyond, device=nodes.device)
    for step in range(fanout):
        last = others - fanout + step
        candidate = (words[:, step] * (last + 1)) >> 32
        seen = (picked[:, :step] == candidate[:, None]).any(1)
        picked[:, step] = torch.where(seen, last, candidate)
    picked += picked >= loops[:, None]
    picked[:, fanout] = loops
    cut = (others > fanout)[:, None]
    at = torch.where(cut, picked.sort(dim=1).values, slots)
    inside = slots < sizes[:, None]
    found = torch.where(inside, rows.starts[nodes][:, None] + at, 0)
    values = rows.values[found]
    if scaled:
        scale = torch.where(cut & (at != loops[:, None]), (others.double() / fanout)[:, None], 1.0)
        values = values * scale
    owners = torch.arange(len(nodes), dtype=torch.int32, device=nodes.device)[:, None].expand(inside.shape)
    where = torch.where(inside, indptr[:-1, None] + slots, stored)  # a place behind the last for those that are none

    def laid(numbers: torch.Tensor, rest: int, kind: torch.dtype) -> torch.Tensor:
        out = torch.full((stored + 1,), rest, dtype=kind, device=nodes.device)
        out[where.ravel()] = torch.where(inside, numbers, rest).to(kind).ravel()
        return out[:stored]

    return Drawn(
        indptr,
        laid(owners, 0, torch.int32),
        laid(rows.columns[found], rows.n, torch.int32),
        laid(values, 0, dtype),
    )


class DrawsHere:
    """What a `TorchBackend` has of `portgnn.parts.sampling.Sampling`."""

    _device: torch.device
    _float: torch.dtype
    _form: Form

    def room(self) -> int:
        # Where a draw is many operations, the host's are the faster ones.
        return free_bytes(self._device) if self._form is Form.KERNEL else 0

    def place_rows(self, matrix: sp.csr_array, loops: NDArray[np.integer]) -> Rows:
        return Rows.of(matrix, loops, self._device)

    def sample_rows(
        self, rows: Rows, nodes: torch.Tensor, fanout: int, key: Key, scaled: bool, keeps: bool, narrow: bool
    ) -> Hop:
        own: Any = self
        if self._form is Form.KERNEL:
            key = own._placed_key(key)
        kind = stored_dtype(self._float)
        return sample_rows(rows, nodes, fanout, key, own.random_bits, self._form, kind, scaled, keeps, narrow)

    def elements(self, nodes: torch.Tensor, width: int) -> torch.Tensor:
        first = nodes[:, None] * width  # the kernel's dropout counts on from there
        return first if self._form is Form.KERNEL else first + torch.arange(width, dtype=torch.int32)
