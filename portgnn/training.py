"""The one training loop: epochs in chunks, validation, early stopping, restoring the best parameters.

Epochs run in chunks, so that a backend may run several in one launch and metrics are fetched together. Whether
to stop is decided on the host after each chunk; a chunk that ran too far is run again from its start to where
it should have ended. Dropout keys depend on the epoch's number alone, so the second run repeats the first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from portgnn import model, objective
from portgnn.engine import Engine, Task
from portgnn.errors import CheckpointError, ConfigError, PortgnnError
from portgnn.operands import Operands, Prepared, place
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, Optimizer, Params, Run, State
from portgnn.random import dropout_keys

CHUNK_SECONDS = 0.1
CHUNK_EPOCHS = 64

_PARAM = "param."
_REMEDY = "try a smaller learning_rate, a larger eps or dtype='float64'"


class NonFiniteLossError(PortgnnError):
    """The training loss became NaN or infinite."""


@dataclass
class History:
    """One value an epoch. val_loss and val_accuracy are empty where the graph has no validation split."""

    train_loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_accuracy: list[float] = field(default_factory=list)
    epoch_ms: list[float] = field(default_factory=list)
    """Milliseconds of an epoch: training step and validation; a chunk's time shared among its epochs."""

    def __len__(self) -> int:
        return len(self.train_loss)

    def copy(self) -> History:
        return History(*(list(getattr(self, each.name)) for each in fields(self)))

    def cut(self, epochs: int) -> None:
        for values in (self.train_loss, self.val_loss, self.val_accuracy, self.epoch_ms):
            del values[epochs:]


@dataclass(frozen=True)
class Fit:
    """What training leaves: parameters on the host, the history, and the epoch (from 0) they belong to."""

    params: dict[str, NDArray[Any]]
    history: History
    best_epoch: int
    stopped_early: bool


@dataclass(frozen=True, eq=False)
class Progress:
    """A run between two epochs, on the host: all that the loop needs to go on as if it had never stopped.

    state: parameters and optimizer. best_state: the state before epoch `best_start`, from which the best epoch
    is run again; None where no epoch has been validated or nothing watches validation.
    """

    state: dict[str, NDArray[Any]]
    history: History
    best_start: int = 0
    best_state: dict[str, NDArray[Any]] | None = None
    stopped: bool = False


class Keeper(Protocol):
    """Who is handed the progress of a run, to keep it."""

    every: int
    """Epochs from one `keep` to the next."""

    def keep(self, progress: Progress) -> None:
        """Called before the first epoch, after each `every` epochs, and at the end."""

    def stop(self) -> bool:
        """Whether the run is to end early; asked after each chunk, and followed by `keep` and `leave`."""

    def leave(self) -> None:
        """Ends the run by raising."""


def make_loss(backend: Backend, operands: Operands, config: Config) -> Callable[[Params, Any], tuple[Array, None]]:
    """`loss(params, keys) -> (loss, None)` on the rows that the operands count, with dropout."""

    def loss(params: Params, keys: Any) -> tuple[Array, None]:
        logits = model.gcn(backend, params, operands, config, keys)
        return objective.loss(backend, logits, operands, params, config), None

    return loss


def make_run(backend: Backend, prepared: Prepared, *, validate: bool) -> Run:
    """The compiled epochs: a training step and, with `validate`, validation loss and correct count after it."""
    config, graph = prepared.config, prepared.graph
    assert graph.train is not None
    value_and_grad = backend.value_and_grad(
        make_loss(backend, place(backend, prepared, graph.train, training=True), config)
    )
    optimizer = make_optimizer(backend, config)
    held_out = place(backend, prepared, graph.val, training=False) if validate else None

    def step(state: State, keys: Any) -> tuple[State, tuple[Array, ...]]:
        params, moments = split_state(state)
        (loss, _), grads = value_and_grad(params, keys)
        params, moments = optimizer.step(params, grads, moments)
        after = join_state(params, moments)
        if held_out is None:
            return after, (loss,)
        logits = model.gcn(backend, params, held_out, config)
        val_loss = objective.loss(backend, logits, held_out, params, config)
        return after, (loss, val_loss, objective.correct(backend, logits, held_out))

    return backend.compile(step)


def make_optimizer(backend: Backend, config: Config) -> Optimizer:
    """Adam with the recipe's weight decay on every parameter."""
    names = model.parameter_shapes(config, (1,) * (config.layers + 1))
    decay = dict.fromkeys(names, config.weight_decay) if config.weight_decay else {}
    return backend.adam(config.learning_rate, config.beta1, config.beta2, config.eps, decay)


def initial_state(backend: Backend, prepared: Task, seed: int) -> State:
    """Parameters of a seed and a fresh optimizer's state, on the device."""
    host = model.init_params(prepared.config, prepared.dimensions, seed)
    params = {name: backend.asarray(value) for name, value in host.items()}
    moments = make_optimizer(backend, prepared.config).init(params)
    return join_state(params, moments)


def split_state(state: State) -> tuple[Params, State]:
    """Parameters by their own names, and the optimizer's state."""
    params = {name[len(_PARAM) :]: value for name, value in state.items() if name.startswith(_PARAM)}
    return params, {name: value for name, value in state.items() if not name.startswith(_PARAM)}


def join_state(params: Params, moments: State) -> State:
    """The inverse of `split_state`."""
    return {_PARAM + name: value for name, value in params.items()} | moments


def fit(
    backend: Backend,
    prepared: Task,
    seed: int,
    on_chunk: Callable[[History], None] | None = None,
    keeper: Keeper | None = None,
    progress: Progress | None = None,
    engine: Engine | None = None,
) -> Fit:
    """Trains the recipe from a seed. on_chunk is called with the history after each chunk of epochs.

    keeper: is given the run's progress to keep. progress: where an earlier run of this recipe and seed stood;
    training goes on from there. engine: computes the epochs; by default each is one step over the whole graph,
    which then has to be a `Prepared`.

    Raises ConfigError where the graph lacks what the recipe needs, NonFiniteLossError where the loss diverges.
    """
    config, graph = prepared.config, prepared.graph
    _check_splits(prepared)
    validate = graph.val is not None
    if engine is None:
        assert isinstance(prepared, Prepared)
        run = make_run(backend, prepared, validate=validate)
    else:
        run = engine.make_run(validate)
    state = initial_state(backend, prepared, seed)
    history = History()
    layers = config.layers
    best_start, stopped = 0, False
    best_state: dict[str, NDArray[Any]] | None = None
    if progress is not None:
        _check_layout(backend, state, progress.state)
        state = {name: backend.asarray(value) for name, value in progress.state.items()}
        history, stopped = progress.history.copy(), progress.stopped
        best_start, best_state = progress.best_start, progress.best_state
    if keeper:
        # Before any work: a disk that is full or closed to us must not cost it.
        keeper.keep(Progress(_to_host(backend, state), history, best_start, best_state, stopped))
    watched = validate and (config.patience > 0 or config.restore_best)
    best_epoch = _best_epoch(history)
    chunk = 1
    while len(history) < config.epochs and not stopped:
        start = len(history)
        end = min(start + chunk, config.epochs)
        if keeper:
            end = min(end, (start // keeper.every + 1) * keeper.every)
        epochs = range(start, end)
        before = _to_host(backend, state) if watched else None
        clock = time.perf_counter()
        state, metrics = run(state, dropout_keys(seed, epochs, layers))
        backend.synchronize(*state.values())
        milliseconds = (time.perf_counter() - clock) * 1e3 / len(epochs)
        if engine is not None:
            milliseconds = engine.agree(milliseconds)
        history.train_loss += metrics[:, 0].tolist()
        if validate:
            assert graph.val is not None
            history.val_loss += metrics[:, 1].tolist()
            history.val_accuracy += (metrics[:, 2] / len(graph.val)).tolist()
        history.epoch_ms += [milliseconds] * len(epochs)
        for epoch in epochs:
            if watched and config.stops(history.val_loss[: epoch + 1]):
                history.cut(epoch + 1)
                stopped = True
                break
        _check_finite(history, start)
        if history.val_loss:
            best_epoch = _best_epoch(history)
            if best_epoch >= start:
                best_start, best_state = start, before
        if stopped and len(history) < epochs.stop:
            state = _replay(backend, run, before, seed, range(start, len(history)), layers)
        if on_chunk:
            on_chunk(history)
        if keeper:
            leaving = keeper.stop()
            ended = stopped or len(history) == config.epochs
            if leaving or ended or len(history) % keeper.every == 0:
                host = _to_host(backend, state)
                _check_parameters(host, len(history) - 1)
                keeper.keep(Progress(host, history, best_start, best_state, stopped))
            if leaving and not ended:
                keeper.leave()
        chunk = int(min(max(CHUNK_SECONDS * 1e3 / max(milliseconds, 1e-6), 1), CHUNK_EPOCHS))
    if not history.val_loss:
        best_epoch = len(history) - 1
    if config.restore_best and best_epoch != len(history) - 1:
        state = _replay(backend, run, best_state, seed, range(best_start, best_epoch + 1), layers)
    host = _to_host(backend, state)
    _check_parameters(host, best_epoch)
    params = {name[len(_PARAM) :]: value for name, value in host.items() if name.startswith(_PARAM)}
    return Fit(params, history, best_epoch, stopped)


def _best_epoch(history: History) -> int:
    return min(range(len(history.val_loss)), key=history.val_loss.__getitem__, default=0)


def _check_layout(backend: Backend, fresh: State, kept: dict[str, NDArray[Any]]) -> None:
    """An adapter may bring an optimizer of its own, with a state of its own."""
    needed = {name: tuple(value.shape) for name, value in fresh.items()}
    found = {name: value.shape for name, value in kept.items()}
    if needed != found:
        differing = sorted(name for name in {*needed, *found} if needed.get(name) != found.get(name))
        raise CheckpointError(
            f"the checkpoint's optimizer state does not fit the {backend.name} backend ({', '.join(differing[:6])} "
            "differ); resume on the backend that wrote it"
        )


def _to_host(backend: Backend, state: State) -> dict[str, NDArray[Any]]:
    return {name: backend.to_numpy(value) for name, value in state.items()}


def _replay(
    backend: Backend, run: Run, before: dict[str, NDArray[Any]] | None, seed: int, epochs: range, layers: int
) -> State:
    assert before is not None
    state = {name: backend.asarray(value) for name, value in before.items()}
    return run(state, dropout_keys(seed, epochs, layers))[0]


def _check_splits(prepared: Task) -> None:
    graph, config = prepared.graph, prepared.config
    if graph.train is None:
        raise ConfigError(f"{graph.name} has no training split; give one with Graph.with_splits(train, val, test)")
    if graph.val is None and config.restore_best:
        raise ConfigError(f"restore_best needs a validation split, and {graph.name} has none")
    if graph.num_classes < 1:
        raise ConfigError(f"{graph.name} has no classes to learn")


def _check_finite(history: History, start: int) -> None:
    for epoch in range(start, len(history)):
        for name, losses in (("training", history.train_loss), ("validation", history.val_loss)):
            if losses and not math.isfinite(losses[epoch]):
                raise NonFiniteLossError(f"the {name} loss is {losses[epoch]} at epoch {epoch}; {_REMEDY}")


def _check_parameters(host: dict[str, NDArray[Any]], epoch: int) -> None:
    """A last step can spoil the parameters after the last loss was computed."""
    for name, value in host.items():
        if name.startswith(_PARAM) and not np.isfinite(value).all():
            raise NonFiniteLossError(
                f"parameter {name[len(_PARAM) :]} is no longer finite after epoch {epoch}; {_REMEDY}"
            )
