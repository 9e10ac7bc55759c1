"""Steps over batches on the CPU without autograd: a step is recorded once for each shape of a batch, and called again.

A recording is a function of the state's arrays, of all arrays of the batch and of its keys, so that what it was made of
has no part in what it gives; see `portgnn_torch.recording`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from portgnn.parts import other_keys
from portgnn.protocol import BatchStep, State
from portgnn_torch.recording import RecordedKey, Recorder, Unrecordable, same_tensors

MOST_SHAPES, MOST_WAITING = 32, 8
"""Recordings that are kept, and batches whose shape has come once."""
MOST_ELEMENTS = 1 << 20
"""Of a batch that is worth recording: in a larger one arithmetic takes the time, and it is too large to be kept."""


class Leaves:
    """The arrays of a batch, each once, and what else a step may know of it without reading an array.

    A batch is a tree of tuples, tensors, None and handles; a handle is an object whose attributes are such a tree.
    """

    def __init__(self, batch: Any) -> None:
        self.arrays: list[torch.Tensor] = []
        self._numbers: dict[int, int] = {}
        parts: list[Any] = []
        self._walk(batch, parts)
        self.form = tuple(parts)

    @property
    def elements(self) -> int:
        return sum(each.numel() if each.layout is torch.strided else each._nnz() for each in self.arrays)

    def _walk(self, value: Any, parts: list[Any]) -> None:
        if isinstance(value, torch.Tensor):
            number = self._numbers.setdefault(id(value), len(self.arrays))
            if number == len(self.arrays):
                self.arrays.append(value)
            parts.append((number, value.shape, value.dtype, value.layout))
        elif isinstance(value, tuple | list):
            parts.append((type(value), len(value)))
            for each in value:
                self._walk(each, parts)
        elif isinstance(value, dict):
            parts.append((dict, *value))
            for each in value.values():
                self._walk(each, parts)
        elif isinstance(value, type | Enum) or not hasattr(value, "__dict__"):
            parts.append(value)
        else:
            parts.append((type(value), *vars(value)))
            for each in vars(value).values():
                self._walk(each, parts)


@dataclass(frozen=True, eq=False)
class _Program:
    """The operations of a step, of `state` arrays by these names, of a batch's arrays and of what keys make.

    made: for each input that keys make, the key's number, how, and the number of the array of elements, if any.
    """

    call: Callable[..., list[torch.Tensor]]
    names: tuple[str, ...]
    after: tuple[str, ...]
    made: tuple[tuple[int, Callable[..., torch.Tensor], int | None], ...]

    def __call__(
        self, state: State, keys: NDArray[np.uint32], arrays: list[torch.Tensor]
    ) -> tuple[State, tuple[torch.Tensor, ...]]:
        with torch.no_grad():
            inputs = [
                make(keys[None, at], None if index is None else arrays[index])[0] for at, make, index in self.made
            ]
            results = self.call(*[state[name] for name in self.names], *arrays, *inputs)
        return dict(zip(self.after, results, strict=False)), tuple(results[len(self.after) :])


def _recorded(step: BatchStep, state: State, keys: NDArray[np.uint32], batch: Any, leaves: Leaves) -> _Program:
    """Raises Unrecordable, or what the step raises where it cannot work with recorded keys. Changes the state."""
    recorder = Recorder()
    of_state = [f"s{at}" for at in range(len(state))]
    of_batch = [f"b{at}" for at in range(len(leaves.arrays))]
    for name, value in [*zip(of_state, state.values(), strict=True), *zip(of_batch, leaves.arrays, strict=True)]:
        recorder.name(value, name)
    with recorder:
        after, measured = step(state, [RecordedKey(recorder, at, words) for at, words in enumerate(keys)], batch)
    made = []
    for layer, make, index in recorder.inputs:
        known = None if index is None else recorder.read(index)
        if known is not None and known not in of_batch:
            raise Unrecordable("elements are numbered by something else than the batch")
        made.append((layer, make, None if known is None else of_batch.index(known)))
    call = recorder.program([*after.values(), *measured], [*of_state, *of_batch])
    return _Program(call, tuple(state), tuple(after), tuple(made))


class RecordedBatches:
    """`step(state, keys, batch)` by a recording of the batch's shape; the step itself until there is one.

    The first batch of a shape is kept until the second comes: the recording is made of one and must give the step's
    own bits on the other, or this shape is never recorded.
    """

    def __init__(self, step: BatchStep) -> None:
        self._step = step
        self._first: dict[Any, tuple[Any, Leaves]] = {}
        self._programs: dict[Any, _Program | None] = {}

    def __call__(self, state: State, keys: NDArray[np.uint32], batch: Any) -> tuple[State, tuple[torch.Tensor, ...]]:
        leaves = Leaves(batch)
        form = (leaves.form, *((name, value.shape, value.dtype) for name, value in state.items()))
        program = self._programs.get(form)
        if program is not None:
            return program(state, keys, leaves.arrays)
        if form in self._first:
            self._programs[form] = self._tried(state, keys, batch, leaves, self._first.pop(form))
        elif form not in self._programs and len(self._programs) < MOST_SHAPES and leaves.elements <= MOST_ELEMENTS:
            self._first[form] = batch, leaves
            if len(self._first) > MOST_WAITING:
                del self._first[next(iter(self._first))]
        return self._step(state, keys.tolist(), batch)

    def _tried(
        self, state: State, keys: NDArray[np.uint32], batch: Any, leaves: Leaves, first: tuple[Any, Leaves]
    ) -> _Program | None:
        """A recording of the first batch, by other keys, that gave the step's bits on this one."""
        others = other_keys(keys)
        try:
            program = _recorded(self._step, _copied(state), others, *first)
            expected, measured = self._step(_copied(state), keys.tolist(), batch)
            found, values = program(_copied(state), keys, leaves.arrays)
        # A step that cannot be recorded fails in its own way, and calling it says what is wrong with it.
        except Exception:
            return None
        if expected.keys() != found.keys() or len(measured) != len(values):
            return None
        pairs = [*((found[name], value) for name, value in expected.items()), *zip(values, measured, strict=True)]
        return program if all(same_tensors(a, b) for a, b in pairs) else None


def _copied(state: State) -> State:
    return {name: value.clone() for name, value in state.items()}
