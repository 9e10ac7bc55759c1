"""A Triton kernel that draws the neighbours of some nodes: all of a node's in one program's registers."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from portgnn.random import MULTIPLIER_1, MULTIPLIER_2, SHIFTS
from portgnn_torch.sampled_rows import Drawn, Rows

NODES = 32
"""Of a program."""

_M1 = tl.constexpr(MULTIPLIER_1)
_M2 = tl.constexpr(MULTIPLIER_2)
_S0, _S1, _S2 = (tl.constexpr(shift) for shift in SHIFTS)
_BEYOND = tl.constexpr(2**31 - 1)


@triton.jit
def _drawn(  # long: a kernel
    nodes,
    starts,
    others,
    loops,
    columns,
    values,
    indptr,
    key,
    out_rows,
    out_columns,
    out_values,
    count,
    n,
    FANOUT: tl.constexpr,
    SCALED: tl.constexpr,
    SLOTS: tl.constexpr,
    NODES: tl.constexpr,
):
    """Floyd's algorithm for NODES nodes side by side; see `portgnn.loaders.neighbor.distinct`.

    SLOTS: a power of 2 above FANOUT. What a row does not fill is left as it is.
    """
    row = tl.program_id(0) * NODES + tl.arange(0, NODES)
    node = tl.load(nodes + row, mask=row < count, other=n)
    real = node < n
    other = tl.load(others + node, mask=real, other=0)
    loop = tl.load(loops + node, mask=real, other=0)
    first = tl.load(indptr + row, mask=real, other=0)
    start = tl.load(starts + node, mask=real, other=0)
    slot = tl.arange(0, SLOTS)[None, :]
    key0, key1 = tl.load(key).to(tl.uint32), tl.load(key + 1).to(tl.uint32)
    drawn = tl.zeros([NODES, SLOTS], dtype=tl.int32) + _BEYOND
    for step in range(FANOUT):
        last = other - FANOUT + step
        word = node.to(tl.uint32) * FANOUT + step + key0
        word ^= word >> _S0
        word *= _M1
        word ^= word >> _S1
        word ^= key1
        word *= _M2
        word ^= word >> _S2
        candidate = ((word.to(tl.uint64) * (last + 1).to(tl.uint32).to(tl.uint64)) >> 32).to(tl.int32)
        seen = tl.max((drawn == candidate[:, None]).to(tl.int32), axis=1) > 0
        drawn = tl.where(slot == step, tl.where(seen, last, candidate)[:, None], drawn)
    drawn += ((drawn >= loop[:, None]) & (drawn < _BEYOND)).to(tl.int32)
    drawn = tl.sort(tl.where(slot == FANOUT, loop[:, None], drawn), dim=1)
    cut = (other > FANOUT)[:, None]
    place = tl.where(cut, drawn, slot)
    inside = real[:, None] & (slot <= tl.minimum(other, FANOUT)[:, None])
    at = start[:, None] + place
    value = tl.load(values + at, mask=inside, other=0.0)
    if SCALED:
        scale = other.to(tl.float64) / tl.full([NODES], FANOUT, tl.float64)
        value = tl.where(cut & (place != loop[:, None]), value * scale[:, None], value)
    out = first[:, None] + slot
    tl.store(out_columns + out, tl.load(columns + at, mask=inside, other=0), mask=inside)
    tl.store(out_values + out, value.to(out_values.dtype.element_ty), mask=inside)
    tl.store(out_rows + out, tl.broadcast_to(row[:, None], [NODES, SLOTS]), mask=inside)


def drawn_by_kernel(
    rows: Rows, nodes: torch.Tensor, indptr: torch.Tensor, fanout: int, key: torch.Tensor, stored: int,
    dtype: torch.dtype, scaled: bool,
) -> Drawn:  # fmt: skip
    """key: int32 [2] on the device."""
    owners = torch.zeros(stored, dtype=torch.int32, device=nodes.device)
    columns = torch.full((stored,), rows.n, dtype=torch.int32, device=nodes.device)
    values = torch.zeros(stored, dtype=dtype, device=nodes.device)
    slots: Any = triton.next_power_of_2(fanout + 1)
    tall = max(min(NODES, 1024 // slots), 1)
    _drawn[(triton.cdiv(len(nodes), tall),)](
        nodes, rows.starts, rows.others, rows.loops, rows.columns, rows.values, indptr, key, owners, columns, values,
        len(nodes), rows.n, FANOUT=fanout, SCALED=scaled, SLOTS=slots, NODES=tall, num_warps=2,
    )  # fmt: skip
    return Drawn(indptr, owners, columns, values)
