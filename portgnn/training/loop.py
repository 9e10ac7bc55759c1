"""The one training loop: epochs in chunks, told to whoever watches and handed to whoever keeps them.

Epochs run in chunks, so that a backend may run several in one launch and metrics are fetched together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from portgnn.training.course import Course, Fit, Progress
from portgnn.training.engine import Engine
from portgnn.training.history import History

CHUNK_SECONDS = 0.1
CHUNK_EPOCHS = 64


class Checkpointer(Protocol):
    """Who is handed the progress of a run, to keep it."""

    every: int
    """Epochs from one `keep` to the next."""

    def keep(self, progress: Progress) -> None:
        """Called before the first epoch, after each `every` epochs, and at the end."""

    def stop(self) -> bool:
        """Whether the run is to end early; asked after each chunk, and followed by `keep` and `leave`."""

    def leave(self) -> None:
        """Ends the run by raising."""


def fit(
    engine: Engine,
    seed: int,
    on_chunk: Callable[[History], None] | None = None,
    checkpointer: Checkpointer | None = None,
    progress: Progress | None = None,
) -> Fit:
    """Trains the engine's problem from a seed. on_chunk is called with the history after each chunk of epochs.

    checkpointer: is given the run's progress to keep. progress: where an earlier run of this recipe and seed stood;
    training goes on from there.

    Raises ConfigError where the graph lacks what the recipe needs, NonFiniteLossError where the loss diverges.
    """
    engine.problem.task.check()
    course, epochs = Course(engine, seed, progress), engine.problem.config.epochs
    if checkpointer:
        # Before any work: a disk that is full or closed to us must not cost it.
        checkpointer.keep(course.progress())
    chunk = 1
    while not course.ended:
        start = len(course.history)
        end = min(start + chunk, epochs)
        if checkpointer:
            end = min(end, (start // checkpointer.every + 1) * checkpointer.every)
        milliseconds = course.advance(range(start, end))
        if on_chunk:
            on_chunk(course.history)
        if checkpointer:
            keep(checkpointer, course)
        chunk = int(min(max(CHUNK_SECONDS * 1e3 / max(milliseconds, 1e-6), 1), CHUNK_EPOCHS))
    return course.outcome()


def keep(checkpointer: Checkpointer, course: Course) -> None:
    """After a chunk: hands the progress over where it is time, and ends the run where the checkpointer wants that."""
    leaving = checkpointer.stop()
    if leaving or course.ended or len(course.history) % checkpointer.every == 0:
        checkpointer.keep(course.progress())
    if leaving and not course.ended:
        checkpointer.leave()
