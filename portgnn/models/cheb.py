"""Chebyshev convolutions (Defferrard et al. 2016, "Convolutional neural networks on graphs with fast localized spectral
filtering").

h' = sum over k of T_k(L) X W_k + b, with T_k the Chebyshev polynomials and L scaled to [-1, 1] (eq. 4 and 5). The sum
is taken by Clenshaw's recurrence from its last term, b_k = X W_k + 2 L b_{k+1} - b_{k+2}, so that what is multiplied
with L is as wide as the output: each of its steps is a layer here, and the first makes all X W_k.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from portgnn.errors import ConfigError
from portgnn.hyperparameters import NETWORK, Bounds, as_in, hyperparameter
from portgnn.models.layer import Along, Kept, Layer, Parameter
from portgnn.models.network import MOST_LAYERS, Network, Stacked
from portgnn.parts import matmul_add
from portgnn.programs import Counterpart, Elsewhere

if TYPE_CHECKING:
    from portgnn.protocol import CSR, Array, Backend, Params


_TERMS = (Bounds("at least 1", least=1), Bounds("at most 100", most=100))


@dataclass(frozen=True)
class Terms(Layer):
    """All X W_k. The last is what the recurrence begins with; the others are carried."""

    terms: int = 3

    @property
    def along(self) -> Along:
        return "nothing"

    def parameters(self) -> Mapping[str, Parameter]:
        return {"weight": Parameter((self.terms, self.fan_in, self.fan_out))}

    def counterpart(self, after: Sequence[Layer]) -> Counterpart:
        last = self.number + self.terms - 1
        arrays = (Elsewhere(f"lins.{k}.weight", f"weight{self.number}", True, part=k) for k in range(self.terms))
        arguments = {"in_channels": self.fan_in, "out_channels": self.fan_out, "K": self.terms}
        differs = "leaves loops out, and divides by the edges that leave a node, not by those that arrive"
        shift = Elsewhere("bias", f"bias{last}")
        return Counterpart("ChebConv", arguments, (*arrays, shift), layers=self.terms, differs=differs)

    def message(self, backend: Backend, params: Params, x: Array | CSR) -> tuple[Array | CSR, None]:
        xp = backend.xp
        side_by_side = xp.permute_dims(params["weight"], (1, 0, 2))
        return backend.matmul(x, xp.reshape(side_by_side, (self.fan_in, self.terms * self.fan_out))), None

    def update(self, backend: Backend, params: Params, total: Array, kept: None) -> Array | tuple[Array, ...]:
        xp = backend.xp
        *others, last = xp.unstack(xp.reshape(total, (total.shape[0], self.terms, self.fan_out)), axis=1)
        return last, *others

    def activate(self, backend: Backend, output: Array) -> Array:
        return output


@dataclass(frozen=True)
class Step(Layer):
    """b_k from b_{k+1}, which goes along edges, the terms up to X W_k, and b_{k+2} where it is not 0."""

    k: int = 0

    @property
    def keeps(self) -> bool:
        return True

    def parameters(self) -> Mapping[str, Parameter]:
        return {} if self.k else {"bias": Parameter((self.fan_out,), "zeros", "bias")}

    def message(self, backend: Backend, params: Params, x: Array | CSR, *carried: Array) -> tuple[Array | CSR, Kept]:
        return x, (x, *carried)

    def aggregate(self, backend: Backend, params: Params, edges: Any, sent: Array, kept: Kept) -> Array:
        own, *before = kept[1 + self.k :]
        return matmul_add(backend, edges, sent, own - before[0] if before else own, 2.0 if self.k else 1.0)

    def update(self, backend: Backend, params: Params, total: Array, kept: Kept) -> Array | tuple[Array, ...]:
        x, *carried = kept
        return (total, *carried[: self.k], x) if self.k else backend.xp.add(total, params["bias"])

    def activate(self, backend: Backend, output: Array) -> Array:
        return output if self.k else super().activate(backend, output)


@dataclass(frozen=True)
class Single(Terms):
    """X W_0 + b: of one term there is no recurrence, and nothing goes along edges."""

    terms: int = 1

    def parameters(self) -> Mapping[str, Parameter]:
        return {**super().parameters(), "bias": Parameter((self.fan_out,), "zeros", "bias")}

    def update(self, backend: Backend, params: Params, total: Array, kept: None) -> Array:
        return backend.xp.add(total, params["bias"])

    def activate(self, backend: Backend, output: Array) -> Array:
        return Layer.activate(self, backend, output)


@dataclass(frozen=True)
class Cheb(Network):
    """Polynomials of the Laplacian: a layer with K terms sees K - 1 hops."""

    paper = "Defferrard et al. 2016, Convolutional neural networks on graphs with fast localized spectral filtering"
    variants = ({"terms": 1}, {"terms": 4, "layers": 3})
    weighting = "laplacian"

    layers: int = as_in(Stacked, "layers")
    hidden: int = as_in(Stacked, "hidden")
    terms: int = hyperparameter(3, "Terms of each polynomial.", NETWORK, bounds=_TERMS, names=("K", "cheb_k"))
    input_dropout: float = as_in(Stacked, "input_dropout")
    dropout: float = as_in(Stacked, "dropout")

    def __post_init__(self) -> None:
        super().__post_init__()
        # Each step of the recurrence is a layer, and a file of a kilobyte may ask for as many as it likes.
        if self.layers * self.terms > MOST_LAYERS:
            given = f"layers={self.layers} of terms={self.terms} are {self.layers * self.terms} steps"
            raise ConfigError(f"{given}, of at most {MOST_LAYERS}")

    def built(self, features: int, classes: int) -> tuple[Layer, ...]:
        found: list[Layer] = []
        width = features
        for layer in range(self.layers):
            is_last = layer == self.layers - 1
            wide, rate = classes if is_last else self.hidden, self.dropout if layer else self.input_dropout
            if self.terms == 1:
                found.append(Single(len(found), width, wide, rate, is_last))
            else:
                found.append(Terms(len(found), width, wide, rate, False, self.terms))
                for k in reversed(range(self.terms - 1)):
                    found.append(Step(len(found), wide, wide, 0.0, is_last and not k, k))
            width = wide
        return tuple(found)
