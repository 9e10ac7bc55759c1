"""Seeds of one recipe trained together: one step takes all of them on, each to the numbers of its own run.

Networks stand side by side on an axis before the last: weights [fan_in, seeds, fan_out], rows [n, seeds, columns]. So a
product with the adjacency or with constant features is one, over seeds * columns columns, and an operation's call
serves all seeds. What a seed draws (weights, dropout) is its own; where it stops and which epoch is its best is decided
for each on the host, by the same `Course` that a single run has. A layer says whether it can be computed so (`stacks`).

Sums over rows and columns are the ones of a single run, but their order may be another: losses agree to rounding.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from portgnn.graphs.split import split
from portgnn.metrics import EPOCH_MS
from portgnn.models.layer import streams_of
from portgnn.placing.operands import Operands
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.protocol import Array, Backend, Key, Keys, Namespace, Params, Run, State
from portgnn.training.course import Course, Fit, Host, NonFiniteLossError, without_warnings
from portgnn.training.engine import Engine, Epochs
from portgnn.training.loop import CHUNK_SECONDS
from portgnn.training.state import join_state, parameters_of, split_state
from portgnn.training.step import head_of, make_loss, make_measure, make_optimizer

MOST = 8
"""Seeds of one step: more no longer make a seed's share of it smaller, and run with those that stopped for longer."""
CHUNK_EPOCHS = 16
"""Fewer than in a single run: those from a chunk's beginning to a seed's best are run again for that seed alone."""
NUMBERS = 1 << 22
"""Of all seeds in one layer's rows, at most: beyond, the arrays' traffic is what takes time and not the calls."""


class Shared:
    """An engine whose epochs are placed and compiled once, for any number of runs of its problem."""

    def __init__(self, engine: Engine) -> None:
        self.backend, self.problem = engine.backend, engine.problem
        self.agree, self.any, self.scores = engine.agree, engine.any, engine.scores
        self._engine, self._made = engine, dict[bool, Epochs]()

    def make_run(self, validate: bool) -> Epochs:
        if validate not in self._made:
            self._made[validate] = self._engine.make_run(validate)
        return self._made[validate]


def at_once(problem: object) -> tuple[int, str]:
    """How many seeds one step takes on, and where that is one, why."""
    if not isinstance(problem, Prepared):
        return 1, "batches and pairs are each seed's own"
    config, layers = problem.config, problem.layers
    apart = {
        f"{config.model} computes more than products": not all(layer.stacks for layer in layers),
        "dropout on the features is each seed's own": layers[0].dropout > 0,
        "gradients are clipped by the norm of all": config.clip_norm > 0,
        "the learning rate follows a schedule": config.schedule != "constant" or config.warmup > 0,
        f"--task {config.task} has a loss or a monitor of its own": not problem.task.stacks
        or bool(problem.task.measures.scores)
        or bool(head_of(problem)),
    }
    for reason, holds in apart.items():
        if holds:
            return 1, reason
    widest = problem.graph.num_nodes * max(layer.fan_out for layer in layers)
    return max(min(MOST, NUMBERS // widest), 1), "the graph is large"


Outcome: TypeAlias = Fit | NonFiniteLossError
"""What a run leaves, or why it left nothing."""


def fit_together(shared: Shared, seeds: Sequence[int]) -> list[Outcome]:
    """Trains a problem that `at_once` lets from each seed.

    Raises ConfigError where the graph lacks what the recipe needs.
    """
    shared.problem.task.check()
    courses = {at: Course(shared, seed, None) for at, seed in enumerate(seeds)}
    group = _Group(shared, courses, _joined([course.host(course.state) for course in courses.values()]))
    found: dict[int, Outcome] = {}
    chunk, start = 1, 0
    while len(found) < len(seeds):
        end = min(start + chunk, shared.problem.config.epochs)
        milliseconds = group.advance(range(start, end), found)
        chunk = int(min(max(CHUNK_SECONDS * 1e3 * group.size / max(milliseconds, 1e-6), 1), CHUNK_EPOCHS))
        start, group = end, group.without(found)
    return [found[at] for at in range(len(seeds))]


class _Group:
    """Runs that go on side by side. courses: by number, in the order in which they stand."""

    def __init__(self, shared: Shared, courses: dict[int, Course], host: Host) -> None:
        problem: Any = shared.problem
        self._shared, self._courses = shared, courses
        backend, self._streams = shared.backend, streams_of(shared.problem.layers)
        self._state: State = {name: backend.asarray(value) for name, value in host.items()}
        self._run = _compiled(backend, problem, len(courses))

    def advance(self, epochs: range, found: dict[int, Outcome]) -> float:
        """Trains these epochs of all, and puts what runs leave that ended into `found`. Milliseconds an epoch."""
        backend, courses = self._shared.backend, self._courses
        watched = any(course.watched for course in courses.values())
        before = self._host() if watched else {}
        clock = time.perf_counter()
        with without_warnings():
            keys = np.concatenate([course.keys(epochs) for course in courses.values()], axis=1)
            self._state, rows = self._run(self._state, keys)
        backend.synchronize(*self._state.values())
        milliseconds = (time.perf_counter() - clock) * 1e3 / len(epochs)
        columns = np.split(rows, len(courses), axis=1)
        epochs_of = self._shared.make_run(self._validates)
        for seat, (at, course) in enumerate(courses.items()):
            if at in found:
                continue
            course.state = {name: _of(value, seat) for name, value in self._state.items()}
            curves = epochs_of.named(columns[seat]) | {EPOCH_MS: np.full(len(epochs), milliseconds / len(courses))}
            own = {name: np.array(_of(value, seat)) for name, value in before.items()} if watched else None
            try:
                course.take(own, curves, epochs, milliseconds / len(courses))
                if course.ended:  # now: the next chunk writes over the state
                    found[at] = course.outcome()
            except NonFiniteLossError as error:
                found[at] = error
        return milliseconds

    def without(self, found: dict[int, Outcome]) -> _Group:
        """Without the runs that have ended, once they are half of all."""
        going = [seat for seat, at in enumerate(self._courses) if at not in found]
        if not going or 2 * len(going) > len(self._courses):
            return self
        host = {name: value if value.ndim < 2 else value[..., going, :] for name, value in self._host().items()}
        courses = {at: course for at, course in self._courses.items() if at not in found}
        return _Group(self._shared, courses, host)

    @property
    def size(self) -> int:
        return len(self._courses)

    @property
    def _validates(self) -> bool:
        return self._shared.problem.task.part("val") is not None

    def _host(self) -> Host:
        return {name: self._shared.backend.to_numpy(value) for name, value in self._state.items()}


def _joined(states: Sequence[Host]) -> Host:
    """States of single runs as one. What is a number, such as how far Adam is, is the same in all."""
    return {
        name: value if value.ndim == 0 else np.stack([state[name] for state in states], axis=-2)
        for name, value in states[0].items()
    }


def _of(value: Any, seat: int) -> object:
    """The share of one run in an array of all."""
    return value if len(value.shape) < 2 else value[..., seat, :]


def _compiled(backend: Backend, problem: Prepared, seeds: int) -> Run:
    """Epochs of all: of each seed the training loss and, where nodes validate, what is measured of them."""
    stacked: Any = _Stacked(backend)  # whose dropout takes a key a seed
    whole = split(problem.graph, "train").nodes
    loss = make_loss(stacked, _seen(backend, place(backend, problem, whole, training=True)), problem)
    measure = None
    if problem.task.part("val") is not None:
        held_out = place(backend, problem, split(problem.graph, "val").nodes, training=False)
        measure = make_measure(stacked, _seen(backend, held_out), problem)
    optimizer, streams = make_optimizer(backend, problem), streams_of(problem.layers)

    def total(params: Params, keys: Keys) -> tuple[Array, Array]:
        losses, _ = loss(params, keys)
        return backend.xp.sum(losses), losses

    value_and_grad = backend.value_and_grad(total)

    def step(state: State, keys: Keys) -> tuple[State, tuple[Array, ...]]:
        params, moments = split_state(state)
        by_layer = [[keys[seed * streams + at] for seed in range(seeds)] for at in range(streams)]
        (_, losses), grads = value_and_grad(params, by_layer)
        params, moments = optimizer.step(params, grads, moments)
        after = join_state(params, moments)
        measured = [losses] if measure is None else [losses, *measure(parameters_of(after))]
        return after, tuple(each[seed] for seed in range(seeds) for each in measured)

    return backend.compile(step)


def _seen(backend: Backend, operands: Operands) -> Operands:
    """What is counted, with an axis for the seeds."""
    xp, labels = backend.xp, operands.labels
    return replace(
        operands,
        weights=xp.expand_dims(operands.weights, axis=1),
        labels=xp.reshape(labels, (labels.shape[0], 1, 1)),
    )


class _Stacked:
    """A backend as several networks side by side see it: the verbs that they call know the axis of the seeds."""

    def __init__(self, backend: Backend) -> None:
        self._backend, self.xp = backend, _Namespace(backend.xp)

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def matmul(self, a: Any, b: Array) -> Array:
        """b [k, seeds, m]; a: the same for all, dense or a handle [n, k], or of each, [n, seeds, k]."""
        xp = self._backend.xp
        if len(a.shape) == 3:
            turned = self._backend.matmul(xp.permute_dims(a, (1, 0, 2)), xp.permute_dims(b, (1, 0, 2)))
            found: Array = xp.permute_dims(turned, (1, 0, 2))
            return found
        k, seeds, m = b.shape
        wide = self._backend.matmul(a, xp.reshape(b, (k, seeds * m)))
        side_by_side: Array = xp.reshape(wide, (wide.shape[0], seeds, m))
        return side_by_side

    def dropout(self, x: Array, rate: float, key: Sequence[Key], index: Array | None = None) -> Array:
        """Each seed's own mask; key: of every seed."""
        xp = self._backend.xp
        ones = xp.ones_like(x[:, 0, :])
        masks: Array = xp.stack([self._backend.dropout(ones, rate, each, index) for each in key], axis=1)
        return x * masks


class _Namespace:
    """The standard's functions; what is summed over everything is summed for each seed."""

    def __init__(self, xp: Namespace) -> None:
        self._xp = xp

    def __getattr__(self, name: str) -> object:
        return getattr(self._xp, name)

    def sum(self, x: Array) -> Any:
        return self._xp.sum(x, axis=tuple(axis for axis in range(len(x.shape)) if axis != len(x.shape) - 2))

    def argmax(self, x: object, axis: int) -> Any:
        return self._xp.argmax(x, axis=axis, keepdims=True)
