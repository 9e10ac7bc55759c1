"""What the verbs of the protocol take and give: arrays of a framework's own, dictionaries of them, keys, functions."""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Index: TypeAlias = int | slice | EllipsisType | None


class Array(Protocol):
    """A backend's own array, as those see it who made it not: operators, and rows by number.

    All else is a function of `Backend.xp` or a verb of the backend. An adapter's arrays are of its framework's type.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> object: ...
    def __getitem__(self, key: Index | tuple[Index, ...], /) -> Array: ...
    def __neg__(self) -> Array: ...
    def __add__(self, other: Array | float, /) -> Array: ...
    def __radd__(self, other: float, /) -> Array: ...
    def __sub__(self, other: Array | float, /) -> Array: ...
    def __rsub__(self, other: float, /) -> Array: ...
    def __mul__(self, other: Array | float, /) -> Array: ...
    def __rmul__(self, other: float, /) -> Array: ...
    def __truediv__(self, other: Array | float, /) -> Array: ...
    def __rtruediv__(self, other: float, /) -> Array: ...
    def __lt__(self, other: Array | float, /) -> Array: ...
    def __gt__(self, other: Array | float, /) -> Array: ...


Params: TypeAlias = dict[str, Any]
"""Parameters or gradients: a flat dictionary from name to array. Open, as what follows is: adapters have their own."""

State: TypeAlias = dict[str, Any]
"""Parameters and optimizer state together: a flat dictionary that `to_numpy` can store whole."""


class Key(Protocol):
    """A dropout key: two integers below 2**32, `key[0]` and `key[1]`, as Python ints or as device scalars."""

    def __getitem__(self, at: int, /) -> Any: ...


class Keys(Protocol):
    """The dropout keys of an epoch, one a layer: [layers, 2], on the host or on the device."""

    def __getitem__(self, layer: int, /) -> Key: ...


class Namespace(Protocol):
    """The array API standard's functions over a backend's arrays. Which of them there are, the kit looks up by name."""

    def __getattr__(self, name: str, /) -> Any: ...


LossFn: TypeAlias = Callable[..., tuple[Any, Any]]
"""`fn(params, *args) -> (loss, aux)`, loss one real floating number as a 0-d array."""

Step: TypeAlias = Callable[[State, Keys], tuple[State, tuple[Any, ...]]]
"""`step(state, keys) -> (state, metrics)`: one epoch; keys [layers, 2]; metrics a tuple of 0-d arrays."""

Run: TypeAlias = Callable[[State, NDArray[np.uint32]], tuple[State, NDArray[np.float64]]]
"""`run(state, keys) -> (state, metrics)`: as many epochs as keys [epochs, layers, 2] has rows;
metrics is a host array [epochs, number of metrics]."""


BatchStep: TypeAlias = Callable[[State, Keys, Any], tuple[State, tuple[Any, ...]]]
"""`step(state, keys, batch) -> (state, metrics)`: a `Step` over a batch, a tuple tree of arrays, handles and None."""

BatchRun: TypeAlias = Callable[[State, NDArray[np.uint32], Any], tuple[State, tuple[Any, ...]]]
"""A `BatchStep` made fast: keys are a host array."""
