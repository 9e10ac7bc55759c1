"""The engine of a run on the whole graph in this process: an epoch is one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.models.layer import Layer
from portgnn.placing import forward
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.protocol import Backend, Run
from portgnn.training.step import make_loss, make_measure, make_step, validated


class WholeGraph:
    """An `Engine` whose epochs are steps over all training nodes of a graph in memory."""

    def __init__(self, backend: Backend, task: Prepared) -> None:
        self.backend, self.task = backend, task

    def make_run(self, validate: bool) -> Run:
        backend, task, graph = self.backend, self.task, self.task.graph
        assert graph.train is not None
        loss = make_loss(backend, place(backend, task, graph.train, training=True), task)
        measure = None
        if validate:
            measure = make_measure(backend, place(backend, task, graph.val, training=False), task)
        return backend.compile(validated(make_step(backend, task, loss), measure))

    def agree(self, value: float) -> float:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def accuracy(self, params: Mapping[str, NDArray[Any]], nodes: Nodes) -> float:
        assert self.task.graph.labels is not None
        guess = logits(self.backend, self.task, params)[nodes].argmax(axis=1)
        return float(np.mean(guess == self.task.graph.labels[nodes]))


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
    """The compiled epochs of `WholeGraph`."""
    return WholeGraph(backend, task).make_run(validate)
