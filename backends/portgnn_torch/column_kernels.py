"""Triton kernels for CUDA: the sum of each column of many rows, in two steps whose order is fixed."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from portgnn_torch.sparse import stored_dtype

PARTS = 528
"""Stretches of rows that are summed apart: four on each multiprocessor of an H100."""


@triton.jit
def _stretch_sums(
    x, out, rows, step, columns,
    TALL: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """out[i] = the sum of x's rows from i * step on, up to `step` of them."""
    part = tl.program_id(0)
    column = tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    end = tl.minimum((part + 1) * step, rows)
    total = tl.zeros([TALL, WIDE], dtype=out.dtype.element_ty)
    for first in range(part * step, end, TALL):
        row = first + tl.arange(0, TALL)
        inside = (row < end)[:, None] & (column < columns)[None, :]
        at = row.to(tl.int64)[:, None] * columns + column[None, :]
        total += tl.load(x + at, mask=inside, other=0.0).to(out.dtype.element_ty)
    to = part.to(tl.int64) * columns + column
    tl.store(out + to, tl.sum(total, axis=0), mask=column < columns)


def column_sums(x: torch.Tensor) -> torch.Tensor:
    """[k] of x [rows, k]; of bfloat16 in float32, rounded at the end."""
    x, columns = x.contiguous(), x.shape[1]
    wide = min(max(triton.next_power_of_2(columns), 1), 128)
    tall = max(2048 // wide, 1)
    step = triton.cdiv(triton.cdiv(max(len(x), 1), PARTS), tall) * tall
    parts = x.new_empty((triton.cdiv(max(len(x), 1), step), columns), dtype=stored_dtype(x.dtype))
    total = parts.new_empty(columns)
    blocks = triton.cdiv(columns, wide)
    for given, out, many, length in ((x, parts, len(parts), step), (parts, total, 1, len(parts))):
        _stretch_sums[(many, blocks)](given, out, len(given), length, columns, TALL=tall, WIDE=wide, num_warps=4)
    return total.to(x.dtype)
