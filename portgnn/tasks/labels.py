"""Several labels a node, each of which it has or has not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from portgnn.errors import ConfigError
from portgnn.metrics import Quantity
from portgnn.tasks.scores import LABEL_ACCURACY, LABEL_AVERAGE_PRECISION, LABEL_MACRO_F1, LABEL_MICRO_F1, LABEL_ROC_AUC
from portgnn.tasks.targets import Counted, Targets, rows_of
from portgnn.tasks.task import Floats, Subject, Task
from portgnn.tasks.weights import given_weights

if TYPE_CHECKING:
    from portgnn.graphs.arrays import Nodes
    from portgnn.protocol import Array, Backend


class Labels(Task):
    """Several labels for each node, by binary cross-entropy. Outputs are logits, one a label.

    Labels are int32 [rows, k]: 1, 0, or -1 where not counted. Each logit z stands beside a 0, and softmax over the two
    is sigmoid(z) and 1 - sigmoid(z), without overflow; weights are [rows * k, 2], so that their product with its
    logarithms sums to the mean over all known labels.
    """

    metrics = (LABEL_ACCURACY, LABEL_MICRO_F1)
    final = (LABEL_MACRO_F1, LABEL_ROC_AUC, LABEL_AVERAGE_PRECISION)
    quantity = Quantity("loss", "loss", "nats a label")
    things = "labels"
    saying = "several labels a node ({count}), by binary cross-entropy"

    @classmethod
    def fits(cls, graph: Subject) -> bool:
        return graph.targets is not None and bool((np.isnan(graph.targets) | np.isin(graph.targets, (0, 1))).all())

    @property
    def names(self) -> tuple[str, ...]:
        return self.graph.target_names

    @property
    def given(self) -> tuple[str, ...]:
        return self.graph.target_names

    def check(self) -> None:
        targets = self._needed()
        wrong = np.argwhere(~(np.isnan(targets) | np.isin(targets, (0, 1))))
        if len(wrong):
            node, column = wrong[0].tolist()
            raise ConfigError(
                f"target {self.names[column]!r} of node {node} is {targets[node, column]:g}, and a label is 0 or 1; "
                "values are for --task regression"
            )
        super().check()
        _ = self._positive

    def _needed(self) -> Floats:
        if self.graph.targets is None:
            raise ConfigError(
                f"{self.graph.name} has one class a node, and --task labels needs 0 or 1 for each label; give "
                "labels of shape [nodes, labels]"
            )
        return self.graph.targets

    def targets(self, nodes: Nodes, at: Nodes, rows: int, among: Nodes | None = None) -> Targets:
        k = self.outputs
        numbers, weights = np.full((rows, k), -1, dtype=np.int32), np.zeros((rows, k, 2))
        if not len(nodes):
            return Targets(weights.reshape(-1, 2), numbers, 0)
        truth = rows_of(self._needed(), nodes)
        known = ~np.isnan(truth)
        numbers[at] = np.where(known, truth, -1)
        everything = truth if among is None else rows_of(self._needed(), among)
        count = int((~np.isnan(everything)).sum())
        smooth = self.config.label_smoothing
        is_one = np.where(known, truth, 0.0) * (1 - smooth) + smooth / 2
        scale = np.where(truth == 1, self._positive, 1.0) * known / -count
        weights[at] = np.stack([scale * is_one, scale * (1 - is_one)], axis=-1)
        return Targets(weights.reshape(-1, 2), numbers, count)

    @property
    def _positive(self) -> Floats:
        """What having each label weighs, where not having it weighs 1, [k]."""
        text = self.config.class_weights
        if text != "balanced":
            return given_weights(text, self.names, "label")
        if self.graph.train is None:
            return np.ones(self.outputs)
        truth = rows_of(self._needed(), self.graph.train)
        ones, zeros = (truth == 1).sum(axis=0), (truth == 0).sum(axis=0)
        return np.where((ones > 0) & (zeros > 0), zeros / np.maximum(ones, 1), 1.0)

    def loss(self, backend: Backend, outputs: Array, counted: Counted) -> Array:
        """Mean over the counted labels of -y log sigmoid(z) - (1 - y) log(1 - sigmoid(z))."""
        xp = backend.xp
        one: object = xp.reshape(outputs, (-1, 1))
        mean: Array = xp.sum(counted.weights * backend.log_softmax(xp.concat([one, xp.zeros_like(one)], axis=1)))
        return mean
