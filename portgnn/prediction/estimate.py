"""What a model of several labels, or of values, says of a graph's nodes, and how right it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from portgnn.errors import ConfigError
from portgnn.graphs.checks import labelled
from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet
from portgnn.prediction.evaluation import PARTS, members_of, part_names
from portgnn.prediction.handing import HandedOn
from portgnn.prediction.predict import Target, Trained, check_fit, outputs_of, split_of, subject_of, trained_model
from portgnn.protocol import Backend
from portgnn.registry import backend_of
from portgnn.tasks import Task
from portgnn.training.engine import scores_of

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Estimated(HandedOn):
    """A model's word on every node of a graph; as an array of another library, its answers.

    outputs: [n, k], as the network gives them. names: of the labels or values, in the model's order. truth: [n, k], the
    graph's own, NaN where unknown. codes, split, notes: as of `Classified`. task: the model's, on this truth.
    """

    outputs: NDArray[np.floating]
    names: tuple[str, ...]
    graph: Graph | GraphSet
    truth: Floats
    codes: NDArray[np.uint8]
    split: str
    task: Task
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """One line: the arrays have too many."""
        return f"Estimated: {self.graph!r}; {self.scores}"

    @property
    def are_values(self) -> bool:
        """Values, and no labels."""
        return self.task.things == "values"

    @property
    def answers(self) -> NDArray[np.floating]:
        """[n, k]: the probability of each label, or the values in the targets' units."""
        found = self.task.answers(self.outputs)
        return found if self.are_values else 1 / (1 + np.exp(-np.asarray(found, dtype=np.float64)))

    @property
    def array(self) -> NDArray[np.floating]:
        return self.answers

    @property
    def parts(self) -> NDArray[np.str_]:
        """[n], as of `Classified`."""
        marks = labelled(None, self.truth)
        assert marks is not None
        return part_names(marks, self.codes, known=bool(self.split))

    @cached_property
    def scores(self) -> dict[str, dict[str, float]]:
        """Metrics by part of the split; a part of which nothing is known is absent."""
        parts, found = self.parts, {}
        for part in PARTS:
            nodes = np.flatnonzero(parts == part)
            if len(nodes):
                found[part] = scores_of(self.task, self.outputs[nodes], nodes, self.task.scored)
        return found


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known of nodes, or of graphs, in a model's order: what its task reads."""

    name: str
    targets: Floats
    target_names: tuple[str, ...]
    labels: None = None
    class_names: tuple[str, ...] = ()
    train: None = None
    val: None = None
    test: None = None

    @property
    def num_outputs(self) -> int:
        return len(self.target_names)


def estimate(
    model_or_path: Trained,
    graph: Target,
    *,
    split: str | None = None,
    backend: str | Backend = "numpy",
    device: str | None = None,
    dtype: object = "float32",
    unknown: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
    announce: Callable[[str], None] | None = None,
) -> Estimated:
    """The labels or values of each node of a graph, and scores of nodes of which they are known, by part.

    Arguments as of `classify`. Raises ConfigError for a model of one class a node, and what `classify` raises.
    """
    trained = trained_model(model_or_path)
    if trained.task().things not in ("labels", "values"):
        raise ConfigError("the model says no labels or values of nodes; take portgnn.classify or portgnn.predict_links")
    target = subject_of(trained, graph, announce, unknown, ignore)
    check_fit(trained, target)
    codes, source, notes = split_of(trained, target, split)
    truth = np.full((members_of(target), len(trained.class_names)), np.nan)
    if target.targets is not None:
        truth[:, [trained.class_names.index(name) for name in target.target_names]] = target.targets
    outputs = outputs_of(trained, target, backend_of(backend, device, dtype))
    notes = notes if not np.isnan(truth).all() else ()
    if announce is not None:
        for note in notes:
            announce(f"{target.name}: {note}.")
    task = trained.task(_Known(target.name, truth, trained.class_names))
    return Estimated(outputs, trained.class_names, target, truth, codes, source, task, notes)
