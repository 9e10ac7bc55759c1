"""A matrix whose rows are sampled, and what was drawn of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from portgnn_torch.sparse import placed


@dataclass(frozen=True, eq=False)
class Rows:
    """A matrix [n, n] whose rows are sampled. others: how many values a row has beside its own, which lies at `loops`.

    sizes: the same on the host, in descending order. Values are float64 whatever the instance's dtype is: what the host
    multiplies them with, it multiplies them with in float64.
    """

    starts: torch.Tensor
    others: torch.Tensor
    loops: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor
    sizes: NDArray[np.int64] = field(repr=False)
    sums: dict[int, NDArray[np.int64]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, matrix: sp.csr_array, loops: NDArray[np.integer], device: torch.device) -> Rows:
        others = np.diff(matrix.indptr).astype(np.int64) - 1
        wide = torch.int32 if matrix.nnz < 2**31 else torch.int64
        return cls(
            placed(device, matrix.indptr[:-1], wide),
            placed(device, others, torch.int32),
            placed(device, loops, torch.int32),
            placed(device, matrix.indices, torch.int32),
            placed(device, matrix.data, torch.float64),
            -np.sort(-others),
        )

    @property
    def n(self) -> int:
        return len(self.sizes)

    def most(self, rows: int, fanout: int) -> int:
        """Values that so many sampled rows have at most."""
        if fanout not in self.sums:
            self.sums[fanout] = np.cumsum(np.minimum(self.sizes, fanout) + 1)
        return int(self.sums[fanout][min(rows, self.n) - 1])


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn, row by row, and behind it, up to `Rows.most`, values of no row: their column is n."""

    indptr: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    values: torch.Tensor
