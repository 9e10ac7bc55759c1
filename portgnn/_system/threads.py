"""Work of the host in several threads: NumPy, SciPy and hashes let go of Python's lock while they compute.

Threads end with what they were asked for, so that a process that is forked afterwards has none to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Thread
from typing import TypeVar

from portgnn.parts import host_threads

Item = TypeVar("Item")
Result = TypeVar("Result")


def mapped(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`[function(item) for item in items]`, several at a time. The first exception of an item is raised."""
    listed = list(items)
    workers = min(host_threads(), len(listed))
    if workers < 2:
        return [function(item) for item in listed]
    with ThreadPoolExecutor(workers) as pool:
        # In the caller's context: what it does about overflows is kept there, and a thread begins with an empty one.
        return [each.result() for each in [pool.submit(copy_context().run, function, item) for item in listed]]


def ahead(function: Callable[[], Result]) -> Callable[[], Result]:
    """Starts what is needed later alone; the result gives, or raises, what came out, and waits for it where it must."""
    found: Future[Result] = Future()

    def work() -> None:
        try:
            found.set_result(function())
        except BaseException as error:  # raised where the result is asked for
            found.set_exception(error)

    # A daemon: who interrupts a run does not wait for it.
    Thread(target=work, daemon=True).start()
    return found.result
