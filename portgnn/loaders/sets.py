"""Batches of whole graphs: side by side as one block-diagonal graph, padded to few shapes, and trained on in steps.

Rows, edges and dropout's elements have the numbers that they have in the set as a whole, so that what a batch computes
of a graph does not depend on which others are in it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.errors import ConfigError
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.sets import GraphSet
from portgnn.graphs.split import split
from portgnn.loaders._prefetch import Prefetch
from portgnn.loaders.batch import HostBatch, Tree, as_tree, from_tree, lengthened, padded_csr, place_batch
from portgnn.models.layer import Layer
from portgnn.placing import forward
from portgnn.placing.elements import Numbers, layer_edge_elements, layer_elements, stored_elements
from portgnn.placing.features import Moments
from portgnn.placing.prepared import Prepared
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, BatchRun, Keys, Params, State
from portgnn.tasks.heads import apart, layers_of, placed_readout
from portgnn.training import BatchSteps, Epochs, make_loss, make_measure, objective, parameters_of
from portgnn.training.batches import compiled
from portgnn.training.engine import scores_of

Parts: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int32]]
"""Data, indices and indptr of a matrix in CSR."""

SPREAD = 0.5
"""Standard deviations above its mean that the smallest shape of a batch has room for: one in three is larger."""
MULTIPLE = 32
"""What rows and stored values of a shape are multiples of."""


class PreparedSet:
    """A set of graphs and a recipe, as a problem of training. whole: its graphs as one, with the edges' weights."""

    def __init__(
        self,
        graphs: GraphSet,
        config: Config,
        moments: Moments | None = None,
        layers: tuple[Layer, ...] | None = None,
    ) -> None:
        """moments: of the graphs that are trained on. layers: the network's, where it is for other outputs.

        Raises ConfigError for a network whose rows depend on each other, and for other batches than those here.
        """
        config = tasks.settled(config, graphs)
        if not apart(config.network):
            raise ConfigError(
                f"rows of this {config.model} depend on each other, and graphs of a set must not; take --norm layer"
            )
        if config.loader != "full" or config.adjacency == "dense":
            what = "--adjacency dense" if config.adjacency == "dense" else f"--loader {config.loader}"
            raise ConfigError(f"{graphs.name} is a set of graphs, which has batches of its own; leave {what} out")
        self.graph, self.whole = graphs, Prepared.of(graphs.union, config.with_(readout="none"), moments)
        self.config, self._layers = self.whole.config.with_(readout=config.readout), layers

    @cached_property
    def task(self) -> tasks.Task:
        """The recipe's, on these graphs."""
        return tasks.of(self.config, self.graph)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The network's, for the features of these graphs and the task's outputs."""
        if self._layers is not None:
            return self._layers
        return layers_of(self.config, self.graph.num_features, self.task.width(self.graph.num_outputs))

    def features(self, nodes: Nodes) -> NDArray[np.floating]:
        """The nodes' rows, dense: sparse rows of a batch have another number of values each time."""
        rows: Any = self.whole.features[nodes]
        dense: NDArray[np.floating] = rows.toarray() if isinstance(rows, sp.csr_array) else rows
        return dense

    @cached_property
    def stored(self) -> NDArray[np.int64]:
        """Where the edges' weights of each graph begin in the matrix of all, and where they end: [graphs + 1]."""
        ends: NDArray[np.int64] = self.whole.adjacency.indptr[[*self.graph.starts, self.graph.num_nodes]]
        return ends.astype(np.int64)

    def block(self, graphs: Nodes, nodes: Nodes) -> Parts:
        """The edges' weights of some graphs, as CSR with numbers of rows and columns from 0.

        A graph's rows lie together in the matrix of all: each part is joined of one piece a graph.
        """
        matrix, counts, sizes = self.whole.adjacency, self.stored[graphs + 1] - self.stored[graphs], self.graph.sizes
        at = stored_elements(self.stored[graphs], self.stored[graphs + 1])
        rows = np.cumsum(sizes[graphs]) - sizes[graphs]
        indices = matrix.indices[at] + np.repeat((rows - self.graph.starts[graphs]).astype(np.int32), counts)
        indptr = np.zeros(len(nodes) + 1, dtype=np.int32)
        before = np.cumsum(counts) - counts - self.stored[graphs]
        indptr[1:] = matrix.indptr[nodes + 1] + np.repeat(before, sizes[graphs])
        return matrix.data[at], indices.astype(np.int32, copy=False), indptr


@dataclass(frozen=True)
class Shape:
    """What batches are padded to: graphs, rows of nodes, stored values of the edges."""

    graphs: int
    rows: int
    stored: int

    @classmethod
    def usual(cls, rows: NDArray[np.int64], stored: NDArray[np.int64], size: int) -> Shape:
        """One that nearly all batches of `size` of these graphs fit into, and none needs to be smaller than.

        rows, stored: those of each graph.
        """
        size = min(size, len(rows))
        parts = [size * each.mean() + SPREAD * np.sqrt(size) * each.std() for each in (rows, stored)]
        room = [_rounded(min(part, each.sum()) + 1) for part, each in zip(parts, (rows, stored), strict=True)]
        return cls(size, *room)

    def grown(self, rows: int, stored: int) -> Shape:
        """The first of this one and those that are ever a seventh larger with room for so many, a row of zeros, and, in
        such rows, the zeros that make up the stored values.
        """
        shape = self
        while shape.rows <= rows or shape.stored < stored or (shape.rows - rows) * shape.rows < shape.stored - stored:
            shape = Shape(self.graphs, _rounded(shape.rows * 8 / 7), _rounded(shape.stored * 8 / 7))
        return shape


def _rounded(size: float) -> int:
    return -(-int(size + 1) // MULTIPLE) * MULTIPLE


def assemble(problem: PreparedSet, graphs: Nodes, usual: Shape, among: Nodes | None = None) -> HostBatch:
    """Some graphs (ascending), padded. among: those over which the loss is a mean, where these are a part of them.

    Graphs whose target is not known are not counted.
    """
    whole, layers = problem.graph, problem.layers
    nodes = whole.nodes_of(graphs)
    parts = problem.block(graphs, nodes)
    shape = usual.grown(len(nodes), len(parts[0]))
    matrix = padded_csr(parts, shape.rows, shape.rows, shape.stored)
    level = (nodes,) * (len(layers) + 1)
    with_edges = tuple(None if layer.along == "nothing" else matrix for layer in layers)
    elements = layer_elements(layers, level, sparse_features=False)
    of_edges: Sequence[Numbers | None] = (None,) * len(layers)
    if any(layer.edge_dropout for layer in layers):
        block = sp.csr_array(parts, shape=(len(nodes), len(nodes)))
        blocks = tuple(None if each is None else block for each in with_edges)
        of_edges = layer_edge_elements(layers, level[1:], level[:-1], blocks, whole.num_nodes)
    known = whole.known
    counted = np.flatnonzero(known[graphs] >= 0) if known is not None else np.zeros(0, dtype=np.int64)
    return HostBatch(
        lengthened(problem.features(nodes), shape.rows),
        None,
        layers,
        with_edges,
        (None,) * len(layers),
        tuple(None if each is None else lengthened(each, shape.rows) for each in elements),
        tuple(None if each is None else lengthened(each, matrix.nnz) for each in of_edges),
        problem.task.targets(graphs[counted], counted, shape.graphs + 1, among),
        _members(problem, graphs, shape),
        _share(len(nodes), shape.rows) if any(layer.observes for layer in layers) else None,
    )


def _share(count: int, rows: int) -> NDArray[np.float64]:
    """[rows, 2] as `portgnn.models.layer.SHARE` has it, of the first `count` rows."""
    share = np.zeros((rows, 2))
    share[:count] = 1.0 / count, 1.0 / max(count - 1, 1)
    return share


def _members(problem: PreparedSet, graphs: Nodes, shape: Shape) -> sp.csr_array:
    """[graphs + 1, rows] of a shape: 1 at the rows of each graph's nodes, for the mean 1/n of them. The last row is of
    no graph: it has zeros, so that every batch of a shape has as many stored values.
    """
    counts = problem.graph.sizes[graphs]
    values = np.ones(int(counts.sum()))
    if problem.config.readout == "mean":
        values = np.repeat(1.0 / counts, counts)
    ends = np.cumsum(counts)
    indptr = np.concatenate([[0], ends, np.full(shape.graphs - len(graphs), ends[-1])]).astype(np.int32)
    parts = (values, np.arange(len(values), dtype=np.int32), indptr)
    return padded_csr(parts, shape.graphs + 1, shape.rows, shape.rows)


def place(backend: Backend, problem: PreparedSet, batch: HostBatch) -> Tree:
    """The batch on the device, as a tree."""
    readout = placed_readout(backend, problem.config.readout, batch.members)
    share = None if batch.share is None else backend.asarray(batch.share)
    return as_tree(replace(place_batch(backend, batch), readout=readout, share=share))


class GraphBatches:
    """An `Engine` whose epoch is a pass over batches of graphs.

    Which batches an epoch has depends on its dropout keys alone, and those on seed and epoch: a resumed run draws what
    it would have drawn.
    """

    def __init__(self, backend: Backend, problem: PreparedSet) -> None:
        self.backend, self.problem = backend, problem
        per_row = np.diff(problem.whole.adjacency.indptr).astype(np.int64)
        stored = np.add.reduceat(per_row, problem.graph.starts)
        self._usual = Shape.usual(problem.graph.sizes, stored, problem.config.batch_size)

    def agree(self, value: float) -> float:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def make_run(self, validate: bool) -> Epochs:
        backend = self.backend
        step = BatchSteps(backend, self.problem, self._loss)
        held_out = HeldOut(self, split(self.problem.graph, "val").nodes) if validate else None

        def measured(state: State) -> tuple[State, list[float]]:
            return held_out.measured(state) if held_out else (state, [])

        run = step.run(self._placed, measured)

        def scored(state: State) -> dict[str, float]:
            params = {name: backend.to_numpy(value) for name, value in parameters_of(state).items()}
            nodes = split(self.problem.graph, "val").nodes
            return scores_of(self.problem.task, self.outputs(params, nodes), nodes, self.problem.task.measures.scores)

        return Epochs(run, self.problem.task.measures, held_out.count if held_out else 0, scored)

    def scores(self, params: Mapping[str, NDArray[np.floating]], nodes: Nodes) -> dict[str, float]:
        return scores_of(self.problem.task, self.outputs(params, nodes), nodes, self.problem.task.scored)

    def outputs(self, params: Mapping[str, NDArray[np.floating]], graphs: Nodes | None = None) -> NDArray[np.floating]:
        """The task's outputs of some graphs, [graphs, k], or of all, on the host. params: on the host."""
        backend, task = self.backend, self.problem.task
        chosen = np.arange(len(self.problem.graph)) if graphs is None else np.asarray(graphs)
        on_device = {name: backend.asarray(value) for name, value in params.items()}
        found = []
        for batch, part in self.in_order(chosen):
            operands = from_tree(place(backend, self.problem, batch))
            rows = forward.outputs(backend, self.problem.layers, on_device, operands)
            found.append(backend.to_numpy(task.head(backend, on_device, rows, operands))[: len(part)])
        return np.concatenate(found)

    def in_order(self, graphs: Nodes, among: Nodes | None = None) -> Iterator[tuple[HostBatch, Nodes]]:
        """The graphs in batches as they come, each with which graphs it has."""
        for start in range(0, len(graphs), self._usual.graphs):
            part = graphs[start : start + self._usual.graphs]
            yield assemble(self.problem, part, self._usual, among), part

    def _placed(self, keys: NDArray[np.uint32]) -> Generator[tuple[Tree, float]]:
        """The batches of an epoch on the device, each with what it counts for."""
        with Prefetch(self._drawn(keys)) as ahead:
            for batch in ahead:
                yield place(self.backend, self.problem, batch), batch.count

    def _drawn(self, keys: NDArray[np.uint32]) -> Iterator[HostBatch]:
        """The batches of the epoch with these dropout keys, on the host."""
        draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(keys.ravel().tolist())))
        order = draw.permutation(split(self.problem.graph, "train").nodes)
        for start in range(0, len(order), self._usual.graphs):
            yield assemble(self.problem, np.sort(order[start : start + self._usual.graphs]), self._usual)

    def _loss(self, params: Params, keys: Keys, batch: Tree) -> tuple[Array, Params | None]:
        return make_loss(self.backend, from_tree(batch), self.problem)(params, keys)

    def compiled_measure(self) -> BatchRun:
        """(loss without the penalty, *sums of the metrics) of a batch, as a step that leaves the state as it is."""

        def measure(state: State, keys: Keys, batch: Tree) -> tuple[State, tuple[Array, ...]]:
            params = parameters_of(state)
            return state, make_measure(self.backend, from_tree(batch), self.problem, penalised=False)(params)

        return compiled(self.backend, measure)


class HeldOut:
    """Loss and sums of the metrics on some graphs, whose batches stay on the device."""

    def __init__(self, engine: GraphBatches, graphs: Nodes) -> None:
        problem = engine.problem
        self._backend, self.count = engine.backend, len(graphs)
        self._penalties = objective.penalties(problem.config, problem.layers)
        self._batches = [place(engine.backend, problem, batch) for batch, _ in engine.in_order(graphs, graphs)]
        self._measure, self._keys = engine.compiled_measure(), np.zeros((len(problem.layers), 2), dtype=np.uint32)

    def measured(self, state: State) -> tuple[State, list[float]]:
        """The state, which a compiled step may have put elsewhere, and [loss, *sums of the task's metrics]."""
        backend, total = self._backend, None
        for batch in self._batches:
            state, found = self._measure(state, self._keys, batch)
            values = [float(backend.to_numpy(value)) for value in found]
            total = values if total is None else [a + b for a, b in zip(total, values, strict=True)]
        assert total is not None
        if self._penalties:
            total[0] += float(backend.to_numpy(objective.l2_penalty(backend, parameters_of(state), self._penalties)))
        return state, total
