"""Loops of the host over several threads: NumPy and SciPy let go of Python's lock while they compute.

Threads live as long as a call, so that a process that is forked afterwards has none to wait for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def count() -> int:
    """How many threads to compute with: the cores that this process may use, or fewer where OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(cores, int(asked)) if asked.isdecimal() and int(asked) > 0 else cores


def mapped(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`[function(item) for item in items]`, several at a time. The first exception of an item is raised."""
    listed = list(items)
    workers = min(count(), len(listed))
    if workers < 2:
        return [function(item) for item in listed]
    with ThreadPoolExecutor(workers) as pool:
        # In the caller's context: what it does about overflows is kept there, and a thread begins with an empty one.
        return [each.result() for each in [pool.submit(copy_context().run, function, item) for item in listed]]
