"""Rows that a vector is added to on CUDA, whose gradient is a sum over all of them.

PyTorch's own sum of so many rows with so few columns reads memory at a third of its speed on an H100.
"""

from __future__ import annotations

from typing import Any

import array_api_compat.torch as compat
import torch

WORTH_SUMMING = 1 << 18
"""Numbers from which on the sum is taken by kernels of our own. Steps over fewer are traced as plain operations, of
which one kernel is made."""


class Shifted(torch.autograd.Function):
    """x [rows, k] + shift [k]."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        return torch.add(x, shift)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        from portgnn_torch.column_kernels import column_sums

        return grads[0], column_sums(grads[0])


class ShiftedProduct(torch.autograd.Function):
    """scale * (a [rows, n] @ b [n, k]) + shift [k]."""

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, b: torch.Tensor, shift: torch.Tensor, scale: float) -> torch.Tensor:
        ctx.save_for_backward(a, b)
        ctx.scale = scale
        return torch.addmm(shift, a, b, alpha=scale)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor, None]:
        from portgnn_torch.column_kernels import column_sums

        (a, b), grad = ctx.saved_tensors, grads[0].contiguous()
        of_a = grad @ b.T if ctx.needs_input_grad[0] else None
        of_b = a.T @ grad
        if ctx.scale != 1.0:
            of_a, of_b = None if of_a is None else of_a * ctx.scale, of_b * ctx.scale
        return of_a, of_b, column_sums(grad), None


def adds_rows(x: torch.Tensor, shift: torch.Tensor) -> bool:
    """Whether `shift` is a vector to be added to so many rows that their sum is worth kernels of our own."""
    if x.ndim != 2 or shift.ndim != 1 or not x.is_cuda or x.numel() < WORTH_SUMMING:
        return False
    return x.dtype == shift.dtype and x.dtype.is_floating_point and x.shape[1] == shift.shape[0]


def add(x1: Any, x2: Any, /) -> torch.Tensor:
    """The standard's add."""
    if isinstance(x1, torch.Tensor) and isinstance(x2, torch.Tensor) and adds_rows(x1, x2):
        total: torch.Tensor = Shifted.apply(x1, x2)
        return total
    plain: torch.Tensor = compat.add(x1, x2)
    return plain
