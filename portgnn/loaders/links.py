"""Epochs of a link task: all edges asked for and fresh negative pairs, on the whole graph or in sampled batches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.errors import ConfigError
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.graph import Graph
from portgnn.graphs.links import LinkGraph
from portgnn.graphs.pairs import Pairs
from portgnn.loaders import neighbor
from portgnn.loaders._prefetch import Prefetch
from portgnn.loaders.batch import HostBatch, Tree, as_tree, assemble, from_tree, place_batch
from portgnn.loaders.inference import Inference
from portgnn.loaders.source import InMemory
from portgnn.models.layer import Layer, hops_of
from portgnn.placing import forward
from portgnn.placing.features import Moments
from portgnn.placing.prepared import Prepared
from portgnn.placing.whole import place
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, Keys, Params, State
from portgnn.tasks import Targets
from portgnn.tasks.link import Asked, every_pair, picking, signs
from portgnn.training import BatchSteps, Epochs, objective, parameters_of

MOST_NODES = 20_000
"""Of a graph all of whose pairs are asked for in a step: a matrix of them takes 3.2 GB in float64."""


@dataclass(frozen=True, eq=False)
class LinkProblem:
    """A graph whose edges are to be learnt, and the recipe. prepared: the graph of its message edges."""

    graph: LinkGraph
    config: Config
    prepared: Prepared

    @classmethod
    def of(cls, graph: Graph, config: Config, moments: Moments | None) -> LinkProblem:
        """Splits the edges as the recipe says, whose seed of the split is settled. Raises what `LinkGraph.of` raises.

        Raises ConfigError where a part has fewer negatives than the recipe's K of Hits@K, and where all pairs are asked
        for that cannot be.
        """
        _check_every_pair(graph, config)
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


def _check_every_pair(graph: Graph, config: Config) -> None:
    """Raises ConfigError where a recipe asks for every pair at once that cannot."""
    if config.negatives:
        return
    if config.decoder == "mlp":
        raise ConfigError("negatives=0 scores every pair at once, by products; take --decoder dot or bilinear")
    if config.loader != "full":
        raise ConfigError(f"negatives=0 scores every pair at once; leave --loader {config.loader} out")
    if graph.num_nodes > MOST_NODES:
        raise ConfigError(
            f"negatives=0 scores every pair of the {graph.num_nodes} nodes of {graph.name} at once, and {MOST_NODES} "
            "are the most; take --negatives 1"
        )


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
        asked = self._asked()
        held_out = self.held_out(graph.val) if validate and graph.val is not None else None

        def run(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
            rows = []
            for epoch in keys:
                state, loss = step(state, epoch, (placed, *asked(epoch)), len(graph.links.train))
                row: list[Any] = [loss, *(held_out.measure(parameters_of(state)) if held_out else [])]
                state = step.scheduled(state, row)
                rows.append(row)
            return state, np.array([[float(backend.to_numpy(loss)), *rest] for loss, *rest in rows], dtype=np.float64)

        return Epochs(run, problem.task.measures, held_out.count if held_out else 0)

    def scores(self, params: Mapping[str, NDArray[np.floating]], nodes: Nodes) -> dict[str, float]:
        on_device = {name: self.backend.asarray(value) for name, value in params.items()}
        _, *sums = self.held_out(nodes).measure(on_device)
        return self.problem.task.measures.values(sums, len(nodes))

    def held_out(self, pairs: Nodes) -> HeldOut:
        """Some of the problem's pairs, by their numbers, to be measured."""
        operands = place(self.backend, self.problem.prepared, None, training=False)
        nodes = np.arange(self.problem.graph.num_nodes)
        layers = self.problem.layers
        return HeldOut(self, pairs, nodes, lambda params: forward.outputs(self.backend, layers, params, operands))

    def _asked(self) -> Callable[[NDArray[np.uint32]], tuple[Any, Array, Array]]:
        """What the step of an epoch with some dropout keys asks for: pairs picked, their weights and labels."""
        links, each = self.problem.graph.links, self.problem.config.negatives
        if not each:
            every = every_pair(links.train, links.messages, links.apart.ordered).placed(self.backend)
            return lambda epoch: ((), every.weights, every.labels)
        edges, counted = self._picked(links.train), self._counted(len(links.train))
        return lambda epoch: ((edges, self._picked(links.negatives(epoch, each))), *counted)

    def _picked(self, pairs: Pairs) -> object:
        return self.backend.csr(picking(pairs, self.problem.graph.num_nodes))

    def _counted(self, edges: int) -> tuple[Array, Array]:
        """Weights and labels of so many edges asked for, and of the negatives behind them: half of the loss each.

        Their numbers are weighed out so in tkipf/gae (train.py: pos_weight, norm), where all pairs are negatives.
        """
        each = self.problem.config.negatives
        joined = np.arange(edges * (1 + each)) < edges
        weights = np.where(joined, 0.5 / edges, 0.5 / (edges * each))
        return self.backend.asarray(weights), self.backend.asarray(signs(joined))

    def _loss(self, params: Params, keys: Keys, batch: Tree) -> tuple[Array, None]:
        placed, picked, weights, labels = batch
        counted = Asked(weights=weights, labels=labels, count=0, picked=tuple(picked))
        rows = forward.outputs(self.backend, self.problem.layers, params, from_tree(placed), keys)
        return self.loss_of(rows, params, counted)[0], None

    def loss_of(self, rows: Array, params: Params, counted: Asked) -> tuple[Array, Array]:
        """The loss, penalty included, and the scores, out of the embeddings of all nodes."""
        task = self.problem.task
        outputs = task.head(self.backend, params, rows, counted)
        return objective.loss(self.backend, task, outputs, counted, params, self._penalties), outputs


class SampledLinks(Links):
    """An epoch is a pass over batches of `batch_size` edges asked for, each with negatives of its own and the sampled
    receptive field of all their ends. What is held out is measured exactly, layer by layer.

    All edges and all neighbours in one batch are the whole graph's step.
    """

    def __init__(self, backend: Backend, problem: LinkProblem) -> None:
        super().__init__(backend, problem)
        self._source = InMemory(problem.prepared)

    def make_run(self, validate: bool) -> Epochs:
        problem = self.problem
        step = BatchSteps(self.backend, problem, self._loss)
        held_out = self.held_out(problem.graph.val) if validate and problem.graph.val is not None else None

        def measured(state: State) -> tuple[State, list[float]]:
            return state, [*held_out.measure(parameters_of(state))] if held_out else []

        run = step.run(self._placed, measured)
        return Epochs(run, problem.task.measures, held_out.count if held_out else 0)

    def held_out(self, pairs: Nodes) -> HeldOut:
        nodes = np.unique(self.problem.graph.pairs[pairs])
        exact = Inference(self.backend, self._source, nodes)
        return HeldOut(self, pairs, nodes, lambda params: self.backend.asarray(exact.logits(params)))

    def _placed(self, keys: NDArray[np.uint32]) -> Generator[tuple[Tree, float]]:
        """The batches of an epoch on the device, each with how many edges it asks for."""
        with Prefetch(self._batches(keys)) as ahead:
            for batch, picked in ahead:
                edges = picked[0].shape[0] // 2
                pairs = tuple(self.backend.csr(each) for each in picked)
                yield (as_tree(place_batch(self.backend, batch)), pairs, *self._counted(edges)), edges

    def _batches(self, keys: NDArray[np.uint32]) -> Iterator[tuple[HostBatch, tuple[sp.csr_array, sp.csr_array]]]:
        """The batches of the epoch with these dropout keys, and what picks the ends of their edges and negatives."""
        links, config = self.problem.graph.links, self.problem.config
        draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(keys.ravel().tolist())))
        order, fanouts = draw.permutation(len(links.train)), config.fanouts(hops_of(self._source.layers))
        apart = links.negatives(keys, config.negatives).reshape(config.negatives, -1, 2)
        for start in range(0, len(order), config.batch_size):
            chosen = np.sort(order[start : start + config.batch_size])
            asked = links.train[chosen], apart[:, chosen].reshape(-1, 2)
            nodes = np.unique(np.concatenate(asked))
            block = neighbor.sample(self._source, nodes, fanouts, neighbor.hop_keys(draw, len(fanouts)))
            nothing = Targets(np.zeros(0), np.zeros(0), len(chosen))
            batch = assemble(self._source, block, self.backend.dtype, targets=nothing)
            # The rows of the last layer with edges are padded, and those of layers behind it are as many.
            rows = next(
                (each.shape[0] for each in reversed(batch.adjacency) if each is not None), batch.features.shape[0]
            )
            edges, negatives = (picking(np.searchsorted(nodes, pairs), rows) for pairs in asked)
            yield batch, (edges, negatives)


class HeldOut:
    """Loss and metrics of some of the problem's pairs, without dropout.

    nodes: whose embeddings `rows` gives, ascending, for parameters on the device.
    """

    def __init__(self, engine: Links, pairs: Nodes, nodes: Nodes, rows: Callable[[Params], Array]) -> None:
        backend, problem = engine.backend, engine.problem
        self._engine, self._rows, self.count = engine, rows, len(pairs)
        self._targets = problem.task.targets(pairs, np.arange(len(pairs)), len(pairs))
        ends = np.searchsorted(nodes, problem.graph.pairs[pairs])
        self._counted = Asked(**vars(self._targets.placed(backend)), picked=(backend.csr(picking(ends, len(nodes))),))

    def measure(self, params: Params) -> list[float]:
        """[loss, *each metric]."""
        backend, problem = self._engine.backend, self._engine.problem
        loss, scores = self._engine.loss_of(self._rows(params), params, self._counted)
        found = backend.to_numpy(scores)
        return [
            float(backend.to_numpy(loss)),
            *(each.of(found, self._targets) for each in problem.task.measures.metrics),
        ]
