"""Steps over batches on CUDA as graphs: a step is recorded once for each shape of a batch, and replayed for the others.

A graph reads arrays of its own, into which a batch and its keys are copied, and changes a state of its own: a step of
some hundred short kernels then costs the host a few calls.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from portgnn.protocol import BatchStep, State
from portgnn_torch.batches import MOST_ELEMENTS, MOST_WAITING, Leaves
from portgnn_torch.graphs import MODE, uncollected

MOST_SHAPES = 16
"""Graphs that are kept: each holds the memory of a step."""
APART = 1e-4
"""How far numbers of a replayed step may be from the step's own, relative to the largest of an array: a library may
choose another kernel inside of a recording, and no more than rounding follows from that."""


class _Captured:
    """One recorded step on arrays of its own. state: changed in place, and shared with other recordings."""

    def __init__(self, step: BatchStep, state: State, keys: NDArray[np.uint32], batch: Any) -> None:
        device = next(iter(state.values())).device
        self._state, self._keys = state, _words(keys).to(device)
        # Outside the recording, and on other arrays: kernels compile, and what is kept by array must not be kept of
        # those whose numbers change.
        stream = torch.cuda.Stream(device)
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            for _ in range(2):
                step(copied(state), self._keys, copy.deepcopy(batch))
        torch.cuda.current_stream(device).wait_stream(stream)
        own = copy.deepcopy(batch)
        self._groups: dict[torch.dtype, list[int]] = {}
        self._arrays = Leaves(own).arrays
        for number, array in enumerate(self._arrays):
            self._groups.setdefault(array.dtype, []).append(number)
        self._graph = torch.cuda.CUDAGraph()
        with uncollected(), torch.cuda.graph(self._graph, capture_error_mode=MODE):
            after, measured = step(state, self._keys, own)
            for name, value in after.items():
                if value is not state[name]:
                    state[name].copy_(value)
            self._measured = torch.stack([value.to(torch.float64) for value in measured])
        self._kinds = [value.dtype for value in measured]

    def takes(self, arrays: list[torch.Tensor]) -> bool:
        """Whether a batch's arrays are those of the recording, each of its shape."""
        return [each.shape for each in arrays] == [each.shape for each in self._arrays]

    def __call__(self, keys: NDArray[np.uint32], arrays: list[torch.Tensor]) -> tuple[State, tuple[torch.Tensor, ...]]:
        for numbers in self._groups.values():
            torch._foreach_copy_([self._arrays[at] for at in numbers], [arrays[at] for at in numbers])
        self._keys.copy_(_words(keys))
        self._graph.replay()
        measured = self._measured.clone().unbind()  # the next replay writes over it
        return dict(self._state), tuple(value.to(kind) for value, kind in zip(measured, self._kinds, strict=True))


class CapturedBatches:
    """`step(state, keys, batch)` by a graph of the batch's shape; the step itself until there is one.

    The first batch of a shape is kept until the second comes: the recording is made of one and must give the step's
    own numbers on the other, or this shape is never recorded.
    """

    def __init__(self, step: BatchStep) -> None:
        self._step = step
        self._first: dict[Any, tuple[Any, Leaves]] = {}
        self._captured: dict[Any, _Captured | None] = {}
        self._states: dict[Any, State] = {}

    def __call__(self, state: State, keys: NDArray[np.uint32], batch: Any) -> tuple[State, tuple[torch.Tensor, ...]]:
        leaves = Leaves(batch)
        of_state = tuple((name, value.shape, value.dtype) for name, value in state.items())
        form = (leaves.form, keys.shape, of_state)
        captured = self._captured.get(form)
        if captured is not None:
            _put(state, self._states[of_state])
            return captured(keys, leaves.arrays)
        if form in self._first:
            self._captured[form] = self._tried(state, of_state, keys, leaves, batch, self._first.pop(form)[0])
        elif form not in self._captured and len(self._captured) < MOST_SHAPES and leaves.elements <= MOST_ELEMENTS:
            self._first[form] = batch, leaves
            if len(self._first) > MOST_WAITING:
                del self._first[next(iter(self._first))]
        return self._step(state, keys.tolist(), batch)

    def _tried(
        self, state: State, of_state: Any, keys: NDArray[np.uint32], leaves: Leaves, batch: Any, first: Any
    ) -> _Captured | None:
        """A recording of the first batch, by other keys, that gave the step's numbers on this one."""
        before = copied(state)
        own = self._states.setdefault(of_state, copied(state))
        try:
            captured = _Captured(self._step, own, keys ^ np.uint32(0x5DEECE66), first)
            expected, measured = self._step(copied(before), keys.tolist(), batch)
            _put(before, own)
            found, values = captured(keys, leaves.arrays)
            pairs = [*((found[name], value) for name, value in expected.items()), *zip(values, measured, strict=True)]
            right = expected.keys() == found.keys() and all(_near(a, b) for a, b in pairs)
        # A step that cannot be recorded fails in its own way, and calling it says what is wrong with it.
        except Exception:
            torch.cuda.synchronize()
            right = False
        _put(before, state)  # which may be the recordings' own
        return captured if right else None


def copied(state: State) -> State:
    return {name: value.clone() for name, value in state.items()}


def _put(state: State, into: State) -> None:
    for name, value in state.items():
        if value is not into[name]:
            into[name].copy_(value)


def _words(keys: NDArray[np.uint32]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(keys).view(np.int32))


def _near(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    both = a.isnan() & b.isnan()
    apart = torch.where(both, 0, (a.double() - b.double()).abs())
    scale = torch.where(both, 0, b.double().abs())
    return not a.numel() or bool(apart.max() <= APART * scale.max() + 1e-30)
