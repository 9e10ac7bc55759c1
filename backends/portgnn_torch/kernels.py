"""Triton kernels for CUDA: a CSR product, and dropout whose bits are computed where they are used.

Each replaces several launches by one, which is what a training step of a small graph is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

from portgnn.random import MULTIPLIER_1, MULTIPLIER_2, SHIFTS, keep_threshold
from portgnn_torch.persistent.trace import traced

LONG_ROW = 1024
"""Rows with more stored values are cut into pieces of this many, which separate programs add up."""

SHORT_ROW = 64
"""Up to so many stored values a row, rows are summed side by side: the longest of some holds up the others."""

_M1 = tl.constexpr(MULTIPLIER_1)
_M2 = tl.constexpr(MULTIPLIER_2)
_S0, _S1, _S2 = (tl.constexpr(shift) for shift in SHIFTS)


@triton.jit
def _row_sums(
    starts,
    ends,
    targets,
    indices,
    values,
    x,
    out,
    columns,
    longest,
    HAS_TARGETS: tl.constexpr,
    HAS_INDICES: tl.constexpr,
    WIDE: tl.constexpr,
    DEEP: tl.constexpr,
):
    """out[target] = sum over e in [start, end) of values[e] * x[indices[e]], one program a row.

    WIDE columns and DEEP stored values at a time, so that DEEP gathers are in flight together. Rows longer than
    `longest` are left to the program that adds their pieces.
    """
    row = tl.program_id(0).to(tl.int64)
    start = tl.load(starts + row)
    end = tl.load(ends + row)
    if end - start <= longest:
        column = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
        inside = column < columns
        total = tl.zeros([WIDE], dtype=out.dtype.element_ty)
        for e in range(start, end, DEEP):
            at = e + tl.arange(0, DEEP)
            here = at < end
            if HAS_INDICES:
                source = tl.load(indices + at, mask=here, other=0).to(tl.int64)
                weight = tl.load(values + at, mask=here, other=0.0)
                both = here[:, None] & inside[None, :]
                picked = tl.load(x + source[:, None] * columns + column[None, :], mask=both, other=0.0)
                total += tl.sum(picked * weight[:, None], axis=0)
            else:
                both = here[:, None] & inside[None, :]
                picked = tl.load(x + at.to(tl.int64)[:, None] * columns + column[None, :], mask=both, other=0.0)
                total += tl.sum(picked, axis=0)
        target = row
        if HAS_TARGETS:
            target = tl.load(targets + row).to(tl.int64)
        tl.store(out + target * columns + column, total, mask=inside)


@triton.jit
def _short_row_sums(
    starts,
    ends,
    indices,
    values,
    x,
    out,
    rows,
    columns,
    ADDS: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
):
    """What `_row_sums` computes, for rows with few stored values: TALL of them side by side in a program.

    ADDS: to what is in `out`; rows without stored values are then left alone.
    """
    row = tl.program_id(0).to(tl.int64) * TALL + tl.arange(0, TALL)
    column = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = column < columns
    start = tl.load(starts + row, mask=row < rows, other=0)
    count = tl.load(ends + row, mask=row < rows, other=0) - start
    place = out + row[:, None] * columns + column[None, :]
    if ADDS:
        written = (count > 0)[:, None] & inside[None, :]
        total = tl.load(place, mask=written, other=0.0)
    else:
        written = (row < rows)[:, None] & inside[None, :]
        total = tl.zeros([TALL, WIDE], dtype=out.dtype.element_ty)
    for e in range(tl.max(count, axis=0)):
        here = count > e
        source = tl.load(indices + start + e, mask=here, other=0).to(tl.int64)
        weight = tl.load(values + start + e, mask=here, other=0.0)
        both = here[:, None] & inside[None, :]
        picked = tl.load(x + source[:, None] * columns + column[None, :], mask=both, other=0.0)
        total += picked * weight[:, None]
    tl.store(place, total, mask=written)


@triton.jit
def _moved_rows(
    numbers,
    x,
    out,
    rows,
    columns,
    ADDS: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
):
    """out[i] = x[numbers[i]]; ADDS: out[numbers[i]] += x[i], where no number is there twice."""
    row = tl.program_id(0).to(tl.int64) * TALL + tl.arange(0, TALL)
    column = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    number = tl.load(numbers + row, mask=row < rows, other=0).to(tl.int64)
    both = (row < rows)[:, None] & (column < columns)[None, :]
    here = row[:, None] * columns + column[None, :]
    there = number[:, None] * columns + column[None, :]
    if ADDS:
        moved = tl.load(x + here, mask=both, other=0.0) + tl.load(out + there, mask=both, other=0.0)
        tl.store(out + there, moved, mask=both)
    else:
        tl.store(out + here, tl.load(x + there, mask=both, other=0.0), mask=both)


@triton.jit
def _dropped(
    x,
    out,
    index,
    key,
    count,
    threshold,
    scale: tl.constexpr,
    HAS_INDEX: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """out = x where the element's bits are below the threshold, scaled; else 0.

    index: with a WIDTH, the number of each row's first element, those of the others following; else of every element.
    """
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = at < count
    if WIDTH > 0:
        word = tl.load(index + at // WIDTH, mask=here, other=0).to(tl.uint32) + (at % WIDTH).to(tl.uint32)
    else:
        word = tl.load(index + at, mask=here, other=0).to(tl.uint32) if HAS_INDEX else at.to(tl.uint32)
    word += tl.load(key).to(tl.uint32)
    word ^= word >> _S0
    word *= _M1
    word ^= word >> _S1
    word ^= tl.load(key + 1).to(tl.uint32)
    word *= _M2
    word ^= word >> _S2
    kept = word.to(tl.int32, bitcast=True) < threshold
    value = tl.load(x + at, mask=here, other=0.0)
    tl.store(out + at, tl.where(kept, value * scale, 0.0), mask=here)


@triton.jit
def _adam_of_one(
    param,
    grad,
    m,
    v,
    count,
    decay: tl.constexpr,
    c1,
    c2,
    rate: tl.constexpr,
    beta1: tl.constexpr,
    beta2: tl.constexpr,
    eps: tl.constexpr,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    here = at < count
    c1 = c1.to(param.dtype.element_ty)
    c2 = c2.to(param.dtype.element_ty)
    p = tl.load(param + at, mask=here, other=0.0)
    g = tl.load(grad + at, mask=here, other=0.0) + decay * p
    m1 = tl.load(m + at, mask=here, other=0.0) * beta1 + g * (1.0 - beta1)
    v1 = tl.load(v + at, mask=here, other=0.0) * beta2 + g * g * (1.0 - beta2)
    tl.store(m + at, m1, mask=here)
    tl.store(v + at, v1, mask=here)
    tl.store(param + at, p - m1 * (rate / c1) / (tl.sqrt(v1 / c2) + eps), mask=here)


@triton.jit
def _adam(
    p0, g0, m0, v0, n0, d0: tl.constexpr,
    p1, g1, m1, v1, n1, d1: tl.constexpr,
    p2, g2, m2, v2, n2, d2: tl.constexpr,
    p3, g3, m3, v3, n3, d3: tl.constexpr,
    steps,
    rate: tl.constexpr,
    beta1: tl.constexpr,
    beta2: tl.constexpr,
    eps: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """One step of bias-corrected Adam in place on up to four parameters, program_id(1) says on which.

    For each: parameter, gradient, both moments, number of elements, weight decay. steps: how many have been taken,
    this one included.
    """
    # In float64: 1 - beta2**t keeps four digits of float32 in the first steps.
    t = tl.load(steps).to(tl.float64)
    c1 = 1.0 - tl.exp(t * tl.log(tl.full([], beta1, tl.float64)))
    c2 = 1.0 - tl.exp(t * tl.log(tl.full([], beta2, tl.float64)))
    which = tl.program_id(1)
    if which == 0:
        _adam_of_one(p0, g0, m0, v0, n0, d0, c1, c2, rate, beta1, beta2, eps, BLOCK)
    elif which == 1:
        _adam_of_one(p1, g1, m1, v1, n1, d1, c1, c2, rate, beta1, beta2, eps, BLOCK)
    elif which == 2:
        _adam_of_one(p2, g2, m2, v2, n2, d2, c1, c2, rate, beta1, beta2, eps, BLOCK)
    else:
        _adam_of_one(p3, g3, m3, v3, n3, d3, c1, c2, rate, beta1, beta2, eps, BLOCK)


class RowSums:
    """How the rows of one CSR pattern are shared among programs: made once, on the device."""

    def __init__(self, indptr: torch.Tensor) -> None:
        self.rows = int(indptr.shape[0]) - 1
        self.starts, self.ends = indptr[:-1], indptr[1:]
        lengths = self.ends - self.starts
        self.longest = int(lengths.max()) if self.rows else 0
        long = (lengths > LONG_ROW).nonzero().squeeze(1)
        self.long = long.to(torch.int32) if len(long) else None
        if len(long):
            pieces = (lengths[long] + LONG_ROW - 1) // LONG_ROW
            bounds = torch.cumsum(pieces, 0)
            self.piece_ends_of_row = bounds
            self.piece_starts_of_row = bounds - pieces
            number = torch.arange(int(bounds[-1]), device=indptr.device)
            owner = torch.repeat_interleave(long, pieces)
            within = number - torch.repeat_interleave(self.piece_starts_of_row, pieces)
            self.piece_starts = self.starts[owner] + within * LONG_ROW
            self.piece_ends = torch.minimum(self.piece_starts + LONG_ROW, self.ends[owner])

    def short_product(
        self, indices: torch.Tensor, values: torch.Tensor, x: torch.Tensor, into: torch.Tensor | None = None
    ) -> torch.Tensor:
        """`product`, for a matrix most of whose rows hold a handful of values or none.

        into: contiguous, [rows, k], what to add it to, in place.
        """
        if self.longest > SHORT_ROW:
            total = self.product(indices, values, x)
            return total if into is None else into.add_(total)
        x = x.contiguous()
        columns = x.shape[1]
        out = torch.empty((self.rows, columns), dtype=x.dtype, device=x.device) if into is None else into
        tall, wide = _tile(columns)
        if self.rows:
            _short_row_sums[(triton.cdiv(self.rows, tall), triton.cdiv(columns, wide))](
                self.starts, self.ends, indices, values, x, out, self.rows, columns,
                ADDS=into is not None, TALL=tall, WIDE=wide, num_warps=4,
            )  # fmt: skip
        return out

    def product(self, indices: torch.Tensor, values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """The matrix [rows, n] with these column indices and values, times x [n, k]."""
        x = x.contiguous()
        columns = x.shape[1]
        out = torch.empty((self.rows, columns), dtype=x.dtype, device=x.device)
        wide = min(max(triton.next_power_of_2(columns), 1), 128)
        # On an H100: short tiles keep a big product's gathers in flight, tall ones cut a small product's longest row.
        deep = 64 if wide <= 32 else 16
        while deep > 4 and self.longest <= deep // 2:
            deep //= 2
        blocks = triton.cdiv(columns, wide)
        shape: dict[str, Any] = {"WIDE": wide, "DEEP": deep, "num_warps": 1 if wide * deep <= 1024 else 2}
        if self.rows:
            _row_sums[(self.rows, blocks)](
                self.starts, self.ends, self.starts, indices, values, x, out, columns, LONG_ROW,
                HAS_TARGETS=False, HAS_INDICES=True, **shape,
            )  # fmt: skip
        if self.long is not None:
            shape = {"WIDE": wide, "DEEP": 16, "num_warps": 2}
            partial = torch.empty((len(self.piece_starts), columns), dtype=x.dtype, device=x.device)
            _row_sums[(len(self.piece_starts), blocks)](
                self.piece_starts, self.piece_ends, self.starts, indices, values, x, partial, columns, LONG_ROW,
                HAS_TARGETS=False, HAS_INDICES=True, **shape,
            )  # fmt: skip
            _row_sums[(len(self.long), blocks)](
                self.piece_starts_of_row, self.piece_ends_of_row, self.long, indices, values, partial, out, columns,
                2**31 - 1, HAS_TARGETS=True, HAS_INDICES=False, **shape,
            )  # fmt: skip
        return out


def _tile(columns: int) -> tuple[int, int]:
    """Rows and columns that a program takes."""
    wide = min(max(triton.next_power_of_2(columns), 1), 128)
    return max(16, min(64, 1024 // wide)), wide


def picked_rows(x: torch.Tensor, numbers: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """out = x[numbers]; both contiguous."""
    tall, wide = _tile(x.shape[1])
    if len(numbers):
        _moved_rows[(triton.cdiv(len(numbers), tall), triton.cdiv(x.shape[1], wide))](
            numbers, x, out, len(numbers), x.shape[1], ADDS=False, TALL=tall, WIDE=wide, num_warps=4,
        )  # fmt: skip
    return out


def add_rows(total: torch.Tensor, numbers: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """total[numbers] += x, in place, for numbers that differ; all contiguous."""
    tall, wide = _tile(x.shape[1])
    if len(numbers):
        _moved_rows[(triton.cdiv(len(numbers), tall), triton.cdiv(x.shape[1], wide))](
            numbers, x, total, len(numbers), x.shape[1], ADDS=True, TALL=tall, WIDE=wide, num_warps=4,
        )  # fmt: skip
    return total


ADAM_AT_ONCE = 4
"""Parameters that one launch of `_adam` takes."""


@traced("adam")
def adam_step(
    params: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, float]],
    steps: torch.Tensor,
    rates: dict[str, float],
) -> None:
    """Adam in place. params: parameter, gradient, both moments and weight decay. rates: rate, beta1, beta2, eps."""
    given = [(p, g.contiguous(), m, v, p.numel(), decay) for p, g, m, v, decay in params if p.numel()]
    for start in range(0, len(given), ADAM_AT_ONCE):
        part = given[start : start + ADAM_AT_ONCE]
        filled = part + part[:1] * (ADAM_AT_ONCE - len(part))
        grid = (triton.cdiv(max(one[4] for one in part), 512), len(part))
        _adam[grid](*(value for one in filled for value in one), steps, BLOCK=512, **rates)


@traced("dropout")
def dropped(x: torch.Tensor, rate: float, key: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
    """x with dropout by the portable bits. key: int32 [2] on the device.

    index: int32 element numbers of x, or [rows, 1] those of each row's first element.
    """
    x = x.contiguous()
    out = torch.empty_like(x)
    count, width = x.numel(), 0
    if index is not None and index.dim() == 2 and x.dim() == 2 and index.shape[1] < x.shape[1]:
        width = x.shape[1]
    if count:
        block = 1024 if count > 2**18 else 256
        _dropped[(triton.cdiv(count, block),)](
            x, out, x if index is None else index, key, count, keep_threshold(rate),
            scale=1.0 / (1.0 - rate), HAS_INDEX=index is not None, WIDTH=width, BLOCK=block, num_warps=4,
        )  # fmt: skip
    return out


class Dropout(torch.autograd.Function):
    """Dropout that keeps no mask: the backward pass computes the same bits again."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rate: float, key: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
        ctx.rate, ctx.key, ctx.index = rate, key, index
        return dropped(x, rate, key, index)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return dropped(grads[0], ctx.rate, ctx.key, ctx.index), None, None, None
