"""GraphSAGE (Hamilton et al. 2017, "Inductive representation learning on large graphs").

h' = relu(W_own h + W AGG(h_j over the neighbours) + b): algorithm 1, lines 4 and 5, with the concatenation's weight in
its two halves. AGG is the mean, or the largest of each number, without the layer of eq. 3 before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from portgnn.hyperparameters import NETWORK, hyperparameter
from portgnn.models.layer import Along, Kept, Layer, Parameter, Weighting
from portgnn.models.network import Stacked
from portgnn.parts import matmul_add
from portgnn.programs import Counterpart, Elsewhere

if TYPE_CHECKING:
    from portgnn.models.edges import Edges
    from portgnn.protocol import CSR, Array, Backend, Params

Aggregator = Literal["mean", "max"]


@dataclass(frozen=True)
class Neighbourhood(Layer):
    """A node's own row and its neighbours', each times a weight; the mean is taken behind the product with it."""

    aggregator: Aggregator = "mean"

    @property
    def keeps(self) -> bool:
        return True

    @property
    def along(self) -> Along:
        return "product" if self.aggregator == "mean" else "edges"

    @property
    def reads_dense(self) -> bool:
        return self.aggregator == "max"

    @property
    def shifted_by(self) -> str:
        return "bias"

    def parameters(self) -> Mapping[str, Parameter]:
        weight = Parameter((self.fan_in, self.fan_out))
        return {"weight": weight, "own": weight, "bias": Parameter((self.fan_out,), "zeros", "bias")}

    def counterpart(self, after: Sequence[Layer]) -> Counterpart:
        number = self.number
        arrays = (
            Elsewhere("lin_l.weight", f"weight{number}", transposed=True),
            Elsewhere("lin_l.bias", f"bias{number}"),
            Elsewhere("lin_r.weight", f"own{number}", transposed=True),
        )
        arguments = {"in_channels": self.fan_in, "out_channels": self.fan_out, "aggr": self.aggregator}
        return Counterpart("SAGEConv", arguments, arrays, weighs=False, differs="takes no weights of edges")

    def message(self, backend: Backend, params: Params, x: Array | CSR) -> tuple[Array | CSR, Array]:
        sent = backend.matmul(x, params["weight"]) if self.aggregator == "mean" else x
        return sent, cast("Array", x) if self.number else self._own(backend, params, x)

    def _own(self, backend: Backend, params: Params, x: Array | CSR) -> Array:
        return matmul_add(backend, x, params["own"], params["bias"])

    def aggregate(self, backend: Backend, params: Params, edges: Any, sent: Array, kept: Kept) -> Array:
        if self.number:  # a further layer's input is no sparse handle: its rows are picked before they are multiplied
            kept = self._own(backend, params, kept)
        if self.aggregator == "mean":
            return matmul_add(backend, edges, sent, kept)
        return matmul_add(backend, largest(backend, edges, sent), params["weight"], kept)

    def update(self, backend: Backend, params: Params, total: Array, kept: Kept) -> Array:
        return total


def largest(backend: Backend, edges: Edges, x: Array) -> Array:
    """The largest of each number over a node's neighbours, 0 where it has none; edges of weight 0 do not count."""
    xp = backend.xp
    values, counts = edges.gather(x, "source"), xp.reshape(edges.weights, (-1, 1)) != 0
    lowest = -xp.finfo(x.dtype).max / 4  # and no infinity, which a sparse product may multiply with 0
    found = edges.max(xp.where(counts, values, xp.full_like(values, lowest)))
    return xp.where(found <= lowest / 2, xp.zeros_like(found), found)


@dataclass(frozen=True)
class SAGE(Stacked):
    """A node's own features beside an aggregate of its neighbours'."""

    paper = "Hamilton et al. 2017, Inductive representation learning on large graphs"
    variants = ({"aggregator": "max"},)

    aggregator: Aggregator = hyperparameter("mean", "What becomes of the neighbours.", NETWORK, names=("aggr",))

    @property
    def weighting(self) -> Weighting:  # type: ignore[override]  # a constant of other networks
        return "mean" if self.aggregator == "mean" else "neighbours"

    def layer(self, **place: Any) -> Layer:
        return Neighbourhood(aggregator=self.aggregator, **place)
