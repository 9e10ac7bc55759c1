"""Who is told of a run while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from portgnn.errors import ConfigError

if TYPE_CHECKING:
    from portgnn.presets import Config
    from portgnn.results.result import TrainResult
    from portgnn.training import History


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run before its first epoch.

    epochs_done: epochs that a resumed run has behind it. processes: how many train together.
    """

    config: Config
    dataset: str
    nodes: int
    edges: int
    backend: str
    device: str
    dtype: str
    seed: int
    epochs_done: int = 0
    processes: int = 1


class Callback:
    """What a run calls while it goes on; a subclass overrides the methods that it needs.

    The methods are called in the thread of the training, and in a distributed run by the first process alone. What
    one of them raises ends the run and reaches the caller of `portgnn.train`; a checkpoint then holds the last state
    that was kept, whole. After `on_start` there follows either `on_end` or `on_error`, once.
    """

    def on_start(self, facts: RunFacts) -> None:
        """Before the first epoch, when the graph and the recipe have been checked."""

    def on_epochs(self, history: History) -> None:
        """After each chunk of epochs, with all epochs so far, those before a resumption included.

        A chunk holds one epoch or more, about a tenth of a second's work. The history is the run's own; copy it to
        keep it.
        """

    def on_end(self, result: TrainResult) -> None:
        """After training and test."""

    def on_error(self, error: BaseException) -> None:
        """When the run ends by an error, KeyboardInterrupt and SystemExit included."""


class OnChunk(Callback):
    """A function of the history as a callback."""

    def __init__(self, function: Callable[[History], None]) -> None:
        self._function = function

    def on_epochs(self, history: History) -> None:
        self._function(history)


class Callbacks:
    """All callbacks of a run, called in their order. As a context manager, tells them of the error that ends it."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        """Raises ConfigError for what is no callback."""
        for callback in callbacks:
            if not isinstance(callback, Callback):
                raise ConfigError(
                    f"{callback!r} is no callback; give an object of a subclass of portgnn.Callback, or a function of "
                    "the history as on_chunk"
                )
        self._callbacks = tuple(callbacks)
        self._told: list[Callback] = []
        """Those that wait for an end."""

    def start(self, facts: RunFacts) -> None:
        for callback in self._callbacks:
            _call(callback, "on_start", facts)
            self._told.append(callback)

    def epochs(self, history: History) -> None:
        for callback in self._told:
            _call(callback, "on_epochs", history)

    def end(self, result: TrainResult) -> None:
        """Each is told that the run has succeeded, even where one before it raises."""
        told, self._told = self._told, []
        faults: list[Exception] = []
        for callback in told:
            try:
                _call(callback, "on_end", result)
            except Exception as fault:
                faults.append(fault)
        if faults:
            for other in faults[1:]:
                faults[0].add_note(f"then {other!r} was {_last_note(other)}")
            raise faults[0]

    def __enter__(self) -> Callbacks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        for callback in self._told:
            try:
                _call(callback, "on_error", error)
            except Exception as other:  # must not hide the error that ended the run
                error.add_note(f"then {other!r} was {_last_note(other)}")


def _call(callback: Callback, method: str, argument: object) -> None:
    try:
        getattr(callback, method)(argument)
    except Exception as error:
        # A note: what a callback raises on purpose must arrive as what it is.
        error.add_note(f"raised by {type(callback).__name__}.{method}, a callback of the run")
        raise


def _last_note(error: Exception) -> str:
    return str(error.__notes__[-1])
