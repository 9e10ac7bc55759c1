"""The engine of a run on the whole graph in this process: an epoch is one step."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.graphs.split import split
from portgnn.models.layer import Layer
from portgnn.placing import forward
from portgnn.placing.operands import Operands
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import Shared, place
from portgnn.protocol import Backend, Params, Run, State
from portgnn.training.engine import Epochs, scores_of
from portgnn.training.state import parameters_of
from portgnn.training.step import make_loss, make_measure, make_step, scheduled, validated

VALIDATED = ("val_loss", "val_accuracy")
"""What `make_run` gives of the validation nodes: their loss, and how many answers are right."""


class WholeGraph:
    """An `Engine` whose epochs are steps over all training nodes of a graph in memory."""

    def __init__(self, backend: Backend, problem: Prepared) -> None:
        self.backend, self.problem = backend, problem
        self._shared = Shared()

    def make_run(self, validate: bool) -> Epochs:
        backend, problem = self.backend, self.problem
        trained = split(problem.graph, "train").nodes
        loss = make_loss(backend, place(backend, problem, trained, training=True, shared=self._shared), problem)
        held_out = split(problem.graph, "val") if validate else None
        step, config = make_step(backend, problem, loss), problem.config
        if held_out is None:
            return Epochs(backend.compile(scheduled(backend, config, step)), problem.task.measures, 0)
        operands = place(backend, problem, held_out.nodes, training=False, shared=self._shared)
        step = validated(step, make_measure(backend, operands, problem))
        run = backend.compile(scheduled(backend, config, step))
        measures, nodes = problem.task.measures, held_out.nodes

        def scored(state: State) -> dict[str, float]:
            found = placed_outputs(backend, problem, parameters_of(state), operands)
            rows = found if len(found) == len(nodes) else found[nodes]
            return scores_of(problem.task, rows, nodes, measures.scores)

        return Epochs(run, measures, operands.count, scored)

    @cached_property
    def _everywhere(self) -> Operands:
        """What all nodes' outputs are computed with: placed once for all models that are tested."""
        return place(self.backend, self.problem, None, training=False, shared=self._shared)

    def agree(self, value: float) -> float:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def scores(self, params: Mapping[str, NDArray[np.floating]], nodes: Nodes) -> dict[str, float]:
        backend, problem, task = self.backend, self.problem, self.problem.task
        # On a small graph of all nodes: the last bit of a dense product may depend on how many rows there are.
        is_large = problem.widest < problem.graph.num_nodes
        placed = place(backend, problem, nodes, training=False, shared=self._shared) if is_large else self._everywhere
        on_device = {name: backend.asarray(value) for name, value in params.items()}
        found = placed_outputs(backend, problem, on_device, placed)
        rows = found if len(found) == len(nodes) else found[nodes]
        return scores_of(task, rows, nodes, task.scored)


def logits(
    backend: Backend,
    problem: Prepared,
    params: Mapping[str, NDArray[np.floating]],
    layers: tuple[Layer, ...] | None = None,
) -> NDArray[np.floating]:
    """The task's outputs of all nodes, [nodes, k], on the host, without dropout. params: on the host.

    layers: the network's, where the problem's graph has other classes than the network.
    """
    layers = layers or problem.layers
    operands = place(backend, problem, None, training=False, layers=layers)
    on_device = {name: backend.asarray(value) for name, value in params.items()}
    return placed_outputs(backend, problem, on_device, operands, layers)


def placed_outputs(
    backend: Backend, problem: Prepared, params: Params, operands: Operands, layers: tuple[Layer, ...] | None = None
) -> NDArray[np.floating]:
    """The task's outputs of the operands' rows, on the host. params: on the device."""
    rows = forward.outputs(backend, layers or problem.layers, params, operands)
    return backend.to_numpy(problem.task.head(backend, params, rows, operands))


def make_run(backend: Backend, problem: Prepared, *, validate: bool) -> Run:
    """The compiled epochs of `WholeGraph`: the training loss and, with `validate`, `VALIDATED` behind it."""
    return WholeGraph(backend, problem).make_run(validate).only("train_loss", *VALIDATED)
