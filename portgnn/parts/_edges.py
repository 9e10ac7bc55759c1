"""What layers ask of edges, and sums behind products, made of a backend's other verbs where it has none of its own."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.protocol import Attending, Backend, EdgeDropout, EdgeHandle, MessagePassing, Namespace

Array: TypeAlias = Any
"""An adapter's own array."""

TERMS = 14
"""Of exp's series: below 1/2 what is left out is less than 1e-16 of its sum."""


class _PlainHandle(NamedTuple):
    """A tuple tree, as a `BatchStep` takes it.

    into: [targets, edges], ones: sums the edges of each target. source, target: [edges, nodes], ones: picks a row for
    each edge. powers: int32 [k], 1, 2, 4, …: so many edges to look back, to have seen all of a target. place: int32
    [edges, 1], how many edges of its target come before an edge. last: int32 [targets], the last edge of each. filled:
    [targets, 1], whether a target has edges, where some have none.
    """

    weights: Array
    into: Any
    source: Any
    target: Any
    powers: Array
    place: Array
    last: Array
    filled: Array | None


class PlainEdges:
    """`portgnn.protocol.MessagePassing` for any backend, from its sparse product and the standard's functions.

    An edge's row is picked, and edges are summed, by products with matrices of ones, which every adapter has
    deterministic and differentiable. Whatever else is asked of it is the backend's own.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def edges(self, matrix: sp.csr_array) -> _PlainHandle:
        backend, counts = self._backend, np.diff(matrix.indptr)
        targets = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
        longest = int(counts.max(initial=1))
        filled = None if counts.all() else backend.asarray((counts > 0)[:, None])
        return _PlainHandle(
            weights=backend.asarray(np.asarray(matrix.data, dtype=np.float64)),
            into=backend.csr(_ones(np.arange(matrix.nnz), matrix.indptr, matrix.nnz)),
            source=backend.csr(_ones(matrix.indices, np.arange(matrix.nnz + 1), matrix.shape[1])),
            target=backend.csr(_ones(targets, np.arange(matrix.nnz + 1), matrix.shape[0])),
            powers=backend.asarray(1 << np.arange((longest - 1).bit_length(), dtype=np.int32)),
            place=backend.asarray(place.astype(np.int32)[:, None]),
            last=backend.asarray(np.maximum(matrix.indptr[1:] - 1, 0).astype(np.int32)),
            filled=filled,
        )

    def edge_weights(self, a: _PlainHandle) -> Array:
        return a.weights

    def gather(self, a: _PlainHandle, x: Array, end: str) -> Array:
        return self._backend.spmm(a.source if end == "source" else a.target, x)

    def segment_sum(self, a: _PlainHandle, values: Array) -> Array:
        return self._backend.spmm(a.into, values)

    def segment_max(self, a: _PlainHandle, values: Array) -> Array:
        xp = self._backend.xp
        largest = self._largest(a, values)
        is_largest = values == self.gather(a, largest, "target")
        # Of k equal numbers that are the largest, each stands for 1/k of it, and gets that share of the gradient.
        ties = xp.astype(is_largest, values.dtype)
        shares = ties / self.gather(a, self.segment_sum(a, ties), "target")
        return self.segment_sum(a, xp.where(is_largest, values, xp.zeros_like(values)) * shares)

    def edge_softmax(self, a: _PlainHandle, scores: Array) -> Array:
        xp = self._backend.xp
        # Any shift gives the same shares, and that of a rounded number has no gradient.
        shift = self.gather(a, xp.ceil(self._largest(a, scores)), "target")
        raised = xp.exp(scores - shift)
        return raised / self.gather(a, self.segment_sum(a, raised), "target")

    def edge_spmm(self, a: _PlainHandle, values: Array, x: Array) -> Array:
        xp, heads = self._backend.xp, values.shape[1]
        sent = self.gather(a, x, "source")
        if heads == 1:
            return self.segment_sum(a, sent * values)
        edges, width = sent.shape
        weighed = xp.reshape(sent, (edges, heads, width // heads)) * xp.reshape(values, (edges, heads, 1))
        return self.segment_sum(a, xp.reshape(weighed, (edges, width)))

    def attend(self, *given: Any, **options: Any) -> Array:
        return attended(self, *given, **options)

    def _largest(self, a: _PlainHandle, values: Array) -> Array:
        """The largest value of each target's edges, [targets, k]; 0 where it has none.

        By looking back 1, 2, 4, … edges (Hillis & Steele 1986): each edge then knows the largest up to itself.
        """
        xp = self._backend.xp
        if not values.shape[0]:
            return self.segment_sum(a, values)
        for power in range(a.powers.shape[0]):
            step = 1 << power
            before = xp.concat([values[:step, :], values[:-step, :]], axis=0)
            values = xp.where(a.place >= step, xp.maximum(values, before), values)
        found = xp.take(values, a.last, axis=0)
        return found if a.filled is None else xp.where(a.filled, found, xp.zeros_like(found))


def matmul_add(backend: Any, a: Array, b: Array, y: Array, scale: float = 1.0) -> Array:
    """scale * (a @ b) + y, y of the product's shape or [columns]: by the backend's own where it has one.

    Of its class: who stands before a backend and multiplies in another way has none, whatever it hands on.
    """
    own = getattr(type(backend), "matmul_add", None)
    if own is not None:
        return own(backend, a, b, y, scale)
    product = backend.matmul(a, b)
    return backend.xp.add(product if scale == 1.0 else scale * product, y)


def propagated(backend: Any, a: Array, x: Array, first: Array, restart: float, times: int = 1) -> Array:
    """x after so many times x = (1 - restart) * (a @ x) + restart * first: by the backend's own where it has one."""
    own = getattr(type(backend), "propagated", None)
    if own is not None:
        return own(backend, a, x, first, restart, times)
    share = restart * first
    for _ in range(times):
        x = matmul_add(backend, a, x, share, 1.0 - restart)
    return x


def elu(backend: Any, x: Array) -> Array:
    """x where it is above 0, else exp(x) - 1: by the backend's own `elu` where it has one."""
    own = getattr(type(backend), "elu", None)
    if own is not None:
        return own(backend, x)
    xp = backend.xp
    above = x > 0
    expm1 = getattr(xp, "expm1", None) or partial(_expm1, xp)
    return xp.where(above, x, expm1(xp.where(above, xp.zeros_like(x), x)))


def _expm1(xp: Any, x: Array) -> Array:
    """exp(x) - 1 for a namespace that has none: near 0 by its series, x (1 + x/2 (1 + x/3 (…)))."""
    is_near = xp.where(x < 0, -x, x) < 0.5
    near = xp.where(is_near, x, xp.zeros_like(x))
    nested = near * (1.0 / TERMS)
    for k in range(TERMS - 1, 0, -1):
        nested = near * (1.0 / k) * (1.0 + nested)
    return xp.where(is_near, nested, xp.exp(x) - 1.0)


class EdgeVerbs(MessagePassing, Attending, Protocol):
    """All that layers ask of edges."""


class _PlainAttention:
    """`EdgeVerbs` for a backend that computes along edges and has no attention of its own."""

    def __init__(self, verbs: MessagePassing) -> None:
        self._verbs = verbs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._verbs, name)

    def attend(self, *given: Any, **options: Any) -> Array:
        return attended(self._verbs, *given, **options)


def attended(
    verbs: Any,
    a: EdgeHandle,
    rows: Array,
    target: Array,
    weights: Array,
    slope: float,
    dropout: EdgeDropout | None = None,
    dynamic: bool = False,
) -> Array:
    """`portgnn.protocol.Attending.attend` from the verbs of `MessagePassing` and `Backend.relu`."""

    def bent(x: Array) -> Array:
        return slope * x + (1.0 - slope) * verbs.relu(x)

    if dynamic:
        both = bent(verbs.gather(a, rows, "source") + verbs.gather(a, target, "target"))
        scores = by_head(verbs.xp, both, weights)
    else:
        own = by_head(verbs.xp, rows, weights)
        scores = bent(verbs.gather(a, own, "source") + verbs.gather(a, target, "target"))
    shares = verbs.edge_softmax(a, scores)
    if dropout is not None:
        shares = verbs.dropout(shares, *dropout)
    return verbs.edge_spmm(a, shares, rows)


def by_head(xp: Namespace, rows: Array, weights: Array) -> Array:
    """The product of each row's and head's numbers with the head's weights: [n, heads * width] -> [n, heads]."""
    return xp.sum(xp.reshape(rows, (rows.shape[0], *weights.shape)) * weights[None, :, :], axis=2)


def message_passing(backend: Backend) -> EdgeVerbs:
    """The backend itself where it computes along edges, else `PlainEdges` on it; with attention in either case."""
    verbs: Any = backend if provides(backend, MessagePassing) else PlainEdges(backend)
    return verbs if provides(verbs, Attending) else _PlainAttention(verbs)


def provides(thing: Any, protocol: Any) -> bool:
    """Whether it has all members of one of `portgnn.protocol`'s protocols, by whatever way.

    `isinstance` does not do: from Python 3.12 on it looks past `__getattr__`, and so past what those who stand before a
    backend hand on.
    """
    return all(hasattr(thing, name) for name in _members(protocol))


@lru_cache
def _members(protocol: Any) -> tuple[str, ...]:
    return tuple(name for name in vars(protocol) if not name.startswith("_"))


def _ones(indices: NDArray[np.generic], indptr: NDArray[np.generic], width: int) -> sp.csr_array:
    parts = (np.ones(len(indices)), indices.astype(np.int32), indptr.astype(np.int32))
    return sp.csr_array(parts, shape=(len(indptr) - 1, width))
