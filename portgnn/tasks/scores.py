"""What is measured of labels and values: sums that a device takes, and what the host makes of all outputs at once.

Formulas and conventions are scikit-learn's, where it has one, and tests hold them against it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from portgnn.metrics import Metric, Score
from portgnn.protocol import Namespace
from portgnn.tasks.ranking import average_precision, roc_auc

if TYPE_CHECKING:
    from portgnn.protocol import Array
    from portgnn.tasks.targets import Targets

Floats = NDArray[np.float64]


# One class a node. Outputs are logits [rows, c], labels [rows] with -1 where not counted.


@dataclass(frozen=True)
class OfConfusion(Score):
    """A number made of how many rows of each class are said to be of it, are of it, and both."""

    make: Callable[[Any, Any, Any], float] = lambda hits, said, support: float("nan")

    def of(self, outputs: NDArray[np.floating], targets: Targets) -> float:
        counted = targets.labels >= 0
        labels, said = targets.labels[counted], outputs[counted].argmax(axis=1)
        size = outputs.shape[1]
        hits = np.bincount(labels[labels == said], minlength=size)
        return self.make(hits, np.bincount(said, minlength=size), np.bincount(labels, minlength=size))


def _balanced(hits: Floats, said: Floats, support: Floats) -> float:
    there = support > 0
    return float((hits[there] / support[there]).mean())


def _macro(hits: Floats, said: Floats, support: Floats) -> float:
    there = said + support > 0
    return float((2 * hits[there] / (said + support)[there]).mean()) if there.any() else 0.0


def _micro(hits: Floats, said: Floats, support: Floats) -> float:
    both = (said + support).sum()
    return float(2 * hits.sum() / both) if both else 0.0


class OfRanks(Score):
    """A metric of an order, of each class against all others by its probability; the mean over those that have it.

    Of two classes, that of the second one.
    """

    def metric(self, scores: Floats, positive: NDArray[np.bool_]) -> float:
        raise NotImplementedError

    def of(self, outputs: NDArray[np.floating], targets: Targets) -> float:
        counted = targets.labels >= 0
        labels, logits = targets.labels[counted], outputs[counted].astype(np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = shares / shares.sum(axis=1, keepdims=True)
        classes = [1] if logits.shape[1] == 2 else range(logits.shape[1])
        return _mean(self.metric(shares[:, each], labels == each) for each in classes)


class RocAuc(OfRanks):
    def metric(self, scores: Floats, positive: NDArray[np.bool_]) -> float:
        return roc_auc(scores, positive)


class AveragePrecision(OfRanks):
    def metric(self, scores: Floats, positive: NDArray[np.bool_]) -> float:
        return average_precision(scores, positive)


def _mean(values: Any) -> float:
    found = [value for value in values if not np.isnan(value)]
    return float(np.mean(found)) if found else float("nan")


_F1, _SHARE = "share", "share of nodes"
BALANCED_ACCURACY = OfConfusion("balanced_accuracy", "balanced accuracy", _SHARE, True, make=_balanced)
MACRO_F1 = OfConfusion("macro_f1", "macro F1", _F1, True, make=_macro)
MICRO_F1 = OfConfusion("micro_f1", "micro F1", _F1, True, make=_micro)
ROC_AUC = RocAuc("roc_auc", "ROC-AUC", "share of pairs", True)
AVERAGE_PRECISION = AveragePrecision("average_precision", "average precision", _F1, True)


# Several labels a node. Outputs are logits [rows, k], labels [rows, k]: 1, 0, or -1 where not counted.


class LabelAccuracy(Metric):
    """Share of the known labels whose logit is on their side of 0."""

    def sums(self, xp: Namespace, outputs: Array, counted: Any) -> tuple[Array, ...]:
        said, labels = outputs > 0, counted.labels
        return (xp.sum(xp.where(said, labels == 1, labels == 0)),)

    def value(self, sums: Sequence[Any], count: int) -> Any:
        return sums[0] / count


class LabelMicroF1(Metric):
    """2 hits / (said + there), over all labels together; 0 where nothing is said or there."""

    def sums(self, xp: Namespace, outputs: Array, counted: Any) -> tuple[Array, ...]:
        said, labels = outputs > 0, counted.labels
        known, there = labels != -1, labels == 1
        return xp.sum(said & there), xp.sum(said & known), xp.sum(there)

    def value(self, sums: Sequence[Any], count: int) -> Any:
        both = np.asarray(sums[1] + sums[2], dtype=np.float64)
        return np.divide(2 * np.asarray(sums[0]), both, out=np.zeros_like(both), where=both > 0)


@dataclass(frozen=True)
class ByLabel(Score):
    """The mean over labels of a number made of the logits and the truth of one, where it is defined."""

    make: Callable[[Floats, NDArray[np.bool_]], float] = lambda scores, there: float("nan")

    def of(self, outputs: NDArray[np.floating], targets: Targets) -> float:
        found = []
        for column in range(outputs.shape[1]):
            labels = targets.labels[:, column]
            known = labels >= 0
            found.append(self.make(outputs[known, column].astype(np.float64), labels[known] == 1))
        return _mean(found)


def _f1_of_label(scores: Floats, there: NDArray[np.bool_]) -> float:
    said = scores > 0
    both = int(said.sum() + there.sum())
    return 2 * int((said & there).sum()) / both if both else 0.0


LABEL_ACCURACY = LabelAccuracy("label_accuracy", "label accuracy", "share of labels", True)
LABEL_MICRO_F1 = LabelMicroF1("micro_f1", "micro F1", _F1, True, terms=3)
LABEL_MACRO_F1 = ByLabel("macro_f1", "macro F1", _F1, True, make=_f1_of_label)
LABEL_ROC_AUC = ByLabel("roc_auc", "ROC-AUC", "share of pairs", True, make=roc_auc)
LABEL_AVERAGE_PRECISION = ByLabel("average_precision", "average precision", _F1, True, make=average_precision)


# Values. Outputs and labels [rows, k] in units of `scale`; weights [rows, k], 0 where not counted and else equal.


@dataclass(frozen=True)
class OfErrors(Metric):
    """A metric of each column's mean error, in the column's own unit; its mean over the columns that have values.

    Sums are a column's weighted errors, column by column, and behind them its weights.
    """

    scale: tuple[float, ...] = (1.0,)

    def error(self, xp: Namespace, difference: Array) -> Array:
        raise NotImplementedError

    def root(self, mean: object) -> Any:
        return mean

    def sums(self, xp: Namespace, outputs: Array, counted: Any) -> tuple[Array, ...]:
        errors = counted.weights * self.error(xp, outputs - counted.labels)
        columns = range(len(self.scale))
        each = tuple(xp.sum(errors[:, at]) for at in columns)
        return *each, *(xp.sum(counted.weights[:, at]) for at in columns)

    def value(self, sums: Sequence[Any], count: int) -> Any:
        k = len(self.scale)
        found = np.array([np.asarray(each, dtype=np.float64) for each in sums])
        errors, weights = found[:k], found[k:]
        means = np.divide(errors, weights, out=np.zeros_like(errors), where=weights > 0)
        scaled = self.root(means) * np.reshape(self.scale, (k, *(1,) * (errors.ndim - 1)))
        return scaled.sum(axis=0) / np.maximum((weights > 0).sum(axis=0), 1)


class MeanAbsolute(OfErrors):
    def error(self, xp: Namespace, difference: Array) -> Array:
        found: Array = xp.abs(difference)
        return found


class RootMeanSquare(OfErrors):
    def error(self, xp: Namespace, difference: Array) -> Array:
        return difference * difference

    def root(self, mean: Any) -> Any:
        return np.sqrt(mean)


class Determination(Score):
    """1 - sum of squared errors / sum of squared distances from the mean, of each column; the mean over columns.

    As scikit-learn: 0 where all values are the same, or 1 where they are estimated so. NaN of fewer than two values.
    """

    def of(self, outputs: NDArray[np.floating], targets: Targets) -> float:
        found = []
        for column in range(outputs.shape[1]):
            known = targets.weights[:, column] != 0
            truth, said = targets.labels[known, column], outputs[known, column].astype(np.float64)
            if len(truth) > 1:
                off, apart = ((truth - said) ** 2).sum(), ((truth - truth.mean()) ** 2).sum()
                found.append(1 - off / apart if apart else float(off == 0))
        return _mean(found)


MAE = MeanAbsolute("mae", "mean absolute error", "unit of the target", terms=2)
RMSE = RootMeanSquare("rmse", "root mean squared error", "unit of the target", terms=2)
R2 = Determination("r2", "R²", "share of variance", True)
