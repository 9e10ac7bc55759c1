"""What is measured of a run, each quantity in one record: its name, its words, which way is better, how it is computed.

A curve is a quantity on a part of the nodes, one value an epoch, and is named by both: `val_accuracy`. By that name it
is a column of the history, of a run's file and of a result document, and from the record here come the heads of tables,
the axes of pictures and the tags of loggers. A metric more is a class here, and its name among those of its task
(`portgnn.tasks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.protocol import Array, Namespace

Floats = NDArray[np.float64]

PARTS = {"train": "training", "val": "validation", "test": "test"}
"""Parts of the nodes, and what to call them."""
EPOCH_MS = "epoch_ms"
"""The one curve that is no quantity of a part."""


@dataclass(frozen=True)
class Quantity:
    """words: what to call it. unit: what its axis says. higher_is_better: which way a run is to go."""

    name: str
    words: str
    unit: str
    higher_is_better: bool = False


@dataclass(frozen=True)
class Metric(Quantity):
    """A quantity of outputs and labels. A subclass says how it is made of sums over nodes.

    Sums are taken on the device, in a compiled step, and over all processes of a run; what is made of them, on the
    host. terms: how many sums there are.
    """

    terms: int = 1

    def sums(self, xp: Namespace, outputs: Array, counted: Any) -> tuple[Array, ...]:
        """`terms` 0-d arrays that add up over nodes, by the array API standard's `xp`.

        outputs: [rows, k], the task's. counted: what is true of which rows, as `portgnn.tasks.targets` has it.
        """
        raise NotImplementedError

    def value(self, sums: Sequence[Any], count: int) -> Any:
        """The metric of `count` counted nodes. sums: numbers, or arrays of them, an entry an epoch."""
        raise NotImplementedError

    def of(self, outputs: Any, targets: Any) -> float:
        """The metric of NumPy's arrays."""
        return float(self.value([float(np.asarray(each)) for each in self.sums(np, outputs, targets)], targets.count))


@dataclass(frozen=True)
class Score(Quantity):
    """A quantity that needs all outputs at once, such as one of their order: no sum over rows gives it."""

    def of(self, outputs: Any, targets: Any) -> float:
        """The quantity of outputs [rows, k] on the host, with what `portgnn.tasks.targets` says of these rows.

        NaN where it is not defined.
        """
        raise NotImplementedError


class Accuracy(Metric):
    """Share of the nodes of which the first of the largest outputs is at the label."""

    def sums(self, xp: Namespace, outputs: Array, counted: Any) -> tuple[Array, ...]:
        return (xp.sum(xp.argmax(outputs, axis=-1) == counted.labels),)

    def value(self, sums: Sequence[Any], count: int) -> Any:
        return sums[0] / count


LOSS = Quantity("loss", "loss", "nats a node")
ACCURACY = Accuracy("accuracy", "accuracy", "share of nodes", higher_is_better=True)


@dataclass(frozen=True)
class Measures:
    """What the runs of a task are measured by.

    metrics: of held-out nodes, each epoch, and of the test nodes at the end. loss: what is minimised. monitor: the
    curve that says which epoch is the best and when a run stops. scores: those that are taken each epoch, too.
    """

    metrics: tuple[Metric, ...]
    loss: Quantity = LOSS
    monitor: str = "val_loss"
    scores: tuple[Score, ...] = ()

    @property
    def curves(self) -> tuple[str, ...]:
        """The columns of a history, in their order."""
        return "train_loss", "val_loss", *(f"val_{each.name}" for each in (*self.metrics, *self.scores)), EPOCH_MS

    def named(self, rows: Floats, count: int) -> dict[str, Floats]:
        """Curves out of what steps gave: [epochs, 1] with the training loss; or [epochs, 2 + sums], count > 0, with the
        validation loss and each metric's sums over `count` nodes behind it.
        """
        found = {"train_loss": rows[:, 0]}
        if count:
            found["val_loss"] = rows[:, 1]
            for metric in self.metrics:
                name = f"val_{metric.name}"
                found[name] = metric.value(list(rows[:, self.columns[name]].T), count)
        return found

    @property
    def columns(self) -> dict[str, list[int]]:
        """Where each curve, or what a metric is made of, is in what a validated step gives."""
        found, end = {"train_loss": [0], "val_loss": [1]}, 2
        for metric in self.metrics:
            found[f"val_{metric.name}"] = list(range(end, end := end + metric.terms))
        return found

    def sums(self, xp: Namespace, outputs: Array, counted: Any) -> tuple[Array, ...]:
        """Those of all metrics, one after the other."""
        return tuple(each for metric in self.metrics for each in metric.sums(xp, outputs, counted))

    def values(self, sums: Sequence[float], count: int) -> dict[str, float]:
        """Metrics by name, out of those sums."""
        rest = iter(sums)
        return {each.name: float(each.value([next(rest) for _ in range(each.terms)], count)) for each in self.metrics}


@dataclass(frozen=True)
class Curve:
    """A quantity on a part of the nodes. words: "validation accuracy"; short: "val accuracy"."""

    name: str
    part: str
    quantity: Quantity

    @property
    def words(self) -> str:
        return f"{PARTS[self.part]} {self.quantity.words}"

    @property
    def short(self) -> str:
        return f"{self.part} {self.quantity.words}"
