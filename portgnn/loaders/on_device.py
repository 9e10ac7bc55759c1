"""Epochs of sampled batches that stay on the device: what is drawn, read and multiplied lies where the graph lies.

A batch is that of `portgnn.loaders.neighbor`, node for node and bit for bit. Only its shape is another: arrays are as
long as the largest batch's could be, so that all batches of all epochs have one, and a backend compiles one step. The
host shuffles the training nodes and draws a key for each hop of each batch, an epoch ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from portgnn.graphs.split import split
from portgnn.loaders import neighbor
from portgnn.loaders._prefetch import Prefetch
from portgnn.loaders.engine import HeldOut, Sampled
from portgnn.loaders.source import InMemory, Source
from portgnn.models.layer import hops_of
from portgnn.parts import provides
from portgnn.parts.sampling import Hop, Sampling
from portgnn.placing.operands import Operands
from portgnn.placing.whole import place
from portgnn.protocol import Array, Backend, Params, Run, State
from portgnn.tasks import Targets
from portgnn.training.batches import going_on
from portgnn.training.engine import Epochs
from portgnn.training.schedules import schedule_of
from portgnn.training.state import parameters_of
from portgnn.training.step import make_loss, make_measure, make_step

ORDER = "order of nodes"
"""The name in the state, within an epoch alone, of the training nodes' places, [batches, batch size]."""
SPARED = 2
"""How many times over what is counted as needed has to fit."""
_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2}


def sampled(backend: Backend, source: Source) -> Sampled:
    """The engine for a source: on the device where the backend samples there and all that is needed fits."""
    if not isinstance(source, InMemory) or not can_sample(backend, source):
        return Sampled(backend, source)
    fits = SPARED * need(source, backend.dtype) < cast(Sampling, backend).room()
    return SampledOnDevice(backend, source) if fits else Sampled(backend, source)


def can_sample(backend: Backend, source: InMemory) -> bool:
    """Whether the recipe's batches can be drawn on the backend's device, however large they are."""
    config, layers = source.config, source.layers
    return (
        provides(backend, Sampling)
        and config.loader == "neighbor"
        and config.accumulate == 1
        and config.network.prunable
        and not source.sparse_features
        and None not in config.fanouts(hops_of(layers))
        and not any(layer.along == "edges" for layer in layers)
        and source.graph.train is not None
        and sizes(_targets(source, np.sort(source.graph.train))) is not None
    )


def _targets(source: InMemory, train: NDArray[np.int64]) -> Targets:
    """Of the training nodes, and a row more of nobody."""
    return source.task.targets(train, np.arange(len(train)), len(train) + 1)


def sizes(targets: Targets) -> NDArray[np.float64] | None:
    """What each row counts for in a loss that is a mean over what is counted; None where it is another mean."""
    counted = np.count_nonzero(targets.weights, axis=1).astype(np.float64)
    return counted if targets.total is None and counted.sum() == targets.count else None


def need(source: InMemory, dtype: str) -> int:
    """Bytes, by estimate: the graph twice, to sample and to validate, its features, and rows of the largest batch."""
    n, item = source.graph.num_nodes, _BYTES[dtype]
    stored, layers, rows = source.prepared.adjacency.nnz, source.layers, source.config.batch_size
    total: int = stored * (12 + 2 * (item + 4)) + 2 * n * layers[0].fan_in * item
    fanouts = list(source.config.fanouts(hops_of(layers)))
    for layer in reversed(layers):
        if layer.along != "nothing":
            values = rows * ((fanouts.pop() or 0) + 1)
            rows, total = min(n, values), total + min(values, stored) * 6 * (item + 4)
        total += 4 * rows * (layer.fan_in + layer.fan_out) * item
    return total + sum(4 * n * layer.fan_out * item for layer in layers)


class SampledOnDevice(Sampled):
    """An `Engine` as `Sampled`, with the batches of `neighbor.plan` drawn by `Sampling`."""

    problem: InMemory

    def make_run(self, validate: bool) -> Epochs:
        problem, task = self.problem, self.problem.task
        train = np.sort(split(problem.graph, "train").nodes)
        batches = _Batches(self.backend, problem, train)
        run_batches = self.backend.compile(batches.step)
        held_out, measured, count = split(problem.graph, "val").nodes if validate else None, None, 0
        if held_out is not None:
            operands = place(self.backend, problem.prepared, np.sort(held_out), training=False)
            measure, count = make_measure(self.backend, operands, problem), operands.count
            measured = self.backend.compile(lambda state, keys: (state, measure(parameters_of(state))))
        scored = HeldOut(self.backend, problem, held_out).scored if held_out is not None else None
        return Epochs(self._run(batches, run_batches, measured), task.measures, count, scored)

    def _run(self, batches: _Batches, run_batches: Run, measured: Run | None) -> Run:
        schedule = schedule_of(self.backend, self.problem.config)

        def run(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
            rows = []
            with Prefetch(batches.planned(keys)) as ahead:
                for order, words, counts in ahead:
                    state, losses = run_batches(state | {ORDER: self.backend.asarray(order)}, words)
                    del state[ORDER]
                    row = [float(np.average(losses[:, 0], weights=counts))]
                    if measured is not None:
                        state, found = measured(state, words[:1])
                        row += found[0].tolist()
                    state = going_on(self.backend, schedule, state, row)
                    rows.append(row)
            return state, np.array(rows, dtype=np.float64)

        return run


class _Batches:
    """What all batches of a run have in common, on the device. train: the training nodes, ascending.

    A batch's keys are the epoch's, behind them those of its hops, and behind these its number in the epoch and 0.
    """

    def __init__(self, backend: Backend, source: InMemory, train: NDArray[np.int64]) -> None:
        self._backend, self._source, self._train = backend, source, train
        self._sampling = cast(Sampling, backend)
        layers, n = source.layers, source.graph.num_nodes
        self._hops, self._n = hops_of(layers), n
        self._fanouts: Any = source.config.fanouts(self._hops)
        self._scaled = source.config.network.weighting != "pattern"
        self._rows = self._sampling.place_rows(source.prepared.adjacency, source.loops(np.arange(n)))
        self._features = backend.asarray(source.features(np.arange(n))[0])
        targets = _targets(source, train)
        self.sizes = cast(Any, sizes(targets))
        self._weights, self._sizes = backend.asarray(targets.weights * targets.size), backend.asarray(self.sizes)
        self._labels = backend.asarray(targets.labels)
        self._nodes = backend.asarray(np.append(train, n).astype(np.int32))
        # A message of a product is a product of messages: without a gradient in the features, nothing is transposed.
        first = layers[0]
        self._commuted = first.commutes and first.fan_in < 4 * first.fan_out
        self._step = make_step(backend, source, self._loss)

    def step(self, state: State, words: Any) -> tuple[State, tuple[Array, ...]]:
        """A step over the batch that the last of the words numbers."""
        order = state[ORDER]
        after, losses = self._step({name: value for name, value in state.items() if name != ORDER}, words, order)
        return after | {ORDER: order}, losses

    def planned(
        self, epochs: NDArray[np.uint32]
    ) -> Iterator[tuple[NDArray[np.int32], NDArray[np.uint32], NDArray[np.float64]]]:
        """Of each epoch, the places of its batches' nodes among the training nodes, the batches' keys, their sizes."""
        for keys in epochs:
            draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(keys.ravel().tolist())))
            plan = neighbor.plan(self._source, self._train, draw)
            order = np.full((len(plan.nodes), self._source.config.batch_size), len(self._train), dtype=np.int32)
            for row, nodes in zip(order, plan.nodes, strict=True):
                row[: len(nodes)] = np.searchsorted(self._train, nodes)
            numbers = np.zeros((len(order), 1, 2), dtype=np.uint32)
            numbers[:, 0, 0] = np.arange(len(order))
            of_epoch = np.broadcast_to(keys, (len(order), *keys.shape))
            yield order, np.concatenate([of_epoch, plan.keys, numbers], axis=1), self.sizes[order].sum(axis=1)

    def _loss(self, params: Params, words: Any, order: Array) -> tuple[Array, Params | None]:
        streams = len(words) - self._hops - 1
        number = words[-1][0]
        places = order[number] if isinstance(number, int) else self._at(order, number)
        operands = self._operands(places, [words[streams + hop] for hop in range(self._hops)])
        return make_loss(self._backend, operands, self._source)(params, [words[at] for at in range(streams)])

    def _at(self, order: Array, number: Array) -> Array:
        xp = self._backend.xp
        row: Array = xp.reshape(xp.take(order, xp.reshape(number, (1,)), axis=0), (-1,))
        return row

    def _operands(self, places: Array, keys: list[Any]) -> Operands:
        """The batch of the training nodes at these places. keys: of its hops."""
        layers, taken, sampling = self._source.layers, self._taken, self._sampling
        level, blocks, picked, index = taken(self._nodes, places), list[Any](), list[Any](), list[Array | None]()
        whole = self._commuted and not layers[0].dropout
        for layer in reversed(layers):
            found: Hop | None = None
            if layer.along != "nothing":
                arguments = self._fanouts[len(keys) - 1], keys.pop(), self._scaled, layer.keeps
                found = sampling.sample_rows(self._rows, level, *arguments, layer.number > 0 or not whole)
                level = found.columns
            blocks.insert(0, found and found.block)
            picked.insert(0, found and found.picked)
            index.insert(0, sampling.elements(level, layer.fan_in) if layer.dropout else None)
        xp = self._backend.xp
        nodes = xp.where(level < self._n, level, xp.zeros_like(level))
        return Operands(
            features=self._features if whole else taken(self._features, nodes),
            adjacency=tuple(blocks),
            picked=tuple(picked),
            index=tuple(index),
            edge_index=(None,) * len(layers),
            commuted=self._commuted,
            weights=taken(self._weights, places) / xp.sum(taken(self._sizes, places)),
            labels=taken(self._labels, places),
            count=0,
        )

    def _taken(self, rows: Array, numbers: Array) -> Array:
        found: Array = self._backend.xp.take(rows, numbers, axis=0)
        return found
