"""A layer without edges: one product and a shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from portgnn.models.layer import Along, Layer, Parameter
from portgnn.parts import matmul_add
from portgnn.programs import Counterpart, Elsewhere

if TYPE_CHECKING:
    from portgnn.protocol import CSR, Array, Backend, Params


@dataclass(frozen=True)
class Linear(Layer):
    """X W + b."""

    @property
    def along(self) -> Along:
        return "nothing"

    @property
    def shifted_by(self) -> str:
        return "bias"

    @property
    def stacks(self) -> bool:
        return True

    def parameters(self) -> Mapping[str, Parameter]:
        return {"weight": Parameter((self.fan_in, self.fan_out)), "bias": Parameter((self.fan_out,), "zeros", "bias")}

    def counterpart(self, after: Sequence[Layer]) -> Counterpart:
        arguments = {"in_channels": self.fan_in, "out_channels": self.fan_out}
        weight = Elsewhere("weight", f"weight{self.number}", transposed=True)
        return Counterpart("Linear", arguments, (weight, Elsewhere("bias", f"bias{self.number}")), edges=False)

    def message(self, backend: Backend, params: Params, x: Array | CSR) -> tuple[Array, None]:
        return matmul_add(backend, x, params["weight"], params["bias"]), None

    def update(self, backend: Backend, params: Params, total: Array, kept: None) -> Array | tuple[Array, ...]:
        return total
