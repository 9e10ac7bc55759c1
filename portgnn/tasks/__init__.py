"""What a network is trained for: a loss, its metrics and what a prediction looks like.

A task more is a class, its name here and in `portgnn.recipe.TaskName`. Nothing else in portgnn knows one by its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from portgnn.errors import ConfigError
from portgnn.graphs.sets import GraphSet
from portgnn.metrics import PARTS, Curve, Quantity
from portgnn.tasks.classes import Classes
from portgnn.tasks.heads import settled_readout
from portgnn.tasks.labels import Labels
from portgnn.tasks.link import Link
from portgnn.tasks.regression import Regression
from portgnn.tasks.targets import Counted, Targets
from portgnn.tasks.task import HEAD, Subject, Task

if TYPE_CHECKING:
    from portgnn.recipe import Config

__all__ = [
    "HEAD", "TASKS", "Classes", "Counted", "Labels", "Regression",
    "Subject", "Targets", "Task", "curve", "curves_among", "loss_words", "of", "quantities",
    "scores_in", "settled",
]  # fmt: skip

TASKS: dict[str, type[Task]] = {
    "classes": Classes,
    "link": Link,
    "labels": Labels,
    "regression": Regression,
}
"""Every task, by its name; the first that fits a graph's labels is what they are taken for."""


def of(config: Config, graph: Subject | None = None, constants: Mapping[str, Any] | None = None) -> Task:
    """The recipe's task on a graph. graph: None where only names are asked for. constants: of a trained model."""
    return TASKS[_recognised(graph) if config.task == "auto" else config.task](config, graph, constants)


def settled(config: Config, graph: Subject, seed: int | None = None) -> Config:
    """The recipe with the task and the readout that it comes to on this graph. seed: the run's, where what depends on
    it is settled.

    Raises ConfigError for a readout of nodes, and for a set of graphs without one.
    """
    readout = settled_readout(config, graph)
    if (readout == "none") == isinstance(graph, GraphSet):
        if readout == "none":
            raise ConfigError(
                f"{graph.name} is a set of graphs, each read off its nodes: --readout sum, mean, max or attention"
            )
        raise ConfigError(f"--readout {readout} is for sets of graphs, and {graph.name} is one graph; leave it out")
    task = _recognised(graph) if config.task == "auto" else config.task
    if (config.task, config.readout) != (task, readout):
        config = config.with_(task=task, readout=readout)
    return config if seed is None else TASKS[config.task].seeded(config, seed)


def _recognised(graph: Subject | None) -> str:
    first = next(iter(TASKS))
    return first if graph is None else next((name for name, kind in TASKS.items() if kind.fits(graph)), first)


def quantities() -> dict[str, Quantity]:
    """All that any task measures, by name; the losses first."""
    losses = [kind.quantity for kind in reversed(TASKS.values())]  # of one name, that of the first task
    measured = [each for kind in TASKS.values() for each in (*kind.metrics, *kind.final)]
    return {each.name: each for each in (*losses, *measured)}


def loss_words(documents: Iterable[Mapping[str, Any]]) -> str:
    """What an axis says that the losses of some runs share, by their documents: "loss", and in which unit, or units."""
    recipes: list[Mapping[str, Any]] = [document.get("config", {}) for document in documents]
    first = next(iter(TASKS))
    units = [TASKS.get(recipe.get("task", first), TASKS[first]).loss_unit(recipe) for recipe in recipes]
    return f"{TASKS[first].quantity.words} ({'; '.join(dict.fromkeys(units))})"


def curve(name: str) -> Curve | None:
    """What a name stands for; None for none that is known."""
    part, _, rest = name.partition("_")
    quantity = quantities().get(rest)
    return Curve(name, part, quantity) if part in PARTS and quantity is not None else None


def curves_among(names: Iterable[str], *parts: str) -> list[Curve]:
    """Those of some names that are curves of these parts, of any where none is given: losses first, by part."""
    found = [each for name in names if (each := curve(name)) is not None and (not parts or each.part in parts)]
    order, known = list(quantities()), list(PARTS)
    return sorted(found, key=lambda each: (order.index(each.quantity.name), known.index(each.part)))


def scores_in(document: Mapping[str, Any]) -> dict[str, float | None]:
    """What a result document says of the test nodes: metrics by name, None where there were no such nodes."""
    return {each.quantity.name: document[each.name] for each in curves_among(document, "test")}
