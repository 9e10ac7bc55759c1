"""Sums along axes whose error does not grow with their length.

NumPy adds in pairs along memory alone: across it, as over the rows of a matrix, it adds one number after the other, and
BLAS's product with ones is little better. Of 65,536 rows of float32 that leaves three to four digits. Blocks of rows
are added here, then their sums, and so on: as quick as the one product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from portgnn_numpy.arrays import Array

BLOCK = 128
"""Rows that one product adds up, of narrow matrices one after the other; the fewer, the more products."""
FEW = 32
"""So many numbers may be added one after the other."""
BIAS = 1024
"""Of up to so many rows the gradient of a bias is one product, off by 170 roundings where all numbers are equal;
more products would cost a training on a small graph a hundredth of its time."""
MOST_ONES = 64
"""So many vectors of ones are kept, each of up to `BIAS` numbers: making one takes as long as multiplying with it."""

_ONES: dict[tuple[Any, int, Any, str], Array] = {}


def of_columns(xp: Any, x: Array, rows: int = BLOCK) -> Array:
    """The sums [c] of the columns of x [n, c]. As products they take NumPy a seventh of the time of its own sum.

    rows: up to how many are one product.
    """
    count = x.shape[0]
    if count <= rows:
        return _ones(xp, count, x) @ x
    if 0 in getattr(x, "strides", ()):  # one number shown many times, which no BLAS takes
        x = xp.asarray(x, copy=True)
    whole = count // BLOCK * BLOCK
    sums = _ones(xp, BLOCK, x) @ xp.reshape(x[:whole], (-1, BLOCK, x.shape[1]))
    if whole < count:
        sums = xp.concat([sums, xp.reshape(of_columns(xp, x[whole:]), (1, -1))])
    return of_columns(xp, sums)


def _ones(xp: Any, count: int, like: Array) -> Array:
    """So many ones of an array's dtype, on its device. They are kept, and nothing is written into them."""
    key = (xp, count, like.dtype, str(like.device))  # not every library's devices have a hash
    found = _ONES.get(key)
    if found is None:
        if len(_ONES) >= MOST_ONES:
            _ONES.clear()
        found = _ONES[key] = xp.ones(count, dtype=like.dtype, device=like.device)
    return found


def along(xp: Any, x: Array, axes: Sequence[int], keepdims: bool) -> Array:
    """The sum of x along axes, numbered from 0, in its dtype."""
    if as_it_lies(xp, x, axes):
        return x.sum(axis=tuple(axes), keepdims=keepdims)  # the namespace's, without three calls around it
    front = xp.moveaxis(x, tuple(axes), tuple(range(len(axes))))
    kept = front.shape[len(axes) :]
    total = xp.reshape(of_columns(xp, xp.reshape(front, (math.prod(front.shape[: len(axes)]), -1))), kept)
    return xp.reshape(total, tuple(1 if i in axes else n for i, n in enumerate(x.shape))) if keepdims else total


def as_it_lies(xp: Any, x: Array, axes: Sequence[int]) -> bool:
    """Whether the library's own sum adds in pairs, or adds little."""
    flags = getattr(x, "flags", None)
    if (
        flags is not None
        and flags.c_contiguous
        and (len(axes) == x.ndim or sorted(axes) == list(range(x.ndim - len(axes), x.ndim)))
    ):
        return True
    if math.prod(x.shape[i] for i in axes) <= FEW or not x.size:
        return True
    if flags is not None and flags.f_contiguous and len(axes) == x.ndim:
        return True
    return not xp.isdtype(x.dtype, ("real floating", "complex floating")) or xp.finfo(x.dtype).bits < 32
