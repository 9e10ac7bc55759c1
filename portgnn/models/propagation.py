"""Layers that other networks are joined with: products with the edges' weights, and a memory of what came before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from portgnn.models.layer import Along, Kept, Layer, Parameter
from portgnn.parts import propagated
from portgnn.programs import Counterpart

if TYPE_CHECKING:
    from portgnn.protocol import CSR, Array, Backend, Params


@dataclass(frozen=True)
class Propagation(Layer):
    """(1 - restart) A H + restart H_0, where H_0 is carried unless restart is 0; the last one may add a bias."""

    restart: float = 0.0
    bias: bool = False

    @property
    def keeps(self) -> bool:
        return self.restart > 0

    @property
    def commutes(self) -> bool:
        return not self.keeps

    @property
    def linear(self) -> bool:
        return not self.keeps and not self.bias

    def goes_on(self, before: Layer) -> bool:
        if not isinstance(before, Propagation) or self.bias or before.bias:
            return False
        return self.keeps and before.restart == self.restart

    def parameters(self) -> Mapping[str, Parameter]:
        return {"bias": Parameter((self.fan_out,), "zeros", "bias")} if self.bias else {}

    def message(self, backend: Backend, params: Params, x: Array | CSR, *first: Array) -> tuple[Array | CSR, Kept]:
        return x, first[0] if self.keeps else None

    def aggregate(self, backend: Backend, params: Params, edges: Any, sent: Array, kept: Kept, times: int = 1) -> Array:
        """times: the steps to take at once, the last of which is this layer's."""
        if not self.keeps:
            return backend.matmul(edges, sent)
        return propagated(backend, edges, sent, kept, self.restart, times)

    def update(self, backend: Backend, params: Params, total: Array, kept: Kept) -> Array | tuple[Array, ...]:
        if self.bias:
            total = backend.xp.add(total, params["bias"])
        return (total, kept) if self.keeps and not self.is_last else total

    def activate(self, backend: Backend, output: Array) -> Array:
        return output


@dataclass(frozen=True)
class Remembered(Layer):
    """Its input, unchanged, which all later layers are handed as well."""

    @property
    def along(self) -> Along:
        return "nothing"

    def counterpart(self, after: Sequence[Layer]) -> Counterpart | None:
        """APPNP, with the steps that return to this; nothing where other layers do."""
        restart = after[0].restart if after and isinstance(after[0], Propagation) else 0.0
        steps = steps_of(after, restart) if restart else ()
        arguments = {"K": len(steps), "alpha": restart}
        return Counterpart("APPNP", arguments, layers=1 + len(steps)) if steps else None

    def message(self, backend: Backend, params: Params, x: Array | CSR) -> tuple[Array | CSR, None]:
        return x, None

    def update(self, backend: Backend, params: Params, total: Array, kept: Kept) -> tuple[Array, Array]:
        return total, total

    def activate(self, backend: Backend, output: Array) -> Array:
        return output


def steps_of(after: Sequence[Layer], restart: float = 0.0) -> tuple[Propagation, ...]:
    """The first of some layers, as far as they are steps with this restart."""
    found: list[Propagation] = []
    for layer in after:
        if not isinstance(layer, Propagation) or layer.restart != restart:
            break
        found.append(layer)
    return tuple(found)
