"""Epochs of a link task: a step over all edges asked for and fresh negative pairs, on the whole graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.errors import ConfigError
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.graph import Graph
from portgnn.graphs.links import LinkGraph
from portgnn.graphs.pairs import Pairs
from portgnn.loaders.batch import Tree, as_tree, from_tree
from portgnn.models.layer import Layer
from portgnn.placing import forward
from portgnn.placing.features import Moments
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, Params, State
from portgnn.tasks.link import Asked, picking, signs
from portgnn.training import BatchSteps, Epochs, objective, parameters_of


@dataclass(frozen=True, eq=False)
class LinkProblem:
    """A graph whose edges are to be learnt, and the recipe. prepared: the graph of its message edges."""

    graph: LinkGraph
    config: Config
    prepared: Prepared

    @classmethod
    def of(cls, graph: Graph, config: Config, moments: Moments | None) -> LinkProblem:
        """Splits the edges as the recipe says, whose seed of the split is settled. Raises what `LinkGraph.of` raises.

        Raises ConfigError where a part has fewer negatives than the recipe's K of Hits@K.
        """
        split = LinkGraph.of(graph, config.link_val, config.link_test, config.link_apart, config.link_seed)
        for part, held in (("validation", split.links.val), ("test", split.links.test)):
            if held is not None and config.hits_k > len(held.negatives):
                raise ConfigError(
                    f"hits_k={config.hits_k} needs as many negative pairs, and the {part} part of {graph.name} has "
                    f"{len(held.negatives)}; take a smaller --hits-k or larger shares"
                )
        prepared = Prepared.of(split.graph, config, moments)
        return cls(split, prepared.config, prepared)

    @property
    def layers(self) -> tuple[Layer, ...]:
        return self.prepared.layers

    @cached_property
    def task(self) -> tasks.Task:
        return tasks.of(self.config, self.graph)


class Links:
    """An `Engine` whose epoch is one step on the whole graph, over the edges asked for and negatives of that epoch.

    Which negatives an epoch has depends on its dropout keys alone, and those on seed and epoch: a resumed run draws
    what it would have drawn. There are as many in each, so that what a framework compiled for one serves the next.
    """

    def __init__(self, backend: Backend, problem: LinkProblem) -> None:
        self.backend, self.problem = backend, problem
        self._penalties = objective.penalties(problem.config, problem.layers)

    def agree(self, value: float) -> float:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def make_run(self, validate: bool) -> Epochs:
        backend, problem = self.backend, self.problem
        step = BatchSteps(backend, problem, self._loss)
        graph = problem.graph
        placed = as_tree(place(backend, problem.prepared, None, training=True))
        edges, counted = self._picked(graph.links.train), self._counted_in_training()
        held_out = HeldOut(self, graph.val) if validate and graph.val is not None else None

        def run(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
            rows = []
            for epoch in keys:
                negatives = self._picked(graph.links.negatives(epoch, problem.config.negatives))
                state, loss = step(state, epoch, (placed, (edges, negatives), *counted), len(graph.links.train))
                row: list[Any] = [loss, *(held_out.measure(parameters_of(state)) if held_out else [])]
                state = step.scheduled(state, row)
                rows.append(row)
            return state, np.array([[float(backend.to_numpy(loss)), *rest] for loss, *rest in rows], dtype=np.float64)

        return Epochs(run, problem.task.measures, held_out.count if held_out else 0)

    def scores(self, params: Mapping[str, NDArray[Any]], nodes: Nodes) -> dict[str, float]:
        on_device = {name: self.backend.asarray(value) for name, value in params.items()}
        _, *sums = HeldOut(self, nodes).measure(on_device)
        return self.problem.task.measures.values(sums, len(nodes))

    def _picked(self, pairs: Pairs) -> Any:
        return self.backend.csr(picking(pairs, self.problem.graph.num_nodes))

    def _counted_in_training(self) -> tuple[Array, Array]:
        """Weights and labels of the edges asked for, and of the negatives behind them: half of the loss each.

        Their numbers are weighed out so in tkipf/gae (train.py: pos_weight, norm), where all pairs are negatives.
        """
        edges, each = len(self.problem.graph.links.train), self.problem.config.negatives
        joined = np.arange(edges * (1 + each)) < edges
        weights = np.where(joined, 0.5 / edges, 0.5 / (edges * each))
        return self.backend.asarray(weights), self.backend.asarray(signs(joined))

    def _loss(self, params: Params, keys: Any, batch: Tree) -> tuple[Array, None]:
        placed, picked, weights, labels = batch
        counted = Asked(weights=weights, labels=labels, count=0, picked=tuple(picked))
        rows = forward.outputs(self.backend, self.problem.layers, params, from_tree(placed), keys)
        return self.loss_of(rows, params, counted)[0], None

    def loss_of(self, rows: Array, params: Params, counted: Asked) -> tuple[Array, Array]:
        """The loss, penalty included, and the scores, out of the embeddings of all nodes."""
        task = self.problem.task
        outputs = task.head(self.backend, params, rows, counted)
        return objective.loss(self.backend, task, outputs, counted, params, self._penalties), outputs


class HeldOut:
    """Loss and metrics of some of the problem's pairs, without dropout."""

    def __init__(self, engine: Links, pairs: Nodes) -> None:
        backend, problem = engine.backend, engine.problem
        self._engine, self.count = engine, len(pairs)
        self._operands = place(backend, problem.prepared, None, training=False)
        self._targets = problem.task.targets(pairs, np.arange(len(pairs)), len(pairs))
        picked = backend.csr(picking(problem.graph.pairs[pairs], problem.graph.num_nodes))
        self._counted = Asked(**vars(self._targets.placed(backend)), picked=(picked,))

    def measure(self, params: Params) -> list[float]:
        """[loss, *each metric]."""
        backend, problem = self._engine.backend, self._engine.problem
        rows = forward.outputs(backend, problem.layers, params, self._operands)
        loss, scores = self._engine.loss_of(rows, params, self._counted)
        found = backend.to_numpy(scores)
        return [
            float(backend.to_numpy(loss)),
            *(each.of(found, self._targets) for each in problem.task.measures.metrics),
        ]
