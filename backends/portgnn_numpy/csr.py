"""The product of a SciPy sparse matrix with a dense one, without what SciPy does around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.parts import compiled
from portgnn_numpy.recording import opaque

try:
    from scipy.sparse._sparsetools import csc_matvecs, csr_matvecs
except ImportError:  # SciPy's own module, which may change its name: then its operator does it all
    csc_matvecs = csr_matvecs = None

_KERNELS = {sp.csr_array: csr_matvecs, sp.csc_array: csc_matvecs} if csr_matvecs else {}


def product(matrix: Any, x: NDArray[Any]) -> Any:
    """matrix @ x, with the bits of that. matrix: a CSR or CSC array [m, n].

    The operator looks at its operands for as long as a small product takes: ten Python calls, six times a step.
    """
    (rows, columns), dtype = matrix.shape, x.dtype
    if type(matrix) not in _KERNELS or x.ndim != 2 or dtype != matrix.data.dtype or x.shape[0] != columns:
        return matrix @ x
    return _into(matrix, x, np.empty((rows, x.shape[1]), dtype=dtype))


@opaque
def _into(matrix: Any, x: NDArray[Any], total: NDArray[Any]) -> NDArray[Any]:
    starts, places, weights = parts = (matrix.indptr, matrix.indices, matrix.data)
    kind, width = type(matrix), x.shape[1]
    work = weights.size * width
    if compiled.WORK.counts(work) and places.dtype == np.int32 and total.dtype.char in "fd":
        if kind is sp.csc_array:
            total.fill(0)
        name = "csr" if kind is sp.csr_array else "csc"
        compiled.product(name, parts, np.ascontiguousarray(x), total, compiled.threads_for(work))
    else:
        total.fill(0)
        _KERNELS[kind](len(total), len(x), width, starts, places, weights, x.ravel(), total.ravel())
    return total
