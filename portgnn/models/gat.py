"""Graph attention networks (Veličković et al. 2018), and with dynamic attention (Brody et al. 2022, GATv2).

    e_ij = leaky_relu(a_source . W h_j + a_target . W h_i)               GAT, eq. 3
    e_ij = a . leaky_relu(W_source h_j + W_target h_i)                   GATv2, eq. 7
    h_i' = sum of softmax_j(e_ij) W h_j over i itself and its neighbours  (eq. 4), for each head

Heads stand side by side in hidden layers (eq. 5), and the last layer takes their mean (eq. 6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from portgnn.hyperparameters import NETWORK, RATE, Bounds, as_in, hyperparameter
from portgnn.models.activations import Activation
from portgnn.models.layer import Along, Kept, Layer, Parameter
from portgnn.models.network import Stacked
from portgnn.parts import by_head
from portgnn.programs import Counterpart, Elsewhere

if TYPE_CHECKING:
    from portgnn.models.edges import Edges
    from portgnn.protocol import CSR, Array, Backend, Params

SLOPE = 0.2
"""Of the leaky relu in the scores (Veličković et al. 2018, section 2.1)."""
_HEADS = (Bounds("at least 1", least=1), Bounds("at most 4096", most=4096))


@dataclass(frozen=True)
class Attention(Layer):
    """One layer of heads, `width` wide each. concatenates: they stand side by side; else their mean is taken."""

    heads: int = 1
    width: int = 0
    attention_dropout: float = 0.0
    concatenates: bool = True

    @property
    def along(self) -> Along:
        return "edges"

    @property
    def keeps(self) -> bool:
        return True

    @property
    def edge_dropout(self) -> float:
        return self.attention_dropout

    @property
    def edge_values(self) -> int:
        return self.heads

    @property
    def shifted_by(self) -> str:
        return "bias"

    def parameters(self) -> Mapping[str, Parameter]:
        score = Parameter((self.heads, self.width), "glorot", "other")
        return {
            "weight": Parameter((self.fan_in, self.heads * self.width)),
            "source": score,
            "target": score,
            "bias": Parameter((self.fan_out,), "zeros", "bias"),
        }

    def counterpart(self, after: Sequence[Layer]) -> Counterpart:
        shape, number = (1, self.heads, self.width), self.number
        arrays = (
            Elsewhere("lin.weight", f"weight{number}", transposed=True, also=("lin_src.weight",)),
            Elsewhere("att_src", f"source{number}", shape=shape),
            Elsewhere("att_dst", f"target{number}", shape=shape),
            Elsewhere("bias", f"bias{number}"),
        )
        return Counterpart("GATConv", self.asked, arrays, weighs=False)

    @property
    def asked(self) -> dict[str, Any]:
        """What PyG's layers of attention are made with."""
        sizes = {"in_channels": self.fan_in, "out_channels": self.width, "heads": self.heads}
        return sizes | {"concat": self.concatenates}

    def message(self, backend: Backend, params: Params, x: Array | CSR) -> tuple[Array, Array]:
        # a . (W h) = (W' a) . h: so much of the scores costs one narrow product.
        score = by_head(backend.xp, params["weight"], params["target"])
        return backend.matmul(x, params["weight"]), backend.matmul(x, score)

    def aggregate(self, backend: Backend, params: Params, edges: Edges, sent: Array, kept: Kept) -> Array:
        return edges.attend(sent, kept, params["source"], SLOPE)

    def update(self, backend: Backend, params: Params, total: Array, kept: Kept) -> Array:
        xp = backend.xp
        if not self.concatenates and self.heads > 1:
            total = xp.mean(xp.reshape(total, (total.shape[0], self.heads, self.width)), axis=1)
        return xp.add(total, params["bias"])


@dataclass(frozen=True)
class DynamicAttention(Attention):
    """Scores that see both ends before the leaky relu, so that not every node ranks its neighbours alike."""

    def parameters(self) -> Mapping[str, Parameter]:
        weight, shift = Parameter((self.fan_in, self.heads * self.width)), (self.heads * self.width,)
        return {
            "weight": weight,
            "weight_bias": Parameter(shift, "zeros", "bias"),
            "target": weight,
            "target_bias": Parameter(shift, "zeros", "bias"),
            "score": Parameter((self.heads, self.width), "glorot", "other"),
            "bias": Parameter((self.fan_out,), "zeros", "bias"),
        }

    def counterpart(self, after: Sequence[Layer]) -> Counterpart:
        number = self.number
        arrays = (
            Elsewhere("lin_l.weight", f"weight{number}", transposed=True),
            Elsewhere("lin_l.bias", f"weight_bias{number}"),
            Elsewhere("lin_r.weight", f"target{number}", transposed=True),
            Elsewhere("lin_r.bias", f"target_bias{number}"),
            Elsewhere("att", f"score{number}", shape=(1, self.heads, self.width)),
            Elsewhere("bias", f"bias{number}"),
        )
        return Counterpart("GATv2Conv", self.asked, arrays, weighs=False)

    def message(self, backend: Backend, params: Params, x: Array | CSR) -> tuple[Array, Array]:
        add = backend.xp.add
        sent = add(backend.matmul(x, params["weight"]), params["weight_bias"])
        return sent, add(backend.matmul(x, params["target"]), params["target_bias"])

    def aggregate(self, backend: Backend, params: Params, edges: Edges, sent: Array, kept: Kept) -> Array:
        return edges.attend(sent, kept, params["score"], SLOPE, dynamic=True)


@dataclass(frozen=True)
class GAT(Stacked):
    """Neighbours weighed by attention, which each node pays them."""

    paper = "Veličković et al. 2018, Graph attention networks"
    variants: ClassVar[tuple[dict[str, object], ...]] = ({"heads": 1}, {"output_heads": 2, "heads": 3})
    weighting = "pattern"
    kind = Attention

    hidden: int = as_in(Stacked, "hidden", 8)
    heads: int = hyperparameter(8, "Heads of hidden layers, `hidden` wide each.", NETWORK, bounds=_HEADS)
    output_heads: int = hyperparameter(1, "Heads of the last layer.", NETWORK, bounds=_HEADS, names=("out_heads",))
    attention_dropout: float = hyperparameter(
        0.6, "Dropout rate on the attention.", NETWORK, bounds=RATE, names=("attn_drop", "att_dropout")
    )
    input_dropout: float = as_in(Stacked, "input_dropout", 0.6)
    dropout: float = as_in(Stacked, "dropout", 0.6)
    activation: Activation = as_in(Stacked, "activation", "elu")

    def layer(self, **place: Any) -> Layer:
        width, is_last = place["fan_out"], place["is_last"]
        heads = self.output_heads if is_last else self.heads
        shape = {"heads": heads, "width": width, "concatenates": not is_last}
        wide = width if is_last else heads * width
        return self.kind(**place | {"fan_out": wide}, **shape, attention_dropout=self.attention_dropout)


@dataclass(frozen=True)
class GATv2(GAT):
    """Attention whose ranking of neighbours depends on who asks."""

    paper = "Brody et al. 2022, How attentive are graph attention networks?"
    variants = ({"output_heads": 2},)
    kind = DynamicAttention
