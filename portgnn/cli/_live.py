"""What a terminal shows while training runs: a bar with the time left, and the last epoch above the best one."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

from portgnn.metrics import Measures
from portgnn.training import History

FRAMES_A_SECOND = 2
WIDEST = 80
"""Columns beyond which the bar grows no longer."""
SHORTEST_BAR = 10
GAP = 2
MONITOR = Measures(()).monitor
"""The curve on which the best epoch is the best."""


class Epoch(NamedTuple):
    """One row: its number from 1, what was measured in it, by the heads of columns, and its time."""

    number: int
    measured: dict[str, float]
    milliseconds: float


class View:
    """The state of a run, drawn by rich as wide as there is room for.

    total: epochs at most. clock: seconds, for the time left.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.total = total
        self._clock = clock
        self._began = clock()
        self._first: tuple[float, int] | None = None
        self._now = self._began
        self.last: Epoch | None = None
        self.best: Epoch | None = None
        self._best: float | None = None

    def report(self, history: History) -> None:
        """Takes in the epochs that are new. The lists stay the trainer's: what is drawn later is copied here."""
        seen = self.last.number if self.last else 0
        monitored = history.falling(MONITOR)
        for at in range(seen, len(history)):
            self.last = _epoch(history, at)
            if monitored and (self._best is None or monitored[at] < self._best):
                self._best, self.best = monitored[at], self.last
        self._now = self._clock()
        if self._first is None:  # compilation and warm-up would spoil the estimate
            self._first = (self._now, len(history))

    def seconds_left(self) -> float | None:
        """Seconds until the last epoch at the speed so far; None before that is known."""
        if self._first is None or self.last is None or self.last.number <= self._first[1]:
            return None
        since, start = self._first
        a_epoch = (self._now - since) / (self.last.number - start)
        return max(a_epoch * (self.total - self.last.number) - (self._clock() - self._now), 0.0)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._bar(options.max_width)
        if self.last is not None:
            yield self._table(options.max_width)

    def _bar(self, width: int) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        done = self.last.number if self.last else 0
        counted, left = f"epoch {done}/{self.total}", self.seconds_left()
        if left is None:
            timed = f"{_clock_time(self._clock() - self._began)} gone"
        else:
            timed = f"at most {_clock_time(left)} left"  # early stopping may end it sooner
        room = min(width, WIDEST) - len(counted) - len(timed) - 2 * GAP
        line: list[RenderableType] = [counted]
        if room >= SHORTEST_BAR:
            line.append(ProgressBar(total=self.total, completed=done, width=room))
        if room >= -GAP:
            line.append(timed)
        grid = Table.grid(padding=(0, GAP, 0, 0))
        for _ in line:
            grid.add_column(no_wrap=True, overflow="crop")
        grid.add_row(*line)
        return grid

    def _table(self, width: int) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        rows = [("last", self.last, ""), ("best", self.best, "green")]
        drawn = [(label, epoch, style) for label, epoch, style in rows if epoch is not None]
        measured = list(drawn[0][1].measured)
        columns = ("", "epoch", *measured, "ms/epoch")
        shown = {name: [name, *(_cell(name, label, epoch) for label, epoch, _ in drawn)] for name in columns}
        for name in _given_up(measured):
            if sum(max(map(len, column)) + GAP for column in shown.values()) - GAP <= width:
                break
            shown.pop(name, None)
        grid = Table.grid(padding=(0, GAP, 0, 0))
        for name in shown:
            grid.add_column(justify="right" if name else "left", no_wrap=True, overflow="crop")
        grid.add_row(*(Text(name, style="dim") for name in shown))
        for at, (_, _, style) in enumerate(drawn, 1):
            grid.add_row(*(Text(column[at], style=style) for column in shown.values()))
        return grid


def _given_up(measured: list[str]) -> list[str]:
    """Columns in the order in which a narrow terminal loses them: the training loss, and the last metrics first."""
    return ["ms/epoch", *measured[:1], *reversed(measured[1:])]


def _epoch(history: History, at: int) -> Epoch:
    return Epoch(at + 1, {each.short: history.curves[each.name][at] for each in history.measured}, history.epoch_ms[at])


def _cell(column: str, label: str, epoch: Epoch) -> str:
    if not column:
        return label
    if column == "epoch":
        return str(epoch.number)
    if column == "ms/epoch":
        return f"{epoch.milliseconds:.2f}"
    value = epoch.measured[column]
    return f"{value:.4f}" if value < 1e4 else f"{value:.3e}"


def _clock_time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def can_be_shown() -> bool:
    """Whether stderr is a terminal on which lines can be drawn again, and no log writes between them."""
    if not sys.stderr.isatty() or _is_logged_to(sys.stderr):
        return False
    from rich.console import Console

    return not Console(stderr=True).is_dumb_terminal


def _is_logged_to(stream: TextIO) -> bool:
    handlers = [*logging.getLogger("portgnn").handlers, *logging.getLogger().handlers]
    # Behind the guard of a command lies the stream that a handler made before it writes to.
    streams = (stream, getattr(stream, "stream", stream))
    return any(getattr(handler, "stream", None) in streams for handler in handlers)


@contextmanager
def live(total: int) -> Iterator[Callable[[History], None]]:
    """Draws the view on stderr, a few times a second from a thread of its own, until the run ends.

    It is wiped away at the end, where the result follows; an error or Ctrl-C leaves the last epochs standing.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    view = View(total)
    # stdout belongs to the result. Messages on stderr go above the table.
    with Live(
        view,
        console=console,
        refresh_per_second=FRAMES_A_SECOND,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=True,
    ) as shown:
        console.show_cursor(True)  # a run that is killed must not leave the terminal without one
        try:
            yield view.report
        except BaseException:
            shown.transient = view.last is None
            raise
