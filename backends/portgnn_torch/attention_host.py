"""Attention on the CPU without an array [edges, heads * width]: one head after the other, by sparse products.

The shares of a head are the stored values of a matrix [targets, sources], and its output is that matrix times the
head's rows. The gradient of the shares is a product taken at the edges alone, and that of the rows one with the
transpose: all of it torch's own CSR routines, whose sums have a fixed order.
"""

from __future__ import annotations

from typing import Any

import torch

from portgnn_torch.edges import TorchEdges, largest


class AttendByHead(torch.autograd.Function):
    """`portgnn.protocol.Attending.attend` for scores that are leaky_relu(source + target).

    mask: what each share is multiplied with, [heads, edges], or None.
    """

    @staticmethod
    def forward(
        ctx: Any, a: TorchEdges, rows: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, slope: float,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:  # fmt: skip
        x, asked = _by_head(rows, len(weights)), target.T.contiguous()
        own = torch.bmm(x, weights.unsqueeze(2)).squeeze(2)
        kept, outs = [], []
        for h in range(len(weights)):
            both = own[h].index_select(0, a.columns) + asked[h].index_select(0, a.rows)
            share = _softmax(a, torch.nn.functional.leaky_relu(both, slope))
            sent = share if mask is None else share * mask[h]
            outs.append(a.matrix(sent) @ x[h])
            kept.append((share, both > 0))
        ctx.edges, ctx.slope, ctx.kept = a, slope, kept
        ctx.save_for_backward(x, weights, *outs, *(() if mask is None else (mask,)))
        return torch.stack(outs, dim=1).reshape(len(target), -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[Any, ...]:
        a, heads = ctx.edges, len(ctx.kept)
        x, weights, *rest = ctx.saved_tensors
        outs, mask = rest[:heads], rest[heads] if len(rest) > heads else None
        g = _by_head(grads[0], heads)
        of_rows, of_own, of_target = [], [], []
        for h, (share, is_above) in enumerate(ctx.kept):
            mean = (g[h] * outs[h]).sum(1)
            of_share, sent = _at_edges(a, g[h], x[h]), share
            if mask is not None:
                of_share, sent = of_share * mask[h], share * mask[h]
            of_both = share * (of_share - mean.index_select(0, a.rows))
            of_both = torch.where(is_above, of_both, of_both * ctx.slope)
            of_target.append(a.matrix(of_both) @ of_both.new_ones((a.shape[1], 1)))
            turned = a.transposed(of_both) @ of_both.new_ones((a.shape[0], 1))
            of_own.append(turned)
            of_rows.append(a.transposed(sent) @ g[h] + turned * weights[h])
        of_weights = torch.bmm(torch.stack(of_own).transpose(1, 2), x).squeeze(1)
        return None, torch.stack(of_rows, 1).reshape(a.shape[1], -1), torch.cat(of_target, 1), of_weights, None, None


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
