"""Checks that sums of many numbers stay accurate: an error bound that grows with log n, not with n.

Added one after the other, n floats can be off by n roundings: 1e-2 for a million of float32, and 1e-5 in the penalty of
a training. In pairs, or in blocks of a fixed size whose sums are added in pairs, each number goes through about log2 n
additions (N. J. Higham, "The accuracy of floating point summation", SIAM J. Sci. Comput. 14, 1993).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from portgnn.protocol import Array, Backend
from portgnn.verification._gradients import pulled
from portgnn.verification._namespace import Walk
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


def _exact(rows: Floats, dtype: str) -> Floats:
    """The sums of rows [k, n] -> [k]."""
    # In pairs float64 is right to a few of its own roundings: for the narrower dtypes, and cheap, but not for itself.
    return np.array([math.fsum(row) for row in rows]) if dtype == "float64" else np.ascontiguousarray(rows).sum(axis=1)


def _share(backend: Backend, what: str, got: Array, rows: Floats, shape: tuple[int, ...], over: int = 1) -> Measured:
    """The error of sums of non-negative terms as a share of its bound. rows: the terms of each sum; shape: of what is
    got; over: what the sums are divided by.
    """
    host = fetch(backend, got, what)
    if host.shape != shape:
        raise Departure(f"{what} has shape {list(host.shape)}, not {list(shape)}")
    exact = _exact(rows, backend.dtype)
    allowed = (math.log2(rows.shape[1]) + SPARE) * 2.0 ** -BITS[backend.dtype] * exact
    error = np.abs(host.astype(np.float64).ravel() * over - exact)

    def explain() -> str:
        return (
            f"{what} is off by {float(np.max(error / exact)):.0e}: numbers are added one after the other; add them in "
            "pairs, by rows first, or in a wider dtype"
        )

    return Measured(float(np.max(error / allowed)) if np.isfinite(error).all() else math.inf, explain)


@check("xp.reductions", cases=(1024, 2**16 + 1), full=(2**12, 2**16 - 1, 2**18))
def reductions(backend: Backend, count: int) -> Measured:
    """Sums of all elements of a vector, a tall and a wide matrix, their mean, and the sum of squares of a penalty."""
    xp, measured, n = backend.xp, [], count // 16 * 16
    for values in _values(count, backend.dtype):
        for array in (values, values[:n].reshape(-1, 16), values[:n].reshape(16, -1)):
            placed, shape = backend.asarray(array), "×".join(map(str, array.shape))
            flat = array.reshape(1, -1)
            measured.append(_share(backend, f"the sum of {shape} elements", xp.sum(placed), flat, ()))
            if array.ndim == 1:
                measured.append(_share(backend, f"the mean of {shape} elements", xp.mean(placed), flat, (), count))
            elif backend.dtype != "bfloat16":  # a square of 8 bits needs 16
                root = rounded(np.sqrt(flat), BITS[backend.dtype] // 2)
                twice = backend.asarray(root.reshape(array.shape))
                squares = xp.sum(twice * twice)
                measured.append(_share(backend, f"the sum of {shape} squares", squares, root * root, ()))
    return worst(*measured)


@check("xp.reductions.axes", cases=(2**16 + 1,), full=(2**12, 2**16 - 1, 2**18))
def along_axes(backend: Backend, count: int) -> Measured:
    """Sums of columns and along a middle axis, and the gradient of a bias."""
    walk, n = Walk(backend, "xp.reductions.axes"), count // 16 * 16
    for values in _values(count, backend.dtype):
        walk("sum", partial(_along, backend, np.stack([values, values[::-1]], axis=1), 0))
        walk("sum", partial(_along, backend, values[:n].reshape(2, -1, 8), 1))
        walk("add", partial(_bias, backend, values[:n].reshape(-1, 16)))
    return walk.result()


def _along(backend: Backend, array: Floats, axis: int, total: Callable[..., Array]) -> Measured:
    terms, shape = np.moveaxis(array, axis, -1), "×".join(map(str, array.shape))
    got, what = total(backend.asarray(array), axis=axis), ("columns", "middle axis")[axis]
    rows = terms.reshape(-1, terms.shape[-1])
    return _share(backend, f"the sum of the {what} of {shape} elements", got, rows, terms.shape[:-1])


def _bias(backend: Backend, upstream: Floats, add: Callable[..., Array]) -> Measured:
    start = {"x": np.zeros(upstream.shape), "bias": np.zeros(upstream.shape[1])}
    _, grads = pulled(backend, lambda p: add(p["x"], p["bias"]), start, upstream)
    bias = backend.asarray(grads["bias"])
    return _share(backend, f"the gradient of a bias of {len(upstream)} rows", bias, upstream.T, upstream.shape[1:])
