"""Attention on CUDA by the kernels of `attention_kernels`, as one step of autograd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import triton

from portgnn.random import keep_threshold
from portgnn_torch import attention_kernels as kernels
from portgnn_torch.edges import TorchEdges
from portgnn_torch.kernels import LONG_ROW, PROGRAMS, RowSums

TILE = 256
"""Numbers of edges' rows that a program holds at a time: on an H100 more registers cost more than they save."""


@dataclass(frozen=True, eq=False)
class Attention:
    """One call's constants. rate, key, numbers: of the dropout on the shares, where there is one.

    key: on the device. numbers: [edges, heads], or [edges, 1] those of each edge's first, which the others follow.
    """

    edges: TorchEdges
    heads: int
    width: int
    slope: float
    dynamic: bool
    rate: float
    key: torch.Tensor | None
    numbers: torch.Tensor | None

    @cached_property
    def drawn(self) -> tuple[Any, Any, int]:
        """What the kernels draw dropout with: numbers, key, threshold."""
        if self.key is None:
            none = self.edges.columns  # a pointer that is not read
            return none, none, 0
        return self.edges.columns if self.numbers is None else self.numbers, self.key, keep_threshold(self.rate)

    @property
    def numbers_each(self) -> int:
        """As the kernels' NUMBERS."""
        return 0 if self.numbers is None else min(self.numbers.shape[1], 2)

    @property
    def traits(self) -> dict[str, Any]:
        return {
            "SCALE": 1.0 / (1.0 - self.rate), "SLOPE": self.slope, "HEADS": self.heads, "WIDTH": self.width,
            "BIG": self.edges.big(self.heads * self.width), "HAS_DROPOUT": self.key is not None,
            "NUMBERS": self.numbers_each,
        }  # fmt: skip

    def tile(self, longest: int) -> dict[str, Any]:
        """How many edges, heads and columns a program looks at together."""
        wide = triton.next_power_of_2(self.width)
        high = min(triton.next_power_of_2(self.heads), max(256 // wide, 1))
        deep = min(max(TILE // (high * wide), 1), 64)
        while deep > 4 and longest <= deep // 2:
            deep //= 2
        return {"DEEP": deep, "HIGH": high, "WIDE": wide, "num_warps": 1 if deep * high * wide <= 1024 else 4}

    def launch(self, rows: RowSums, call: Callable[..., None], outs: list[torch.Tensor]) -> list[torch.Tensor] | None:
        """Runs `call(grid, bounds, outs, longest, options)` on all rows that are short into `outs`.

        Returns what comes of the pieces of long ones, which `outs` leaves open, in arrays of as many rows as pieces.
        """
        tile = self.tile(rows.longest)
        groups = triton.cdiv(self.heads, tile["HIGH"])
        if rows.rows:
            plain = (rows.rows, rows.starts, rows.ends, rows.starts)
            call((min(rows.rows, PROGRAMS), groups), plain, outs, LONG_ROW, {"HAS_OWNERS": False} | tile)
        if rows.long is None:
            return None
        pieces = len(rows.piece_starts)
        parts = [each.new_empty((pieces, *each.shape[1:])) for each in outs]
        owned = (pieces, rows.piece_starts, rows.piece_ends, rows.piece_owners)
        call((min(pieces, PROGRAMS), groups), owned, parts, LONG_ROW, {"HAS_OWNERS": True} | tile)
        return parts


def attend(
    one: Attention, rows: torch.Tensor, target: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The output [targets, heads * width], and what gradients need: logs and, for static scores, what is above 0."""
    plan, sums = one.edges.into.plan, one.edges.sums
    shape, heads = (plan.rows, one.heads * one.width), (plan.rows, one.heads)
    out = torch.empty(shape, dtype=rows.dtype, device=rows.device)
    logs = torch.empty(heads, dtype=sums, device=rows.device)
    saved = [logs] if one.dynamic else [logs, logs.new_empty(shape), torch.empty_like(logs)]

    def call(grid: Any, bounds: Any, outs: Any, longest: int, options: Any) -> None:
        last = outs if len(outs) > 2 else [*outs, outs[0], outs[0]]
        kernels.attend[grid](
            *bounds, one.edges.columns, rows, target, weights, *one.drawn, *last, longest,
            DYNAMIC=one.dynamic, **one.traits, **options,
        )  # fmt: skip

    parts = one.launch(plan, call, [out, *saved])
    if parts is not None:
        _join_shares(plan, parts, [out, *saved], one.heads)
    return out, saved


def _join_shares(plan: RowSums, parts: list[torch.Tensor], outs: list[torch.Tensor], heads: int) -> None:
    """Rows out of their pieces, each of which has as much weight as its sum of exp(score) has in that of the row."""
    logs = parts[1]
    bounds = torch.cat([plan.piece_starts_of_row[:1], plan.piece_ends_of_row])
    most = torch.segment_reduce(logs, "max", offsets=bounds, axis=0, unsafe=True)
    shares = torch.exp(logs - most.index_select(0, plan.piece_places))
    total = plan.joined(shares, outs[1]).index_select(0, plan.rows_of_long)
    outs[1].index_copy_(0, plan.rows_of_long, most + torch.log(total))
    shares = shares / total.index_select(0, plan.piece_places)
    for part, whole in zip(parts, outs, strict=True):
        if part is not logs:
            spread = part.to(shares.dtype).reshape(len(part), heads, -1) * shares.unsqueeze(2)
            plan.joined(spread.reshape(part.shape), whole)


def static_target(
    one: Attention, grad: torch.Tensor, out: torch.Tensor, target: torch.Tensor, saved: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of `target` [targets, heads], and what the sources' pass reads of each target."""
    logs, above, above_share = saved
    of_target, packed = torch.empty_like(logs), logs.new_empty((len(logs), 3, one.heads))
    if len(logs):
        tile = one.tile(LONG_ROW)
        groups, block = triton.cdiv(one.heads, tile["HIGH"]), tile.pop("DEEP")
        kernels.target_gradients[(triton.cdiv(len(logs), block), groups)](
            grad, out, above, above_share, target, logs, of_target, packed, len(logs),
            SLOPE=one.slope, HEADS=one.heads, WIDTH=one.width, BIG=one.traits["BIG"], BLOCK=block, **tile,
        )  # fmt: skip
    return of_target, packed


def dynamic_target(
    one: Attention, grad: torch.Tensor, out: torch.Tensor, rows: torch.Tensor, target: torch.Tensor,
    weights: torch.Tensor, logs: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """The gradients of `target` and `weights`, and what the sources' pass reads of each target."""
    plan = one.edges.into.plan
    packed = logs.new_empty((len(logs), 2, one.heads))
    of_target, of_weights = (logs.new_empty((len(logs), one.heads * one.width)) for _ in range(2))

    def call(grid: Any, bounds: Any, outs: Any, longest: int, options: Any) -> None:
        kernels.dynamic_target_gradients[grid](
            *bounds, one.edges.columns, rows, target, weights, *one.drawn,
            grad, out, logs, *outs, packed, longest, **one.traits, **options,
        )  # fmt: skip

    outs = [of_target, of_weights]
    parts = one.launch(plan, call, outs)
    if parts is not None:
        for part, whole in zip(parts, outs, strict=True):
            plan.joined(part, whole)
    return of_target, of_weights.sum(0).reshape(weights.shape), packed


def of_sources(
    one: Attention, grad: torch.Tensor, rows: torch.Tensor, target: torch.Tensor, weights: torch.Tensor,
    packed: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """The gradients of `rows` and, for static scores, of the sources' parts of them."""
    out_of = one.edges.out_of
    plan: RowSums = out_of.plan
    of_rows = packed.new_empty((plan.rows, one.heads * one.width))
    of_scores = packed.new_empty((plan.rows, one.heads))

    def call(grid: Any, bounds: Any, outs: Any, longest: int, options: Any) -> None:
        kernels.source_gradients[grid](
            *bounds, one.edges.asking, out_of.indices, rows, target, weights, *one.drawn,
            grad, packed, *(outs if len(outs) > 1 else outs * 2), longest,
            DYNAMIC=one.dynamic, **one.traits, **options,
        )  # fmt: skip

    outs = [of_rows] if one.dynamic else [of_rows, of_scores]
    parts = one.launch(plan, call, outs)
    if parts is not None:
        for part, whole in zip(parts, outs, strict=True):
            plan.joined(part, whole)
    return of_rows, of_scores


class Attend(torch.autograd.Function):
    """`portgnn.protocol.Attending.attend` by kernels."""

    @staticmethod
    def forward(
        ctx: Any, one: Attention, rows: torch.Tensor, target: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        rows, target, weights = rows.contiguous(), target.contiguous(), weights.contiguous()
        out, saved = attend(one, rows, target, weights)
        ctx.one = one
        ctx.save_for_backward(rows, target, weights, out, *saved)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[None, torch.Tensor, torch.Tensor, torch.Tensor]:
        one, grad = ctx.one, grads[0].contiguous()
        rows, target, weights, out, *saved = ctx.saved_tensors
        if one.dynamic:
            of_target, of_weights, packed = dynamic_target(one, grad, out, rows, target, weights, *saved)
            of_rows, _ = of_sources(one, grad, rows, target, weights, packed)
        else:
            of_target, packed = static_target(one, grad, out, target, saved)
            of_rows, of_scores = of_sources(one, grad, rows, target, weights, packed)
            products = (of_scores.T @ rows.to(of_scores.dtype)).reshape(one.heads, one.heads, one.width)
            of_weights = torch.diagonal(products, dim1=0, dim2=1).T
        kind = rows.dtype
        return None, of_rows.to(kind), of_target.to(kind), of_weights.to(kind)
