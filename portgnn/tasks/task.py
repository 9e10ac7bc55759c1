"""What a network is trained for, as one thing: its loss, what is measured of it, and what its outputs are.

Whoever trains, measures or predicts asks a task what these protocols name, and knows none by its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from portgnn.errors import ConfigError
from portgnn.graphs.split import Labelled, Part, split
from portgnn.metrics import LOSS, Measures, Metric, Quantity, Score
from portgnn.models.layer import Parameter
from portgnn.tasks import heads
from portgnn.tasks.targets import Counted, Targets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from portgnn.graphs.arrays import Nodes
    from portgnn.protocol import Array, Backend, Params
    from portgnn.recipe import Config

About = Literal["nodes", "pairs"]

HEAD = "head."
"""What the names of a head's parameters begin with, beside those of the layers."""


Floats: TypeAlias = "NDArray[np.floating]"


class Subject(Labelled, Protocol):
    """What a task reads of a graph."""


class Task(ABC):
    """A recipe's task on a graph. graph: None where only names are asked for, as of what is measured.

    constants: those of a trained model; None where they are to be taken of the graph.
    """

    quantity: ClassVar[Quantity] = LOSS
    """What the loss is."""
    metrics: ClassVar[tuple[Metric, ...]] = ()
    """What is measured each epoch of the validation nodes, and of the test nodes at the end."""
    final: ClassVar[tuple[Score, ...]] = ()
    """What is measured of all outputs at once: at the end and, where it is monitored, each epoch."""
    things: ClassVar[str] = "classes"
    """What is said of a node, for people to read."""
    saying: ClassVar[str] = ""
    """What to say of a task that was recognised; "" where that is plain."""

    about: ClassVar[About] = "nodes"
    """What the outputs and the parts of a split are of."""
    stacks: ClassVar[bool] = False
    """Whether loss and metrics can be taken of several networks at once, outputs [rows, networks, k]: where they weigh,
    sum over everything and take the largest of the last axis."""
    constant_names: ClassVar[tuple[str, ...]] = ()
    """Of what a trained model keeps of its graph beside parameters, each [outputs]."""

    def __init__(
        self, config: Config, graph: Subject | None = None, constants: Mapping[str, Floats] | None = None
    ) -> None:
        self.config, self._graph, self._constants = config, graph, constants or {}

    @classmethod
    @abstractmethod
    def fits(cls, graph: Subject) -> bool:
        """Whether it is what the graph's labels are for: asked where the recipe names no task."""

    @classmethod
    def loss_unit(cls, recipe: Mapping[str, Any]) -> str:
        """What an axis of the loss says. recipe: values by name, as a run's document has them; some may be missing."""
        of_graphs = recipe.get("readout", "none") not in heads.NODES
        return cls.quantity.unit.replace("a node", "a graph") if of_graphs else cls.quantity.unit

    @classmethod
    def seeded(cls, config: Config, seed: int) -> Config:
        """The recipe with what it leaves to the run's seed, and predictions need to know."""
        return config

    @property
    def measures(self) -> Measures:
        monitored = tuple(each for each in self.final if f"val_{each.name}" == self.config.monitor)
        return Measures(self.metrics, self.quantity, self.config.monitor, monitored)

    @property
    def scored(self) -> tuple[Metric | Score, ...]:
        """What is measured at the end."""
        return *self.measures.metrics, *self.final

    @property
    def headlines(self) -> tuple[Metric | Score, ...]:
        """What is said of a run in few words."""
        return *self.metrics, *self.final

    @property
    def names(self) -> tuple[str, ...]:
        """Of what is said of a node: classes, labels or values."""
        return self.graph.class_names

    @property
    def given(self) -> tuple[str, ...]:
        """Those that the graph knows something of."""
        return self.graph.class_names

    @property
    def outputs(self) -> int:
        """How many they are."""
        return len(self.names)

    @property
    def said(self) -> str:
        """In one line, what the labels were taken for; "" where that is plain."""
        k, loss = self.outputs, getattr(self.config, "loss", "")
        return self.saying.format(count=k, s="" if k == 1 else "s", loss=f"{loss} error")

    def advice(self, directed: bool) -> str:
        """What to say of a recipe that is less than it could be on a graph whose edges have directions, or none."""
        return ""

    @property
    def graph(self) -> Subject:
        assert self._graph is not None
        return self._graph

    def part(self, name: Part) -> Nodes | None:
        """What of a part of the split is counted, by number: nodes, or whatever else the task says something of."""
        nodes: Nodes | None = getattr(self.graph, name)
        return nodes

    def check(self) -> None:
        """Raises ConfigError where the graph has no training split, or lacks what the recipe needs."""
        graph = self.graph
        split(graph, "train")
        if self.config.restore_best and self.part("val") is None:
            raise ConfigError(f"restore_best needs a validation split, and {graph.name} has none")
        if self.outputs < 1:
            raise ConfigError(f"{graph.name} has no classes to learn")
        if self.config.monitor != "val_loss" and self.part("val") is None:
            raise ConfigError(f"--monitor {self.config.monitor} needs a validation split, and {graph.name} has none")
        known = [f"val_{each.name}" for each in (self.quantity, *self.metrics, *self.final)]
        if self.config.monitor not in known:
            raise ConfigError(f"--monitor {self.config.monitor} is not measured here; known: {', '.join(known)}")

    def width(self, outputs: int) -> int:
        """Columns of the network's last layer, for so many `outputs`."""
        return heads.width(self.config.readout, outputs)

    def parameters(self, width: int) -> Mapping[str, Parameter]:
        """The head's own, by names that begin with `HEAD`. width: the network's."""
        return {}

    def head(self, backend: Backend, params: Params, rows: Array, counted: Counted) -> Array:
        """The task's outputs of rows of the network's last layer: these rows, or what graphs of a set read of them."""
        if self.config.readout in heads.NODES:
            return rows
        found = heads.read_out(backend, self.config.readout, rows, counted.readout)
        shift = self._shift
        return backend.xp.add(found, params[shift]) if shift else found

    @cached_property
    def _shift(self) -> str:
        return heads.shift_of(self.config)

    @abstractmethod
    def targets(self, nodes: Nodes, at: Nodes, rows: int, among: Nodes | None = None) -> Targets:
        """Counts the rows `at`, of these nodes, of an output of so many rows.

        among: the nodes over which the loss is a mean, where more than these are counted elsewhere.
        """

    @abstractmethod
    def loss(self, backend: Backend, outputs: Array, counted: Counted) -> Array:
        """The mean over what is counted, 0-d."""

    def constants(self) -> dict[str, Floats]:
        """What a model keeps of this graph, by `constant_names`."""
        return {}

    def answers(self, outputs: Floats) -> Floats:
        """What outputs [n, k] on the host say: logits as they are, values in the units of the targets."""
        return outputs
