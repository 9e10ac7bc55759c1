"""Where a run stands: its state on the device, its history, the best epoch, and whether it has ended.

Whether to stop is decided on the host after each chunk of epochs; a chunk that ran too far is run again from its
start to where it should have ended. Dropout keys depend on the epoch's number alone, so the second run repeats the
first.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import CheckpointError, PortgnnError
from portgnn.metrics import EPOCH_MS
from portgnn.models.layer import streams_of
from portgnn.protocol import State
from portgnn.random import dropout_keys
from portgnn.tasks import curves_among
from portgnn.training.engine import Engine
from portgnn.training.history import History
from portgnn.training.state import PREFIX, parameters_of
from portgnn.training.step import initial_state

Host = dict[str, NDArray[np.floating]]

_REMEDY = "try a smaller --learning-rate, a larger --eps or --dtype float64"


class NonFiniteLossError(PortgnnError):
    """The training loss became NaN or infinite."""


@dataclass(frozen=True)
class Fit:
    """What training leaves: parameters on the host, the history, and the epoch (from 0) they belong to."""

    params: Host
    history: History
    best_epoch: int
    stopped_early: bool


@dataclass(frozen=True, eq=False)
class Progress:
    """A run between two epochs, on the host: all that the loop needs to go on as if it had never stopped.

    state: parameters and optimizer. best_state: the state before epoch `best_start`, from which the best epoch
    is run again; None where no epoch has been validated or nothing watches validation.
    """

    state: Host
    history: History
    best_start: int = 0
    best_state: Host | None = None
    stopped: bool = False


def without_warnings() -> np.errstate:
    """What overflows is told once: by the losses and the state, which are looked at after each chunk."""
    return np.errstate(over="ignore", divide="ignore", invalid="ignore")


class Course:
    """A run under way. state: on the device. watched: whether validation decides when it ends or what it returns.

    Raises CheckpointError for progress that does not fit the backend's optimizer."""

    def __init__(self, engine: Engine, seed: int, progress: Progress | None) -> None:
        self._engine, self._seed = engine, seed
        config, validates = engine.problem.config, engine.problem.task.part("val") is not None
        self._config = config
        self.watched = validates and (config.patience > 0 or config.restore_best)
        self._run = engine.make_run(validates)
        self.state = initial_state(engine.backend, engine.problem, seed)
        self.history, self.stopped = History.of(self._run.measures), False
        self._best_start, self._best_state = 0, None
        if progress is not None:
            _check_layout(engine.backend.name, self.host(self.state), progress.state)
            self.state = self._on_device(progress.state)
            self.history, self.stopped = _continued(self.history, progress.history), progress.stopped
            self._best_start, self._best_state = progress.best_start, progress.best_state

    @property
    def ended(self) -> bool:
        return self.stopped or len(self.history) >= self._config.epochs

    @property
    def best_epoch(self) -> int:
        """The epoch, from 0, with the best monitored value, of equal ones the first; the last where none was taken."""
        values = self._monitored
        return min(range(len(values)), key=values.__getitem__) if values else len(self.history) - 1

    @property
    def _monitored(self) -> list[float]:
        """The curve by which the run stops and finds its best epoch, so that lower is better."""
        return self.history.falling(self._run.measures.monitor)

    def advance(self, epochs: range) -> float:
        """Trains these epochs, the next ones, and returns milliseconds an epoch. Raises NonFiniteLossError."""
        before = self.host(self.state) if self.watched else None
        clock = time.perf_counter()
        with without_warnings():
            self.state, curves = self._run(self.state, self.keys(epochs))
        self._engine.backend.synchronize(*self.state.values())
        milliseconds = self._engine.agree((time.perf_counter() - clock) * 1e3 / len(epochs))
        self.take(before, curves, epochs, milliseconds)
        return milliseconds

    def take(
        self, before: Host | None, curves: dict[str, NDArray[np.float64]], epochs: range, milliseconds: float
    ) -> None:
        """Takes in epochs that were trained, whose state is the course's now. before: the state before them, on the
        host, where validation is watched. Raises NonFiniteLossError.
        """
        self._note(curves | {EPOCH_MS: np.full(len(epochs), milliseconds)}, epochs)
        self._check_losses(epochs.start)
        if self._monitored and self.best_epoch >= epochs.start:
            self._best_start, self._best_state = epochs.start, before
        if self.stopped and len(self.history) < epochs.stop:
            self.state = self._again(before, range(epochs.start, len(self.history)))

    def progress(self) -> Progress:
        """All that is needed to go on from here. Raises NonFiniteLossError for a state that is not finite."""
        host = self.host(self.state)
        _check_state(host, len(self.history) - 1)
        return Progress(host, self.history, self._best_start, self._best_state, self.stopped)

    def outcome(self) -> Fit:
        """The parameters that the recipe returns. Raises NonFiniteLossError where the state is not finite."""
        state, best = self.state, self.best_epoch
        if self._config.restore_best and best != len(self.history) - 1:
            state = self._again(self._best_state, range(self._best_start, best + 1))
        host = self.host(state)
        _check_state(host, best)
        return Fit(parameters_of(host), self.history, best, self.stopped)

    def _note(self, curves: dict[str, NDArray[np.float64]], epochs: range) -> None:
        """Adds a chunk to the history, up to the epoch after which the recipe's rule stops."""
        self.history.extend(curves)
        monitored = self._monitored
        for epoch in epochs if self.watched else ():
            if self._config.stops(monitored[: epoch + 1]):
                self.history.cut(epoch + 1)
                self.stopped = True
                return

    def _check_losses(self, start: int) -> None:
        losses = [
            each for each in curves_among(self.history.curves) if each.quantity.name == self._run.measures.loss.name
        ]
        for epoch in range(start, len(self.history)):
            for each in losses:
                values = self.history.curves[each.name]
                if values and not math.isfinite(values[epoch]):
                    raise NonFiniteLossError(f"the {each.words} is {values[epoch]} at epoch {epoch}; {_REMEDY}")

    def _again(self, before: Host | None, epochs: range) -> State:
        """The state after these epochs, run once more from the state before them."""
        assert before is not None
        with without_warnings():
            return self._run(self._on_device(before), self.keys(epochs))[0]

    def keys(self, epochs: range) -> NDArray[np.uint32]:
        """The dropout keys of these epochs, [epochs, streams, 2]."""
        return dropout_keys(self._seed, epochs, streams_of(self._engine.problem.layers))

    def host(self, state: State) -> Host:
        """A copy of a state."""
        return {name: self._engine.backend.to_numpy(value) for name, value in state.items()}

    def _on_device(self, host: Host) -> State:
        return {name: self._engine.backend.asarray(value) for name, value in host.items()}


def _continued(fresh: History, kept: History) -> History:
    """A kept history to go on with: of the curves that it has, which all must be measured here."""
    unknown = [name for name in kept.curves if name not in fresh.curves]
    if unknown:
        raise CheckpointError(f"the checkpoint has the curve {unknown[0]}, which this run does not measure")
    return kept.copy()


def _check_layout(backend: str, fresh: Host, kept: Host) -> None:
    """An adapter may bring an optimizer of its own, with a state of its own; and a file may hold any dtype."""
    needed = {name: (value.shape, value.dtype) for name, value in fresh.items()}
    found = {name: (value.shape, value.dtype) for name, value in kept.items()}
    if needed != found:
        differing = sorted(name for name in {*needed, *found} if needed.get(name) != found.get(name))
        raise CheckpointError(
            f"the checkpoint's optimizer state does not fit the {backend} backend ({', '.join(differing[:6])} "
            "differ); resume on the backend that wrote it"
        )


def _check_state(host: Host, epoch: int) -> None:
    """A last step can spoil the parameters after the last loss was computed; and a second moment that overflowed holds
    its parameter where it is, with a loss that looks well.
    """
    for name, value in host.items():
        if not np.isfinite(value).all():
            what = f"parameter {name.removeprefix(PREFIX)}" if name.startswith(PREFIX) else f"{name} of the optimizer"
            raise NonFiniteLossError(f"{what} is no longer finite after epoch {epoch}; {_REMEDY}")
