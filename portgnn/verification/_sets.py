"""Checks of sets of graphs: what is read off each graph's rows, and a step over a padded batch of several.

Both are stated here graph by graph, each alone and without padding, in float64 with its gradient by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet
from portgnn.loaders.batch import from_tree
from portgnn.loaders.sets import GraphBatches, PreparedSet, place
from portgnn.presets import Config
from portgnn.protocol import Backend, Params
from portgnn.tasks.heads import read_out
from portgnn.training import make_loss
from portgnn.verification.check import check
from portgnn.verification.draw import Draw
from portgnn.verification.measure import Floats, Measured, Suspects, compare, fetch, worst

EXACT = ("float64", "float32")
READOUTS = ("sum", "mean", "max", "attention")
ROWS = "rows"
CLASSES, FEATURES, HIDDEN = 3, 4, 5
CLEAR = 1e-3
"""How far hidden numbers stay from the kink of relu."""


@dataclass(frozen=True)
class Sets:
    """A drawn set of graphs, one of a single node and one without edges, in batches of which the last is smaller."""

    readout: str
    graphs: int
    seed: int

    def stream(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose])

    @cached_property
    def set(self) -> GraphSet:
        random, made = self.stream(0), []
        for number in range(self.graphs):
            nodes = 1 if number == 1 else int(random.integers(2, 9))
            dense = np.triu(random.random((nodes, nodes)) < (0.0 if number == 2 else 0.5), 1).astype(np.float64)
            made.append(Graph(sp.csr_array(dense + dense.T), random.standard_normal((nodes, FEATURES))))
        labels = random.integers(0, CLASSES, self.graphs)
        names = tuple(map(str, range(CLASSES)))
        return GraphSet.of(made, labels, class_names=names, train=range(self.graphs))

    @cached_property
    def problem(self) -> PreparedSet:
        config = Config(
            readout=self.readout, hidden=HIDDEN, dropout=0.0, input_dropout=0.0, l2=0.0, normalize_features="none",
            batch_size=max(self.graphs - 1, 1),
        )  # fmt: skip
        return PreparedSet(self.set, config)

    @cached_property
    def params(self) -> dict[str, Floats]:
        """Weights whose hidden numbers lie far from the kink of relu, on any graph of the set."""
        for draw in range(1, 50):
            random = self.stream(draw)
            found: dict[str, Floats] = {
                f"weight{at}": random.standard_normal(layer.parameters()["weight"].shape)
                for at, layer in enumerate(self.problem.layers)
            }
            hidden = [a @ x @ found["weight0"] for a, x in map(self.dense, range(self.graphs))]
            if min(float(np.abs(each).min()) for each in hidden) > CLEAR:
                return found
        raise AssertionError("no weights stay clear of the kink")  # pragma: no cover

    def dense(self, number: int) -> tuple[Floats, Floats]:
        """D^-1/2 (A + I) D^-1/2 of a graph, and its features."""
        graph = self.set[number]
        looped = graph.adjacency.toarray() + np.eye(graph.num_nodes)
        root = 1 / np.sqrt(looped.sum(axis=1))
        return root[:, None] * looped * root, np.asarray(graph.features)


def _sets(draw: Draw) -> tuple[Sets, ...]:
    """The same graphs for each readout, so that a backend which compiles for each shape compiles once."""
    stream = draw.stream("sets")
    count, seed = int(stream.integers(4, 9)), int(stream.integers(0, 2**31))
    return tuple(Sets(readout, count, seed) for readout in READOUTS)


def read(readout: str, rows: Floats) -> Floats:
    """What one graph's rows come to, [columns]."""
    if readout == "attention":
        share = np.exp(rows[:, -1] - rows[:, -1].max())
        weighted: Floats = (share / share.sum()) @ rows[:, :-1]
        return weighted
    found: Floats = rows.max(axis=0) if readout == "max" else rows.sum(axis=0)
    return found / len(rows) if readout == "mean" else found


def read_back(readout: str, rows: Floats, slope: Floats) -> Floats:
    """The gradient in the rows of one graph, of the sum of what is read times `slope`."""
    found: Floats = np.zeros_like(rows)
    if readout == "max":
        found[rows.argmax(axis=0), np.arange(rows.shape[1])] = slope
    elif readout == "attention":
        share = np.exp(rows[:, -1] - rows[:, -1].max())
        share /= share.sum()
        found[:, :-1] = share[:, None] * slope
        each = rows[:, :-1] @ slope
        found[:, -1] = share * (each - share @ each)
    else:
        found += slope / (len(rows) if readout == "mean" else 1)
    return found


@check("sets.readout", cases=_sets, full=_sets, dtypes=EXACT)
def readout(backend: Backend, one: Sets) -> Measured:
    """The sum, mean, maximum and attention over the rows of each graph, and the gradient in them, padding left out."""
    measured: list[Measured] = []
    for batch, part in GraphBatches(backend, one.problem).in_order(np.arange(one.graphs)):
        assert batch.members is not None
        members = from_tree(place(backend, one.problem, batch)).readout
        ends = np.cumsum(one.set.sizes[part])
        random = one.stream(100 + len(measured))
        host = random.standard_normal((batch.features.shape[0], one.problem.layers[-1].fan_out))
        host[ends[-1] :] = 1000.0  # of no graph
        weights = np.zeros((batch.members.shape[0], CLASSES))
        weights[: len(part)] = random.standard_normal((len(part), CLASSES))
        rows, slopes = backend.asarray(host), backend.asarray(weights)

        def total(params: Params, members: Any = members, slopes: Any = slopes) -> tuple[Any, Any]:
            read = read_out(backend, one.problem.config.readout, params[ROWS], members)
            return backend.xp.sum(read * slopes), read

        (_, got), grads = backend.value_and_grad(total)({ROWS: rows})
        there, slope = (backend.to_numpy(each).astype(np.float64) for each in (rows, slopes))
        pieces = np.split(there[: ends[-1]], ends[:-1])
        want = np.stack([read(one.readout, piece) for piece in pieces])
        gradient = np.zeros_like(there)
        backs = [read_back(one.readout, piece, each) for piece, each in zip(pieces, slope, strict=False)]
        gradient[: ends[-1]] = np.concatenate(backs)
        what = f"the {one.readout} of each graph"
        found = fetch(backend, got, what)[: len(part)]
        measured.append(compare(what, found, want, max(float(np.abs(want).max()), 1.0), _mistaken(one, there, pieces)))
        measured.append(compare("its gradient", fetch(backend, grads[ROWS], "its gradient"), gradient, 1.0))
    return worst(*measured)


def _mistaken(one: Sets, rows: Floats, pieces: list[Floats]) -> Suspects:
    padded = [np.concatenate([piece, rows[-1:]]) for piece in pieces]
    return {"a row of no graph is counted": lambda: np.stack([read(one.readout, each) for each in padded])}


def stated(one: Sets, params: dict[str, Floats], part: list[int]) -> tuple[Floats, dict[str, Floats]]:
    """The mean cross-entropy of a two-layer GCN over some graphs, each alone, and its gradient in both weights."""
    first, second = params["weight0"], params["weight1"]
    loss, grads = 0.0, {name: np.zeros_like(value) for name, value in params.items()}
    labels = one.set.labels
    assert labels is not None
    for number in part:
        a, x = one.dense(number)
        before = a @ x @ first
        smooth = a @ np.maximum(before, 0.0)
        rows = smooth @ second
        logits = read(one.readout, rows)
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        loss -= float(np.log(shares[labels[number]])) / len(part)
        slope = read_back(one.readout, rows, (shares - np.eye(CLASSES)[labels[number]]) / len(part))
        grads["weight1"] += smooth.T @ slope
        grads["weight0"] += (a @ x).T @ ((a.T @ slope @ second.T) * (before > 0))
    return np.asarray(loss), grads


@check("sets.step", cases=_sets, full=_sets, dtypes=EXACT)
def step(backend: Backend, one: Sets) -> Measured:
    """The loss of a padded batch of graphs and its gradient: those of its graphs one by one, whatever each readout."""
    measured: list[Measured] = []
    placed = {name: backend.asarray(value) for name, value in one.params.items()}
    params = {name: backend.to_numpy(value).astype(np.float64) for name, value in placed.items()}
    keys = np.zeros((len(one.problem.layers), 2), dtype=np.uint32)
    for batch, part in GraphBatches(backend, one.problem).in_order(np.arange(one.graphs)):
        loss = make_loss(backend, from_tree(place(backend, one.problem, batch)), one.problem)
        (got, _), grads = backend.value_and_grad(loss)(placed, keys)
        want, gradient = stated(one, params, part.tolist())
        size = max(float(np.abs(value).max()) for value in gradient.values())
        measured.append(compare("the loss", fetch(backend, got, "the loss"), want, max(float(want), 1.0)))
        measured += [
            compare(f"the gradient in {name}", fetch(backend, grads[name], name), value, size)
            for name, value in gradient.items()
        ]
    return worst(*measured)
