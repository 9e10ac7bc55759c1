"""The deep network GCNII (Chen et al. 2020, "Simple and deep graph convolutional networks").

H_0 = relu(X W_in + b), H_{l+1} = relu(((1 - alpha) S H_l + alpha H_0) ((1 - beta_l) I + beta_l W_l)) with beta_l =
log(theta / l + 1) (eq. 5; the paper's lambda is theta here), and a linear layer behind the last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from portgnn.hyperparameters import NETWORK, NOT_NEGATIVE, SHARE, as_in, hyperparameter
from portgnn.models.layer import Kept, Layer, Parameter
from portgnn.models.linear import Linear
from portgnn.models.network import Network, Stacked
from portgnn.models.propagation import Remembered
from portgnn.programs import Counterpart, Elsewhere

if TYPE_CHECKING:
    from portgnn.protocol import CSR, Array, Backend, Params


@dataclass(frozen=True)
class Initial(Layer):
    """One convolution. place: its number among them, from 1. decay: of its weight, in place of the recipe's."""

    alpha: float = 0.1
    theta: float = 0.5
    place: int = 1
    decay: float = 0.0

    @cached_property
    def share(self) -> float:
        """Beta of the layer."""
        return math.log(self.theta / self.place + 1.0)

    @property
    def keeps(self) -> bool:
        return True

    def parameters(self) -> Mapping[str, Parameter]:
        return {"weight": Parameter((self.fan_in, self.fan_out), decay=self.decay)}

    def counterpart(self, after: Sequence[Layer]) -> Counterpart:
        arguments = {"channels": self.fan_in, "alpha": self.alpha, "theta": self.theta, "layer": self.place}
        return Counterpart("GCN2Conv", arguments, (Elsewhere("weight1", f"weight{self.number}"),), carried=True)

    def message(self, backend: Backend, params: Params, x: Array | CSR, *first: Array) -> tuple[Array | CSR, Array]:
        return x, first[0]

    def update(self, backend: Backend, params: Params, total: Array, kept: Kept) -> tuple[Array, Array]:
        mixed = (1.0 - self.alpha) * total + self.alpha * kept
        return (1.0 - self.share) * mixed + self.share * backend.matmul(mixed, params["weight"]), kept


@dataclass(frozen=True)
class Last(Linear):
    """A linear layer that lets go of what was carried."""

    def message(self, backend: Backend, params: Params, x: Array | CSR, *first: Array) -> tuple[Array, None]:
        return super().message(backend, params, x)


@dataclass(frozen=True)
class GCN2(Network):
    """Convolutions that keep a share of the first representation and of the identity, so that 64 of them train."""

    paper = "Chen et al. 2020, Simple and deep graph convolutional networks"

    layers: int = as_in(Stacked, "layers", 64)
    hidden: int = as_in(Stacked, "hidden", 64)
    input_dropout: float = as_in(Stacked, "input_dropout", 0.6)
    dropout: float = as_in(Stacked, "dropout", 0.6)
    alpha: float = hyperparameter(0.1, "Share of the first representation.", NETWORK, bounds=SHARE)
    theta: float = hyperparameter(
        0.5, "The weights' share in a convolution is log(theta / its number + 1).", NETWORK, bounds=NOT_NEGATIVE
    )
    convolution_decay: float = hyperparameter(
        0.01, "L2 on the convolutions' weights, in place of weight_decay.", NETWORK, bounds=NOT_NEGATIVE
    )

    def built(self, features: int, classes: int) -> tuple[Layer, ...]:
        wide, rate = self.hidden, self.dropout
        convolutions = (
            Initial(1 + place, wide, wide, rate, False, self.alpha, self.theta, place, self.convolution_decay)
            for place in range(1, self.layers + 1)
        )
        first = (Linear(0, features, wide, self.input_dropout), Remembered(1, wide, wide))
        return (*first, *convolutions, Last(self.layers + 2, wide, classes, rate, True))
