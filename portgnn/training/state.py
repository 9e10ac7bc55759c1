"""The flat dictionary that a step takes and gives: parameters under a prefix, the optimizer's state beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from portgnn.protocol import Params, State

Value = TypeVar("Value")

PREFIX = "param."
"""What the name of a parameter begins with in a state, on the device and in a run's file."""


def parameters_of(state: Mapping[str, Value]) -> dict[str, Value]:
    """The parameters of a state, by their own names."""
    return {name[len(PREFIX) :]: value for name, value in state.items() if name.startswith(PREFIX)}


def split_state(state: State) -> tuple[Params, State]:
    """Parameters by their own names, and the optimizer's state."""
    return parameters_of(state), {name: value for name, value in state.items() if not name.startswith(PREFIX)}


def join_state(params: Params, moments: State) -> State:
    """The inverse of `split_state`."""
    return {PREFIX + name: value for name, value in params.items()} | moments
