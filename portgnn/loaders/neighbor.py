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


@dataclass(frozen=True, eq=False)
class Block(Field):
    """A batch before it is placed, on the host. counted: places in levels[-1] of the nodes whose loss is taken."""

    counted: Nodes

    @property
    def nodes(self) -> Nodes:
        """The nodes whose loss is taken."""
        return self.levels[-1][self.counted]


def batches(source: Source, nodes: Nodes, draw: np.random.Generator) -> Iterator[Block]:
    """One epoch: every node of `nodes` in one batch, in the order that `draw` shuffles them to."""
    size = source.config.batch_size
    order = draw.permutation(nodes)
    for start in range(0, len(order), size):
        yield sample(source, np.sort(order[start : start + size]), source.config.fanouts(hops_of(source.layers)), draw)


def sample(source: Source, nodes: Nodes, fanouts: tuple[int | None, ...], draw: np.random.Generator) -> Block:
    """The sampled receptive field of `nodes` (ascending, without repetition).

    fanouts: one for each layer with edges, None for all.
    """

    def rows_of(rows: Nodes, hop: int) -> sp.csr_array:
        fanout = fanouts[hop]
        return source.rows(rows) if fanout is None else sample_rows(source, rows, fanout, draw)

    field = receptive_field(rows_of, nodes, source.layers)
    return Block(field.levels, field.blocks, np.arange(len(nodes)))


def sample_rows(source: Source, nodes: Nodes, fanout: int, draw: np.random.Generator) -> sp.csr_array:
    """The nodes' rows of the adjacency, with at most `fanout` neighbours each, weighted to be unbiased."""
    start, end = source.bounds(nodes)
    loops = source.loops(nodes)
    others = end - start - 1
    cut = np.flatnonzero(others > fanout)
    counts = np.minimum(others, fanout) + 1
    chosen = within(counts)
    if len(cut):
        picked = distinct(others[cut], fanout, draw)
        picked += picked >= loops[cut, None]  # the self-loop is not among those drawn from
        picked = np.sort(np.concatenate([picked, loops[cut, None]], axis=1), axis=1)
        ends = np.cumsum(counts)
        chosen[(ends - counts)[cut][:, None] + np.arange(fanout + 1)] = picked
    scale = np.maximum(others, 1) / np.maximum(counts - 1, 1)
    return source.csr(nodes, counts, np.repeat(start, counts) + chosen, scale)


def distinct(populations: Nodes, k: int, draw: np.random.Generator) -> NDArray[np.int64]:
    """k different numbers below each population, every set equally likely; int64 [len(populations), k].

    Floyd's algorithm (Bentley & Floyd 1987, "A sample of brilliance", CACM 30:9) on all rows at once: its cost
    does not grow with the populations, so that a hub costs no more than another node.
    """
    # One column after the other in memory: each of k steps writes one and compares with those before it.
    picked = np.empty((k, len(populations)), dtype=np.int64)
    uniform = draw.random((k, len(populations)))
    for step in range(k):
        last = populations - k + step
        candidate = (uniform[step] * (last + 1)).astype(np.int64)
        seen = np.zeros(len(populations), dtype=bool)
        for before in picked[:step]:
            seen |= before == candidate
        picked[step] = np.where(seen, last, candidate)
    return picked.T
