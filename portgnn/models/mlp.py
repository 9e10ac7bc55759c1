"""The multilayer perceptron: what the features alone can do, without any edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from portgnn.models.layer import Layer
from portgnn.models.linear import Linear
from portgnn.models.network import Stacked


@dataclass(frozen=True)
class MLP(Stacked):
    """Linear layers on each node's own features: H_{l+1} = relu(H_l W_l + b_l)."""

    def layer(self, **place: Any) -> Layer:
        return Linear(**place)
