"""What layers compute for each edge, in JAX: edges in slots by target and by source, with sums of a fixed order.

Slots are what `portgnn_jax.sparse` makes of stored values: one after the other on a CPU, and rows of `PIECE`, padded,
on a GPU, where XLA gathers, multiplies and sums in one kernel, without an array of edges × columns and without atomics.
Every verb has a gradient of its own, since JAX's backward pass of a gather adds in whatever order threads arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.parts import transposed_order
from portgnn_jax.sparse import cut

_take = partial(jnp.take, axis=0, mode="clip")


@dataclass(frozen=True, eq=False)
class Slots:
    """Edges grouped by the node at one of their ends, their owner: in slots [edges], or [pieces, PIECE] with padding.

    owner: of each slot, or of each piece, [pieces, 1]. other: the node at the other end. place: where a slot's edge
    stands among the flattened slots by target; None where these are they. real: which slots are no padding, [pieces,
    PIECE]; None where all are. levels: as `Pieces` has them. empty: [count, 1], which nodes own none. count: of nodes.
    """

    owner: jax.Array
    other: jax.Array
    place: jax.Array | None
    real: jax.Array | None
    levels: tuple[tuple[jax.Array, jax.Array], ...]
    empty: jax.Array
    count: int

    def sum(self, values: jax.Array) -> jax.Array:
        """[*slots, …] -> [count, …], in float32 where values are bfloat16."""
        kind = values.dtype
        values = values.astype(jnp.float32) if kind == jnp.bfloat16 else values
        if self.real is None:
            added = jax.ops.segment_sum(values, self.owner, self.count, indices_are_sorted=True, mode="clip")
            return added.astype(kind)
        sums = jnp.sum(jnp.where(_beside(self.real, values), values, 0), axis=1)
        for members, real in self.levels:
            found = _take(sums, members)
            sums = jnp.sum(jnp.where(_beside(real, found), found, 0), axis=1)
        return sums.astype(kind)

    def max(self, values: jax.Array) -> jax.Array:
        """The largest of each owner, 0 where it has none: [*slots, k] -> [count, k]."""
        if self.real is None:
            found = jax.ops.segment_max(values, self.owner, self.count, indices_are_sorted=True, mode="clip")
        else:
            found = jnp.max(jnp.where(self.real[:, :, None], values, -jnp.inf), axis=1)
            for members, real in self.levels:
                found = jnp.max(jnp.where(real[:, :, None], _take(found, members), -jnp.inf), axis=1)
        return jnp.where(self.empty, 0, found).astype(values.dtype)

    def placed(self, values: jax.Array) -> jax.Array:
        """Values of slots by target, [*slots by target, …], in these slots."""
        if self.place is None:
            return values
        return _take(values.reshape(-1, *values.shape[self.owner.ndim :]), self.place)

    def at_owner(self, x: jax.Array) -> jax.Array:
        return _take(x, self.owner)

    def at_other(self, x: jax.Array) -> jax.Array:
        return _take(x, self.other)


@dataclass(frozen=True, eq=False)
class JaxEdges:
    """Edges by target and by source.

    slots: of each edge in storage order, its place among the flattened slots by target; number: the other way round,
    [*slots by target]. Both None where they are the same.
    """

    weights: jax.Array
    rows: jax.Array
    columns: jax.Array
    into: Slots
    out_of: Slots
    slots: jax.Array | None
    number: jax.Array | None

    def spread(self, values: jax.Array) -> jax.Array:
        """[edges, …] in storage order -> [*slots by target, …]."""
        if self.number is None:
            return values
        if not values.shape[0]:  # padding must have something to point at
            return jnp.zeros((*self.number.shape, *values.shape[1:]), values.dtype)
        return _take(values, self.number)

    def stored(self, values: jax.Array) -> jax.Array:
        """The other way round."""
        return values if self.slots is None else _take(values.reshape(-1, *values.shape[2:]), self.slots)


_NODES = ["owner", "other", "place", "real", "levels", "empty"]
jax.tree_util.register_dataclass(Slots, data_fields=_NODES, meta_fields=["count"])
jax.tree_util.register_dataclass(JaxEdges, data_fields=list(JaxEdges.__dataclass_fields__), meta_fields=[])


def place_edges(matrix: sp.csr_array, dtype: Any, put: Callable[[NDArray[Any]], jax.Array], pieces: bool) -> JaxEdges:
    """A canonical SciPy matrix [targets, sources] on a device. put: moves an array there. pieces: as a GPU has it."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    columns, order = matrix.indices.astype(np.int32), transposed_order(matrix)
    numbers = np.arange(matrix.nnz, dtype=np.int32)
    slots = number = None
    if pieces:
        at, real, _ = cut(matrix.indptr)
        places = np.zeros(matrix.nnz, dtype=np.int32)
        places[at[real]] = np.flatnonzero(real)
        slots, number = put(places), put(at)
    into = _slots(rows, columns, None, matrix.shape[0], put, pieces)
    by_target = numbers if slots is None else np.asarray(places)
    out_of = _slots(columns[order], rows[order], by_target[order], matrix.shape[1], put, pieces)
    weights = put(np.asarray(matrix.data, dtype=np.float64).astype(dtype))
    return JaxEdges(weights, put(rows), put(columns), into, out_of, slots, number)


def _slots(owner: Any, other: Any, place: Any, count: int, put: Any, pieces: bool) -> Slots:
    sizes = np.bincount(owner, minlength=count)
    empty = put((sizes == 0)[:, None])
    if not pieces:
        return Slots(put(owner), put(other), None if place is None else put(place), None, (), empty, count)
    at, real, bounds = cut(np.concatenate([[0], np.cumsum(sizes)]))
    levels = []
    while np.diff(bounds).max(initial=1) > 1:
        members, present, bounds = cut(bounds)
        levels.append((put(members), put(present)))
    if not len(owner):  # padding must have something to point at
        owner, other, place = (None if each is None else np.zeros(1, np.int32) for each in (owner, other, place))
    held = None if place is None else put(place[at])
    return Slots(put(owner[at[:, :1]]), put(other[at]), held, put(real), tuple(levels), empty, count)


def _beside(real: jax.Array, values: jax.Array) -> jax.Array:
    return real.reshape(*real.shape, *(1,) * (values.ndim - real.ndim))


def _verb(forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A function of edges and arrays with a gradient of its own.

    forward(edges, *arrays) -> value, kept; backward(edges, kept, gradient) -> the arrays' gradients. It is jitted also
    where nothing around it is: its parts alone would write out every gathered row.
    """

    @jax.custom_vjp
    def verb(a: JaxEdges, *arrays: Any) -> Any:
        return forward(a, *arrays)[0]

    def kept(a: JaxEdges, *arrays: Any) -> Any:
        value, rest = forward(a, *arrays)
        return value, (a, rest)

    def pulled(held: Any, grad: Any) -> tuple[Any, ...]:
        return None, *backward(*held, grad)

    verb.defvjp(kept, pulled)
    return jax.jit(verb)


gather_sources = _verb(
    lambda a, x: (_take(x, a.columns), None),
    lambda a, _, grad: (a.out_of.sum(a.out_of.placed(a.spread(grad))),),
)
gather_targets = _verb(lambda a, x: (_take(x, a.rows), None), lambda a, _, grad: (a.into.sum(a.spread(grad)),))
segment_sum = _verb(lambda a, values: (a.into.sum(a.spread(values)), None), lambda a, _, grad: (_take(grad, a.rows),))


def _largest(a: JaxEdges, values: jax.Array) -> tuple[jax.Array, Any]:
    found = a.into.max(a.spread(values))
    return found, values == _take(found, a.rows)


def _of_largest(a: JaxEdges, ties: jax.Array, grad: jax.Array) -> tuple[jax.Array]:
    equal = ties.astype(grad.dtype)
    return (_take(grad / jnp.maximum(a.into.sum(a.spread(equal)), 1), a.rows) * equal,)


segment_max = _verb(_largest, _of_largest)


def _shares(a: JaxEdges, scores: jax.Array) -> jax.Array:
    """Of slots by target."""
    raised = jnp.exp(scores - a.into.at_owner(a.into.max(scores)))
    total = a.into.sum(raised)
    return raised / a.into.at_owner(jnp.where(total == 0, 1, total))


def _softmax(a: JaxEdges, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    shares = a.stored(_shares(a, a.spread(scores)))
    return shares, shares


def _of_softmax(a: JaxEdges, shares: jax.Array, grad: jax.Array) -> tuple[jax.Array]:
    weighted = grad * shares
    return (weighted - shares * _take(a.into.sum(a.spread(weighted)), a.rows),)


edge_softmax = _verb(_softmax, _of_softmax)


def _heads(x: jax.Array, heads: int) -> jax.Array:
    """[n, heads * width] -> [n, heads, width]."""
    return x.reshape(x.shape[0], heads, x.shape[1] // heads)


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(x.shape[0], -1)


def _weighed(a: JaxEdges, values: jax.Array, x: jax.Array) -> tuple[jax.Array, Any]:
    rows = a.into.at_other(_heads(x, values.shape[1]))
    return _flat(a.into.sum(a.spread(values)[..., None] * rows)), (values, x)


def _of_weighed(a: JaxEdges, held: Any, grad: jax.Array) -> tuple[jax.Array, jax.Array]:
    values, x = held
    g, rows = _heads(grad, values.shape[1]), _heads(x, values.shape[1])
    of_values = a.stored(jnp.sum(a.into.at_owner(g) * a.into.at_other(rows), axis=-1))
    at = a.out_of.placed(a.spread(values))
    return of_values, _flat(a.out_of.sum(at[..., None] * a.out_of.at_other(g)))


edge_spmm = _verb(_weighed, _of_weighed)


def _bent(x: jax.Array, slope: float) -> jax.Array:
    return jnp.where(x > 0, x, slope * x)


def _attention(slope: float, dynamic: bool, a: JaxEdges, rows: Any, target: Any, weights: Any, mask: Any) -> Any:
    """`portgnn.protocol.Attending.attend`; mask: what each share is multiplied with, [edges, heads], or None."""
    into, x = a.into, _heads(rows, len(weights))
    both = _both(into, x, target, weights) if dynamic else _sum_of_parts(into, x, target, weights)
    bent = _bent(both, slope)
    share = _shares(a, jnp.sum(bent * weights, axis=-1) if dynamic else bent)
    sent = share if mask is None else share * a.spread(mask)
    out = _flat(into.sum(sent[..., None] * into.at_other(x)))
    return out, (rows, target, weights, mask, share, out)


def _both(slots: Slots, own: jax.Array, other: jax.Array, weights: jax.Array) -> jax.Array:
    """The sum of both ends' rows, [*slots, heads, width]: own at the slots' other end."""
    return slots.at_other(own) + slots.at_owner(_heads(other, len(weights)))


def _sum_of_parts(into: Slots, x: jax.Array, target: jax.Array, weights: jax.Array) -> jax.Array:
    """Of static scores, [*slots by target, heads]."""
    return into.at_other(jnp.sum(x * weights, axis=-1)) + into.at_owner(target)


def _of_attention(slope: float, dynamic: bool, a: JaxEdges, held: Any, grad: jax.Array) -> tuple[Any, ...]:
    rows, target, weights, mask, share, out = held
    into, out_of, heads = a.into, a.out_of, len(weights)
    x, g = _heads(rows, heads), _heads(grad, heads)
    of_share, sent = jnp.sum(into.at_owner(g) * into.at_other(x), axis=-1), share
    if mask is not None:
        dropped = a.spread(mask)
        of_share, sent = of_share * dropped, share * dropped
    of_score = share * (of_share - into.at_owner(jnp.sum(g * _heads(out, heads), axis=-1)))
    through = out_of.placed(sent)[..., None] * out_of.at_other(g)
    if dynamic:
        both = _both(into, x, target, weights)
        of_target = _flat(into.sum(of_score[..., None] * weights * jnp.where(both > 0, 1, slope)))
        of_weights = jnp.sum(into.sum(of_score[..., None] * _bent(both, slope)), axis=0)
        both = _both(out_of, _heads(target, heads), rows, weights)
        through += out_of.placed(of_score)[..., None] * weights * jnp.where(both > 0, 1, slope)
        of_rows = out_of.sum(through)
    else:
        both = _sum_of_parts(into, x, target, weights)
        of_both = of_score * jnp.where(both > 0, 1, slope)
        of_target, of_own = into.sum(of_both), out_of.sum(out_of.placed(of_both))
        of_rows = out_of.sum(through) + of_own[..., None] * weights
        of_weights = jnp.sum(of_own[..., None] * x, axis=0)
    kinds = (rows.dtype, target.dtype, weights.dtype)
    found = zip((_flat(of_rows), of_target, of_weights), kinds, strict=True)
    return *(each.astype(kind) for each, kind in found), None


def attend(a: JaxEdges, rows: Any, target: Any, weights: Any, mask: Any, slope: float, dynamic: bool) -> Any:
    given = (slope, dynamic)
    if given not in _ATTENTION:
        _ATTENTION[given] = _verb(partial(_attention, *given), partial(_of_attention, *given))
    return _ATTENTION[given](a, rows, target, weights, mask)


_ATTENTION: dict[tuple[float, bool], Callable[..., Any]] = {}
