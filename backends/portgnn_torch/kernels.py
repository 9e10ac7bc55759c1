"""Triton kernels for CUDA: a CSR product, and dropout whose bits are computed where they are used.

Each replaces several launches by one, which is what a training step of a small graph is made of.
"""

from __future__ import annotations

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

PROGRAMS = 16384
"""Programs of one launch: to start one takes as long as a short row, so each takes several rows."""

_M1 = tl.constexpr(MULTIPLIER_1)
_M2 = tl.constexpr(MULTIPLIER_2)
_S0, _S1, _S2 = (tl.constexpr(shift) for shift in SHIFTS)


@triton.jit
def _row_sums(  # long: a kernel, whose forms share their loop
    rows,
    starts,
    ends,
    targets,
    indices,
    values,
    x,
    added,
    out,
    longest,
    COLUMNS: tl.constexpr,
    SCALE: tl.constexpr,
    BIG: tl.constexpr,
    HAS_TARGETS: tl.constexpr,
    HAS_INDICES: tl.constexpr,
    HAS_ADDED: tl.constexpr,
    WIDE: tl.constexpr,
    REST: tl.constexpr,
    DEEP: tl.constexpr,
):
    """out[target] = SCALE * (the sum over e in [start, end) of values[e] * x[indices[e]]) + added[target].

    WIDE columns and behind them REST, which may be none, and DEEP stored values at a time, so that DEEP gathers are in
    flight together. Rows longer than `longest` are left to the program that adds their pieces. BIG: places in x need 64
    bits.
    """
    for number in range(tl.program_id(0), rows, tl.num_programs(0)):
        row = tl.cast(number, tl.int64)
        start = tl.load(starts + row)
        end = tl.load(ends + row)
        if end - start <= longest:
            column = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
            inside = column < COLUMNS
            total = tl.zeros([WIDE], dtype=x.dtype.element_ty)
            target = row
            if HAS_TARGETS:
                target = tl.load(targets + row).to(tl.int64)
            if HAS_ADDED:  # read before the loop, so that nobody waits for it
                beside = tl.load(added + target * COLUMNS + column, mask=inside, other=0.0)
            if REST:
                behind = WIDE + tl.arange(0, REST)
                within = behind < COLUMNS
                rest = tl.zeros([REST], dtype=x.dtype.element_ty)
                if HAS_ADDED:
                    rest_beside = tl.load(added + target * COLUMNS + behind, mask=within, other=0.0)
            for e in range(start, end, DEEP):
                at = e + tl.arange(0, DEEP)
                here = at < end
                both = here[:, None] & inside[None, :]
                if HAS_INDICES:
                    source = tl.load(indices + at, mask=here, other=0)
                    if BIG:
                        source = source.to(tl.int64)
                    weight = tl.load(values + at, mask=here, other=0.0)
                    picked = tl.load(x + (source[:, None] * COLUMNS + column[None, :]), mask=both, other=0.0)
                    total += tl.sum(picked * weight[:, None], axis=0)
                    if REST:
                        also = here[:, None] & within[None, :]
                        picked = tl.load(x + (source[:, None] * COLUMNS + behind[None, :]), mask=also, other=0.0)
                        rest += tl.sum(picked * weight[:, None], axis=0)
                else:
                    picked = tl.load(x + at.to(tl.int64)[:, None] * COLUMNS + column[None, :], mask=both, other=0.0)
                    total += tl.sum(picked, axis=0)
                    if REST:
                        also = here[:, None] & within[None, :]
                        picked = tl.load(x + at.to(tl.int64)[:, None] * COLUMNS + behind[None, :], mask=also, other=0.0)
                        rest += tl.sum(picked, axis=0)
            total *= SCALE
            if HAS_ADDED:
                total += beside
            tl.store(out + target * COLUMNS + column, total, mask=inside)
            if REST:
                rest *= SCALE
                if HAS_ADDED:
                    rest += rest_beside
                tl.store(out + target * COLUMNS + behind, rest, mask=within)


@triton.jit
def kept_by_bits(word, key, threshold):
    """Whether dropout keeps the elements of these numbers, uint32: `portgnn.random.random_bits` below the threshold."""
    word += tl.load(key).to(tl.uint32)
    word ^= word >> _S0
    word *= _M1
    word ^= word >> _S1
    word ^= tl.load(key + 1).to(tl.uint32)
    word *= _M2
    word ^= word >> _S2
    return word.to(tl.int32, bitcast=True) < threshold


@triton.jit
def _short_row_sums(
    starts,
    ends,
    indices,
    values,
    x,
    out,
    rows,
    columns: tl.constexpr,
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
    kept = kept_by_bits(word, key, threshold)
    value = tl.load(x + at, mask=here, other=0.0)
    tl.store(out + at, tl.where(kept, value * scale, 0.0), mask=here)


def _widths(columns: int) -> tuple[int, int]:
    """The columns of a program, two powers of 2: 40 are 32 and 8, where 64 would have three idle threads of eight."""
    wide = min(max(triton.next_power_of_2(columns), 1), 128)
    rest = triton.next_power_of_2(columns - wide // 2) if columns > wide // 2 else 0
    return (wide // 2, rest) if 8 <= rest <= wide // 4 else (wide, 0)


class RowSums:
    """How the rows of one CSR pattern are shared among programs: made once, on the device."""

    def __init__(self, indptr: torch.Tensor, longest: int | None = None) -> None:
        """longest: how many values the longest row has at most, where that is known; else the device is asked."""
        self.rows = int(indptr.shape[0]) - 1
        self.starts, self.ends = indptr[:-1], indptr[1:]
        if longest is not None and longest <= LONG_ROW:
            self.longest, self.long, self.rows_of_long = longest, None, indptr[:0]
            return
        lengths = self.ends - self.starts
        self.longest = int(lengths.max()) if self.rows else 0
        self.whole = LONG_ROW
        long = (lengths > LONG_ROW).nonzero().squeeze(1)
        self.long = long.to(torch.int32) if len(long) else None
        self.rows_of_long = long
        if len(long):
            pieces = (lengths[long] + LONG_ROW - 1) // LONG_ROW
            bounds = torch.cumsum(pieces, 0)
            self.piece_ends_of_row = bounds
            self.piece_starts_of_row = bounds - pieces
            number = torch.arange(int(bounds[-1]), device=indptr.device)
            self.piece_places = torch.repeat_interleave(torch.arange(len(long), device=indptr.device), pieces)
            self.piece_owners = long[self.piece_places]
            within = number - self.piece_starts_of_row[self.piece_places]
            self.piece_starts = self.starts[self.piece_owners] + within * LONG_ROW
            self.piece_ends = torch.minimum(self.piece_starts + LONG_ROW, self.ends[self.piece_owners])

    @classmethod
    def bounded(cls, indptr: torch.Tensor, longest: int) -> RowSums:
        """Of rows of which only that is known, on the host, how long the longest may be: nothing is looked at."""
        made = cls.__new__(cls)
        made.rows, made.starts, made.ends = int(indptr.shape[0]) - 1, indptr[:-1], indptr[1:]
        made.longest, made.long, made.whole = longest, None, 2**31 - 1
        return made

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

    def product(
        self,
        indices: torch.Tensor,
        values: torch.Tensor,
        x: torch.Tensor,
        scale: float = 1.0,
        added: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """scale * (the matrix [rows, n] with these column indices and values, times x [n, k]) + added [rows, k]."""
        if self.longest <= 1 and scale == 1.0 and added is None:
            return self.short_product(indices, values, x)
        x = x.contiguous()
        columns = x.shape[1]
        out = torch.empty((self.rows, columns), dtype=x.dtype, device=x.device)
        wide, rest = _widths(columns)
        # On an H100: short tiles keep a big product's gathers in flight, tall ones cut a small product's longest row.
        deep = 64 if wide + rest <= 32 else 16
        while deep > 4 and self.longest <= deep // 2:
            deep //= 2
        blocks = 1 if rest else triton.cdiv(columns, wide)
        last: dict[str, Any] = {"SCALE": scale, "HAS_ADDED": added is not None}
        tile: dict[str, Any] = {"WIDE": wide, "REST": rest, "DEEP": deep, "num_warps": 1 if wide * deep <= 1024 else 2}
        shape: dict[str, Any] = {"COLUMNS": columns, "BIG": x.numel() >= 2**31}
        added = out if added is None else added.contiguous()
        if self.rows:
            _row_sums[(min(self.rows, PROGRAMS), blocks)](
                self.rows, self.starts, self.ends, self.starts, indices, values, x, added, out, self.whole,
                HAS_TARGETS=False, HAS_INDICES=True, **shape, **last, **tile,
            )  # fmt: skip
        if self.long is not None:
            tile = {"WIDE": wide, "REST": rest, "DEEP": 16, "num_warps": 2}
            partial = torch.empty((len(self.piece_starts), columns), dtype=x.dtype, device=x.device)
            _row_sums[(len(self.piece_starts), blocks)](
                len(self.piece_starts), self.piece_starts, self.piece_ends, self.starts, indices, values, x, added,
                partial, LONG_ROW, HAS_TARGETS=False, HAS_INDICES=True, SCALE=1.0, HAS_ADDED=False, **shape, **tile,
            )  # fmt: skip
            self._joined(partial, added, out, blocks, shape | last | tile)
        return out

    def joined(self, parts: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Sums of the pieces of each long row, parts [pieces, k], into their rows of out [rows, k]."""
        columns = parts.shape[1]
        wide = min(triton.next_power_of_2(columns), 128)
        plain: dict[str, Any] = {"SCALE": 1.0, "HAS_ADDED": False, "COLUMNS": columns, "BIG": False}
        blocks = triton.cdiv(columns, wide)
        self._joined(parts, parts, out, blocks, plain | {"WIDE": wide, "REST": 0, "DEEP": 16, "num_warps": 2})
        return out

    def _joined(self, parts: Any, added: Any, out: torch.Tensor, blocks: int, options: dict[str, Any]) -> None:
        assert self.long is not None
        _row_sums[(len(self.long), blocks)](
            len(self.long), self.piece_starts_of_row, self.piece_ends_of_row, self.long, self.long, parts, parts, added,
            out, 2**31 - 1, HAS_TARGETS=True, HAS_INDICES=False, **options,
        )  # fmt: skip


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
