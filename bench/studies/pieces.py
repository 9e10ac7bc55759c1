"""Work of a study in pieces: some at a time in processes of their own, each kept as soon as it is done.

So a study may be stopped, or end when its minutes are over, and go on another time with what is missing.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import TypeVar

Piece = TypeVar("Piece")
Found = TypeVar("Found")


def run(
    pieces: Iterable[Piece],
    do: Callable[[Piece], Found],
    keep: Callable[[Piece, Found], None],
    jobs: int,
    minutes: float,
) -> bool:
    """Whether all pieces are done: none is begun when the minutes are over, and one that failed is told of and left.

    do: a function of a module, called in one of `jobs` processes with one thread each. keep: called here.
    """
    end, todo, complete = time.monotonic() + 60 * minutes, iter(pieces), True
    running = dict[Future[Found], Piece]()
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes, which are begun below
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        while True:
            for piece in _taken(todo, jobs - len(running), end):
                running[pool.submit(do, piece)] = piece
            if not running:
                return complete and next(todo, None) is None
            for each in wait(running, return_when=FIRST_COMPLETED).done:
                piece = running.pop(each)
                if each.exception():
                    complete = False
                    print(f"{piece}: {type(each.exception()).__name__}: {each.exception()}", flush=True)
                else:
                    keep(piece, each.result())


def _taken(todo: Iterator[Piece], count: int, end: float) -> Iterator[Piece]:
    for _ in range(count):
        if time.monotonic() > end:
            return
        piece = next(todo, None)
        if piece is None:
            return
        yield piece
