"""Attention on the CPU without an array [edges, heads * width]: one head after the other, by sparse products.

The shares of a head are the stored values of a matrix [targets, sources], and its output is that matrix times the
head's rows. The gradient of the shares is a product taken at the edges alone, and that of the rows one with the
transpose: all of it torch's own CSR routines, whose sums have a fixed order.

Dynamic scores see both ends of an edge before they bend, so that each edge has a row as wide as the nodes': these rows
are made of a block of edges that stays in cache, and the next block's are written over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from portgnn_torch.edges import TorchEdges, largest
from portgnn_torch.loops import csr_tensor
from portgnn_torch.sparse import TorchCSR

NUMBERS = 1 << 18
"""In an array of a block: 1 MiB of float32, of which three are in use; half or twice as many cost a tenth more."""


class AttendByHead(torch.autograd.Function):
    """`portgnn.protocol.Attending.attend`. mask: what each share is multiplied with, [heads, edges], or None."""

    @staticmethod
    def forward(
        ctx: Any, a: TorchEdges, rows: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, slope: float,
        mask: torch.Tensor | None, dynamic: bool,
    ) -> torch.Tensor:  # fmt: skip
        scores = (_Dynamic if dynamic else _Static)(a, rows.contiguous(), target.contiguous(), weights, slope)
        x, shares, outs = _by_head(rows, len(weights)), [], []
        for h, score in enumerate(scores.of_heads()):
            share = _softmax(a, score)
            outs.append(a.matrix(share if mask is None else share * mask[h]) @ x[h])
            shares.append(share)
        ctx.edges, ctx.scores, ctx.shares = a, scores, shares
        ctx.save_for_backward(x, *outs, *(() if mask is None else (mask,)))
        return torch.stack(outs, dim=1).reshape(len(target), -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        a, heads = ctx.edges, len(ctx.shares)
        x, *rest = ctx.saved_tensors
        outs, mask = rest[:heads], rest[heads] if len(rest) > heads else None
        g = _by_head(grads[0], heads)
        of_rows, of_scores = [], []
        for h, share in enumerate(ctx.shares):
            mean = (g[h] * outs[h]).sum(1)
            of_share, sent = _at_edges(a, g[h], x[h]), share
            if mask is not None:
                of_share, sent = of_share * mask[h], share * mask[h]
            of_rows.append(a.transposed(sent) @ g[h])
            of_scores.append(of_share.sub_(mean.index_select(0, a.rows)).mul_(share))
        through, of_target, of_weights = ctx.scores.gradients(of_scores)
        of_all = torch.stack(of_rows, 1).reshape(a.shape[1], -1).add_(through)
        return None, of_all, of_target, of_weights, None, None, None


@dataclass(eq=False)
class _Scores:
    """The arrays that scores are made of, as `portgnn.protocol.Attending.attend` has them."""

    edges: TorchEdges
    rows: torch.Tensor
    target: torch.Tensor
    weights: torch.Tensor
    slope: float

    def of_heads(self) -> Iterator[torch.Tensor]:
        """The scores of one head after the other, [edges]."""
        raise NotImplementedError

    def gradients(self, of_scores: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Of rows, target and weights, from those of each head's scores, [edges], which may be overwritten."""
        raise NotImplementedError


class _Static(_Scores):
    """lr(rows . weights + target), of which both parts are numbers of a node."""

    def of_heads(self) -> Iterator[torch.Tensor]:
        a, heads = self.edges, len(self.weights)
        own = torch.bmm(_by_head(self.rows, heads), self.weights.unsqueeze(2)).squeeze(2)
        asked = self.target.T.contiguous()
        self.above = []
        for h in range(heads):
            both = own[h].index_select(0, a.columns).add_(asked[h].index_select(0, a.rows))
            self.above.append(both > 0)
            yield torch.nn.functional.leaky_relu_(both, self.slope)

    def gradients(self, of_scores: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        a, of_own, of_target = self.edges, [], []
        for is_above, of_score in zip(self.above, of_scores, strict=True):
            of_both = torch.where(is_above, of_score, of_score * self.slope)
            of_target.append(a.matrix(of_both) @ of_both.new_ones((a.shape[1], 1)))
            of_own.append(a.transposed(of_both) @ of_both.new_ones((a.shape[0], 1)))
        own = torch.stack(of_own)  # [heads, sources, 1]
        of_weights = torch.bmm(own.transpose(1, 2), _by_head(self.rows, len(of_own))).squeeze(1)
        of_rows = (own * self.weights.unsqueeze(1)).transpose(0, 1).reshape(a.shape[1], -1)
        return of_rows, torch.cat(of_target, 1), of_weights


class _Dynamic(_Scores):
    """weights . lr(rows + target), a block of edges at a time."""

    def of_heads(self) -> Iterator[torch.Tensor]:
        a, weighted = self.edges, self._weighted()
        scores = self.rows.new_empty((len(weighted), len(a.rows)))
        for block in _blocks(a, a.into, self.rows.shape[1]):
            bent = torch.nn.functional.leaky_relu_(self._both(a.rows, a.columns, block), self.slope)
            torch.mm(weighted, bent.T, out=scores[:, block.edges])
        yield from scores

    def gradients(self, of_scores: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        a, of_all, weighted = self.edges, torch.stack(of_scores), self._weighted()
        of_weights = torch.zeros_like(weighted)
        of_target, of_rows = torch.zeros_like(self.target), torch.zeros_like(self.rows)
        for block in _blocks(a, a.into, self.rows.shape[1]):
            of_score, both = of_all[:, block.edges], self._both(a.rows, a.columns, block)
            of_target[block.rows] += block.ones @ self._bent_back(of_score.T @ weighted, both)
            of_weights.addmm_(of_score, torch.nn.functional.leaky_relu_(both, self.slope))
        of_all = of_all.index_select(1, a.out_of.indices)
        for block in _blocks(a, a.out_of, self.rows.shape[1]):
            of_score, both = of_all[:, block.edges], self._both(a.asking, a.leaving, block)
            of_rows[block.rows] += block.ones @ self._bent_back(of_score.T @ weighted, both)
        heads, width = self.weights.shape
        own = torch.diagonal(of_weights.reshape(heads, heads, width), dim1=0, dim2=1).T
        return of_rows, of_target, own.contiguous()

    def _weighted(self) -> torch.Tensor:
        """[heads, heads * width]: a head's weights at its own columns, and zeros."""
        return torch.block_diag(*self.weights)

    def _both(self, targets: torch.Tensor, sources: torch.Tensor, block: _Block) -> torch.Tensor:
        """The sum of a block's ends, [edges of the block, heads * width]."""
        both = self.target.index_select(0, targets[block.edges])
        return both.add_(self.rows.index_select(0, sources[block.edges]))

    def _bent_back(self, grad: torch.Tensor, both: torch.Tensor) -> torch.Tensor:
        """The gradient before the leaky relu, from that behind it, which is overwritten."""
        bent: torch.Tensor = torch.ops.aten.leaky_relu_backward(grad, both, self.slope, False)
        return bent


@dataclass(frozen=True, eq=False)
class _Block:
    """Consecutive edges in the order of a matrix [nodes, edges] that sums them, and the nodes that they belong to.

    ones: [nodes of the block, edges of the block]. The nodes at its ends may have edges in other blocks, too.
    """

    edges: slice
    rows: slice
    ones: torch.Tensor


def _blocks(a: TorchEdges, sums: TorchCSR, columns: int) -> list[_Block]:
    """All edges, so many at a time that an array of so many columns has `NUMBERS` numbers; kept with the edges."""
    most = max(NUMBERS // columns, 256)
    key = (sums is a.into, most)
    if key not in a.blocks:
        a.blocks[key] = list(_cut(sums, most))
    found: list[_Block] = a.blocks[key]
    return found


def _cut(sums: TorchCSR, most: int) -> Iterator[_Block]:
    ends, places = sums.indptr, torch.arange(most, dtype=sums.indices.dtype, device=sums.indices.device)
    for first in range(0, sums.nnz, most):
        last = min(first + most, sums.nnz)
        low = int(torch.searchsorted(ends, first, right=True)) - 1
        high = int(torch.searchsorted(ends, last))
        inside = (ends[low : high + 1].clamp(first, last) - first).contiguous()
        shape = (high - low, last - first)
        ones = csr_tensor(inside, places[: shape[1]], sums.values[: shape[1]], shape)
        yield _Block(slice(first, last), slice(low, high), ones)


def _by_head(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """[n, heads * width] -> [heads, n, width]."""
    return rows.reshape(len(rows), heads, rows.shape[1] // heads).transpose(0, 1).contiguous()


def _softmax(a: TorchEdges, scores: torch.Tensor) -> torch.Tensor:
    """Of one number an edge, over the edges of each target."""
    raised = torch.exp(scores - largest(a, scores).index_select(0, a.rows))
    total = a.matrix(raised) @ raised.new_ones((a.shape[1], 1))
    return raised / total.squeeze(1).index_select(0, a.rows)


def _at_edges(a: TorchEdges, targets: torch.Tensor, sources: torch.Tensor) -> torch.Tensor:
    """The product of the two ends' rows, for each edge: [edges]."""
    nothing = a.matrix(targets.new_zeros(len(a.rows)))
    return torch.sparse.sampled_addmm(nothing, targets, sources.T, beta=0.0).values()
