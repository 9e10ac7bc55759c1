"""A trained network written out as instructions: what an exporter writes down in another form.

An exporter is what an entry point of the group `portgnn.exporters` names; it imports this module, and nothing here
imports an exporter. Instructions are few, so that a new form is a table of them and knows no network:

`arange` 0, 1, … for all nodes; `compress` (values, mask) the rows where the mask is true; `take` (values, index) rows
by their numbers; `total` (values, index) and `largest` (values, index) [nodes, …] the sum and the largest of the rows
that have a node's number; `cast`; `concat` (…; axis); `reshape` (x; shape, -1 for the axis that is not known before a
graph is); `permute` (x; axes); `slice` (x; axis, start, stop); `matmul`; `where`; `sum`, `mean`, `max`, `min` (x; axes,
keep); `called` (x, …; layer) a layer of another library's, where an exporter asks for those; and, element by element,
what `UNARY` and `BINARY` name, as the array API standard does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

UNARY = ("negative", "exp", "expm1", "log", "log1p", "tanh", "sqrt", "abs", "sin", "cos", "relu", "logical_not")
BINARY = (
    "add", "subtract", "multiply", "divide", "pow", "maximum", "minimum", "equal", "not_equal", "less", "less_equal",
    "greater", "greater_equal", "logical_and", "logical_or",
)  # fmt: skip

Kind = Literal["float", "int", "bool"]


class Count(int):
    """A number of rows that is known when a graph is; as a number, larger than any width."""


NODES, EDGES, GIVEN, APART = (Count(2**40 - less) for less in (1, 3, 5, 7))
"""Of all nodes; of edges with a loop at every node, as they are given, and without their loops."""
FEWEST = min(NODES, EDGES, GIVEN, APART)


@dataclass(frozen=True, eq=False)
class Value:
    """An array that a program computes. name: of an input or a parameter, else ""."""

    shape: tuple[int, ...]
    kind: Kind = "float"
    name: str = ""


Operand: TypeAlias = Value | float
"""An array, or a number that is none of the parameters."""


@dataclass(frozen=True, eq=False)
class Instruction:
    """What one value comes from. details: what is no operand, such as an axis."""

    op: str
    operands: tuple[Operand, ...]
    output: Value
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Counterpart:
    """Another library's layer (PyTorch Geometric's, or PyTorch's) that computes what one of portgnn's does, or several.

    name: of its class. arguments: to make it with; one may be such a layer itself. arrays: where its arrays are among
    the network's parameters. layers: of how many, one after the other, it takes the place. edges: whether it goes along
    them, weighs: whether it takes their weights, differs: where it computes something else, in a few words. carried:
    whether it is handed what was carried to it, and hands that on.
    """

    name: str
    arguments: Mapping[str, Any]
    arrays: tuple[Elsewhere, ...] = ()
    layers: int = 1
    edges: bool = True
    weighs: bool = True
    differs: str = ""
    carried: bool = False


@dataclass(frozen=True)
class Elsewhere:
    """A parameter, as a library calls it. own: the network's name of it. shape: the library's, where it has other axes.

    part: which row of the network's own it is, where that holds several. also: other names, as in older versions.
    """

    name: str
    own: str
    transposed: bool = False
    shape: tuple[int, ...] | None = None
    part: int | None = None
    also: tuple[str, ...] = ()

    def left(self, own: NDArray[np.floating]) -> NDArray[np.floating]:
        """The network's array as the library has it."""
        array = own if self.part is None else own[self.part]
        array = array.T if self.transposed else array
        return np.ascontiguousarray(array if self.shape is None else array.reshape(self.shape))

    def entered(self, array: NDArray[np.floating], own: tuple[int, ...]) -> NDArray[np.floating]:
        """The library's array as the network has it, of the shape `own`, or of one of its rows where it is a part.

        Raises ValueError where it has another shape.
        """
        wanted = own if self.part is None else own[1:]
        wanted = wanted[::-1] if self.transposed else wanted
        expected = wanted if self.shape is None else self.shape
        if array.shape != expected:
            raise ValueError(f"{list(array.shape)}, where {list(expected)} is needed")
        array = array.reshape(wanted)
        return np.ascontiguousarray(array.T) if self.transposed else array


@dataclass(frozen=True, eq=False)
class Program:
    """A network and all that is done to a graph before it.

    features: float [nodes, f], as they come. source, target: int64 [edges], and weights: float [edges], or None of a
    network without edges; each edge once, both directions of an undirected one. parameters: by name, in `dtype`.
    called: the layers that `called` names, by number, and what they are in the network: a class, its parameters.
    facts: what a user of the file must know, as JSON.
    """

    instructions: tuple[Instruction, ...]
    parameters: Mapping[str, NDArray[np.floating]]
    features: Value
    source: Value | None
    target: Value | None
    weights: Value | None
    output: Value
    dtype: str
    title: str
    facts: Mapping[str, Any]
    called: tuple[tuple[Counterpart, Mapping[str, NDArray[np.floating]]], ...] = ()


class Exporter(Protocol):
    """What writes programs down in one form."""

    ending: ClassVar[str]
    """Of the file that it writes; "" for a folder."""
    calls: ClassVar[bool]
    """Whether layers that another library has are `called` in place of written out."""
    runs: ClassVar[bool]
    """Whether what is written can be run, and not only read."""

    def written(self, program: Program) -> Mapping[str, bytes]:
        """The files by their names: of a folder all, else one."""

    def computed(
        self, target: Path, features: NDArray[np.floating], edges: NDArray[np.int64], weights: NDArray[np.floating]
    ) -> NDArray[np.floating]:
        """What is written there says of a graph, [nodes, k], run by whoever will run it. edges: [2, edges].

        target: the file, or the folder.
        """

    def read(self, source: Path) -> Mapping[str, NDArray[np.floating]]:
        """The arrays of such a file by name; nothing in it is run. Raises ValueError for a form that is not read."""
