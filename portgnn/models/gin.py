"""The graph isomorphism network (Xu et al. 2019, "How powerful are graph neural networks?").

h' = MLP((1 + eps) h + sum of h_j over the neighbours) (eq. 4.1), eps trained and 0 at first, the MLP two layers. Its
first product is taken before the sum, where it makes rows narrower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from portgnn.models.layer import Kept, Layer, Parameter
from portgnn.models.network import Stacked
from portgnn.parts import matmul_add
from portgnn.programs import Counterpart, Elsewhere

if TYPE_CHECKING:
    from portgnn.protocol import CSR, Array, Backend, Params


@dataclass(frozen=True)
class Isomorphism(Layer):
    """relu(((1 + eps) h + sum of h_j) W_1 + b_1) W_2 + b_2. inner: the width between both."""

    inner: int = 0

    @property
    def keeps(self) -> bool:
        return True

    @property
    def shifted_by(self) -> str:
        return "outer_bias"

    def parameters(self) -> Mapping[str, Parameter]:
        return {
            "weight": Parameter((self.fan_in, self.inner)),
            "bias": Parameter((self.inner,), "zeros", "bias"),
            "outer": Parameter((self.inner, self.fan_out)),
            "outer_bias": Parameter((self.fan_out,), "zeros", "bias"),
            "eps": Parameter((), "zeros", "other"),
        }

    def counterpart(self, after: Sequence[Layer]) -> Counterpart:
        number = self.number
        arrays = (
            Elsewhere("nn.lins.0.weight", f"weight{number}", transposed=True, also=("nn.0.weight",)),
            Elsewhere("nn.lins.0.bias", f"bias{number}", also=("nn.0.bias",)),
            Elsewhere("nn.lins.1.weight", f"outer{number}", transposed=True, also=("nn.2.weight",)),
            Elsewhere("nn.lins.1.bias", f"outer_bias{number}", also=("nn.2.bias",)),
            Elsewhere("eps", f"eps{number}", shape=(1,)),
        )
        widths = [self.fan_in, self.inner, self.fan_out]
        perceptron = Counterpart("MLP", {"channel_list": widths, "norm": None, "act": "relu"})
        arguments = {"nn": perceptron, "train_eps": True}
        return Counterpart("GINConv", arguments, arrays, weighs=False, differs="takes no weights of edges")

    def message(self, backend: Backend, params: Params, x: Array | CSR) -> tuple[Array, Array]:
        sent = backend.matmul(x, params["weight"])
        return sent, sent

    def aggregate(self, backend: Backend, params: Params, edges: Any, sent: Array, kept: Kept) -> Array:
        own = backend.xp.add((1.0 + params["eps"]) * kept, params["bias"])
        return matmul_add(backend, edges, sent, own)

    def update(self, backend: Backend, params: Params, total: Array, kept: Kept) -> Array:
        return matmul_add(backend, backend.relu(total), params["outer"], params["outer_bias"])


@dataclass(frozen=True)
class GIN(Stacked):
    """Sums over neighbours, and a perceptron behind each: as telling as the Weisfeiler-Lehman test."""

    paper = "Xu et al. 2019, How powerful are graph neural networks?"
    weighting = "sum"

    def layer(self, **place: Any) -> Layer:
        return Isomorphism(inner=self.hidden, **place)
