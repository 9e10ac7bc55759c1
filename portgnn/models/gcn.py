"""The graph convolutional network (Kipf & Welling 2017, "Semi-supervised classification with graph convolutional
networks").

H_{l+1} = relu(A H_l W_l) with A = D^-1/2 (A + I) D^-1/2 (eq. 2 and 9); the last layer has no relu.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from portgnn.errors import ConfigError
from portgnn.hyperparameters import NETWORK, hyperparameter
from portgnn.models.layer import Layer, Parameter
from portgnn.models.network import Stacked
from portgnn.models.propagation import steps_of
from portgnn.parts import matmul_add
from portgnn.programs import Counterpart, Elsewhere

if TYPE_CHECKING:
    from portgnn.protocol import CSR, Array, Backend, Params

Bias = Literal["none", "after", "before"]


@dataclass(frozen=True)
class Convolution(Layer):
    """A H W, with a bias after the product with A or before it.

    A product with A costs its number of columns, so it is taken on the narrower side of W; of the features, which may
    be sparse, always after W.
    """

    bias: Bias = "none"

    @property
    def stacks(self) -> bool:
        return True

    @property
    def commutes(self) -> bool:
        return self.bias != "before"  # A (X W + 1 b) is not (A X) W + 1 b

    @property
    def linear(self) -> bool:
        return self.is_last and self.bias == "none"

    @property
    def widens(self) -> bool:
        """Whether A H comes first, and W when all has been summed."""
        return self.number > 0 and self.fan_out > self.fan_in and self.bias != "before"

    @property
    def shifted_by(self) -> str:
        return "bias" if self.bias == "after" else ""

    def parameters(self) -> Mapping[str, Parameter]:
        weight = {"weight": Parameter((self.fan_in, self.fan_out))}
        return weight if self.bias == "none" else weight | {"bias": Parameter((self.fan_out,), "zeros", "bias")}

    def counterpart(self, after: Sequence[Layer]) -> Counterpart:
        """GCNConv, or SGConv where products with A follow."""
        steps = steps_of(after)
        last = steps[-1] if steps else None
        if self.bias == "before":
            raise ConfigError("bias=before: GCNConv adds its bias behind the product with A, and this one ahead of it")
        shifted = last.bias if last else self.bias == "after"
        arguments = {"in_channels": self.fan_in, "out_channels": self.fan_out, "bias": shifted}
        weight = Elsewhere("lin.weight", f"weight{self.number}", transposed=True)
        if last is None:
            shift = (Elsewhere("bias", f"bias{self.number}"),) if shifted else ()
            return Counterpart("GCNConv", arguments, (weight, *shift))
        shift = (Elsewhere("lin.bias", f"bias{last.number}"),) if shifted else ()
        hops = 1 + len(steps)
        return Counterpart("SGConv", arguments | {"K": hops}, (weight, *shift), layers=hops)

    # A bias is added by the standard's function, which an adapter can make right; an operator is the framework's own,
    # and may refuse to broadcast (JAX_NUMPY_RANK_PROMOTION=raise) or sum the gradient's rows one after the other (MLX).

    def message(self, backend: Backend, params: Params, x: Array | CSR) -> tuple[Array, None]:
        if self.widens:
            return cast("Array", x), None  # of a further layer, whose input is no sparse handle
        if self.bias == "before":
            return matmul_add(backend, x, params["weight"], params["bias"]), None
        return backend.matmul(x, params["weight"]), None

    def update(self, backend: Backend, params: Params, total: Array, kept: Array | None) -> Array:
        if self.widens:
            total = backend.matmul(total, params["weight"])
        return backend.xp.add(total, params["bias"]) if self.bias == "after" else total


@dataclass(frozen=True)
class GCN(Stacked):
    """Convolutions, the edges weighted symmetrically."""

    paper = "Kipf & Welling 2017, Semi-supervised classification with graph convolutional networks"
    variants = ({"bias": "before"}, {"bias": "after"})

    bias: Bias = hyperparameter("none", "None, after the propagation, or before it.", NETWORK)
    """"after": A(XW) + b, as in PyG; "before": A(XW + b), as in the article."""

    def layer(self, **place: Any) -> Layer:
        return Convolution(bias=self.bias, **place)
