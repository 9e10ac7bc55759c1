"""What was measured of a run so far: named curves, a value an epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.metrics import EPOCH_MS, Curve, Measures


@dataclass(init=False, repr=False)
class History:
    """The curves of a run, each with a value an epoch, as attributes: `history.val_loss`.

    train_loss and epoch_ms always; of the validation nodes val_loss and, for each of the task's metrics, `val_METRIC`
    (val_accuracy), which are empty where the graph has no validation split.

    curves: all of them by name.
    """

    curves: dict[str, list[float]]

    def __init__(self, **curves: list[float]) -> None:
        """curves: those that there are; a task's of classes where none is given."""
        names = ("train_loss", "val_loss", *curves, EPOCH_MS) if curves else Measures(tasks.Classes.metrics).curves
        known = [each.name for each in tasks.curves_among(names)]
        self.curves = {name: curves.get(name, []) for name in (*known, *names)}

    @classmethod
    def of(cls, measures: Measures) -> History:
        """No epoch yet, with a task's curves."""
        return cls(**{name: [] for name in measures.curves})

    def __getattr__(self, name: str) -> list[float]:
        found: Any = self.__dict__.get("curves", {})
        if name not in found:
            raise AttributeError(f"the history has no curve {name!r}; it has {', '.join(found) or 'none'}")
        values: list[float] = found[name]
        return values

    def __len__(self) -> int:
        return len(self.curves["train_loss"])

    def __repr__(self) -> str:
        """One line: the curves have a value an epoch."""
        if not len(self):
            return "History of no epoch"
        ends = (f"{name} {values[0]:.4g} … {values[-1]:.4g}" for name, values in self.curves.items() if values)
        return f"History of {len(self)} epochs: {', '.join(ends)}"

    @property
    def epoch_ms(self) -> list[float]:
        """Milliseconds of an epoch: training step and validation; a chunk's time shared among its epochs."""
        return self.curves[EPOCH_MS]

    @property
    def measured(self) -> list[Curve]:
        """The curves that were measured and are no times; losses first."""
        return tasks.curves_among(name for name, values in self.curves.items() if values)

    def at(self, epoch: int) -> dict[str, float]:
        """What was measured in an epoch, counted from 0, by name."""
        return {name: values[epoch] for name, values in self.curves.items() if values}

    def falling(self, name: str) -> list[float]:
        """A curve so that lower is better; empty where it was not measured."""
        values, known = self.curves.get(name, []), tasks.curve(name)
        return [-value for value in values] if known and known.quantity.higher_is_better else values

    def extend(self, epochs: Mapping[str, Sequence[float] | NDArray[np.float64]]) -> None:
        """Adds epochs. What the history has no curve of is left out."""
        for name, values in epochs.items():
            if name in self.curves:
                self.curves[name] += np.asarray(values, dtype=np.float64).tolist()

    def copy(self) -> History:
        return History(**{name: list(values) for name, values in self.curves.items()})

    def cut(self, epochs: int) -> None:
        """Forgets all epochs but the first so many."""
        for values in self.curves.values():
            del values[epochs:]
