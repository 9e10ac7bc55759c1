"""A graph's edges as something to learn: which of them messages go along, and which are asked for.

An edge is a pair of different nodes here: of an undirected graph whichever way it points, of a directed one from the
first to the second, so that there is another link the other way. A loop is no link, and stays among the messages. The
shares and the rounding are those of Kipf & Welling 2016, Variational graph auto-encoders (tkipf/gae, preprocessing.py):
5 and 10 of 100 edges are held out for validation and test, with as many pairs that no edge joins, and the network reads
the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.errors import ConfigError, GraphError
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.graph import Graph
from portgnn.graphs.pairs import Apart, Pairs, joined_pairs, pair_numbers
from portgnn.random import stream_key, words64


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Pairs that a part of the split is scored on. positives: [p, 2], joined by an edge; negatives: [p, 2], by none."""

    positives: Pairs
    negatives: Pairs

    @property
    def pairs(self) -> Pairs:
        """All of them, the positives first."""
        return np.concatenate([self.positives, self.negatives])

    @property
    def joined(self) -> NDArray[np.bool_]:
        """Whether an edge joins each of `pairs`."""
        return np.arange(2 * len(self.positives)) < len(self.positives)


@dataclass(frozen=True, eq=False)
class LinkSplit:
    """messages: CSR [n, n], the adjacency without the edges that are held out, of an undirected graph in either
    direction. train: [m, 2], the edges that training asks for. val, test: None where their share is 0. apart: the pairs
    that no edge of the graph, held out or not, joins, of which negatives are drawn.
    """

    messages: sp.csr_array
    train: Pairs
    val: HeldOut | None
    test: HeldOut | None
    apart: Apart

    def negatives(self, epoch: NDArray[np.uint32], each: int) -> Pairs:
        """Negatives of a training epoch, `each` for every edge asked for. epoch: its dropout keys, which decide."""
        key = stream_key([int(word) for word in epoch.ravel()], "negative pairs")
        return self.apart.drawn(key, each * len(self.train))


def split_links(
    adjacency: sp.csr_array,
    val: float,
    test: float,
    apart: float,
    seed: int,
    name: str = "the graph",
    directed: bool = False,
) -> LinkSplit:
    """Splits the edges of a graph, by portable random bits of the seed.

    adjacency: canonical; symmetric unless the edges have directions. val, test: shares of all edges, rounded down.
    apart: the share of the other edges, rounded down, that training asks for and no message goes along; with 0, it asks
    for the edges that messages go along, as the paper has it. name: of the graph, for messages.

    Raises ConfigError where a share leaves nothing of a part, and GraphError where the graph has no edge, or where so
    few pairs are not joined that there are not enough negatives.
    """
    edges = joined_pairs(adjacency, directed)
    numbers = pair_numbers(edges, adjacency.shape[0], directed)
    if not len(edges):
        raise GraphError(f"{name} has no edges between different nodes, so that there are no links to learn")
    sizes = {"val": _share("link_val", val, len(edges), name), "test": _share("link_test", test, len(edges), name)}
    rest = len(edges) - sum(sizes.values())
    alone = _share("link_apart", apart, max(rest, 0), name)
    if rest - alone < 1:
        raise ConfigError(
            f"link_val={val:g}, link_test={test:g} and link_apart={apart:g} leave no message edges of the {len(edges)} "
            f"edges of {name}; take smaller shares"
        )
    order = np.argsort(words64(stream_key([seed], "link split"), 0, len(edges)), kind="stable")
    test_at, val_at, rest_at = np.split(order, [sizes["test"], sizes["test"] + sizes["val"]])
    asked = rest_at[:alone] if alone else rest_at
    hidden = np.concatenate([test_at, val_at, rest_at[:alone]])
    pairs_apart = Apart(adjacency.shape[0], numbers, directed)
    try:
        negatives = pairs_apart.different(stream_key([seed], "held-out negative pairs"), sum(sizes.values()))
    except GraphError as error:
        raise GraphError(f"{name}: {error}") from None
    held = {
        "test": HeldOut(edges[np.sort(test_at)], negatives[: sizes["test"]]),
        "val": HeldOut(edges[np.sort(val_at)], negatives[sizes["test"] :]),
    }
    val_part, test_part = (held[part] if sizes[part] else None for part in ("val", "test"))
    messages = without(adjacency, numbers[hidden], directed)
    return LinkSplit(messages, edges[np.sort(asked)], val_part, test_part, pairs_apart)


def without(adjacency: sp.csr_array, numbers: NDArray[np.int64], directed: bool = False) -> sp.csr_array:
    """The matrix without the edges of some pairs, by their numbers, in both directions unless these differ; others keep
    their weight.
    """
    nodes = adjacency.shape[0]
    rows = np.repeat(np.arange(nodes, dtype=np.int64), np.diff(adjacency.indptr))
    ends = np.stack([rows, adjacency.indices.astype(np.int64)], axis=1)
    kept = (ends[:, 0] == ends[:, 1]) | ~np.isin(pair_numbers(ends, nodes, directed), numbers)
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=nodes))]).astype(adjacency.indptr.dtype)
    return sp.csr_array((adjacency.data[kept], adjacency.indices[kept], indptr), shape=adjacency.shape)


def _share(what: str, share: float, of: int, name: str) -> int:
    """A share of so many edges, rounded down. A product that rounding has left just below a whole number is that."""
    count = int(share * of + 1e-9)
    if share and not count:
        raise ConfigError(f"{what}={share:g} of {of} edges of {name} is less than one; take a larger share, or 0")
    return count


@dataclass(frozen=True, eq=False)
class LinkGraph:
    """A graph whose pairs of nodes are what is labelled, and its splits are of: to a run, what a `Graph` is elsewhere.

    graph: with the message edges alone, and nothing said of its nodes. pairs: [p, 2], the edges that training asks
    for, then those of validation and test with their negatives. labels: [p], 1 where an edge joins a pair, else 0.
    train, val, test: numbers of pairs. Negatives of training are none of these: they are drawn anew each epoch.
    """

    graph: Graph
    links: LinkSplit

    @classmethod
    def of(cls, graph: Graph, val: float, test: float, apart: float, seed: int) -> LinkGraph:
        """Splits the edges of a graph; see `split_links`, whose pairs are ordered where the edges have directions."""
        if seed < 0:
            raise ConfigError(
                f"link_seed={seed}, which stands for a run's seed, is no seed without a run; give another"
            )
        links = split_links(graph.adjacency, val, test, apart, seed, graph.name, not graph.is_undirected)
        bare = dict.fromkeys(("labels", "train", "val", "test"))
        return cls(replace(graph, adjacency=links.messages, class_names=(), **bare), links)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        return self.graph.name

    @property
    def num_nodes(self) -> int:
        return self.graph.num_nodes

    @property
    def num_features(self) -> int:
        return self.graph.num_features

    @property
    def num_classes(self) -> int:
        """Joined or not."""
        return 2

    @property
    def class_names(self) -> tuple[str, ...]:
        return ()

    @property
    def targets(self) -> None:
        return None

    @property
    def target_names(self) -> tuple[str, ...]:
        return ()

    @property
    def num_outputs(self) -> int:
        """A score."""
        return 1

    @cached_property
    def pairs(self) -> Pairs:
        return np.concatenate([self.links.train, *(each.pairs for each in (self.links.val, self.links.test) if each)])

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        held = (each.joined for each in (self.links.val, self.links.test) if each)
        return np.concatenate(
            [np.ones(len(self.links.train), dtype=np.int64), *(each.astype(np.int64) for each in held)]
        )

    @property
    def train(self) -> Nodes:
        return np.arange(len(self.links.train))

    @property
    def val(self) -> Nodes | None:
        return None if self.links.val is None else len(self.links.train) + np.arange(len(self.links.val.pairs))

    @property
    def test(self) -> Nodes | None:
        return (
            None
            if self.links.test is None
            else np.arange(len(self.pairs) - len(self.links.test.pairs), len(self.pairs))
        )
