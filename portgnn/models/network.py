"""What a network is: hyperparameters, declared as fields, and the layers that they come to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from portgnn.hyperparameters import NETWORK, RATE, Bounds, check, hyperparameter
from portgnn.models.activations import Activation
from portgnn.models.dress import Dress, Jumping, Norm, Residual
from portgnn.models.layer import Layer, Weighting
from portgnn.models.linear import Linear

MOST_LAYERS = 10_000
_LAYERS = (Bounds("at least 1", least=1), Bounds(f"at most {MOST_LAYERS}", most=MOST_LAYERS))
HOPS = (Bounds("at least 1", least=1), Bounds(f"at most {MOST_LAYERS}", most=MOST_LAYERS))
_WIDTH = (Bounds("at least 1", least=1), Bounds("below 2**31, which is what an index can count", below=2**31))


@dataclass(frozen=True)
class Network(ABC):
    """Base of all networks: a frozen dataclass whose fields, made by `hyperparameter`, are its hyperparameters.

    The first line of a network's docstring says what it is, and `paper` where it is from. Raises ConfigError for a
    value that a field does not take.
    """

    paper: ClassVar[str] = ""
    """Authors, year and title."""
    variants: ClassVar[tuple[dict[str, object], ...]] = ()
    """Hyperparameters that make another form of it, which `portgnn verify --model` looks at, too."""
    weighting: ClassVar[Weighting] = "symmetric"
    """What its edges weigh."""

    @property
    def prunable(self) -> bool:
        """Whether rows that no loss reads may be left out: not where rows of one layer depend on each other."""
        return True

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
    activation: Activation = hyperparameter("relu", "What follows every hidden layer.", NETWORK, names=("act",))
    norm: Norm = hyperparameter("none", "Normalisation of every hidden layer's output.", NETWORK)
    """"layer": each row to mean 0 and variance 1 (Ba et al. 2016), times a trained scale, plus a trained shift;
    "batch": each column, over all nodes (Ioffe & Szegedy 2015)."""
    residual: Residual = hyperparameter("none", "What of its input is added to a layer's output.", NETWORK)
    """"add": the input itself where both are equally wide (Kipf & Welling 2017, appendix B); "linear": a trained
    product with it, in all layers (Luo et al. 2024)."""
    jumping: Jumping = hyperparameter(
        "none", "Whether a last linear layer reads the outputs of all layers.", NETWORK, names=("jk",)
    )
    """"cat": side by side, "max": the largest of each number (Xu et al. 2018, "Jumping knowledge networks"); "sum";
    "last": the last one's alone, so that all layers are hidden ones (Luo et al. 2024)."""

    @property
    def prunable(self) -> bool:
        return self.norm != "batch"

    @abstractmethod
    def layer(self, **place: object) -> Layer:
        """One layer. place: the fields of `Layer`, to hand on to its class."""

    def dropout_rates(self) -> tuple[float, ...]:
        """The dropout rate on each layer's input."""
        return (self.input_dropout, *(self.dropout,) * (self.layers - 1))

    def built(self, features: int, classes: int) -> tuple[Layer, ...]:
        dress = Dress(self.activation, self.norm, self.residual, self.jumping)
        found: list[Layer] = []
        width, seen = features, 0
        for number, rate in enumerate(self.dropout_rates()):
            is_last = number == self.layers - 1
            fan_out = classes if is_last and not dress.jumps else self.hidden
            plain = self.layer(
                number=number, fan_in=width, fan_out=fan_out, dropout=rate, is_last=is_last and not dress.jumps
            )
            found.append(dress.on(plain, seen, is_last))
            width, seen = plain.fan_out, dress.seen(seen, plain.fan_out)
        if dress.jumps:
            found.append(Linear(self.layers, seen, classes, self.dropout, True))
        return tuple(found)
