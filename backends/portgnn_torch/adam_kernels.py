"""A Triton kernel for CUDA: one step of Adam, of up to four parameters in one launch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from portgnn_torch.persistent.trace import traced


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
