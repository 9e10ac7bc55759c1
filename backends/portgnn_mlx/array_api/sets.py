"""The different values of an array. All of these evaluate it: their shapes depend on it."""

from __future__ import annotations

from typing import Any, NamedTuple

import mlx.core as mx
import numpy as np

from portgnn_mlx.array_api.creation import asarray


class UniqueAll(NamedTuple):
    """What `unique_all` gives."""

    values: mx.array
    indices: mx.array
    inverse_indices: mx.array
    counts: mx.array


class UniqueCounts(NamedTuple):
    """What `unique_counts` gives."""

    values: mx.array
    counts: mx.array


class UniqueInverse(NamedTuple):
    """What `unique_inverse` gives."""

    values: mx.array
    inverse_indices: mx.array


def unique_all(x: mx.array, /) -> UniqueAll:
    """The different values in order, the first place of each, the number of each element's value, and how often each
    comes. A NaN equals nothing. Evaluates x."""
    host = np.array(x.astype(mx.float32) if x.dtype == mx.bfloat16 else x)
    found: Any = np.unique(host, return_index=True, return_inverse=True, return_counts=True, equal_nan=False)
    _, first, inverse, counts = found
    places = asarray(first.astype(np.int32))
    numbers = asarray(inverse.reshape(x.shape).astype(np.int32))
    return UniqueAll(mx.take(x.reshape(-1), places), places, numbers, asarray(counts.astype(np.int32)))


def unique_counts(x: mx.array, /) -> UniqueCounts:
    """The different values in order and how often each comes. Evaluates x."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: mx.array, /) -> UniqueInverse:
    """The different values in order and the number of each element's value among them. Evaluates x."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: mx.array, /) -> mx.array:
    """The different values in order. Evaluates x."""
    return unique_all(x).values
