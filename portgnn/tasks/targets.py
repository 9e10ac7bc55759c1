"""What a loss counts: some rows of an output, what is true of them, and how much each weighs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from portgnn.protocol import CSR, Array, Backend, EdgeHandle


@dataclass(frozen=True, eq=False)
class Targets:
    """On the host. weights: float64 [rows, k], what each output's term weighs in the loss, 0 where it is not counted.

    labels: [rows] or [rows, k], what is true, in the task's own form; at rows that are not counted, of no meaning but
    for the loss to stay finite. count: how many are counted. total: over what the loss is a mean, the sum of their
    weights; None for their number.
    """

    weights: NDArray[np.float64]
    labels: NDArray[np.number]
    count: int
    total: float | None = None

    @property
    def size(self) -> float:
        """What the loss counts for beside those of other batches."""
        return self.count if self.total is None else self.total

    def placed(self, backend: Backend) -> Counted:
        return Counted(weights=backend.asarray(self.weights), labels=backend.asarray(self.labels), count=self.count)


@dataclass(frozen=True, eq=False, kw_only=True)
class Counted:
    """The same on a device. readout: the rows of each graph, for `portgnn.tasks.heads`; None where rows are counted."""

    weights: Array
    labels: Array
    count: int
    readout: CSR | EdgeHandle | None = None


def rows_of(targets: NDArray[np.floating], nodes: NDArray[np.int64]) -> NDArray[np.floating]:
    """The nodes' rows, [m, k]."""
    rows: NDArray[np.floating] = targets[nodes]
    return rows
