"""Makes batches in a background thread while the step works on the one before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar, cast

Item = TypeVar("Item")

_END = object()


class Prefetch(Generic[Item]):
    """Iterates over `items` with up to `depth` of them made ahead, in the order in which they come.

    A context manager: leaving it ends the thread, also where not all items were taken. What `items` raises is
    raised to the taker. NumPy and SciPy release the interpreter's lock where their time goes.
    """

    def __init__(self, items: Iterable[Item], depth: int = 1) -> None:
        self._queue: queue.Queue[object] = queue.Queue(maxsize=depth)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._make, args=(items,), name="portgnn-prefetch", daemon=True)

    def __enter__(self) -> Iterator[Item]:
        self._thread.start()
        return self._taken()

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _taken(self) -> Iterator[Item]:
        while (item := self._queue.get()) is not _END:
            if isinstance(item, _Raised):
                raise item.error
            taken = [cast(Item, item)]
            del item  # the taker alone holds it
            yield taken.pop()

    def _make(self, items: Iterable[Item]) -> None:
        try:
            for item in items:
                if not self._put(item):
                    return
                del item  # not held while the next is made
            self._put(_END)
        except BaseException as error:  # for the taker, who waits for an item
            self._put(_Raised(error))

    def _put(self, item: object) -> bool:
        while not self._ended.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error
