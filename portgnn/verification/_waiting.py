"""Checks that `synchronize` waits: that nothing is left to do when it has returned."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from portgnn.protocol import Backend
from portgnn.verification.check import check
from portgnn.verification.measure import Departure, Measured, compare, fetch

ENOUGH_SECONDS = 0.03
TRIES = 3


@check("synchronize", cases=(0,), full=(0,))
def synchronize(backend: Backend, _: int) -> Measured:
    """The time to read two results after `synchronize`, as a share of the time to compute them: near 0.

    The work is a chain of products long enough to tell from noise, and what is read is two numbers, so that
    the copy costs nothing. A `synchronize` that returns early leaves the chain to `to_numpy`, whose share is
    then near 1. On an eager device whose calls are as slow to make as to run there is little left to wait for,
    and the check sees little.
    """
    size = 128 if backend.device.startswith("cpu") else 2048
    host = np.linalg.qr(np.random.default_rng(0).standard_normal((size, size)))[0]
    turn, start = backend.asarray(host), backend.asarray(np.ones((size, 1)) @ np.ones((1, size)))

    def enqueue(length: int) -> list[Any]:
        results, x = [], start
        for _ in range(2):
            for _ in range(length):
                x = backend.matmul(turn, x)
            results.append(backend.xp.sum(x * x))
        return results

    def reading() -> float:
        """What reading costs where hardly anything was computed: other programs on the device can make it long."""
        results = enqueue(1)
        backend.synchronize(*results)
        clock = time.perf_counter()
        for one in results:
            backend.to_numpy(one)
        return time.perf_counter() - clock

    length, shares, values = 8, [], np.zeros(2)
    for _ in range(12):
        clock = time.perf_counter()
        values = np.array([backend.to_numpy(one) for one in enqueue(length)], dtype=np.float64)
        if time.perf_counter() - clock > ENOUGH_SECONDS:
            break
        length *= 2
    for _ in range(TRIES):
        clock = time.perf_counter()
        results = enqueue(length)
        backend.synchronize(*results)
        done = time.perf_counter()
        after = [fetch(backend, one, "a synchronised value") for one in results]
        read = time.perf_counter()
        if not np.array_equal(np.array(after, dtype=np.float64), values) and backend.capabilities.deterministic:
            raise Departure("a value read after synchronize differs from one read without it")
        shares.append(max(read - done - reading(), 0.0) / (read - clock))
    # Turns keep lengths: the chain was computed, and not something shorter.
    kept = compare("a chain of rotations", values, np.full(2, float(size * size)))
    if kept.error > 0.02:
        return kept
    hint = "synchronize returns before the work is done: timings would leave it out"
    return Measured(min(shares), lambda: hint)
