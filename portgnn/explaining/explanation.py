"""`portgnn.explain`: why a trained network says what it says of a node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.checkpoints.model import Model
from portgnn.errors import ConfigError
from portgnn.explaining.explain import RATE, Method, answers_with, gradients, masks
from portgnn.explaining.neighbourhood import Neighbourhood
from portgnn.graphs.graph import UNLABELLED, Graph
from portgnn.hyperparameters import whole_number
from portgnn.prediction.evaluation import softmax
from portgnn.prediction.hidden import layer_number
from portgnn.prediction.predict import Target, Trained, prepared_for, target_of, trained_model
from portgnn.protocol import Backend
from portgnn.registry import backend_of
from portgnn.training import memory

METHODS = ("gradient", "mask")
WORDS = {"mask": "learned masks", "gradient": "gradient × input"}
EDGES = 10
"""Of the strongest edges, as many are kept, or left out, to see what becomes of the answer."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which edges and features an answer comes from.

    node: its number, and name as people read it. answer: the class, label or value that is explained; predicted: what
    the network says of it (a class's probability). nodes: [n], of the neighbourhood. edges: int64 [m, 2], sources and
    targets, without loops. edge_scores: [m], feature_scores: [f], node_scores: [n]: those of masks are 0 or above, of
    gradients they have signs. with_edges, without_edges: what is said where the `kept` strongest edges alone carry
    messages, and where they do not.
    """

    node: int
    name: str
    method: Method
    answer: str
    predicted: float
    nodes: NDArray[np.int64]
    edges: NDArray[np.int64]
    edge_scores: NDArray[np.float64]
    feature_scores: NDArray[np.float64]
    node_scores: NDArray[np.float64]
    kept: int
    with_edges: float
    without_edges: float
    graph: Graph = field(repr=False)

    def __repr__(self) -> str:
        """One line: the arrays have too many."""
        return f"Explanation: node {self.name}, {self.answer} ({self.predicted:.4f}), {len(self.edges)} edges"

    def top_edges(self, k: int = EDGES) -> NDArray[np.int64]:
        """The numbers, among `edges`, of the k with the largest scores, the first of equal ones first."""
        return strongest(self.edge_scores, k)

    def top_features(self, k: int = EDGES) -> NDArray[np.int64]:
        """The columns of the k largest scores, by size."""
        return strongest(np.abs(self.feature_scores), k)

    def name_of(self, node: int) -> str:
        ids = self.graph.node_ids
        return str(node) if ids is None else str(ids[node])

    def feature_name(self, column: int) -> str:
        return self.graph.feature_names[column] if self.graph.feature_names else str(column)

    def class_of(self, node: int) -> str:
        """The node's own class; "" where it is not known."""
        labels = self.graph.labels
        known = labels is not None and labels[node] != UNLABELLED
        return str(self.graph.class_names[labels[node]]) if labels is not None and known else ""

    def picture(self, form: str = ".svg") -> bytes:
        """The neighbourhood as a file, .svg, .png or .pdf: edges as strong as their scores. Needs matplotlib."""
        from portgnn import plots

        title = f"node {self.name}: {self.answer} ({self.predicted:.2f}), by {WORDS[self.method]}"
        return plots.neighbourhood_image(
            form, node=self.node, edges=self.edges, scores=self.edge_scores, names=self.name_of,
            classes=self.class_of, title=title,
        )  # fmt: skip

    def to_dict(self, k: int = EDGES) -> dict[str, Any]:
        """As JSON, with the k strongest edges and features."""
        return {
            "node": self.name,
            "method": self.method,
            "answer": self.answer,
            "predicted": self.predicted,
            "nodes": len(self.nodes),
            "edges": [
                {"source": self.name_of(source), "target": self.name_of(target), "score": score}
                for source, target, score in (
                    (*self.edges[at].tolist(), float(self.edge_scores[at])) for at in self.top_edges(k)
                )
            ],
            "features": [
                {"feature": self.feature_name(int(at)), "score": float(self.feature_scores[at])}
                for at in self.top_features(k)
            ],
            "kept_edges": self.kept,
            "predicted_with_these_edges": self.with_edges,
            "predicted_without_these_edges": self.without_edges,
        }


def strongest(scores: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """The places of the k largest scores, the largest first, and of equal ones the first."""
    order: NDArray[np.int64] = np.argsort(-scores, kind="stable")[:k]
    return order


class Explainer:
    """Explanations of many nodes of one graph: model and graph are placed once."""

    def __init__(self, trained: Model, graph: Graph, backend: Backend) -> None:
        """Raises ConfigError for a model that says nothing of nodes, GraphError where the graph does not fit it."""
        layer_number(trained, 1)
        if trained.task().about != "nodes":
            raise ConfigError("the model scores pairs of nodes, and what is explained is what is said of a node")
        self.trained, self.backend = trained, backend
        self.prepared = prepared_for(trained, graph)
        self.graph = self.prepared.graph
        self.layers = trained.layers
        self.params = {name: backend.asarray(value) for name, value in trained.params.items()}
        self.are_classes = trained.config.task == "classes"

    def around(self, node: int) -> tuple[Neighbourhood, int]:
        """What a node's answer comes from, and the node's row of the output."""
        found = Neighbourhood.of(self.backend, self.prepared, self.layers, self.params, np.array([node]))
        return found, int(np.searchsorted(found.rows, node))

    def said(self, outputs: NDArray[np.float64], answer: int) -> float:
        """What outputs [k] of a node say of an answer: a class's probability, a label's, or a value."""
        if self.are_classes:
            return float(softmax(outputs[None, :])[0, answer])
        values = self.trained.task().answers(outputs[None, :])[0]
        are_labels = self.trained.task().things == "labels"
        return float(1 / (1 + np.exp(-values[answer]))) if are_labels else float(values[answer])

    def explain(
        self,
        node: int,
        method: Method = "gradient",
        answer: str | None = None,
        epochs: int = 100,
        rate: float = RATE,
        seed: int = 0,
        edges: int = EDGES,
    ) -> Explanation:
        """See `portgnn.explain`."""
        around, row = self.around(node)
        full = answers_with(around, row, np.ones(len(around.edges), dtype=bool))
        chosen = self._answer(full, answer)
        if method == "mask":
            scores = masks(around, row, chosen, epochs, rate, seed, self.are_classes)
        else:
            scores = gradients(around, row, chosen)
        kept = np.zeros(len(around.edges), dtype=bool)
        kept[strongest(scores.edges, edges)] = True
        ids = self.graph.node_ids
        return Explanation(
            node,
            str(node) if ids is None else str(ids[node]),
            method,
            self.trained.class_names[chosen],
            self.said(full, chosen),
            around.nodes,
            around.edges,
            scores.edges,
            scores.features,
            scores.nodes,
            int(kept.sum()),
            self.said(answers_with(around, row, kept), chosen),
            self.said(answers_with(around, row, ~kept), chosen),
            self.graph,
        )

    def _answer(self, outputs: NDArray[np.float64], answer: str | None) -> int:
        names = self.trained.class_names
        if answer is None:
            return int(outputs.argmax())
        if answer not in names:
            known = ", ".join(repr(name[:40]) for name in names[:10])
            raise ConfigError(f"answer={answer!r} is none of what the model says of a node: {known}")
        return names.index(answer)


def explain(
    model_or_path: Trained,
    graph: Target,
    node: int | str,
    *,
    method: Method = "gradient",
    answer: str | None = None,
    epochs: int = 100,
    seed: int = 0,
    edges: int = EDGES,
    backend: str | Backend = "numpy",
    device: str | None = None,
    dtype: object = "float32",
    unknown: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
    announce: Callable[[str], None] | None = None,
) -> Explanation:
    """Which edges and features of its neighbourhood a trained network's answer for a node comes from.

    node: its number, or its name where the graph has names.
    method: "gradient" is the gradient of the answer times its input; "mask" learns masks as GNNExplainer does (Ying et
        al. 2019), in so many epochs of Adam from a seed. answer: the class (label, value) that is asked about;
        None for the one that the network says.
    edges: how many of the strongest are kept alone, and left out, to see what becomes of the answer.

    Any network can be explained, one of your own as well; only the node's receptive field is computed. In float64 the
    numbers are the same on every backend. Raises ConfigError for a node, method or answer that is not there and for a
    model of links or whole graphs; else what `portgnn.predict` raises.
    """
    trained = trained_model(model_or_path)
    if method not in METHODS:
        raise ConfigError(f"method={method!r} must be {' or '.join(METHODS)}")
    steps, kept = whole_number("epochs", epochs, 1), whole_number("edges", edges, 0)
    layer_number(trained, 1)
    single = target_of(graph, announce, unknown, ignore, trained.config.targets)
    explainer = Explainer(trained, single, backend_of(backend, device, dtype))
    number = node_number(explainer.graph, node)
    with memory.told(explainer.prepared, explainer.backend):
        return explainer.explain(number, method, answer, steps, seed=whole_number("seed", seed, 0), edges=kept)


def node_number(graph: Graph, node: int | str) -> int:
    """The number of a node that is given by it or by its name. Raises ConfigError."""
    if isinstance(node, str) and graph.node_ids is not None:
        found = np.flatnonzero(graph.node_ids == node)
        if len(found):
            return int(found[0])
    if isinstance(node, str) and not node.lstrip("-").isdigit():
        raise ConfigError(f"{graph.name} has no node {node[:60]!r}; nodes have the numbers 0 to {graph.num_nodes - 1}")
    number = int(node)
    if not 0 <= number < graph.num_nodes:
        raise ConfigError(f"{graph.name} has no node {number}; it has the numbers 0 to {graph.num_nodes - 1}")
    return number
