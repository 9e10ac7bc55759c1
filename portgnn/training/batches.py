"""Steps over batches within an epoch: one a batch, or one for several whose gradients are added up first."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from portgnn.parts import plain_batches, provides
from portgnn.protocol import Array, Backend, Batching, BatchRun, BatchStep, Keys, Params, Run, State
from portgnn.training.engine import Problem
from portgnn.training.schedules import Schedule, in_float32, schedule_of
from portgnn.training.state import join_state, parameters_of, split_state
from portgnn.training.step import make_optimizer, make_step

Loss = Callable[..., tuple[Array, Params | None]]
"""`loss(params, keys, batch) -> (loss, found)`; see `portgnn.training.step.make_loss`."""

SUM, COUNT = "sum.", "sum of counts"
"""Names in the state between batches: of the gradients' sums, and of that of the nodes that they are means over."""


class BatchSteps:
    """The steps of an epoch of batches. Sums of gradients are in the state only between its batches.

    The state of an epoch's beginning and end is that of a run: what is left over at the end makes a step of its own.
    """

    def __init__(self, backend: Backend, problem: Problem, loss: Loss) -> None:
        self._backend, self._accumulate, self._added = backend, problem.config.accumulate, 0  # batches since a step
        self._schedule = schedule_of(backend, problem.config)
        if self._accumulate == 1:
            self._step = compiled(backend, make_step(backend, problem, loss))
        else:
            self._step = compiled(backend, _adding(backend, loss))
            self._update = compiled(backend, _updating(backend, problem))

    def __call__(self, state: State, keys: NDArray[np.uint32], batch: object, count: float) -> tuple[State, Array]:
        """The state after the batch, and its loss. keys: [layers, 2] on the host. count: what the loss counts for."""
        if self._accumulate == 1:
            state, (loss,) = self._step(state, keys, batch)
            return state, loss
        if COUNT not in state:
            state, self._added = state | _nothing(self._backend, state), 0
        state, (loss,) = self._step(state, keys, (self._backend.asarray(np.array(float(count))), batch))
        self._added += 1
        return (self._updated(state, keys) if self._added == self._accumulate else state), loss

    def epoch(
        self, state: State, keys: NDArray[np.uint32], batches: Iterable[tuple[object, float]]
    ) -> tuple[State, float]:
        """The state after a pass over batches, each on the device with what it counts for, and their mean loss."""
        losses, counts = [], []
        for batch, count in batches:
            state, loss = self(state, keys, batch, count)
            del batch  # it need not stay while the next is placed
            losses.append(loss)
            counts.append(count)
        state = self.finished(state, keys)
        return state, float(np.average([float(self._backend.to_numpy(loss)) for loss in losses], weights=counts))

    def run(
        self,
        batches: Callable[[NDArray[np.uint32]], Generator[tuple[Any, float]]],
        measured: Callable[[State], tuple[State, list[float]]],
    ) -> Run:
        """Passes over batches, which are asked for with the keys of each; and what is validated after each."""

        def run(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
            rows = []
            for epoch in keys:
                with closing(batches(epoch)) as placed:
                    state, loss = self.epoch(state, epoch, placed)
                state, validated = measured(state)
                row = [loss, *validated]
                state = self.scheduled(state, row)
                rows.append(row)
            return state, np.array(rows, dtype=np.float64)

        return run

    def finished(self, state: State, keys: NDArray[np.uint32]) -> State:
        """The state after the last batch of the epoch."""
        if COUNT not in state:
            return state
        state = self._updated(state, keys) if self._added else state
        return {name: value for name, value in state.items() if name != COUNT and not name.startswith(SUM)}

    def scheduled(self, state: State, measured: Sequence[Any]) -> State:
        """The state after the epoch. measured: the training loss and, where there is one, the validation loss and more.

        Each a number or a 0-d array.
        """
        return going_on(self._backend, self._schedule, state, measured)

    def _updated(self, state: State, keys: NDArray[np.uint32]) -> State:
        self._added = 0
        return self._update(state, keys, ())[0]


def going_on(backend: Backend, schedule: Schedule | None, state: State, measured: Sequence[Any]) -> State:
    """See `BatchSteps.scheduled`. schedule: None where the rate stays as it is."""
    if schedule is None:
        return state
    loss = measured[:2][-1]
    return schedule.advanced(state, backend.asarray(np.array(loss)) if isinstance(loss, float) else loss)


def _nothing(backend: Backend, state: State) -> State:
    """Sums of no batch."""
    zero = in_float32(backend, np.zeros(()))
    return {SUM + name: backend.xp.zeros_like(value) + zero for name, value in parameters_of(state).items()} | {
        COUNT: zero
    }


def _adding(backend: Backend, loss: Loss) -> BatchStep:
    """Adds a batch's gradients, each as often as the batch has nodes, so that their mean is that of all nodes."""
    value_and_grad = backend.value_and_grad(loss)

    def step(state: State, keys: Keys, batch: Any) -> tuple[State, tuple[Array, ...]]:
        count, operands = batch
        (value, found), grads = value_and_grad(parameters_of(state), keys, operands)
        sums = {SUM + name: state[SUM + name] + grad * count for name, grad in grads.items()}
        return state | join_state(found or {}, sums) | {COUNT: state[COUNT] + count}, (value,)

    return step


def _updating(backend: Backend, problem: Problem) -> BatchStep:
    """A step of the optimizer along the mean of what was added, which is nothing again after it."""
    optimizer, xp = make_optimizer(backend, problem), backend.xp

    def step(state: State, keys: Keys, batch: Any) -> tuple[State, tuple[Array, ...]]:
        params, moments = split_state(state)
        sums = {name: moments.pop(name) for name in (COUNT, *(SUM + name for name in params))}
        grads = {name: sums[SUM + name] / sums[COUNT] for name in params}
        params, moments = optimizer.step(params, grads, moments)
        # As many arrays as came in, whose memory these may take.
        return join_state(params, moments) | {name: xp.zeros_like(value) for name, value in sums.items()}, ()

    return step


def compiled(backend: Backend, step: BatchStep) -> BatchRun:
    """The step, made fast where the backend has a way to."""
    return (
        cast(Batching, backend).compile_batches(step) if provides(backend, Batching) else plain_batches(backend, step)
    )
