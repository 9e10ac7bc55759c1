"""The product of a SciPy sparse matrix with a dense one, without what SciPy does around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn_numpy import compiled

try:
    from scipy.sparse._sparsetools import csc_matvecs, csr_matvecs
except ImportError:  # SciPy's own module, which may change its name: then its operator does it all
    csc_matvecs = csr_matvecs = None

_KERNELS = {"csr": csr_matvecs, "csc": csc_matvecs}
_EMPTY = {"csr": np.empty, "csc": np.zeros}


def product(matrix: Any, x: NDArray[Any]) -> Any:
    """matrix @ x, with the bits of that. matrix: a CSR or CSC array [m, n].

    The operator looks at its operands for as long as a small product takes: ten Python calls, six times a step.
    """
    kind, kernel, dtype = matrix.format, _KERNELS.get(matrix.format), x.dtype
    rows, columns = matrix.shape
    if kernel is None or x.ndim != 2 or dtype != matrix.data.dtype or x.shape[0] != columns:
        return matrix @ x
    weights, width = matrix.data, x.shape[1]
    work = weights.size * width
    if compiled.WORK.counts(work) and matrix.indices.dtype == np.int32 and dtype.char in "fd":
        total = _EMPTY[kind]((rows, width), dtype=dtype)
        parts = (matrix.indptr, matrix.indices, weights)
        compiled.product(kind, parts, np.ascontiguousarray(x), total, compiled.threads_for(work))
        return total
    total = np.zeros((rows, width), dtype=dtype)
    kernel(rows, columns, width, matrix.indptr, matrix.indices, weights, x.ravel(), total.ravel())
    return total
