"""Which pairs of nodes an edge joins.

The network's last layer is an embedding of each node, and a decoder makes a score of the embeddings z of two, which is
a logit: the sigmoid of it is the probability of an edge. The first two are symmetric: they score a pair of a directed
graph as they score it turned round.

`dot`       z_i . z_j: the inner product decoder of Kipf & Welling 2016, Variational graph auto-encoders (eq. 2)
`mlp`       W1^T relu(W0^T (z_i * z_j) + b0) + b1, of the product number by number (as the examples of Hu et al. 2020,
            Open Graph Benchmark, decode)
`bilinear`  z_i^T W0 z_j, with one W0 for all edges (Nickel et al. 2011, A three-way model for collective learning on
            multi-relational data, eq. 1, of one relation): it tells the two directions of a pair apart

The loss is the binary cross-entropy, half of it a mean over edges and half a mean over negative pairs (as weighed out
in Kipf & Welling's tkipf/gae, however many negatives there are): log(1 + exp(s)) for a negative's score s and log(1 +
exp(-s)) for an edge's, which the standard's logaddexp(±s, 0) is without overflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.metrics import Measures, Metric, Quantity
from portgnn.models.layer import Parameter
from portgnn.protocol import Namespace
from portgnn.tasks.ranking import average_precision, hits_at_k, mrr, roc_auc
from portgnn.tasks.targets import Counted, Targets
from portgnn.tasks.task import HEAD, Subject, Task

if TYPE_CHECKING:
    from portgnn.graphs.arrays import Nodes
    from portgnn.graphs.pairs import Pairs
    from portgnn.protocol import CSR, Array, Backend, Params
    from portgnn.recipe import Config

WEIGHT0, BIAS0, WEIGHT1, BIAS1 = (f"{HEAD}{name}" for name in ("weight0", "bias0", "weight1", "bias1"))
"""The parameters of the decoder `mlp`."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Asked(Counted):
    """The pairs that a loss asks for, on a device. labels: [pairs], 1 where an edge joins one and -1 where none does.

    picked: matrices of `picking`, whose pairs follow each other. weights: [pairs]. Where nothing is picked, all pairs
    of nodes are asked for, each node with itself as well; labels, weights and scores are [n, n] then.
    """

    picked: tuple[CSR, ...]


class _Ranked(Metric):
    """A metric of an order, of scores on the host. labels: 1 or -1, the positives first."""

    def sums(self, xp: Namespace, outputs: Array, counted: Any) -> tuple[Any, ...]:
        scores, labels = np.asarray(outputs, dtype=np.float64), np.asarray(counted.labels)
        return (self.ranked(scores, labels > 0),)

    def value(self, sums: Sequence[Any], count: int) -> Any:
        return sums[0]

    def ranked(self, scores: object, positive: object) -> float:
        raise NotImplementedError


class AUC(_Ranked):
    """`portgnn.tasks.ranking.roc_auc`."""

    def ranked(self, scores: Any, positive: Any) -> float:
        return roc_auc(scores, positive)


class AP(_Ranked):
    """`portgnn.tasks.ranking.average_precision`."""

    def ranked(self, scores: Any, positive: Any) -> float:
        return average_precision(scores, positive)


class MRR(_Ranked):
    """`portgnn.tasks.ranking.mrr`, each edge among all negatives of its part."""

    def ranked(self, scores: Any, positive: Any) -> float:
        return mrr(scores[positive], scores[~positive])


@dataclass(frozen=True)
class Hits(_Ranked):
    """`portgnn.tasks.ranking.hits_at_k` among all negatives of a part. k: 0 stands for 10, or for all where fewer."""

    k: int = 0

    def ranked(self, scores: Any, positive: Any) -> float:
        negatives = scores[~positive]
        return hits_at_k(scores[positive], negatives, self.k or min(10, len(negatives)))


SHARE = "share of pairs"


class Link(Task):
    """Whether an edge joins two nodes, by binary cross-entropy. Outputs are logits, [pairs].

    What a task calls nodes are pairs here: those of a `portgnn.graphs.links.LinkGraph`, by their numbers in it.
    """

    metrics = (
        AUC("roc_auc", "ROC-AUC", SHARE, higher_is_better=True),
        AP("average_precision", "average precision", SHARE, higher_is_better=True),
        MRR("mrr", "MRR", "reciprocal rank", higher_is_better=True),
        Hits("hits", "Hits@K", SHARE, higher_is_better=True),
    )

    about = "pairs"
    quantity = Quantity("loss", "loss", "nats a pair")

    @classmethod
    def seeded(cls, config: Config, seed: int) -> Config:
        return config if config.link_seed >= 0 else config.with_(link_seed=seed)

    @classmethod
    def fits(cls, graph: Subject) -> bool:
        return False  # any graph has edges to learn, so that this is asked for by name

    def advice(self, directed: bool) -> str:
        if not directed or self.config.decoder == "bilinear":
            return ""
        return (
            f"the decoder {self.config.decoder} scores a pair of nodes as it scores the pair turned round; "
            "--decoder bilinear tells them apart"
        )

    @property
    def measures(self) -> Measures:
        *others, hits = self.metrics
        return Measures((*others, replace(hits, k=self.config.hits_k)), self.quantity, self.config.monitor)

    @property
    def names(self) -> tuple[str, ...]:
        return ()

    @property
    def given(self) -> tuple[str, ...]:
        return ()

    @property
    def outputs(self) -> int:
        return int(self.config.embedding)

    def width(self, outputs: int) -> int:
        return self.config.embedding

    def parameters(self, width: int) -> Mapping[str, Parameter]:
        if self.config.decoder == "dot":
            return {}
        if self.config.decoder == "bilinear":
            return {WEIGHT0: Parameter((width, width))}
        return {
            WEIGHT0: Parameter((width, width)),
            BIAS0: Parameter((width,), "zeros", "bias"),
            WEIGHT1: Parameter((width, 1)),
            BIAS1: Parameter((1,), "zeros", "bias"),
        }

    def head(self, backend: Backend, params: Params, rows: Array, counted: Counted) -> Array:
        """The scores of the pairs that are asked for; the rows themselves where none are."""
        if not isinstance(counted, Asked):
            return rows
        if not counted.picked:
            return self.all_scores(backend, params, rows)
        scores = [self.scores(backend, params, *_ends(backend, picked, rows)) for picked in counted.picked]
        joined: Array = scores[0] if len(scores) == 1 else backend.xp.concat(scores)
        return joined

    def scores(self, backend: Backend, params: Params, left: Array, right: Array) -> Array:
        """The decoder: of two embeddings each, [pairs, width], a logit each, [pairs]."""
        xp = backend.xp
        if self.config.decoder == "bilinear":
            left = backend.matmul(left, params[WEIGHT0])
        both = left * right
        if self.config.decoder != "mlp":
            dots: Array = xp.sum(both, axis=-1)
            return dots
        hidden = backend.relu(xp.add(backend.matmul(both, params[WEIGHT0]), params[BIAS0]))
        logits: Array = xp.add(backend.matmul(hidden, params[WEIGHT1]), params[BIAS1])[:, 0]
        return logits

    def all_scores(self, backend: Backend, params: Params, rows: Array) -> Array:
        """The scores [n, n] of all pairs of n nodes, from the row's to the column's, by a decoder of products."""
        left = backend.matmul(rows, params[WEIGHT0]) if self.config.decoder == "bilinear" else rows
        return backend.matmul(left, backend.xp.matrix_transpose(rows))

    def targets(self, nodes: Nodes, at: Nodes, rows: int, among: Nodes | None = None) -> Targets:
        count = len(nodes if among is None else among)
        labels, weights = np.zeros(rows), np.zeros(rows)
        if len(nodes):
            labels[at] = signs(np.asarray(self.graph.labels)[nodes])
            weights[at] = 1.0 / count
        return Targets(weights, labels, count)

    def loss(self, backend: Backend, outputs: Array, counted: Counted) -> Array:
        """The mean binary cross-entropy over the pairs that are counted."""
        xp = backend.xp
        away = outputs * -counted.labels
        mean: Array = xp.sum(counted.weights * xp.logaddexp(away, xp.zeros_like(away)))
        return mean


def every_pair(train: Pairs, messages: sp.csr_array, ordered: bool) -> Targets:
    """Of all pairs of nodes, [n, n]: an edge asked for and each node with itself count as joined, all others as not.

    As in tkipf/gae (train.py: adj_label, pos_weight, norm): with s entries of edges asked for, joined pairs weigh
    1 / 2s and others 1 / 2(n² - s). What is held out counts as not joined, since training does not know of it; edges
    that carry messages and are not asked for count for nothing.
    """
    nodes = messages.shape[0]
    source, target = train.T if ordered else np.concatenate([train, train[:, ::-1]]).T
    labels, weights = np.full((nodes, nodes), -1.0), np.full((nodes, nodes), 0.5 / (nodes * nodes - len(source)))
    weights[messages.nonzero()] = 0.0
    for rows, columns in ((source, target), (np.arange(nodes), np.arange(nodes))):
        labels[rows, columns], weights[rows, columns] = 1.0, 0.5 / len(source)
    return Targets(weights, labels, len(train))


def signs(joined: object) -> NDArray[np.float64]:
    """1 where an edge joins a pair and -1 where none does. joined: 1 and 0."""
    return np.where(np.asarray(joined) > 0, 1.0, -1.0)


def picking(pairs: Pairs, nodes: int) -> sp.csr_array:
    """The matrix [2 m, n] whose product with rows of all nodes is first one end of each pair and then the other."""
    ends = pairs.T.ravel().astype(np.int32)
    return sp.csr_array((np.ones(len(ends)), ends, np.arange(len(ends) + 1, dtype=np.int32)), shape=(len(ends), nodes))


def _ends(backend: Backend, picked: CSR, rows: Array) -> tuple[Array, Array]:
    both = backend.matmul(picked, rows)
    half = picked.shape[0] // 2
    return both[:half, :], both[half:, :]
