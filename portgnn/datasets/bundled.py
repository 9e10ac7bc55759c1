"""Graphs that come with portgnn, so that the first run needs no network: `karate` and `csbm-cora`.

karate: W. W. Zachary, "An information flow model for conflict and fission in small groups", Journal of
Anthropological Research 33, 1977. csbm-cora: a contextual stochastic block model (Deshpande, Sen, Montanari
and Mossel, "Contextual stochastic block models", NeurIPS 2018) with the degree correction of Karrer and
Newman ("Stochastic blockmodels and community structure in networks", Physical Review E 83, 2011).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.graphs.graph import Graph

Ints: TypeAlias = NDArray[np.int64]

# Who met whom outside the club: each pair once, under the smaller number. Zachary counts from 1, we from 0.
_KARATE: dict[int, tuple[int, ...]] = {
    0: (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 17, 19, 21, 31),
    1: (2, 3, 7, 13, 17, 19, 21, 30),
    2: (3, 7, 8, 9, 13, 27, 28, 32),
    3: (7, 12, 13),
    4: (6, 10),
    5: (6, 10, 16),
    6: (16,),
    8: (30, 32, 33),
    9: (33,),
    13: (33,),
    14: (32, 33),
    15: (32, 33),
    18: (32, 33),
    19: (33,),
    20: (32, 33),
    22: (32, 33),
    23: (25, 27, 29, 32, 33),
    24: (25, 27, 31),
    25: (31,),
    26: (29, 33),
    27: (33,),
    28: (31, 33),
    29: (32, 33),
    30: (32, 33),
    31: (32, 33),
    32: (33,),
}
# Those who followed the instructor (node 0) after the split; the others followed the officer (node 33).
_WITH_INSTRUCTOR = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 16, 17, 19, 21)


def karate() -> Graph:
    """Zachary's karate club: 34 members, 78 undirected edges, the 2 clubs that they went to after the split.

    features: the identity, float64 CSR [34, 34]. labels: int64 [34]. Splits: train the two leaders (0 and
    33), val every fourth member (4, 8, …, 32), test the other 24.
    """
    edges = np.array([(a, b) for a, friends in _KARATE.items() for b in friends], dtype=np.int64)
    labels = np.ones(34, dtype=np.int64)
    labels[list(_WITH_INSTRUCTOR)] = 0
    train, val = np.array([0, 33]), np.arange(4, 33, 4)
    test = np.setdiff1d(np.arange(34), np.concatenate([train, val]))
    return Graph.from_edges(
        edges,
        sp.eye_array(34, format="csr"),
        labels,
        train=train,
        val=val,
        test=test,
        name="karate",
        class_names=("instructor", "officer"),
        notes=(
            "features are the identity: the published network has none",
            "split by portgnn: train on the two leaders, validate on nodes 4, 8, …, 32, test on the rest",
        ),
    )


_CLASS_SIZES = (351, 217, 418, 818, 426, 298, 180)
_EDGES = 5278
_WORDS = 1433
_HOMOPHILY = 0.82
# Of a node's words, the share drawn from its class's own vocabulary. Set so that a two-layer GCN after
# Kipf & Welling comes near the .815 that it reaches on Cora.
_TOPICALITY = 0.14
_TOPIC_WORDS = 150
_SEED = 2708


class _Uniform:
    """Uniform numbers from Philox's raw 64-bit words, which NumPy keeps the same for ever.

    NumPy may change what a `Generator` method draws (NEP 19), and `log` or `pow` differ in the last bit
    between C libraries. So all that follows is integers, comparisons and what IEEE 754 rounds exactly.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.Philox(key=seed)

    def doubles(self, n: int) -> NDArray[np.float64]:
        """[n] in [0, 1), multiples of 2**-53."""
        raw = np.asarray(self._bits.random_raw(n), dtype=np.uint64)
        return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def below(self, bound: Ints) -> Ints:
        """One integer in [0, bound[i]) for each i."""
        return np.floor(self.doubles(len(bound)) * bound).astype(np.int64)

    def permutation(self, n: int) -> Ints:
        """[n]: 0 to n-1 in random order."""
        return np.argsort(self.doubles(n), kind="stable").astype(np.int64)


def csbm_cora() -> Graph:
    """A synthetic stand-in of Cora's size: 2,708 nodes, 5,278 edges, 1,433 binary words, 7 classes.

    The same bits on every machine and NumPy version. adjacency: float64 CSR [2708, 2708], undirected, no
    self-loops, no isolated node. features: float64 CSR [2708, 1433] of ones. labels: int64 [2708], with
    Cora's class sizes. Splits: 20 nodes a class, the next 500 nodes, the last 1,000, as in Planetoid's Cora.
    """
    uniform = _Uniform(_SEED)
    sizes = np.array(_CLASS_SIZES, dtype=np.int64)
    n = int(sizes.sum())
    by_class = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    edges = _edges(uniform, by_class, sizes)
    words = _words(uniform, by_class, len(sizes))
    # So far nodes lie sorted by class; a split by position needs them mixed.
    place = uniform.permutation(n)
    order = np.argsort(place, kind="stable")
    labels = by_class[order]
    train = np.sort(np.concatenate([np.flatnonzero(labels == c)[:20] for c in range(len(sizes))]))
    rest = np.setdiff1d(np.arange(n), train)
    return Graph.from_edges(
        place[edges],
        words[order],
        labels,
        train=train,
        val=rest[:500],
        test=rest[-1000:],
        name="csbm-cora",
        notes=("synthetic: a contextual stochastic block model of Cora's size, degrees and class balance",),
    )


def _edges(uniform: _Uniform, by_class: Ints, sizes: Ints) -> Ints:
    """[5278, 2] distinct pairs a < b; nodes are numbered by class. Each node gets at least one edge."""
    n = len(by_class)
    # An attraction with density ~ w**-3, the tail of citation networks: Pareto with exponent 2, so that a
    # square root suffices. The shift bounds the largest hub near Cora's (168 edges).
    attraction = np.floor(1000.0 / np.sqrt(uniform.doubles(n) + 3e-5)).astype(np.int64)
    ends = np.cumsum(attraction)
    starts = ends - attraction
    last = np.cumsum(sizes) - 1
    class_start, class_end = starts[last - sizes + 1][by_class], ends[last][by_class]
    total = int(ends[-1])
    # One edge for each node, so that none is isolated; then, by attraction, more than are needed.
    more = np.full(2 * _EDGES, total, dtype=np.int64)
    source = np.concatenate([np.arange(n), np.searchsorted(ends, uniform.below(more), side="right")])
    alike = uniform.doubles(len(source)) < _HOMOPHILY
    # A point on the line of attractions, with the source itself, or its whole class, cut out.
    low = np.where(alike, starts[source], class_start[source])
    high = np.where(alike, ends[source], class_end[source])
    span = np.where(alike, class_end[source] - class_start[source], total)
    point = uniform.below(span - (high - low)) + np.where(alike, class_start[source], 0)
    point += np.where(point >= low, high - low, 0)
    target = np.searchsorted(ends, point, side="right")
    pairs = np.stack([np.minimum(source, target), np.maximum(source, target)], axis=1)
    _, first = np.unique(pairs[:, 0] * n + pairs[:, 1], return_index=True)
    return pairs[np.sort(first)[:_EDGES]]


def _words(uniform: _Uniform, by_class: Ints, classes: int) -> sp.csr_array:
    """CSR [n, 1433] of ones, about 18 a row; rows are numbered by class."""
    n = len(by_class)
    tokens = uniform.below(np.full(n, 19, dtype=np.int64)) + 10
    node = np.repeat(np.arange(n), tokens)
    topic = uniform.doubles(len(node)) < _TOPICALITY
    # Zipf's law over all words and, in another order for each class, over the words of its own.
    zipf = np.cumsum(1_000_000 // np.arange(10, _WORDS + 10))
    ends = np.where(topic, zipf[_TOPIC_WORDS - 1], zipf[-1])
    rank = np.searchsorted(zipf, uniform.below(ends), side="right")
    own = np.stack([uniform.permutation(_WORDS)[:_TOPIC_WORDS] for _ in range(classes)])
    word = np.where(topic, own[by_class[node], np.minimum(rank, _TOPIC_WORDS - 1)], rank)
    counts = sp.csr_array((np.ones(len(node)), (node, word)), shape=(n, _WORDS))
    counts.sum_duplicates()
    counts.data[:] = 1.0
    return counts
