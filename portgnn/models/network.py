"""What a network is: hyperparameters, declared as fields, and the layers that they come to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from portgnn.hyperparameters import NETWORK, RATE, Bounds, check, hyperparameter
from portgnn.models.layer import Layer, Weighting

MOST_LAYERS = 10_000
_LAYERS = (Bounds("at least 1", least=1), Bounds(f"at most {MOST_LAYERS}", most=MOST_LAYERS))
_WIDTH = (Bounds("at least 1", least=1), Bounds("below 2**31, which is what an index can count", below=2**31))


@dataclass(frozen=True)
class Network(ABC):
    """Base of all networks: a frozen dataclass whose fields, made by `hyperparameter`, are its hyperparameters.

    Raises ConfigError for a value that a field does not take.
    """

    weighting: ClassVar[Weighting] = "symmetric"
    """What its edges weigh."""
    prunable: ClassVar[bool] = True
    """Whether rows that no loss reads may be left out: not where rows of one layer depend on each other."""

    def __post_init__(self) -> None:
        check(self)

    @abstractmethod
    def built(self, features: int, classes: int) -> tuple[Layer, ...]:
        """The layers, for so many features and classes."""


@dataclass(frozen=True)
class Stacked(Network):
    """So many layers of one kind, one after the other, all hidden ones equally wide."""

    layers: int = hyperparameter(
        2, "Number of layers.", NETWORK, bounds=_LAYERS, names=("n_layers", "num_layers", "depth")
    )
    hidden: int = hyperparameter(
        16, "Width of the hidden layers.", NETWORK, bounds=_WIDTH,
        names=("hidden_dim", "hidden_size", "hidden_channels", "hidden_units", "width"),
    )  # fmt: skip
    input_dropout: float = hyperparameter(
        0.5, "Dropout rate on the features.", NETWORK, bounds=RATE, names=("feature_dropout",)
    )
    dropout: float = hyperparameter(
        0.5, "Dropout rate on the input of every further layer.", NETWORK, bounds=RATE, names=("dropout_rate",)
    )

    @abstractmethod
    def layer(self, **place: Any) -> Layer:
        """One layer. place: the fields of `Layer`, to hand on to its class."""

    def dropout_rates(self) -> tuple[float, ...]:
        """The dropout rate on each layer's input."""
        return (self.input_dropout, *(self.dropout,) * (self.layers - 1))

    def built(self, features: int, classes: int) -> tuple[Layer, ...]:
        widths = (features, *(self.hidden,) * (self.layers - 1), classes)
        places = zip(pairwise(widths), self.dropout_rates(), strict=True)
        return tuple(
            self.layer(number=number, fan_in=a, fan_out=b, dropout=rate, is_last=number == self.layers - 1)
            for number, ((a, b), rate) in enumerate(places)
        )
