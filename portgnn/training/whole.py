"""The engine of a run on the whole graph in this process: an epoch is one step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.graphs.split import split
from portgnn.models.layer import Layer
from portgnn.placing import forward
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.protocol import Backend, Run
from portgnn.training.engine import Epochs
from portgnn.training.step import make_loss, make_measure, make_step, scheduled, validated

VALIDATED = ("val_loss", "val_accuracy")
"""What `make_run` gives of the validation nodes: their loss, and how many answers are right."""


class WholeGraph:
    """An `Engine` whose epochs are steps over all training nodes of a graph in memory."""

    def __init__(self, backend: Backend, problem: Prepared) -> None:
        self.backend, self.problem = backend, problem

    def make_run(self, validate: bool) -> Epochs:
        backend, problem = self.backend, self.problem
        loss = make_loss(backend, place(backend, problem, split(problem.graph, "train").nodes, training=True), problem)
        held_out = split(problem.graph, "val") if validate else None
        measure = None
        if held_out is not None:
            measure = make_measure(backend, place(backend, problem, held_out.nodes, training=False), problem)
        step = validated(make_step(backend, problem, loss), measure)
        run = backend.compile(scheduled(backend, problem.config, step))
        return Epochs(run, problem.task.measures, 0 if held_out is None else len(held_out))

    def agree(self, value: float) -> float:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def scores(self, params: Mapping[str, NDArray[Any]], nodes: Nodes) -> dict[str, float]:
        found, task = logits(self.backend, self.problem, params)[nodes], self.problem.task
        targets = task.targets(nodes, np.arange(len(nodes)), len(nodes))
        return {metric.name: metric.of(found, targets) for metric in task.measures.metrics}


def logits(
    backend: Backend, problem: Prepared, params: Mapping[str, NDArray[Any]], layers: tuple[Layer, ...] | None = None
) -> NDArray[Any]:
    """The task's outputs of all nodes, [nodes, k], on the host, without dropout. params: on the host.

    layers: the network's, where the problem's graph has other classes than the network.
    """
    layers = layers or problem.layers
    operands = place(backend, problem, None, training=False, layers=layers)
    on_device = {name: backend.asarray(value) for name, value in params.items()}
    rows = forward.outputs(backend, layers, on_device, operands)
    return backend.to_numpy(problem.task.head(backend, on_device, rows, operands))


def make_run(backend: Backend, problem: Prepared, *, validate: bool) -> Run:
    """The compiled epochs of `WholeGraph`: the training loss and, with `validate`, `VALIDATED` behind it."""
    return WholeGraph(backend, problem).make_run(validate).only("train_loss", *VALIDATED)
