"""Other libraries' layers in the place of a network's: which, with what arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import ConfigError
from portgnn.models.dress import Dressed
from portgnn.models.layer import Along, Layer
from portgnn.programs import Counterpart
from portgnn.protocol import Params

Arrays = Mapping[str, NDArray[np.floating]]


@dataclass(frozen=True)
class Stand(Layer):
    """What a network is computed with where a layer is another library's. called: its number among those.

    last: the last of the layers whose place it takes.
    """

    counterpart_: Counterpart = None  # type: ignore[assignment]  # a field behind those with defaults needs one
    called: int = 0
    last: Layer = None  # type: ignore[assignment]

    @property
    def along(self) -> Along:
        return "edges" if self.counterpart_.edges else "nothing"

    @property
    def keeps(self) -> bool:
        return self.counterpart_.carried

    def message(self, backend: Any, params: Params, x: Any, *carried: Any) -> tuple[Any, Any]:
        if not self.counterpart_.edges:
            return backend.called(self.called, self.last.fan_out, x), None
        return x, carried if self.keeps else None

    def aggregate(self, backend: Any, params: Params, edges: Any, sent: Any, kept: Any) -> Any:
        return backend.called(self.called, self.last.fan_out, sent, *(kept or ()))

    def update(self, backend: Any, params: Params, total: Any, kept: Any) -> Any:
        return (total, *kept) if self.keeps else total

    def activate(self, backend: Any, output: Any) -> Any:
        return self.last.activate(backend, output)


def stood_in(layers: Sequence[Layer]) -> tuple[tuple[Layer, ...], tuple[Counterpart, ...]]:
    """The layers with others in their place wherever there are some, and these others.

    Raises ConfigError, naming the layer, where one that goes along edges has none.
    """
    found: list[Layer] = []
    called: list[Counterpart] = []
    at = 0
    while at < len(layers):
        dressed = layers[at]
        layer = dressed.inner if isinstance(dressed, Dressed) else dressed
        name = f"layer {at + 1} ({type(layer).__name__})"
        try:
            other = layer.counterpart(layers[at + 1 :])
        except ConfigError as error:
            raise ConfigError(f"{name} has no counterpart in PyTorch Geometric: {error}") from None
        if other is None:
            if layer.along != "nothing":
                raise ConfigError(f"{name} has no counterpart in PyTorch Geometric; take another form")
            found.append(dressed)
            at += 1
            continue
        last = layers[at + other.layers - 1]
        place: dict[str, Any] = {"number": layer.number, "fan_in": layer.fan_in, "fan_out": last.fan_out}
        stand = Stand(**place, is_last=last.is_last, counterpart_=other, called=len(called),
                      last=layer if isinstance(dressed, Dressed) else last)  # fmt: skip
        found.append(replace(dressed, inner=stand) if isinstance(dressed, Dressed) else stand)
        called.append(other)
        at += other.layers
    return tuple(found), tuple(called)


def left(called: Sequence[Counterpart], params: Arrays) -> tuple[Arrays, ...]:
    """The arrays of each of some layers, as their library has them."""
    return tuple({each.name: each.left(params[each.own]) for each in other.arrays} for other in called)


def entered(layers: Sequence[Layer], given: Arrays) -> dict[str, NDArray[np.floating]]:
    """The network's parameters out of another library's state_dict, whatever its user called the layers; or out of one
    by their own names.

    A layer's arrays have one beginning in common, such as "conv1." or "convs.0."; layers are taken in the order in
    which these stand in the file. Raises ConfigError, naming the array, for one that is missing, too many, or of
    another shape.
    """
    wanted = {f"{name}{layer.number}": each for layer in layers for name, each in layer.parameters().items()}
    found: dict[str, NDArray[np.floating]] = {}
    left_over = dict(given)
    for number, other in enumerate(() if set(given) == set(wanted) else stood_in(layers)[1], start=1):
        prefix, names = _beginning(other, left_over, number)
        for each in other.arrays:
            array = np.asarray(left_over.pop(f"{prefix}{names[each.name]}"), dtype=np.float64)
            shape = wanted[each.own].shape
            try:
                value = each.entered(array, shape)
            except ValueError as error:
                raise ConfigError(
                    f"{prefix}{names[each.name]} has shape {error}; give the network's own sizes (--hidden, --heads …)"
                ) from None
            if each.part is None:
                found[each.own] = value
            else:
                found.setdefault(each.own, np.zeros(shape))[each.part] = value
    for name in [each for each in wanted if each not in found]:  # what layers wear beside their own
        if name not in left_over or left_over[name].shape != wanted[name].shape:
            raise ConfigError(f"the file has no {name} of shape {list(wanted[name].shape)}, which this network needs")
        found[name] = np.asarray(left_over.pop(name), dtype=np.float64)
    if left_over:
        more = ", ".join(list(left_over)[:4])
        raise ConfigError(f"the file holds more than this network has: {more}; see --layers and the network's options")
    return found


def _beginning(other: Counterpart, arrays: Arrays, number: int) -> tuple[str, dict[str, str]]:
    """The beginning of the names of a layer's arrays, the first in the file that has all of them, and these names."""
    tails = {each.name: (each.name, *each.also) for each in other.arrays}
    if not tails:
        return "", {}
    beginnings = [name[: -len(tail)] for name in arrays for kinds in tails.values() for tail in kinds
                  if name.endswith(tail) and (name == tail or name[: -len(tail)].endswith("."))]  # fmt: skip
    for prefix in dict.fromkeys(beginnings):
        names = {own: next((tail for tail in kinds if f"{prefix}{tail}" in arrays), "") for own, kinds in tails.items()}
        if all(names.values()):
            return prefix, names
    listed = ", ".join(tails)
    raise ConfigError(f"the file has no further layer with {listed}, which number {number}, a {other.name}, needs")
