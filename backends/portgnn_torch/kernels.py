"""Triton kernels for CUDA: products with a CSR matrix, and how its rows are shared among their programs."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from portgnn_torch.row_kernels import tile_of

LONG_ROW = 1024
"""Rows with more stored values are cut into pieces of this many, which separate programs add up."""

SHORT_ROW = 64
"""Up to so many stored values a row, rows are summed side by side: the longest of some holds up the others."""

WORTH_SIDES = 1 << 20
"""Numbers of what is multiplied with from which on rows may be summed side by side: a small product waits for its
longest row, which threads cut."""

SIDES = ((25, 32, (4, 32, 8)), (33, 48, (2, 64, 8)), (97, 2**31, (2, 128, 4)))
"""From so many columns to so many: rows and columns of a program, and stored values of a row under way. These take 30 %
less on an H200 than threads that share a row; of 33 to 48 columns 5 to 15 %, and only where something is added."""

PROGRAMS = 16384
"""Programs of one launch: to start one takes as long as a short row, so each takes several rows."""


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
    SHARE: tl.constexpr,
    BIG: tl.constexpr,
    HAS_TARGETS: tl.constexpr,
    HAS_INDICES: tl.constexpr,
    HAS_ADDED: tl.constexpr,
    WIDE: tl.constexpr,
    REST: tl.constexpr,
    DEEP: tl.constexpr,
):
    """out[target] = SCALE * (the sum over e in [start, end) of values[e] * x[indices[e]]) + SHARE * added[target].

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
                total += SHARE * beside
            tl.store(out + target * COLUMNS + column, total, mask=inside)
            if REST:
                rest *= SCALE
                if HAS_ADDED:
                    rest += SHARE * rest_beside
                tl.store(out + target * COLUMNS + behind, rest, mask=within)


@triton.jit
def _side_by_side(
    starts,
    ends,
    indices,
    values,
    x,
    added,
    out,
    rows,
    longest,
    columns: tl.constexpr,
    SCALE: tl.constexpr,
    SHARE: tl.constexpr,
    BIG: tl.constexpr,
    HAS_ADDED: tl.constexpr,
    LEAVES: tl.constexpr,
    TALL: tl.constexpr,
    WIDE: tl.constexpr,
    UNDER_WAY: tl.constexpr,
):
    """What `_row_sums` computes, TALL rows side by side in a program: no sum goes from one thread to another.

    UNDER_WAY: stored values of a row that are read at once. LEAVES: rows without stored values are left alone.
    """
    row = tl.program_id(0) * TALL + tl.arange(0, TALL)
    is_short = row < rows
    if BIG:
        row = row.to(tl.int64)
    column = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = column < columns
    start = tl.load(starts + row, mask=is_short, other=0)
    count = tl.load(ends + row, mask=is_short, other=0) - start
    is_short = is_short & (count <= longest)
    count = tl.where(is_short, count, 0)
    if LEAVES:
        is_short = is_short & (count > 0)
    written = is_short[:, None] & inside[None, :]
    place = row[:, None] * columns + column[None, :]
    total = tl.zeros([TALL, WIDE], dtype=out.dtype.element_ty)
    if HAS_ADDED:  # read before the loop, so that nobody waits for it
        beside = tl.load(added + place, mask=written, other=0.0)
    for first in range(0, tl.max(count, axis=0), UNDER_WAY):
        for e in tl.static_range(UNDER_WAY):
            here = count > first + e
            at = start + (first + e)
            source = tl.load(indices + at, mask=here, other=0)
            if BIG:
                source = source.to(tl.int64)
            weight = tl.load(values + at, mask=here, other=0.0)
            both = here[:, None] & inside[None, :]
            picked = tl.load(x + (source[:, None] * columns + column[None, :]), mask=both, other=0.0)
            total += picked * weight[:, None]
    total *= SCALE
    if HAS_ADDED:
        total += SHARE * beside
    tl.store(out + place, total, mask=written)


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
        out = x.new_empty((self.rows, x.shape[1])) if into is None else into
        tall, wide = tile_of(x.shape[1])
        last = {"SCALE": 1.0, "SHARE": 1.0, "HAS_ADDED": into is not None, "LEAVES": into is not None}
        tile = {"TALL": tall, "WIDE": wide, "UNDER_WAY": 1, "num_warps": 4}
        return self._side_by_side(indices, values, x, out, out, last | tile)

    def _side_by_side(
        self,
        indices: torch.Tensor,
        values: torch.Tensor,
        x: torch.Tensor,
        added: torch.Tensor,
        out: torch.Tensor,
        options: dict[str, Any],
    ) -> torch.Tensor:
        """Rows that are not cut into pieces."""
        columns = x.shape[1]
        big = max(x.numel(), out.numel()) >= 2**31
        if self.rows:
            _side_by_side[(triton.cdiv(self.rows, options["TALL"]), triton.cdiv(columns, options["WIDE"]))](
                self.starts, self.ends, indices, values, x, added, out, self.rows, LONG_ROW, columns, BIG=big, **options
            )
        return out

    def product(
        self,
        indices: torch.Tensor,
        values: torch.Tensor,
        x: torch.Tensor,
        scale: float = 1.0,
        added: torch.Tensor | None = None,
        share: float = 1.0,
    ) -> torch.Tensor:
        """scale * (the matrix [rows, n] with these column indices and values, times x [n, k]) + share * added.

        added: [rows, k].
        """
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
        last: dict[str, Any] = {"SCALE": scale, "SHARE": share, "HAS_ADDED": added is not None}
        tile: dict[str, Any] = {"WIDE": wide, "REST": rest, "DEEP": deep, "num_warps": 1 if wide * deep <= 1024 else 2}
        shape: dict[str, Any] = {"COLUMNS": columns, "BIG": x.numel() >= 2**31}
        side = _side(columns, added is not None) if x.numel() >= WORTH_SIDES else None
        added = out if added is None else added.contiguous()
        if side is not None:
            self._side_by_side(indices, values, x, added, out, last | side | {"LEAVES": False})
        elif self.rows:
            _row_sums[(min(self.rows, PROGRAMS), blocks)](
                self.rows, self.starts, self.ends, self.starts, indices, values, x, added, out, self.whole,
                HAS_TARGETS=False, HAS_INDICES=True, **shape, **last, **tile,
            )  # fmt: skip
        if self.long is not None:
            tile = {"WIDE": wide, "REST": rest, "DEEP": 16, "num_warps": 2}
            partial = torch.empty((len(self.piece_starts), columns), dtype=x.dtype, device=x.device)
            _row_sums[(len(self.piece_starts), blocks)](
                len(self.piece_starts), self.piece_starts, self.piece_ends, self.starts, indices, values, x, added,
                partial, LONG_ROW, HAS_TARGETS=False, HAS_INDICES=True, SCALE=1.0, SHARE=1.0, HAS_ADDED=False,
                **shape, **tile,
            )  # fmt: skip
            self._joined(partial, added, out, blocks, shape | last | tile)
        return out

    def joined(self, parts: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        """Sums of the pieces of each long row, parts [pieces, k], into their rows of out [rows, k]."""
        columns = parts.shape[1]
        wide = min(triton.next_power_of_2(columns), 128)
        plain: dict[str, Any] = {"SCALE": 1.0, "SHARE": 1.0, "HAS_ADDED": False, "COLUMNS": columns, "BIG": False}
        blocks = triton.cdiv(columns, wide)
        self._joined(parts, parts, out, blocks, plain | {"WIDE": wide, "REST": 0, "DEEP": 16, "num_warps": 2})
        return out

    def _joined(self, parts: Any, added: Any, out: torch.Tensor, blocks: int, options: dict[str, Any]) -> None:
        assert self.long is not None
        _row_sums[(len(self.long), blocks)](
            len(self.long), self.piece_starts_of_row, self.piece_ends_of_row, self.long, self.long, parts, parts, added,
            out, 2**31 - 1, HAS_TARGETS=True, HAS_INDICES=False, **options,
        )  # fmt: skip


def _side(columns: int, adds: bool) -> dict[str, int] | None:
    """How a large product is taken with rows side by side; None where threads that share a row are faster."""
    tile = next((one for least, most, one in SIDES if least <= columns <= most), None)
    if tile is None or (tile[1] == 64 and not adds):
        return None
    return dict(zip(("TALL", "WIDE", "UNDER_WAY"), tile, strict=True)) | {"num_warps": 1}
