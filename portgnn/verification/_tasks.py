"""Checks of the tasks of nodes: each loss, over what is known of some rows, and its gradient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.presets import Config
from portgnn.protocol import Backend, Params
from portgnn.verification.cases import Case
from portgnn.verification.check import check
from portgnn.verification.draw import Draw, small_shapes
from portgnn.verification.measure import Floats, Measured, compare, fetch, worst

EXACT = ("float64", "float32")
DELTA, SMOOTHING = 0.75, 0.125


@dataclass(frozen=True, eq=False)
class _Known:
    """What a task reads of a graph: case.rows nodes, and case.columns classes, labels or values; all of them train."""

    labels: NDArray[np.int64] | None
    targets: Floats | None
    class_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    train: Any = None
    val: Any = None
    test: Any = None
    name: str = field(default="drawn")


@dataclass(frozen=True)
class Judged:
    """Outputs of case.rows rows, of which all but the last are counted. kind: a task, or the loss of a regression."""

    case: Case
    kind: str

    @property
    def counted(self) -> int:
        return max(self.case.rows - 1, 1)

    @property
    def outputs(self) -> Floats:
        found = 2.0 * self.case.array("outputs", self.case.rows, self.case.columns)
        found[0] = 0.0  # where a size has no slope, and a logit no side
        return found

    @property
    def weights(self) -> Floats:
        """Of classes and labels."""
        return np.asarray(0.5 + np.arange(self.case.columns) % 4, dtype=np.float64)

    @property
    def truth(self) -> Floats:
        """[counted, columns]: 1 at the class; 1, 0 or NaN; or values in units of the outputs, or NaN."""
        random, shape = self.case.random("truth"), (self.counted, self.case.columns)
        if self.kind == "classes":
            return np.eye(shape[1], dtype=np.float64)[random.integers(0, shape[1], shape[0])]
        found: Floats = np.asarray(3.0 * random.standard_normal(shape), dtype=np.float64)
        if self.kind == "labels":
            found = (found > 1.0).astype(np.float64)
        found[random.random(shape) < 0.2] = np.nan
        found[0, 0] = 1.0
        return found

    @property
    def task(self) -> tasks.Task:
        names, truth = tuple(map(str, range(self.case.columns))), self.truth
        weighed = {name: float(weight) for name, weight in zip(names, self.weights, strict=True)}
        if self.kind == "classes":
            known = _Known(truth.argmax(axis=1), None, class_names=names)
            return tasks.Classes(Config(class_weights=weighed, label_smoothing=SMOOTHING), _as_subject(known))
        known = _Known(None, truth, target_names=names)
        if self.kind == "labels":
            return tasks.Labels(Config(class_weights=weighed, label_smoothing=SMOOTHING), _as_subject(known))
        config = Config(loss=self.kind, huber_delta=DELTA, standardize_targets=False)
        return tasks.Regression(config, _as_subject(known))


def _as_subject(known: _Known) -> Any:
    return known


def _judged(draw: Draw) -> tuple[Judged, ...]:
    one, other = small_shapes(draw)
    wide = Case(33, 1, 5, seed=draw.seed)
    kinds = ("classes", "labels", "squared", "absolute", "huber")
    return (*(Judged(wide, kind) for kind in kinds), Judged(one, "labels"), Judged(other, "huber"))


def stated(one: Judged, outputs: Floats) -> tuple[Floats, Floats]:
    """The loss of the counted rows, and its gradient in all."""
    truth, z = one.truth, outputs[: one.counted]
    known, y = ~np.isnan(truth), np.nan_to_num(truth)
    if one.kind == "classes":
        shifted = z - z.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        own, c = (one.weights * y).sum(axis=1, keepdims=True), z.shape[1]
        mass = ((1 - SMOOTHING) * own * y + SMOOTHING / c * one.weights) / own.sum()
        value, slope = -(mass * log_p).sum(), np.exp(log_p) * mass.sum(axis=1, keepdims=True) - mass
    elif one.kind == "labels":
        p, soft = 1 / (1 + np.exp(-z)), y * (1 - SMOOTHING) + SMOOTHING / 2
        weight = np.where(y == 1, one.weights, 1.0) * known / known.sum()
        value = (weight * (np.maximum(z, 0) - soft * z + np.log1p(np.exp(-np.abs(z))))).sum()
        slope = weight * (p - soft)
    else:
        error, share = z - y, known / known.sum()
        size, sign = np.abs(error), np.sign(error)
        each, steep = {
            "squared": (error * error, 2 * error),
            "absolute": (size, sign),
            "huber": (
                np.where(size < DELTA, 0.5 * error * error, DELTA * size - 0.5 * DELTA * DELTA),
                np.where(size < DELTA, error, DELTA * sign),
            ),
        }[one.kind]
        value, slope = (share * each).sum(), share * steep
    gradient = np.zeros_like(outputs)
    gradient[: one.counted] = slope
    return np.asarray(value), gradient


@check("tasks.loss", cases=_judged, full=_judged, dtypes=EXACT)
def loss(backend: Backend, one: Judged) -> Measured:
    """Weighed and smoothed cross-entropies where labels are known, errors of values, and their gradients in outputs."""
    task, nodes = one.task, np.arange(one.counted)
    counted = task.targets(nodes, nodes, one.case.rows).placed(backend)
    placed = backend.asarray(one.outputs)
    outputs = backend.to_numpy(placed).astype(np.float64)

    def objective(params: Params) -> tuple[object, None]:
        return task.loss(backend, params["outputs"], counted), None

    (got, _), grads = backend.value_and_grad(objective)({"outputs": placed})
    value, gradient = stated(one, outputs)
    scale = float(np.abs(gradient).max())
    return worst(
        compare(f"the loss ({one.kind})", fetch(backend, got, "the loss"), value, max(abs(float(value)), 1.0)),
        compare(f"its gradient ({one.kind})", fetch(backend, grads["outputs"], "the gradient"), gradient, scale),
    )
