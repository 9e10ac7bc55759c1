"""Progress bars on a terminal, plain lines elsewhere; always on standard error."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Progress:
    """One bar at a time."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Bars(*columns, TextColumn("[dim]{task.fields[now]}"), console=self._console, transient=True)
        self._task: TaskID | None = None

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
            self.say(f"{what}: {steps} turns")

    def advance(self, now: str) -> None:
        if self._task is not None:
            self._bars.update(self._task, advance=1, now=now)

    def say(self, message: str) -> None:
        self._console.print(message, markup=False, highlight=False)
