"""One class a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from portgnn.graphs.split import labels_at
from portgnn.metrics import ACCURACY
from portgnn.tasks.targets import Counted, Targets
from portgnn.tasks.task import Subject, Task

if TYPE_CHECKING:
    from portgnn.graphs.arrays import Nodes
    from portgnn.protocol import Array, Backend


class Classes(Task):
    """One class of several for each node, by cross-entropy. Outputs are logits.

    Labels are int32 [rows], -1 where a row is not counted; weights -1/count at the label of each counted row, so that
    their product with log-probabilities sums to a mean.
    """

    metrics = (ACCURACY,)

    @classmethod
    def fits(cls, graph: Subject) -> bool:
        return True

    def targets(self, nodes: Nodes, at: Nodes, rows: int, among: Nodes | None = None) -> Targets:
        count = len(nodes if among is None else among)
        numbers = np.full(rows, -1, dtype=np.int32)
        weights = np.zeros((rows, self.graph.num_outputs))
        if len(nodes):
            labels = labels_at(self.graph, nodes)
            numbers[at] = labels
            weights[at, labels] = -1.0 / count
        return Targets(weights, numbers, count)

    def loss(self, backend: Backend, outputs: Array, counted: Counted) -> Array:
        """Mean over the counted rows of -log softmax(outputs)[label]."""
        mean: Array = backend.xp.sum(counted.weights * backend.log_softmax(outputs))
        return mean
