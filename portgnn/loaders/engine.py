"""Epochs of mini-batches for the one training loop."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.graphs.split import split
from portgnn.loaders import neighbor
from portgnn.loaders._prefetch import Prefetch
from portgnn.loaders.batch import HostBatch, Tree, as_tree, assemble, from_tree, place_batch
from portgnn.loaders.cluster import Clusters
from portgnn.loaders.inference import Inference
from portgnn.loaders.rooms import Rooms
from portgnn.loaders.source import Source
from portgnn.metrics import Metric, Score
from portgnn.protocol import Array, Backend, Keys, Params, State
from portgnn.training import BatchSteps, Epochs, make_loss, objective, parameters_of
from portgnn.training.engine import scores_of


class Sampled:
    """An `Engine` whose epoch is a pass over batches, and whose evaluation is exact.

    Which batches an epoch has depends on its dropout keys alone, and those on seed and epoch: a resumed run draws
    what it would have drawn. Dropout bits belong to (epoch, layer, element), so that all batches of an epoch see
    one mask, and at fixed parameters their gradients, weighted by their sizes, add up to the full batch's where
    every neighbour is taken.
    """

    def __init__(self, backend: Backend, source: Source) -> None:
        self.backend, self.problem, self._rooms = backend, source, Rooms()
        self._clusters = Clusters(source) if source.config.loader == "cluster" else None

    def agree(self, value: float) -> float:
        return value

    def any(self, flag: bool) -> bool:
        return flag

    def make_run(self, validate: bool) -> Epochs:
        backend = self.backend
        step = BatchSteps(backend, self.problem, self._loss)
        held_out = HeldOut(backend, self.problem, split(self.problem.graph, "val").nodes) if validate else None

        def measured(state: State) -> tuple[State, list[float]]:
            return state, [*held_out.measure(parameters_of(state))] if held_out else []

        run = step.run(self._placed, measured)
        return Epochs(
            run, self.problem.task.measures, held_out.count if held_out else 0, held_out.scored if held_out else None
        )

    def scores(self, params: Mapping[str, NDArray[np.floating]], nodes: Nodes) -> dict[str, float]:
        on_device = {name: self.backend.asarray(value) for name, value in params.items()}
        task, held_out = self.problem.task, HeldOut(self.backend, self.problem, nodes)
        return held_out.scores(on_device, task.scored)

    def _placed(self, keys: NDArray[np.uint32]) -> Generator[tuple[Tree, float]]:
        """The batches of an epoch on the device, each with what it counts for."""
        with Prefetch(self.batches(keys)) as ahead:
            for batch in ahead:
                placed = [(as_tree(place_batch(self.backend, batch)), batch.count)]
                self._rooms.given_back(batch.borrowed)
                del batch  # two more are held ahead; this one need not stay while the step works
                yield placed.pop()

    def batches(self, keys: NDArray[np.uint32]) -> Iterator[HostBatch]:
        """The batches of the epoch with these dropout keys, on the host."""
        draw = np.random.Generator(np.random.Philox(np.random.SeedSequence(keys.ravel().tolist())))
        if self._clusters is not None:
            blocks = self._clusters.batches(draw)
        else:
            blocks = neighbor.batches(self.problem, split(self.problem.graph, "train").nodes, draw)
        return (assemble(self.problem, block, self.backend.dtype, self._rooms) for block in blocks)

    def _loss(self, params: Params, keys: Keys, batch: Tree) -> tuple[Array, Params | None]:
        return make_loss(self.backend, from_tree(batch), self.problem)(params, keys)


class HeldOut:
    """Loss and sums of the metrics on some labelled nodes, by exact inference."""

    def __init__(self, backend: Backend, source: Source, nodes: Nodes) -> None:
        self._backend, self._penalties = backend, objective.penalties(source.config, source.layers)
        self._task, self._nodes = source.task, np.sort(nodes)
        self._inference = Inference(backend, source, self._nodes)
        self._counted = source.task.targets(self._nodes, np.arange(len(nodes)), len(nodes)).placed(backend)
        self.count = self._counted.count

    def measure(self, params: Params) -> list[float]:
        """[loss, *sums of the task's metrics]."""
        backend = self._backend
        outputs = self._outputs(params)
        loss = objective.loss(backend, self._task, outputs, self._counted, params, self._penalties)
        sums = self._task.measures.sums(backend.xp, outputs, self._counted)
        return [float(backend.to_numpy(value)) for value in (loss, *sums)]

    def scored(self, state: State) -> dict[str, float]:
        """What the task monitors that needs all outputs at once, by name."""
        return self.scores(parameters_of(state), self._task.measures.scores)

    def scores(self, params: Params, scores: Sequence[Metric | Score]) -> dict[str, float]:
        """Metrics by name; those that are defined. params: on the device."""
        return scores_of(self._task, self._backend.to_numpy(self._outputs(params)), self._nodes, scores)

    def _outputs(self, params: Params) -> Array:
        rows = self._backend.asarray(self._inference.logits(params))
        return self._task.head(self._backend, params, rows, self._counted)
