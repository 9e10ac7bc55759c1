"""Batches of whole graphs: side by side as one block-diagonal graph, padded to few shapes, and trained on in steps.

Rows, edges and dropout's elements have the numbers that they have in the set as a whole, so that what a batch computes
of a graph does not depend on which others are in it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.errors import ConfigError
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.sets import GraphSet
from portgnn.graphs.split import split
from portgnn.loaders.batch import HostBatch, Tree, as_tree, from_tree, lengthened, place_batch
from portgnn.loaders.cut import Cutter, Piece, padded
from portgnn.models.layer import Layer
from portgnn.placing import forward
from portgnn.placing.elements import Numbers, layer_edge_elements, layer_elements
from portgnn.placing.features import Moments
from portgnn.placing.prepared import Prepared
from portgnn.presets import Config
from portgnn.protocol import Array, Backend, BatchRun, Keys, Params, State
from portgnn.tasks.heads import apart, layers_of, placed_readout
from portgnn.training import BatchSteps, Epochs, make_loss, make_measure, objective, parameters_of
from portgnn.training.batches import compiled
from portgnn.training.engine import scores_of

SPREAD = -0.25
"""Standard deviations from its mean that the smallest shape of a batch has room for: one in three or four fits in."""
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
        self._cutters: dict[str, Cutter] = {}

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

    def cutter(self, dtype: str) -> Cutter:
        """What batches are cut with, for a backend's dtype: made once."""
        if dtype not in self._cutters:
            adjacency = self.whole.adjacency
            if all(layer.along != "edges" for layer in self.layers):
                adjacency = adjacency.copy()
                adjacency.eliminate_zeros()  # loops that are there for those who look at edges one by one
            self._cutters[dtype] = Cutter(self.graph, adjacency, self.whole.features, dtype)
        return self._cutters[dtype]


@dataclass(frozen=True)
class Shape:
    """What batches are padded to: graphs, rows of nodes, stored values of the edges."""

    graphs: int
    rows: int
    stored: int

    @classmethod
    def usual(cls, rows: NDArray[np.int64], stored: NDArray[np.int64], size: int) -> Shape:
        """The smallest that batches of `size` of these graphs have: most fit into it or into the next larger ones.

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


def assembled(problem: PreparedSet, piece: Piece, usual: Shape, among: Nodes | None = None) -> HostBatch:
    """A batch, padded. among: graphs over which the loss is a mean, where these are a part of them.

    Graphs whose target is not known are not counted.
    """
    whole, layers, graphs, nodes = problem.graph, problem.layers, piece.graphs, piece.nodes
    shape = usual.grown(len(nodes), len(piece.edges[0]))
    matrix = padded(piece.edges, shape.rows, shape.stored)
    turned = matrix if piece.transposed is piece.edges else padded(piece.transposed, shape.rows, shape.stored)
    members, of_rows = _members(problem, graphs, shape, piece.features.dtype)
    level = (nodes,) * (len(layers) + 1)
    with_edges = tuple(None if layer.along == "nothing" else matrix for layer in layers)
    elements = layer_elements(layers, level, sparse_features=False)
    of_edges: Sequence[Numbers | None] = (None,) * len(layers)
    if any(layer.edge_dropout for layer in layers):
        data, indices, ends = piece.edges
        block = sp.csr_array((data, indices, np.concatenate([[0], ends])), shape=(len(nodes), len(nodes)))
        blocks = tuple(None if each is None else block for each in with_edges)
        of_edges = layer_edge_elements(layers, level[1:], level[:-1], blocks, whole.num_nodes)
    known = whole.known
    counted = np.flatnonzero(known[graphs] >= 0) if known is not None else np.zeros(0, dtype=np.int64)
    return HostBatch(
        lengthened(piece.features, shape.rows),
        None,
        layers,
        with_edges,
        (None,) * len(layers),
        tuple(None if each is None else lengthened(each, shape.rows) for each in elements),
        tuple(None if each is None else lengthened(each, matrix.nnz) for each in of_edges),
        problem.task.targets(graphs[counted], counted, shape.graphs + 1, among),
        members,
        _share(len(nodes), shape.rows) if any(layer.observes for layer in layers) else None,
        {id(matrix): turned, id(members): of_rows},
    )


def _share(count: int, rows: int) -> NDArray[np.float64]:
    """[rows, 2] as `portgnn.models.layer.SHARE` has it, of the first `count` rows."""
    share = np.zeros((rows, 2))
    share[:count] = 1.0 / count, 1.0 / max(count - 1, 1)
    return share


def _members(
    problem: PreparedSet, graphs: Nodes, shape: Shape, kind: np.dtype[np.floating]
) -> tuple[sp.csr_array, sp.csr_array]:
    """[graphs + 1, rows] of a shape: 1 at the rows of each graph's nodes, for the mean 1/n of them; and its transpose.

    The last row is of no graph: it has zeros at the rows that are left, so that each row of nodes is in one of these.
    """
    counts = problem.graph.sizes[graphs]
    ends = np.cumsum(counts)
    indptr = np.full(shape.graphs + 2, ends[-1], dtype=np.int32)
    indptr[0], indptr[1 : len(counts) + 1], indptr[-1] = 0, ends, shape.rows
    owners = np.full(shape.rows, shape.graphs, dtype=np.int32)
    owners[: ends[-1]] = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    values = np.zeros(shape.rows, dtype=kind)
    values[: ends[-1]] = 1.0 if problem.config.readout != "mean" else np.repeat(1.0 / counts, counts)
    numbers = np.arange(shape.rows + 1, dtype=np.int32)
    size = (shape.graphs + 1, shape.rows)
    members = sp.csr_array((values, numbers[:-1], indptr), shape=size, copy=False)
    return members, sp.csr_array((values, owners, numbers), shape=size[::-1], copy=False)


def place(backend: Backend, problem: PreparedSet, batch: HostBatch) -> Tree:
    """The batch on the device, as a tree."""
    turned = batch.transposes.get(id(batch.members))
    readout = placed_readout(backend, problem.config.readout, batch.members, turned)
    share = None if batch.share is None else backend.asarray(batch.share)
    return as_tree(replace(place_batch(backend, batch), readout=readout, share=share))


class GraphBatches:
    """An `Engine` whose epoch is a pass over batches of graphs.

    Which batches an epoch has depends on its dropout keys alone, and those on seed and epoch: a resumed run draws what
    it would have drawn.
    """

    def __init__(self, backend: Backend, problem: PreparedSet) -> None:
        self.backend, self.problem = backend, problem
        self._cutter = problem.cutter(backend.dtype)
        self._usual = Shape.usual(problem.graph.sizes, self._cutter.stored, problem.config.batch_size)

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
        parts = [graphs[start : start + self._usual.graphs] for start in range(0, len(graphs), self._usual.graphs)]
        for piece in self._cutter.cut(parts):
            yield assembled(self.problem, piece, self._usual, among), piece.graphs

    def _placed(self, keys: NDArray[np.uint32]) -> Generator[tuple[Tree, float]]:
        """The batches of an epoch on the device, each with what it counts for.

        In this thread: to cut a batch takes less than to take turns with another thread for the interpreter.
        """
        for batch in self._drawn(keys):
            yield place(self.backend, self.problem, batch), batch.count

    def _drawn(self, keys: NDArray[np.uint32]) -> Iterator[HostBatch]:
        """The batches of the epoch with these dropout keys, on the host."""
        draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(keys.ravel().tolist())))
        order = draw.permutation(split(self.problem.graph, "train").nodes)
        size = self._usual.graphs
        for piece in self._cutter.cut([np.sort(order[start : start + size]) for start in range(0, len(order), size)]):
            yield assembled(self.problem, piece, self._usual)

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
