"""What a loss counts: the rows of some labelled nodes among the rows of an output."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Targets:
    """weights: [rows, c], -1/total at the label of each counted row and 0 elsewhere, so that their product with
    log-probabilities sums to a mean. labels: int32 [rows], -1 where the row is not counted. count: that `total`.
    """

    weights: NDArray[np.float64]
    labels: NDArray[np.int32]
    count: int


def targets_of(
    labels: NDArray[np.integer], at: NDArray[np.int64], rows: int, classes: int, total: int | None = None
) -> Targets:
    """Counts the rows `at`, which have these labels, of an output of so many rows.

    total: over how many nodes the loss is a mean, where more than these are counted elsewhere.
    """
    count = len(labels) if total is None else total
    numbers = np.full(rows, -1, dtype=np.int32)
    weights = np.zeros((rows, classes))
    if len(labels):
        numbers[at] = labels
        weights[at, labels] = -1.0 / count
    return Targets(weights, numbers, count)
