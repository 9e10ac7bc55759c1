"""One class a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import ConfigError
from portgnn.graphs.split import labels_at
from portgnn.metrics import ACCURACY, Metric, Score
from portgnn.tasks.scores import AVERAGE_PRECISION, BALANCED_ACCURACY, MACRO_F1, MICRO_F1, ROC_AUC
from portgnn.tasks.targets import Counted, Targets
from portgnn.tasks.task import Subject, Task
from portgnn.tasks.weights import given_weights

if TYPE_CHECKING:
    from portgnn.graphs.arrays import Nodes
    from portgnn.protocol import Array, Backend


class Classes(Task):
    """One class of several for each node, by cross-entropy. Outputs are logits.

    Labels are int32 [rows], -1 where a row is not counted; weights -1/count at the label of each counted row, so that
    their product with log-probabilities sums to a mean.

    With class weights w and a smoothing s, a row of class y weighs class j by (1 - s) w_y [j = y] + s w_j / c, and the
    sum is divided by that of w_y over all rows, as torch's CrossEntropyLoss has it.
    """

    metrics = (ACCURACY,)
    stacks = True
    final = (BALANCED_ACCURACY, MACRO_F1, MICRO_F1, ROC_AUC, AVERAGE_PRECISION)

    @classmethod
    def fits(cls, graph: Subject) -> bool:
        return graph.targets is None

    @property
    def headlines(self) -> tuple[Metric | Score, ...]:
        return *self.metrics, *self.measures.scores

    def check(self) -> None:
        graph = self.graph
        if graph.targets is not None:
            raise ConfigError(
                f"{graph.name} has {len(graph.target_names)} targets a node, and --task classes needs one class each; "
                "take --task labels or --task regression"
            )
        super().check()
        _ = self._of_class

    def targets(self, nodes: Nodes, at: Nodes, rows: int, among: Nodes | None = None) -> Targets:
        count = len(nodes if among is None else among)
        numbers = np.full(rows, -1, dtype=np.int32)
        weights = np.zeros((rows, self.outputs))
        if not len(nodes):
            return Targets(weights, numbers, count)
        labels = labels_at(self.graph, nodes)
        numbers[at] = labels
        if self.config.class_weights == "none" and not self.config.label_smoothing:
            weights[at, labels] = -1.0 / count
            return Targets(weights, numbers, count)
        of_class, smooth, c = self._of_class, self.config.label_smoothing, self.outputs
        total = float(of_class[labels if among is None else labels_at(self.graph, among)].sum())
        weights[at] = -smooth / c * of_class / total
        weights[at, labels] -= (1 - smooth) * of_class[labels] / total
        return Targets(weights, numbers, count, total)

    @property
    def _of_class(self) -> NDArray[np.float64]:
        """What each class weighs, [c]. "balanced": n / (c n_k), of n training nodes in c classes, n_k of them of class
        k (King & Zeng 2001, as scikit-learn has it).
        """
        if self.config.class_weights != "balanced":
            return given_weights(self.config.class_weights, self.names, "class")
        if self.graph.train is None:
            return np.ones(self.outputs)
        counts = np.bincount(labels_at(self.graph, self.graph.train), minlength=self.outputs)
        return np.where(counts > 0, counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1)), 1.0)

    def loss(self, backend: Backend, outputs: Array, counted: Counted) -> Array:
        """Mean over the counted rows of -log softmax(outputs)[label]."""
        mean: Array = backend.xp.sum(counted.weights * backend.log_softmax(outputs))
        return mean
