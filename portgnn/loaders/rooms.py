"""Memory that batches have been in, for those that follow.

An array of a batch's size is new memory from the system each time, whose pages the system empties as they are first
written: that took as long as to fill it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np
from numpy.typing import DTypeLike, NDArray

Room = NDArray[np.uint8]

KEPT = 6
"""Rooms that are kept for later ones: of two batches, features and the element numbers of two layers."""


class Rooms:
    """Lends memory to who makes batches, perhaps in another thread, and takes it back from who has placed them."""

    def __init__(self) -> None:
        self._free: list[Room] = []
        self._lock = threading.Lock()

    def taken(self, shape: tuple[int, ...], dtype: DTypeLike) -> tuple[NDArray[np.floating], Room]:
        """An array with whatever is in it, and the room to give back when nobody needs the array any more."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        with self._lock:
            fitting = [at for at, room in enumerate(self._free) if len(room) >= size]
            room = self._free.pop(min(fitting, key=lambda at: len(self._free[at]))) if fitting else None
        if room is None:
            room = np.empty(size + size // 4, dtype=np.uint8)  # the next batch may be a class larger
        return room[:size].view(kind).reshape(shape), room

    def given_back(self, rooms: Iterable[Room]) -> None:
        """The largest ones are kept."""
        with self._lock:
            self._free = sorted([*self._free, *rooms], key=len)[-KEPT:]
