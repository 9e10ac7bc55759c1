"""Triton kernels for CUDA: rows that move, and dropout whose bits are computed where they are used.

Each replaces several launches by one, which is what a training step of a small graph is made of.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from portgnn.random import MULTIPLIER_1, MULTIPLIER_2, SHIFTS, keep_threshold
from portgnn_torch.persistent.trace import traced

_M1 = tl.constexpr(MULTIPLIER_1)
_M2 = tl.constexpr(MULTIPLIER_2)
_S0, _S1, _S2 = (tl.constexpr(shift) for shift in SHIFTS)


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


def tile_of(columns: int) -> tuple[int, int]:
    """Rows and columns that a program takes."""
    wide = min(max(triton.next_power_of_2(columns), 1), 128)
    return max(16, min(64, 1024 // wide)), wide


def picked_rows(x: torch.Tensor, numbers: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """out = x[numbers]; both contiguous."""
    return _moved(x, numbers, out, adds=False)


def add_rows(total: torch.Tensor, numbers: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """total[numbers] += x, in place, for numbers that differ; all contiguous."""
    return _moved(x, numbers, total, adds=True)


def _moved(x: torch.Tensor, numbers: torch.Tensor, out: torch.Tensor, adds: bool) -> torch.Tensor:
    rows, columns = len(numbers), x.shape[1]
    tall, wide = tile_of(columns)
    if rows:
        _moved_rows[(triton.cdiv(rows, tall), triton.cdiv(columns, wide))](
            numbers, x, out, rows, columns, ADDS=adds, TALL=tall, WIDE=wide, num_warps=4
        )
    return out


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
