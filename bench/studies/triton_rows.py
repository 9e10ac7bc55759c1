"""The plainest Triton product of a CSR matrix: one program a row, one stored value at a time. A yardstick."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl


@triton.jit
def _rows(indptr, indices, values, x, out, columns: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, columns)
    total = tl.zeros([columns], dtype=tl.float32)
    for e in range(tl.load(indptr + row), tl.load(indptr + row + 1)):
        source = tl.load(indices + e).to(tl.int64)
        total += tl.load(values + e) * tl.load(x + source * columns + column)
    tl.store(out + row * columns + column, total)


def product(indptr: Any, indices: Any, values: Any, x: Any) -> Any:
    """The matrix times x [n, columns], columns a power of two, float32."""
    out = torch.empty((indptr.shape[0] - 1, x.shape[1]), dtype=x.dtype, device=x.device)
    _rows[(out.shape[0],)](indptr, indices, values, x, out, columns=x.shape[1], num_warps=2)
    return out
