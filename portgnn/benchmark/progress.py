"""Progress bars on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.progress_bar import ProgressBar
from rich.text import Text

FRAMES_A_SECOND = 2
"""A drawing is work, and this machine is being timed."""


class Progress:
    """One bar at a time. seconds: what the whole run may take, where that is known; else turns are counted."""

    def __init__(
        self, quiet: bool = False, seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._seconds, self._clock, self._began = seconds, clock, clock()
        columns = (TextColumn("{task.description}"), _Bar(self), _Left(self), TextColumn("[dim]{task.fields[now]}"))
        self._bars = Bars(*columns, console=self._console, transient=True, refresh_per_second=FRAMES_A_SECOND)
        self._task: TaskID | None = None

    @property
    def deadline(self) -> float | None:
        """Reading of the clock at which the time is used up, where there is a limit."""
        return None if self._seconds is None else self._began + self._seconds

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def start(self, what: str, steps: int) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(what, total=max(steps, 1), now="")
        if not self._console.is_terminal:
            left = self.left(None)
            self.say(f"{what}: {left}" if self._seconds is not None else f"{what}: {steps} turns")

    def advance(self, now: str) -> None:
        if self._task is not None:
            self._bars.update(self._task, advance=1, now=now)

    def say(self, message: str) -> None:
        self._console.print(message, markup=False, highlight=False)

    def share(self, task: Task) -> float:
        """Of the whole run's time, or of the steps, what is behind; between 0 and 1."""
        done, whole = (task.completed, task.total or 1.0) if self._seconds is None else (self._gone(), self._seconds)
        return min(done / whole, 1.0)

    def left(self, task: Task | None) -> str:
        """The time left in words."""
        if self._seconds is None:
            seconds = task.time_remaining if task is not None else None
        else:
            seconds = self._seconds - self._gone()
        if seconds is None:
            return ""
        return f"about {int(seconds) // 60}:{int(seconds) % 60:02d} left" if seconds >= 1 else "nearly done"

    def _gone(self) -> float:
        return self._clock() - self._began


class _Bar(BarColumn):
    def __init__(self, progress: Progress) -> None:
        super().__init__(bar_width=20)
        self._progress = progress

    def render(self, task: Task) -> ProgressBar:
        return ProgressBar(total=1.0, completed=self._progress.share(task), width=20)


class _Left(ProgressColumn):
    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress

    def render(self, task: Task) -> Text:
        return Text(self._progress.left(task))
