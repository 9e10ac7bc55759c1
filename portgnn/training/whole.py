"""The engine of a run on the whole graph in this process: an epoch is one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from portgnn import metrics
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.split import labels_at, split
from portgnn.models.layer import Layer
from portgnn.placing import forward
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.protocol import Backend, Run
from portgnn.training.engine import Epochs
from portgnn.training.step import make_loss, make_measure, make_step, validated

VALIDATED = ("val_loss", "val_accuracy")
"""What `make_run` gives of the validation nodes: their loss, and how many answers are right."""


class WholeGraph:
    """An `Engine` whose epochs are steps over all training nodes of a graph in memory."""

    def __init__(self, backend: Backend, task: Prepared) -> None:
        self.backend, self.task = backend, task

    def make_run(self, validate: bool) -> Epochs:
        backend, task = self.backend, self.task
        loss = make_loss(backend, place(backend, task, split(task.graph, "train").nodes, training=True), task)
        held_out = split(task.graph, "val") if validate else None
        measure = None
        if held_out is not None:
            measure = make_measure(backend, place(backend, task, held_out.nodes, training=False), task)
        run = backend.compile(validated(make_step(backend, task, loss), measure))
        return Epochs(run, metrics.of(task.config), 0 if held_out is None else len(held_out))

    def agree(self, value: float) -> float:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def scores(self, params: Mapping[str, NDArray[Any]], nodes: Nodes) -> dict[str, float]:
        found, labels = logits(self.backend, self.task, params)[nodes], labels_at(self.task.graph, nodes)
        return {metric.name: metric.of(found, labels) for metric in metrics.of(self.task.config).metrics}


def logits(
    backend: Backend, task: Prepared, params: Mapping[str, NDArray[Any]], layers: tuple[Layer, ...] | None = None
) -> NDArray[Any]:
    """[nodes, classes] on the host, of all nodes, without dropout. params: on the host.

    layers: the network's, where the task's graph has other classes than the network.
    """
    layers = layers or task.layers
    operands = place(backend, task, None, training=False, layers=layers)
    on_device = {name: backend.asarray(value) for name, value in params.items()}
    return backend.to_numpy(forward.outputs(backend, layers, on_device, operands))


def make_run(backend: Backend, task: Prepared, *, validate: bool) -> Run:
    """The compiled epochs of `WholeGraph`: the training loss and, with `validate`, `VALIDATED` behind it."""
    return WholeGraph(backend, task).make_run(validate).only("train_loss", *VALIDATED)
