"""Adam on NumPy arrays, in place, over all parameters at once."""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.parts import Adam, compiled
from portgnn.protocol import Params, State
from portgnn_numpy.recording import is_array, opaque
from portgnn_numpy.underflow import to_zero

BLOCK = 1 << 15
"""Numbers that one call works on: what it reads and writes then stays in a core's cache."""


class InPlaceAdam(Adam):
    """`portgnn.parts.Adam` that writes over parameters and moments: the same operations in the same order.

    All parameters of one weight decay lie behind each other in one array, and so do their moments: fresh arrays for
    each of its fifteen operations, and fifteen calls for a bias of seven numbers, took longer than the operations
    themselves. The arrays of a state that comes from elsewhere are copied there.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._shares = (self._beta1, 1.0 - self._beta1, self._beta2, 1.0 - self._beta2)
        self._groups: list[_Group] = []

    @to_zero
    def step(self, params: Params, grads: Params, state: State) -> tuple[Params, State]:
        c1, c2 = self._corrections(state)
        rate = self._rate / c1
        if not self._groups or not all(group.holds(params, state) for group in self._groups):
            self._groups = self._grouped(params, state)
            own = {name: value for group in self._groups for name, value in group.params.items()}
            params = {name: own[name] for name in params}
            state = state | {name: value for group in self._groups for name, value in group.moments.items()}
        for group in self._groups:
            _update(group, [grads[name] for name in group.params], self._shares, c2, self._eps, rate)
        return params, state | {"c1": c1, "c2": c2}

    def _grouped(self, params: Params, state: State) -> list[_Group]:
        names: dict[tuple[float, Any], list[str]] = {}
        for name, value in params.items():
            names.setdefault((self._decay.get(name, 0.0), value.dtype), []).append(name)
        return [_Group(decay, own, params, state) for (decay, _), own in names.items()]


class _Group:
    """The parameters of one weight decay, with room for their gradients.

    params, moments: views by name, as in a state. arrays: value, gradient, m and v. blocks: up to `BLOCK` of each, and
    two of scratch.
    """

    def __init__(self, decay: float, names: list[str], params: Params, state: State) -> None:
        self.decay = decay
        value, self.params = _behind_each_other({name: params[name] for name in names})
        m, first = _behind_each_other({f"m.{name}": state[f"m.{name}"] for name in names})
        v, second = _behind_each_other({f"v.{name}": state[f"v.{name}"] for name in names})
        self.moments = first | second
        self._views = [*self.params.values(), *self.moments.values()]
        self.arrays = (value, np.empty_like(value), m, v)
        a, b = np.empty_like(value[:BLOCK]), np.empty_like(value[:BLOCK])
        self.blocks = []
        for start in range(0, len(value), BLOCK):
            parts = [whole[start : start + BLOCK] for whole in self.arrays]
            self.blocks.append((*parts, a[: len(parts[0])], b[: len(parts[0])]))

    def holds(self, params: Params, state: State) -> bool:
        """Whether these arrays are the group's own."""
        given = [*map(params.__getitem__, self.params), *map(state.__getitem__, self.moments)]
        return all(map(is_, given, self._views)) or all(map(is_array, given, self._views))


@opaque
def _update(
    group: _Group, grads: list[NDArray[Any]], shares: tuple[float, ...], c2: Any, eps: float, rate: Any
) -> None:
    """A step of a group. shares: beta1, 1 - beta1, beta2, 1 - beta2."""
    np.concatenate([grad.reshape(-1) for grad in grads], out=group.arrays[1])
    if compiled.WORK.ready and group.arrays[0].dtype.char in "fd":
        compiled.adam((*shares, c2, eps, rate, group.decay), group.arrays)
        return
    keep1, new1, keep2, new2 = shares
    for value, grad, m, v, a, b in group.blocks:
        if group.decay:
            np.multiply(value, group.decay, out=a)
            grad += a
        np.multiply(grad, new1, out=b)
        m *= keep1
        m += b
        np.multiply(grad, grad, out=a)
        a *= new2
        v *= keep2
        v += a
        np.divide(v, c2, out=a)
        np.sqrt(a, out=a)
        a += eps
        np.multiply(m, rate, out=b)
        b /= a
        value -= b


def _behind_each_other(parts: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    """A copy of all of them in one array, and views of it by name."""
    whole = np.concatenate([value.reshape(-1) for value in parts.values()])
    ends = np.cumsum([value.size for value in parts.values()])
    pairs = zip(parts.values(), ends, strict=True)
    views = (whole[end - value.size : end].reshape(value.shape) for value, end in pairs)
    return whole, dict(zip(parts, views, strict=True))
