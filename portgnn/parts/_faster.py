"""Epochs by a program that was made of one step and was seen to do what the step does; by a plain loop where not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from portgnn.protocol import Run, State, Step

_OTHER = np.uint32(0x5DEECE66)


class EpochProgram(Protocol):
    """A step's counterpart with a state of its own: recorded calls, or a kernel."""

    def fill(self, state: State) -> None:
        """Takes over the values of a state."""

    def __call__(self, keys: NDArray[np.uint32], /) -> NDArray[np.float64]:
        """Takes an epoch for each of keys [epochs, layers, 2], and gives their metrics [epochs, number of metrics]."""

    def copy(self) -> State:
        """The state as it is now, in arrays of the caller's."""


Made = TypeVar("Made", bound=EpochProgram)


class FasterRun:
    """`run(state, keys)` by a program that is made of the first state and keys; by `plain` where there can be none."""

    def __init__(self, make: Callable[[State, NDArray[np.uint32]], EpochProgram], plain: Run, fewest: int = 1) -> None:
        """make: takes a state and the keys [layers, 2] of an epoch, and may raise anything. fewest: epochs in one call
        from which on making it is worth while."""
        self._make, self.plain, self._fewest = make, plain, fewest
        self.program: EpochProgram | None = None
        self.refused: str | None = None
        """Why there is no program, once that is known."""

    def __call__(self, state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
        if self.program is None and self.refused is None and len(keys) >= self._fewest:
            try:
                self.program = self._make(state, keys[0])
            # A step that cannot be made faster fails in its own way, as does a compiler or a library that is absent:
            # the plain loop does without, and says what is wrong with a step that is wrong.
            except Exception as reason:
                self.refused = str(reason) or type(reason).__name__
        if self.program is None:
            return self.plain(state, keys)
        self.program.fill(state)
        metrics = self.program(keys)
        # A copy: the next call writes over these arrays, and a caller may still hold them.
        return self.program.copy(), metrics


def other_keys(keys: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Keys by which to try a program that was made by these."""
    return keys ^ _OTHER


def seen_equal(program: Made, step: Step, keys: NDArray[np.uint32], same: Callable[[Any, Any], bool]) -> Made:
    """The program, after it gave the step's own bits from another state and by other keys than it was made of.

    keys: [layers, 2], those that it was made by. same: whether two arrays have the same bits. Raises ValueError.
    """
    others = other_keys(keys)
    expected, measured = step(program.copy(), others.tolist())
    found, after = program(others[None])[0], program.copy()
    if not all(same(after[name], value) for name, value in expected.items()):
        raise ValueError("its state after an epoch is not the step's")
    if not np.array_equal(found, [value.item() for value in measured], equal_nan=True):
        raise ValueError("what it measures of an epoch is not what the step does")
    return program
