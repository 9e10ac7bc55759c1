"""How good predictions are: accuracy, F1, the table of a class, confusion and calibration. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import GraphError
from portgnn.graphs.graph import UNLABELLED, Graph
from portgnn.graphs.sets import GraphSet

if TYPE_CHECKING:
    from portgnn.training.engine import Described

BINS = 15
PARTS = ("train", "validation", "test", "other", "labelled")
"""Parts of the labelled nodes: of a split, in none of its parts, and where no split is known."""
WORDS = {
    "train": "training",
    "validation": "validation",
    "test": "test",
    "other": "other labelled",
    "labelled": "labelled",
}
"""What to call the nodes of each part."""
TRAIN = 1
"""The code of training nodes; see `split_codes`."""
MAIN = ("test", "other", "validation", "labelled", "train")
"""The same by how much their scores say of nodes that a model was not trained on."""


@dataclass(frozen=True)
class ClassScore:
    """One class. support: how many nodes have it; predicted: how many are said to."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions against labels on some nodes. part: which nodes, one of `PARTS`.

    Numbers of classes are those of the model, and names beside them say which they are.

    confusion: int64 [c, c], the nodes of class i (row) that are said to be of class j (column).
    """

    part: str
    nodes: int
    accuracy: float
    macro_f1: float
    calibration_error: float
    classes: tuple[ClassScore, ...]
    confusion: NDArray[np.int64]

    def __repr__(self) -> str:
        """One line; `to_dict` has every class and the confusion matrix."""
        return (
            f"Evaluation: {self.part} accuracy {self.accuracy:.4f}, macro F1 {self.macro_f1:.4f}, expected calibration "
            f"error {self.calibration_error:.4f}, {self.nodes} nodes, {len(self.classes)} classes"
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        rows = [asdict(score) for score in self.classes]
        return {
            "part": self.part,
            "nodes": self.nodes,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "calibration_error": self.calibration_error,
            "classes": rows,
            "confusion": self.confusion.tolist(),
        }


def members_of(graph: Described | Graph | GraphSet) -> int:
    """How many things have a label each: nodes, or the graphs of a set."""
    return len(graph) if isinstance(graph, GraphSet) else graph.num_nodes


def noun_of(graph: Described | Graph | GraphSet) -> str:
    """What one of them is called."""
    return "graph" if isinstance(graph, GraphSet) else "node"


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities [n, c] of logits [n, c]; float64, each row sums to 1."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    share: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return share


def labels_for(graph: Graph | GraphSet, class_names: Sequence[str]) -> NDArray[np.int64]:
    """The graph's labels [n] as numbers of a model's classes, matched by name; -1 where unlabelled.

    Raises GraphError for a class that the model does not have.
    """
    number = {name: position for position, name in enumerate(class_names)}
    unknown = [name for name in graph.class_names if name not in number]
    if unknown:
        raise GraphError(f"{graph.name} has the class {unknown[0]!r}, which the model does not know")
    if graph.labels is None:
        return np.full(members_of(graph), UNLABELLED, dtype=np.int64)
    table = np.array([*(number[name] for name in graph.class_names), UNLABELLED], dtype=np.int64)
    return table[graph.labels]


def split_codes(graph: Described) -> NDArray[np.uint8]:
    """Each node's part of the graph's split, [n]: 1 for training, 2 validation, 3 test, 0 for none."""
    codes = np.zeros(members_of(graph), dtype=np.uint8)
    for code, nodes in enumerate((graph.train, graph.val, graph.test), start=1):
        if nodes is not None:
            codes[nodes] = code
    return codes


def part_names(labels: NDArray[np.int64], codes: NDArray[np.uint8], known: bool = True) -> NDArray[np.str_]:
    """The name of each node's part, [n]; "" where a node has no label. labels, codes: [n].

    known: whether nodes of no part are known to be of none: "other", or else "labelled".
    """
    names = np.array(["other" if known else "labelled", "train", "validation", "test"])
    return np.where(labels == UNLABELLED, "", names[codes])


def evaluate_parts(
    logits: NDArray[np.floating], labels: NDArray[np.int64], parts: NDArray[np.str_], class_names: Sequence[str]
) -> dict[str, Evaluation]:
    """Scores logits [n, c] part by part, in the order of `PARTS`; parts without a node are absent.

    labels: [n], as numbers of class_names, which name the columns: `labels_for` makes them of a graph's own numbers.
    parts: [n], as `part_names` gives them.
    """
    found = {}
    for part in PARTS:
        nodes = np.flatnonzero(parts == part)
        if len(nodes):
            found[part] = score(softmax(logits[nodes]), labels[nodes], class_names, part)
    return found


def score(
    probabilities: NDArray[np.floating], labels: NDArray[np.int64], class_names: Sequence[str], part: str = "labelled"
) -> Evaluation:
    """Scores probabilities [n, c] against labels [n] in [0, c), n > 0.

    precision, recall and F1 = 2PR / (P + R) as in C. J. van Rijsbergen, "Information Retrieval", 1979, ch. 7, with
    0 where a denominator is 0; macro F1 is the mean of F1 over the classes that occur among labels or predictions
    (as scikit-learn's `f1_score(average="macro")`; the mean of F1s, not the F1 of means: Opitz & Burst 2019,
    "Macro F1 and Macro F1"). Calibration: see `calibration_error`.
    """
    c = len(class_names)
    predicted = probabilities.argmax(axis=1)
    confusion = np.bincount(labels * c + predicted, minlength=c * c).reshape(c, c).astype(np.int64)
    hits, support, said = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall = _ratio(hits, said), _ratio(hits, support)
    f1 = _ratio(2 * hits, said + support)
    seen = (said + support) > 0
    rows = zip(class_names, precision, recall, f1, support, said, strict=True)
    return Evaluation(
        part=part,
        nodes=len(labels),
        accuracy=float(hits.sum() / len(labels)),
        macro_f1=float(f1[seen].mean()),
        calibration_error=calibration_error(probabilities, labels),
        classes=tuple(ClassScore(n, float(p), float(r), float(f), int(s), int(t)) for n, p, r, f, s, t in rows),
        confusion=confusion,
    )


def calibration_error(probabilities: NDArray[np.floating], labels: NDArray[np.int64], bins: int = BINS) -> float:
    """Expected calibration error of the predicted class's probability, in [0, 1].

    The sum over `bins` equally wide bins ((m-1)/bins, m/bins] of |accuracy - mean confidence| in the bin, weighted
    by its share of the nodes: C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural
    networks", ICML 2017, eq. 3, who take 15 bins.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    hit = probabilities.argmax(axis=1) == labels
    at = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    # |acc - conf| * count / n: the counts cancel, so that sums do.
    gap = np.bincount(at, weights=hit, minlength=bins) - np.bincount(at, weights=confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def _ratio(over: NDArray[np.int64], under: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(over, under, out=np.zeros(len(over)), where=under != 0)
