"""The product of a SciPy sparse matrix with a dense one, without what SciPy does around it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from scipy.sparse._sparsetools import csc_matvecs, csr_matvecs
except ImportError:  # SciPy's own module, which may change its name: then its operator does it all
    csc_matvecs = csr_matvecs = None

_KERNELS = {"csr": csr_matvecs, "csc": csc_matvecs}


def product(matrix: Any, x: NDArray[Any]) -> Any:
    """matrix @ x, with the bits of that. matrix: a CSR or CSC array [m, n].

    The operator looks at its operands for as long as a small product takes: ten Python calls, six times a step.
    """
    kernel = _KERNELS.get(matrix.format)
    if kernel is None or x.ndim != 2 or x.dtype != matrix.dtype or x.shape[0] != matrix.shape[1]:
        return matrix @ x
    rows, columns = matrix.shape
    total = np.zeros((rows, x.shape[1]), dtype=x.dtype)
    kernel(rows, columns, x.shape[1], matrix.indptr, matrix.indices, matrix.data, x.ravel(), total.ravel())
    return total
