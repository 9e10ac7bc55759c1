"""One value or several for each node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from portgnn.errors import ConfigError
from portgnn.metrics import Measures, Quantity
from portgnn.tasks.scores import MAE, R2, RMSE, OfErrors
from portgnn.tasks.targets import Counted, Targets, rows_of
from portgnn.tasks.task import Floats, Subject, Task

if TYPE_CHECKING:
    from portgnn.graphs.arrays import Nodes
    from portgnn.protocol import Array, Backend


class Regression(Task):
    """Values for each node, by squared, absolute or Huber's error. Outputs are distances from a mean, in deviations.

    Labels are float64 [rows, k] in these units, 0 where not counted; weights [rows, k] 1/count where counted.
    """

    metrics = (MAE, RMSE)
    final = (R2,)
    quantity = Quantity("loss", "loss", "error of the target")
    constant_names = ("target_mean", "target_scale")
    things = "values"
    saying = "regression of {count} value{s} a node, by {loss}"

    @classmethod
    def fits(cls, graph: Subject) -> bool:
        return graph.targets is not None

    @classmethod
    def loss_unit(cls, recipe: Mapping[str, Any]) -> str:
        unit = "deviations of the target" if recipe.get("standardize_targets", True) else "units of the target"
        return {"absolute": unit, "huber": f"Huber's function of {unit}"}.get(
            recipe.get("loss", ""), f"{unit}, squared"
        )

    @property
    def names(self) -> tuple[str, ...]:
        return self.graph.target_names if self.graph.targets is not None else ("label",)

    @cached_property
    def _values(self) -> Floats:
        """[n, k]: the targets or, where there are labels that are numbers, these."""
        graph = self.graph
        if graph.targets is not None:
            return graph.targets
        if graph.labels is None:
            raise ConfigError(f"{graph.name} has no targets to learn; give targets [nodes, values]")
        try:
            numbers = np.array([*map(float, graph.class_names), np.nan])
        except ValueError:
            name = next(name for name in graph.class_names if not _is_number(name))
            raise ConfigError(
                f"the class {name[:40]!r} of {graph.name} is no number, which --task regression needs"
            ) from None
        return np.asarray(numbers[graph.labels][:, None])

    @cached_property
    def scales(self) -> tuple[Floats, Floats]:
        """Mean and deviation [k] of the training nodes' known values; 0 and 1 where they stay as they are."""
        if self._constants:
            return self._constants["target_mean"], self._constants["target_scale"]
        k = self.outputs
        if not self.config.standardize_targets:
            return np.zeros(k), np.ones(k)
        assert self.graph.train is not None
        values = rows_of(self._values, self.graph.train)
        known = ~np.isnan(values)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, values, 0.0).sum(axis=0) / count
        apart = np.where(known, values - mean, 0.0)
        scale = np.sqrt((apart * apart).sum(axis=0) / count)
        return mean, np.where(scale > 1e-12 * np.abs(mean), scale, 1.0)

    @property
    def measures(self) -> Measures:
        found = super().measures
        if self._graph is None:
            return found
        scale = tuple(self.scales[1].tolist())
        metrics = tuple(
            replace(each, scale=scale, terms=2 * len(scale)) for each in found.metrics if isinstance(each, OfErrors)
        )
        return replace(found, metrics=metrics)

    @property
    def given(self) -> tuple[str, ...]:
        return self.graph.target_names

    def check(self) -> None:
        super().check()
        values, train = self._values, self.graph.train
        assert train is not None
        empty = np.flatnonzero(np.isnan(values[train]).all(axis=0))
        if len(empty):
            raise ConfigError(f"the target {self.names[empty[0]]!r} is known at no training node")

    def targets(self, nodes: Nodes, at: Nodes, rows: int, among: Nodes | None = None) -> Targets:
        k = self.outputs
        values, weights = np.zeros((rows, k)), np.zeros((rows, k))
        if not len(nodes):
            return Targets(weights, values, 0)
        truth = rows_of(self._values, nodes)
        known = ~np.isnan(truth)
        everything = truth if among is None else rows_of(self._values, among)
        count = int((~np.isnan(everything)).sum())
        mean, scale = self.scales
        values[at] = np.where(known, (truth - mean) / scale, 0.0)
        weights[at] = known / count
        return Targets(weights, values, count)

    def loss(self, backend: Backend, outputs: Array, counted: Counted) -> Array:
        """Mean over the counted values of the error's square, its size, or Huber's function of it (1964, eq. 2.11)."""
        xp, error = backend.xp, outputs - counted.labels
        if self.config.loss == "squared":
            each = error * error
        else:
            each = size = xp.abs(error)
            if self.config.loss == "huber":
                delta = self.config.huber_delta
                each = xp.where(size < delta, 0.5 * size * size, delta * (size - 0.5 * delta))
        mean: Array = xp.sum(counted.weights * each)
        return mean

    def constants(self) -> dict[str, Floats]:
        return dict(zip(self.constant_names, self.scales, strict=True))

    def answers(self, outputs: Floats) -> Floats:
        mean, scale = self.scales  # in float64, and so are the answers
        return outputs * scale + mean


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
