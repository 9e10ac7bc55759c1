"""What a trained model says of pairs of nodes: how likely an edge joins them, and which links are new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.checkpoints.model import Model
from portgnn.errors import ConfigError, GraphError, nearest
from portgnn.graphs.arrays import unmasked
from portgnn.graphs.fingerprint import fingerprints
from portgnn.graphs.graph import Graph
from portgnn.graphs.pairs import Pairs
from portgnn.hyperparameters import plain_number, whole_number
from portgnn.loaders.links import LinkProblem, Links
from portgnn.placing import forward
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.prediction.handing import HandedOn
from portgnn.prediction.predict import Target, Trained, check_fit, oriented, target_of, trained_model
from portgnn.protocol import Backend
from portgnn.registry import backend_of
from portgnn.tasks.link import Asked, Link, picking
from portgnn.text import shown
from portgnn.training import memory

PARTS = {"val": "validation", "test": "test"}
MOST = 1_000_000
"""Pairs that are scored together."""


@dataclass(frozen=True, eq=False)
class ScoredLinks(HandedOn):
    """A model's word on pairs of nodes; as an array of another library, its scores.

    graph: with all edges, as the recipe counts them. pairs: int64 [m, 2], numbers of nodes. scores: [m], logits: what
    an edge's log-odds are said to be. held_out: the task's metrics on the edges and negative pairs that training held
    out, by part ("validation", "test"); empty where this is not the graph that the model was trained on. notes: what a
    reader of the scores should know.
    """

    graph: Graph
    pairs: Pairs
    scores: NDArray[np.floating]
    held_out: dict[str, dict[str, float]]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """One line: the arrays have too many."""
        return f"ScoredLinks: {len(self.pairs):,} pairs of {self.graph!r}"

    @property
    def array(self) -> NDArray[Any]:
        return self.scores

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """[m]: the sigmoid of the scores, how likely an edge is said to be."""
        scores = self.scores.astype(np.float64)
        return np.exp(-np.logaddexp(0.0, -scores))

    @property
    def joined(self) -> NDArray[np.bool_]:
        """[m]: whether the graph has that edge."""
        edges: Any = self.graph.adjacency
        found: NDArray[np.bool_] = np.asarray(edges[self.pairs[:, 0], self.pairs[:, 1]]).ravel() != 0
        return found


def predict_links(
    model_or_path: Trained,
    graph: Target,
    pairs: object = None,
    *,
    node: object = None,
    k: int = 10,
    backend: str | Backend = "numpy",
    device: str | None = None,
    dtype: object = "float32",
    unknown: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
) -> ScoredLinks:
    """Scores of pairs of nodes by a model that was trained with task="link".

    pairs: [m, 2], numbers of nodes or their names (`Graph.node_ids`), to be scored in this order.
    node: a number or name whose `k` best new links are wanted: the pairs with nodes that no edge joins it to, the
        likeliest first. Neither: the pairs of the test part that training held out, the edges first.
    graph: the one trained on, on which messages go along the training edges alone, so that these are the scores that
        were tested; or another with the same features, along all of its edges.
    backend, device, dtype, unknown, ignore: as for `portgnn.predict`.

    Raises GraphError for nodes that the graph does not have, ConfigError for a model of another task and for a k that
    is larger than the number of candidates, and what `portgnn.predict` raises.
    """
    trained = trained_model(model_or_path)
    check_task(trained)
    target = oriented(target_of(graph, None, unknown, ignore, trained.config.targets), trained.config)[0]
    check_fit(trained, _unlabelled(target))
    if pairs is not None and node is not None:
        raise ConfigError("pairs to score and a node to find links of are two questions; ask one of them")
    asked = None if pairs is None else checked_pairs(target, pairs)
    of = None if node is None else int(numbers_of(target, [node])[0])
    candidates = None if of is None else _candidates(target, of, k)
    scorer = _Scorer(trained, target, backend_of(backend, device, dtype))
    with memory.told(scorer.prepared, scorer.backend):
        if candidates is not None:
            return scorer.best(candidates, k)
        return scorer.scored(scorer.tested() if asked is None else asked)


def check_task(trained: Model) -> None:
    """Raises ConfigError for a model that was not trained for links."""
    if tasks.of(trained.config).about != "pairs":
        raise ConfigError(
            "the model says what nodes are, and nothing of pairs of them; train one with --task link, in Python "
            'task="link"'
        )


class _Scorer:
    """A model's embeddings of a graph's nodes, on a device, and its decoder."""

    def __init__(self, trained: Model, graph: Graph, backend: Backend) -> None:
        self.backend, self._graph, self._trained = backend, graph, trained
        self._engine: Links | None = None
        bare = _unlabelled(graph)
        if trained.structure == fingerprints(graph)[0]:
            self._engine = Links(backend, LinkProblem.of(bare, trained.config, trained.moments))
            self.prepared = self._engine.problem.prepared
        else:
            self.prepared = Prepared.of(bare, trained.config, trained.moments)
        self._params = {name: backend.asarray(value) for name, value in trained.params.items()}
        placed = place(backend, self.prepared, None, training=False)
        self._rows = forward.outputs(backend, trained.layers, self._params, placed)

    def tested(self) -> Pairs:
        """The pairs that were held out for the test. Raises ConfigError where none were, or nobody knows which."""
        held = None if self._engine is None else self._engine.problem.graph.links.test
        if held is None:
            why = "the model was not trained on this graph" if self._engine is None else "no edges were held out"
            raise ConfigError(f"{why}, so that there are no test pairs to score; give pairs, or a node")
        return held.pairs

    def best(self, candidates: Pairs, k: int) -> ScoredLinks:
        """The k likeliest of some pairs; equal scores in the order of the pairs."""
        found = self.scored(candidates)
        first = np.argsort(-found.scores, kind="stable")[:k]
        return replace(found, pairs=found.pairs[first], scores=found.scores[first])

    def scored(self, pairs: Pairs) -> ScoredLinks:
        parts = [self._scores(pairs[at : at + MOST]) for at in range(0, len(pairs), MOST)]
        scores = np.concatenate(parts) if parts else np.empty(0)
        return ScoredLinks(self._graph, pairs, scores, self._held_out(), self._notes())

    def _scores(self, pairs: Pairs) -> NDArray[np.floating]:
        backend = self.backend
        picked = backend.csr(picking(pairs, self._graph.num_nodes))
        nothing = backend.asarray(np.zeros(0))
        asked = Asked(weights=nothing, labels=nothing, count=0, picked=(picked,))
        return backend.to_numpy(Link(self._trained.config).head(backend, self._params, self._rows, asked))

    def _held_out(self) -> dict[str, dict[str, float]]:
        if self._engine is None:
            return {}
        graph = self._engine.problem.graph
        parts = {PARTS[part]: getattr(graph, part) for part in PARTS}
        return {
            part: self._engine.scores(self._trained.params, pairs) for part, pairs in parts.items() if pairs is not None
        }

    def _notes(self) -> tuple[str, ...]:
        if self._engine is not None:
            return ("messages go along the edges of the training, as when the model was tested",)
        return (
            f"this is not the graph that the model was trained on ({self._trained.dataset or 'unnamed'}), or it has "
            "changed since: messages go along all of its edges",
        )


def numbers_of(graph: Graph, nodes: Sequence[object] | NDArray[np.generic]) -> NDArray[np.int64]:
    """The numbers of some nodes, given as numbers, or as texts: names, which are the numbers where there are no others.

    Raises GraphError for the first that the graph does not have.
    """
    given = np.asarray(nodes, dtype=object)
    if not given.size:
        return np.zeros(given.shape, dtype=np.int64)
    ids = range(graph.num_nodes) if graph.node_ids is None else graph.node_ids.tolist()
    places = {str(name): at for at, name in enumerate(ids)} if any(isinstance(each, str) for each in given.flat) else {}
    return np.array([_number_of(graph, each, places) for each in given.flat], dtype=np.int64).reshape(given.shape)


def _number_of(graph: Graph, node: object, places: dict[str, int]) -> int:
    if isinstance(node, str):
        found = places.get(node, -1)
        if found < 0:
            what = f"node {shown(node, 80)} is not in {graph.name}"
            raise GraphError(what + (f"{nearest(node, places)}" if len(places) < MOST else ""))
        return found
    number = plain_number(node)
    if type(number) is not int:
        raise GraphError(f"{shown(node, 80)} is no node: give its number or its name")
    if not 0 <= number < graph.num_nodes:
        raise GraphError(f"node {number} is not in {graph.name}, whose nodes are 0 to {graph.num_nodes - 1}")
    return number


def checked_pairs(graph: Graph, pairs: Any) -> Pairs:
    """Pairs of nodes as numbers, [m, 2]. Raises GraphError for another shape, unknown nodes, and a node with itself."""
    given = unmasked(pairs, "pairs") if not isinstance(pairs, list | tuple) else np.array(pairs, dtype=object)
    if given.size == 0:
        return np.zeros((0, 2), dtype=np.int64)
    if given.ndim != 2 or given.shape[1] != 2:
        raise GraphError(f"pairs of nodes must have the shape [pairs, 2], and not {list(given.shape)}")
    found = numbers_of(graph, given)
    loops = np.flatnonzero(found[:, 0] == found[:, 1])
    if len(loops):
        raise GraphError(f"pair {int(loops[0])} joins node {given[loops[0], 0]} with itself, which is no link")
    return found


def _candidates(graph: Graph, node: int, k: object) -> Pairs:
    """The pairs of a node with all that no edge joins it to. Raises ConfigError where these are fewer than k."""
    wanted = whole_number("k", k, 1)
    others = np.ones(graph.num_nodes, dtype=bool)
    others[node] = False
    others[graph.adjacency[[node]].indices] = False
    found = np.flatnonzero(others)
    if wanted > len(found):
        name = node if graph.node_ids is None else graph.node_ids[node]
        raise ConfigError(f"k={wanted} new links of node {name} were asked for, and there are {len(found)} candidates")
    return np.stack([np.full(len(found), node), found], axis=1)


def _unlabelled(graph: Graph) -> Graph:
    return replace(graph, labels=None, train=None, val=None, test=None, class_names=())
