"""Personalised propagation of neural predictions (Klicpera et al. 2019, "Predict then propagate").

H = f(X), Z_0 = H, Z_{k+1} = (1 - alpha) S Z_k + alpha H with S = D^-1/2 (A + I) D^-1/2 (eq. 4), f a perceptron.
"""

from __future__ import annotations

from dataclasses import dataclass

from portgnn.hyperparameters import NETWORK, SHARE, as_in, hyperparameter
from portgnn.models.layer import Layer
from portgnn.models.mlp import MLP
from portgnn.models.network import HOPS
from portgnn.models.propagation import Propagation, Remembered


@dataclass(frozen=True)
class APPNP(MLP):
    """A perceptron whose predictions are propagated, returning to where they began with a probability."""

    paper = "Klicpera et al. 2019, Predict then propagate: graph neural networks meet personalized PageRank"

    hidden: int = as_in(MLP, "hidden", 64)
    hops: int = hyperparameter(10, "How many times predictions are propagated.", NETWORK, bounds=HOPS, names=("K", "k"))
    alpha: float = hyperparameter(
        0.1, "Share of the first prediction in each step.", NETWORK, bounds=SHARE, names=("teleport",)
    )

    def built(self, features: int, classes: int) -> tuple[Layer, ...]:
        predictor = super().built(features, classes)
        first = len(predictor)
        steps = (
            Propagation(first + 1 + k, classes, classes, is_last=k == self.hops - 1, restart=self.alpha)
            for k in range(self.hops)
        )
        return (*predictor, Remembered(first, classes, classes), *steps)
