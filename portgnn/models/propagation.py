"""Layers that other networks are joined with: one product with the edges' weights, and a memory of what came before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from portgnn.models.layer import Along, Kept, Layer, Parameter

if TYPE_CHECKING:
    from portgnn.protocol import CSR, Array, Backend, Params


@dataclass(frozen=True)
class Propagation(Layer):
    """(1 - restart) A H + restart H_0, where H_0 is carried and restart may be 0; the last one may add a bias."""

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

    def parameters(self) -> Mapping[str, Parameter]:
        return {"bias": Parameter((self.fan_out,), "zeros", "bias")} if self.bias else {}

    def message(self, backend: Backend, params: Params, x: Array | CSR, *first: Array) -> tuple[Array | CSR, Kept]:
        return x, first[0] if self.keeps else None

    def update(self, backend: Backend, params: Params, total: Array, kept: Kept) -> Array | tuple[Array, ...]:
        if self.keeps:
            total = (1.0 - self.restart) * total + self.restart * kept
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

    def message(self, backend: Backend, params: Params, x: Array | CSR) -> tuple[Array | CSR, None]:
        return x, None

    def update(self, backend: Backend, params: Params, total: Array, kept: Kept) -> tuple[Array, Array]:
        return total, total

    def activate(self, backend: Backend, output: Array) -> Array:
        return output
