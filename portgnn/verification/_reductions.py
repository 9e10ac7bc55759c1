"""Checks that sums of many numbers stay accurate: an error bound that grows with log n, not with n.

Added one after the other, n floats can be off by n roundings: 1e-2 for a million of float32, and 1e-5 in the penalty of
a training. In pairs, or in blocks of a fixed size whose sums are added in pairs, each number goes through about log2 n
additions (N. J. Higham, "The accuracy of floating point summation", SIAM J. Sci. Comput. 14, 1993).
"""

from __future__ import annotations

import math

import numpy as np

from portgnn.protocol import Array, Backend
from portgnn.verification._verbs import rounded
from portgnn.verification.check import check
from portgnn.verification.measure import Departure, Floats, Measured, fetch, worst

BITS = {"float64": 53, "float32": 24, "bfloat16": 8}
SPARE = 32.0
"""Roundings beside log2 n: of blocks that are added up one by one before the pairs begin (XLA's are of 32 numbers)."""


def _values(n: int, dtype: str) -> tuple[Floats, Floats]:
    """n equal numbers, whose roundings all go the same way, and n squares of normal ones; all exact in the dtype."""
    drawn = np.random.default_rng(n).standard_normal(n) ** 2
    return np.full(n, rounded(np.array(0.1), BITS[dtype])), rounded(drawn, BITS[dtype])


def _share(backend: Backend, what: str, got: Array, terms: Floats, over: int) -> Measured:
    """The error of a reduction of non-negative terms as a share of its bound; `over`: what the sum is divided by."""
    host = fetch(backend, got, what)
    if host.shape != ():
        raise Departure(f"{what} has shape {list(host.shape)}, not []")
    # In pairs float64 is right to a few of its own roundings: for the narrower dtypes, and cheap, but not for itself.
    exact = math.fsum(terms.ravel()) if backend.dtype == "float64" else float(terms.sum())
    allowed = (math.log2(terms.size) + SPARE) * 2.0 ** -BITS[backend.dtype] * exact
    error = abs(float(host) * over - exact)

    def explain() -> str:
        return (
            f"{what} is off by {error / exact:.0e}: numbers are added one after the other; add them in pairs, "
            "by rows first, or in a wider dtype"
        )

    return Measured(error / allowed if math.isfinite(error) else math.inf, explain)


@check("xp.reductions", cases=(1024, 2**16 + 1), full=(2**12, 2**16 - 1, 2**18))
def reductions(backend: Backend, count: int) -> Measured:
    """Sums of all elements of a vector, a tall and a wide matrix, their mean, and the sum of squares of a penalty."""
    xp, measured, n = backend.xp, [], count // 16 * 16
    for values in _values(count, backend.dtype):
        for array in (values, values[:n].reshape(-1, 16), values[:n].reshape(16, -1)):
            placed, shape = backend.asarray(array), "×".join(map(str, array.shape))
            measured.append(_share(backend, f"the sum of {shape} elements", xp.sum(placed), array, 1))
            if array.ndim == 1:
                measured.append(_share(backend, f"the mean of {shape} elements", xp.mean(placed), array, count))
            elif backend.dtype != "bfloat16":  # a square of 8 bits needs 16
                root = rounded(np.sqrt(array), BITS[backend.dtype] // 2)
                twice = backend.asarray(root)
                measured.append(_share(backend, f"the sum of {shape} squares", xp.sum(twice * twice), root * root, 1))
    return worst(*measured)
