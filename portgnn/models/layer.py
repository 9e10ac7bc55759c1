"""A layer in three parts, so that whoever computes it may lay the rows and edges out as they like.

- `message`, row by row of the layer's input: what goes along edges (to another chunk of rows, another process), and
  what stays with the node;
- `aggregate`, for one block of edges: what each row of the output receives;
- `update`, row by row of the layer's output.

The cut is that of message passing (Gilmer et al. 2017, eq. 1 and 2), with the part that needs no edge taken out of the
messages. A layer is a description: it holds no array, and its parameters are handed to it.

What a later layer needs of an earlier one, such as the features that a residual connection begins with, is carried: an
`update` that returns (output, *carried) hands all of it to the next layer's `message`, rows of the same nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from portgnn.programs import Counterpart
    from portgnn.protocol import CSR, Array, Backend, Params

Weighting: TypeAlias = Literal["symmetric", "laplacian", "mean", "sum", "neighbours", "pattern"]
"""What an edge weighs, as a function of A + I; see `portgnn.placing.edges`."""

Initialiser: TypeAlias = Literal["glorot", "zeros", "ones"] | Callable[[Any, tuple[int, ...]], Any]
"""How a parameter begins: by name, or `draw(generator, shape)` -> float64 array of that shape."""

Along: TypeAlias = Literal["nothing", "product", "edges"]
"""What a layer does along edges: nothing, one product with their weights, or something for each of them."""

Kept: TypeAlias = Any
"""None, an array, or a tuple of these: what stays with nodes, a row each."""

Role: TypeAlias = Literal["weight", "bias", "other"]
"""What a parameter does, for rules that penalise some: a matrix that is multiplied with, a shift, or neither."""

SHARE, FOUND = "share", "found"
"""What a layer that `observes` is given beside its parameters in training: [rows, 2], the share of each row in a mean
over all n that count, 1/n, and in a variance of what they are drawn from, 1/(n - 1), or 0 for a row of padding; and a
dictionary for what it comes to."""


@dataclass(frozen=True)
class Parameter:
    """One trained array: its shape, how it begins, and its role.

    decay: what its gradient gets of itself, where that is not the recipe's weight_decay.
    """

    shape: tuple[int, ...]
    init: Initialiser = "glorot"
    role: Role = "weight"
    decay: float | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layer:
    """One layer of a network, from rows [n, fan_in] to rows [n, fan_out].

    number: from 0. dropout: the rate on its input, in training. is_last: its output is the network's.
    """

    number: int
    fan_in: int
    fan_out: int
    dropout: float = 0.0
    is_last: bool = False

    @property
    def along(self) -> Along:
        """What `aggregate` does, and is given: "product" a matrix for `backend.matmul`, "edges" an `Edges`.

        A layer that does "nothing" along edges has no `aggregate`: what its nodes send goes to their own `update`.
        """
        return "product"

    @property
    def keeps(self) -> bool:
        """Whether `message` keeps something with the node. Rows of it are then picked where fewer are computed."""
        return False

    @property
    def commutes(self) -> bool:
        """Whether A message(x) = message(A x), so that A x may be taken once, ahead of time, for a constant x.

        Such a layer keeps nothing, and its `aggregate` is a product with A.
        """
        return False

    @property
    def linear(self) -> bool:
        """Whether all of the layer is linear in x: nothing is added to its output, and nothing activated.

        The products with A of layers behind such ones, where they commute, are taken ahead of time as well.
        """
        return False

    def goes_on(self, before: Layer) -> bool:
        """Whether this layer, where it has the edges of the one before it and drops nothing out, does what that did to
        what that gave. Its `aggregate` then takes `times`, how many such layers to compute at once, and keeps what the
        first of them kept.
        """
        return False

    @property
    def stacks(self) -> bool:
        """Whether several networks of such layers can be computed at once, as rows [n, networks, columns].

        So it is where the three parts multiply by `backend.matmul`, add and activate number by number, and count axes
        from the last; see `portgnn.training.together`.
        """
        return False

    @property
    def reads_dense(self) -> bool:
        """Whether `message` takes no sparse features: it does more with them than to multiply."""
        return False

    @property
    def observes(self) -> bool:
        """Whether some parameters are statistics of what passes in training, and no gradient changes them.

        `update` then puts their new values, by their own names, into `params[FOUND]` where it is given that.
        """
        return False

    @property
    def shifted_by(self) -> str:
        """What parameter is added to all rows of the output alike, if there is one: a norm over columns undoes it."""
        return ""

    @property
    def edge_dropout(self) -> float:
        """The rate of `Edges.dropout`, in training."""
        return 0.0

    @property
    def edge_values(self) -> int:
        """How many values an edge has where `Edges.dropout` is asked for them."""
        return 1

    def parameters(self) -> Mapping[str, Parameter]:
        """The layer's own parameters, by names that end in no digit: the layer's number is put behind them."""
        return {}

    def counterpart(self, after: Sequence[Layer]) -> Counterpart | None:
        """PyTorch Geometric's layer that computes the same, `activate` left out; None where it has none.

        after: the layers that follow, of which it may take the place, too. Raises ConfigError, saying what and why,
        where its layer does something else.
        """
        return None

    def message(self, backend: Backend, params: Params, x: Array | CSR) -> tuple[Array | CSR, Kept]:
        """(sent [rows, k], kept); kept is None unless `keeps`. Row i of all depends on row i of what is given alone.

        params: by the layer's own names. x: the input after dropout, for the first layer perhaps a sparse handle. What
        the `update` of the layer before returned behind its output follows as further arguments.
        """
        raise NotImplementedError

    def aggregate(self, backend: Backend, params: Params, edges: Any, sent: Array, kept: Kept) -> Array:
        """What each row of the output receives: a product with the edges' weights.

        edges: [rows of the output, rows of sent], as `along` says. kept: rows of the output.
        """
        return backend.matmul(edges, sent)

    def update(self, backend: Backend, params: Params, total: Array, kept: Kept) -> Array | tuple[Array, ...]:
        """[rows, fan_out] of what was received and kept, or (that, *carried); row i depends on row i alone."""
        raise NotImplementedError

    def activate(self, backend: Backend, output: Array) -> Array:
        """What follows `update`: relu, but for the last layer."""
        return output if self.is_last else backend.relu(output)

    @cached_property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Each parameter's name in the layer and in the network."""
        return tuple((name, f"{name}{self.number}") for name in self.parameters())

    def own(self, params: Mapping[str, Array]) -> Params:
        """The layer's share of a network's parameters, by its own names."""
        return {name: params[full] for name, full in self.names}


def parameters_of(layers: tuple[Layer, ...]) -> dict[str, Parameter]:
    """All parameters of some layers by their full names: each kind through all layers, in the first layer's order."""
    found = {f"{name}{layer.number}": each for layer in layers for name, each in layer.parameters().items()}
    kinds = list(dict.fromkeys(name for layer in layers for name in layer.parameters()))
    ordered = (f"{kind}{layer.number}" for kind in kinds for layer in layers)
    return {name: found[name] for name in ordered if name in found}


def shapes_of(layers: tuple[Layer, ...]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all parameters of some layers."""
    return {name: parameter.shape for name, parameter in parameters_of(layers).items()}


def streams_of(layers: Sequence[Layer]) -> int:
    """How many dropout keys an epoch has: one a layer for its input and, behind them, one a layer for its edges."""
    return len(layers) * (2 if any(layer.edge_dropout for layer in layers) else 1)


def hops_of(layers: Sequence[Layer]) -> int:
    """How many of the layers reach further than a node itself."""
    return sum(layer.along != "nothing" for layer in layers)


def widths_of(layers: tuple[Layer, ...]) -> tuple[int, ...]:
    """Widths from the features to the output: layers + 1 of them."""
    return (layers[0].fan_in, *(layer.fan_out for layer in layers))
