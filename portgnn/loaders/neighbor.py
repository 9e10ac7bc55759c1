"""Neighbour sampling: for each node of a batch, layer by layer, some of its neighbours instead of all.

The estimator is that of GraphSAGE's uniform fan-outs (Hamilton, Ying & Leskovec 2017, algorithm 2) with the weights
that make it unbiased for a GCN, "NS" in Chen, Zhu & Song 2018 (Stochastic training of graph convolutional networks
with variance reduction, section 2.2): of a node's d neighbours k are drawn uniformly without replacement, and their
entries of the normalised adjacency are multiplied by d/k. The self-loop is always kept with its own weight, which
lowers the variance and costs one entry. A node with no more than k neighbours keeps them all, exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.loaders.source import Source
from portgnn.models.layer import hops_of
from portgnn.placing.elements import within
from portgnn.placing.field import Field, receptive_field
from portgnn.random import random_bits


@dataclass(frozen=True, eq=False)
class Block(Field):
    """A batch before it is placed, on the host. counted: places in levels[-1] of the nodes whose loss is taken."""

    counted: Nodes

    @property
    def nodes(self) -> Nodes:
        """The nodes whose loss is taken."""
        return self.levels[-1][self.counted]


@dataclass(frozen=True, eq=False)
class Plan:
    """An epoch's batches before anything is sampled. nodes: of each batch, ascending; keys: uint32 [batches, hops, 2].

    Whoever samples, on the host or where the graph lies, samples the same: the bits of a draw are a function of its
    hop's key and of the node whose neighbours are drawn, see `distinct`.
    """

    nodes: tuple[Nodes, ...]
    keys: NDArray[np.uint32]


def plan(source: Source, nodes: Nodes, draw: np.random.Generator) -> Plan:
    """One epoch: every node of `nodes` in one batch, in the order that `draw` shuffles them to."""
    size = source.config.batch_size
    order = draw.permutation(nodes)
    chosen = tuple(np.sort(order[start : start + size]) for start in range(0, len(order), size))
    return Plan(chosen, hop_keys(draw, len(chosen) * hops_of(source.layers)).reshape(len(chosen), -1, 2))


def hop_keys(draw: np.random.Generator, hops: int) -> NDArray[np.uint32]:
    """[hops, 2]"""
    return draw.integers(2**32, size=(hops, 2), dtype=np.uint32)


def batches(source: Source, nodes: Nodes, draw: np.random.Generator) -> Iterator[Block]:
    """The batches of an epoch, as `plan` has them."""
    planned, fanouts = plan(source, nodes, draw), source.config.fanouts(hops_of(source.layers))
    return (sample(source, chosen, fanouts, keys) for chosen, keys in zip(planned.nodes, planned.keys, strict=True))


def sample(source: Source, nodes: Nodes, fanouts: tuple[int | None, ...], keys: NDArray[np.uint32]) -> Block:
    """The sampled receptive field of `nodes` (ascending, without repetition).

    fanouts: one for each layer with edges, None for all. keys: uint32 [layers with edges, 2].
    """

    def rows_of(rows: Nodes, hop: int) -> sp.csr_array:
        fanout = fanouts[hop]
        return source.rows(rows) if fanout is None else sample_rows(source, rows, fanout, keys[hop])

    field = receptive_field(rows_of, nodes, source.layers)
    return Block(field.levels, field.blocks, np.arange(len(nodes)))


def sample_rows(source: Source, nodes: Nodes, fanout: int, key: NDArray[np.uint32]) -> sp.csr_array:
    """The nodes' rows of the adjacency, with at most `fanout` neighbours each, weighted to be unbiased."""
    start, end = source.bounds(nodes)
    loops = source.loops(nodes)
    others = end - start - 1
    cut = np.flatnonzero(others > fanout)
    counts = np.minimum(others, fanout) + 1
    chosen = within(counts)
    if len(cut):
        picked = distinct(nodes[cut], others[cut], fanout, key)
        picked += picked >= loops[cut, None]  # the self-loop is not among those drawn from
        picked = np.sort(np.concatenate([picked, loops[cut, None]], axis=1), axis=1)
        ends = np.cumsum(counts)
        chosen[(ends - counts)[cut][:, None] + np.arange(fanout + 1)] = picked
    scale = np.maximum(others, 1) / np.maximum(counts - 1, 1)
    return source.csr(nodes, counts, np.repeat(start, counts) + chosen, scale)


def distinct(nodes: Nodes, populations: Nodes, k: int, key: NDArray[np.uint32]) -> NDArray[np.int64]:
    """k different numbers below each node's population, every set equally likely; int64 [len(nodes), k].

    Floyd's algorithm (Bentley & Floyd 1987, "A sample of brilliance", CACM 30:9) on all rows at once: its cost
    does not grow with the populations, so that a hub costs no more than another node.

    Draw i of a node takes the word w of `portgnn.random.random_bits` that is numbered node * k + i, modulo 2**32. Below
    a bound b it is w * b / 2**32, rounded down (Lemire 2019, "Fast random integer generation in an interval", ACM
    TOMACS 29:1, without rejection): no number is likelier than another by more than a share of b / 2**32.
    """
    # One column after the other in memory: each of k steps writes one and compares with those before it.
    picked = np.empty((k, len(populations)), dtype=np.int64)
    numbers = nodes.astype(np.uint32) * np.uint32(k) + np.arange(k, dtype=np.uint32)[:, None]
    words = random_bits((int(key[0]), int(key[1])), numbers).view(np.uint32).astype(np.uint64)
    for step in range(k):
        last = populations - k + step
        candidate = (words[step] * (last + 1).astype(np.uint64) >> np.uint64(32)).astype(np.int64)
        seen = np.zeros(len(populations), dtype=bool)
        for before in picked[:step]:
            seen |= before == candidate
        picked[step] = np.where(seen, last, candidate)
    return picked.T
