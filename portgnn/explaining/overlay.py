"""A backend before another, which sees and weighs what goes along edges: no network needs to know.

Whatever a layer does along edges, it asks a backend for: a product with their weights, or a verb of `MessagePassing`.
Where these add messages up, a mask multiplies each; where they make shares of scores, the shares are kept to look at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from portgnn.parts import attended, message_passing
from portgnn.protocol import Backend, EdgeHandle, Key

Array = Any


@dataclass(frozen=True, eq=False)
class Watched:
    """Edges of one layer. edges: their handle. mask: what each message is multiplied by, [edges, 1], or None.

    shares: the softmaxes over each node's edges that the layer took, [edges, heads] each.
    """

    edges: EdgeHandle
    mask: Array | None = None
    shares: list[Array] = field(default_factory=list)

    def times(self, values: Array) -> Array:
        return values if self.mask is None else values * self.mask


class Overlay:
    """A `Backend` with `MessagePassing`, whose handles of edges are `Watched`; all else is what is behind it."""

    def __init__(self, inner: Backend) -> None:
        self._inner, self._verbs = inner, message_passing(inner)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def matmul(self, a: Any, b: Array) -> Array:
        if not isinstance(a, Watched):
            return self._inner.matmul(a, b)
        weights = self._verbs.edge_weights(a.edges)
        return self.edge_spmm(a, self._inner.xp.reshape(weights, (weights.shape[0], 1)), b)

    spmm = matmul

    def edges(self, matrix: object) -> EdgeHandle:
        return Watched(self._verbs.edges(matrix))

    def edge_weights(self, a: Watched) -> Array:
        return self._verbs.edge_weights(a.edges)

    def gather(self, a: Watched, x: Array, end: str) -> Array:
        return self._verbs.gather(a.edges, x, end)

    def segment_sum(self, a: Watched, values: Array) -> Array:
        return self._verbs.segment_sum(a.edges, a.times(values))

    def segment_max(self, a: Watched, values: Array) -> Array:
        return self._verbs.segment_max(a.edges, a.times(values))

    def edge_softmax(self, a: Watched, scores: Array) -> Array:
        shares = self._verbs.edge_softmax(a.edges, scores)
        a.shares.append(shares)
        return shares

    def edge_spmm(self, a: Watched, values: Array, x: Array) -> Array:
        return self._verbs.edge_spmm(a.edges, a.times(values), x)

    def attend(self, a: Watched, *given: Any, **options: Any) -> Array:
        return attended(self, a, *given, **options)

    def dropout(self, x: Array, rate: float, key: Key, index: Array | None = None) -> Array:
        return self._inner.dropout(x, rate, key, index)
