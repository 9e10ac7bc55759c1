"""The edges between two levels of a network, for layers that do more along them than one product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from portgnn.protocol import EdgeDropout

if TYPE_CHECKING:
    from portgnn.parts import EdgeVerbs
    from portgnn.protocol import Array, EdgeHandle, Key

End = Literal["source", "target"]


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges from rows of a layer's input, their sources, to rows of its output, their targets.

    verbs, handle: who computes with them, and what it knows them by. key, numbers: the dropout key and the elements'
    numbers, [edges, edge_values] of the layer, in training; None otherwise. rate: of that dropout.

    Values of edges have shape [edges, k], in an order that only the handle knows; those of nodes [rows, k].
    """

    verbs: EdgeVerbs
    handle: EdgeHandle
    rate: float = 0.0
    key: Key | None = None
    numbers: Array | None = None

    @property
    def weights(self) -> Array:
        """What each edge weighs by the network's rule, [edges]; a constant."""
        return self.verbs.edge_weights(self.handle)

    def gather(self, x: Array, end: End) -> Array:
        """For each edge the row of x that is its source or target: [edges, k]."""
        return self.verbs.gather(self.handle, x, end)

    def sum(self, values: Array) -> Array:
        """The sum of each target's edges: [targets, k]; 0 where a target has none."""
        return self.verbs.segment_sum(self.handle, values)

    def max(self, values: Array) -> Array:
        """The largest value of each target's edges: [targets, k]. Equal ones share the gradient evenly."""
        return self.verbs.segment_max(self.handle, values)

    def softmax(self, scores: Array) -> Array:
        """exp(scores) as shares of their sum over each target's edges, without overflow: [edges, k]."""
        return self.verbs.edge_softmax(self.handle, scores)

    def matmul(self, values: Array, x: Array) -> Array:
        """Sums of the sources' rows times the edges' values, head by head.

        values: [edges, heads]; x: [sources, heads * width] -> [targets, heads * width]. Differentiable in both.
        """
        return self.verbs.edge_spmm(self.handle, values, x)

    def attend(self, rows: Array, target: Array, weights: Array, slope: float, dynamic: bool = False) -> Array:
        """Attention with the layer's dropout on edges: `portgnn.protocol.Attending.attend`."""
        dropout = None if self.key is None else EdgeDropout(self.rate, self.key, self.numbers)
        return self.verbs.attend(self.handle, rows, target, weights, slope, dropout, dynamic)

    def dropout(self, values: Array) -> Array:
        """Some of the values set to 0 and the others raised, as `Backend.dropout` does; in training only."""
        if self.key is None:
            return values
        dropped: Any = self.verbs.dropout(values, self.rate, self.key, self.numbers)
        return dropped
