"""How far a study is, and how long it takes yet."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from portgnn.studies.kept import FAILED
from portgnn.studies.plan import Run


@dataclass(frozen=True)
class Told:
    """done: runs that are there, of `total`. kept: of these, how many were there before. seconds_left: by estimate;
    None before one run was trained. said: the last run, "" before one."""

    done: int
    total: int
    kept: int
    seconds_left: float | None
    said: str = ""


OnRun = Callable[[Told], None]


class Progress:
    """exact: whether the total is known, and not a bound."""

    def __init__(self, total: int, jobs: int, on_run: OnRun | None, exact: bool = True) -> None:
        self._total, self._jobs, self._on_run, self._exact = total, jobs, on_run, exact
        self._done = self._kept = 0
        self._took: list[float] = []
        self._began = time.perf_counter()

    def seen(self, count: int) -> None:
        """Runs that need no training."""
        self._done += count
        self._kept += count

    def kept(self) -> None:
        """All of the runs that are wanted now have been looked for."""
        self._tell("")

    def trained(self, run: Run, document: dict[str, Any]) -> None:
        self._done += 1
        self._took.append(document["seconds"])
        self._tell(f"{run.said}: diverged" if FAILED in document else f"{run.said}: {document['seconds']:.2g} s")

    def _tell(self, said: str) -> None:
        if self._on_run is None:
            return
        left = None
        if self._took:
            # By the runs' own times at first, and by what the study as a whole took once some rounds are over.
            whole = (time.perf_counter() - self._began) / len(self._took)
            each = whole if len(self._took) > 2 * self._jobs else statistics.fmean(self._took) / self._jobs
            left = each * (self._total - self._done)
        self._on_run(Told(self._done, self._total, self._kept, left, said))
