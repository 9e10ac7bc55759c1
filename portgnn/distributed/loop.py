"""The engine of a run on several processes: each computes its share of a step, and all take the same step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from portgnn.distributed._halo import partitioned, place_part
from portgnn.distributed.partition import Partition
from portgnn.distributed.watch import Watch
from portgnn.errors import PeerLostError
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.split import Split, split
from portgnn.loaders.source import Source
from portgnn.parts import plain_loop
from portgnn.placing import forward
from portgnn.placing.field import computes_all
from portgnn.protocol import Array, Backend, Collectives, Params, Run, State
from portgnn.training import Epochs, make_loss, make_measure, make_step, parameters_of, scheduled, validated
from portgnn.training.engine import scores_of
from portgnn.training.memory import is_exhaustion

Result = TypeVar("Result")


class Distributed:
    """An `Engine` whose epochs are steps over the whole graph, shared by all processes.

    Parameters and the optimizer's state are whole on each process and stay equal bit for bit, since all add the same
    summed gradients: any of them can write the checkpoint, which is a single process's.
    """

    def __init__(
        self,
        backend: Backend,
        source: Source,
        collectives: Collectives,
        watch: Watch,
        partition: Partition | None = None,
    ) -> None:
        self.backend, self.problem, self._collectives, self._watch = backend, source, collectives, watch
        watch.who = f"process {collectives.rank} of {collectives.size} ({collectives.transport})"
        self._partition = partition or Partition.of(source, collectives.size)

    def agree(self, value: float) -> float:
        return self._together(lambda: self._sum(value if self._collectives.rank == 0 else 0.0))

    def any(self, flag: bool) -> bool:
        """Whether it holds on one process at least."""
        return self._together(lambda: self._sum(float(flag))) > 0

    def make_run(self, validate: bool) -> Epochs:
        held_out = split(self.problem.graph, "val") if validate else None
        run = self._together(lambda: self._make_run(held_out))

        def guarded(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
            return self._together(lambda: run(state, keys))

        task, none = self.problem.task, np.zeros(0, dtype=np.int64)
        nodes = none if held_out is None else np.sort(held_out.nodes)
        gathered = self._gathering(nodes) if task.measures.scores and len(nodes) else None

        def scored(state: State) -> dict[str, float]:
            assert gathered is not None
            found = self._together(lambda: gathered(parameters_of(state)))
            return scores_of(task, found, nodes, task.measures.scores)

        count = task.targets(nodes, np.arange(len(nodes)), len(nodes)).count if len(nodes) else 0
        return Epochs(guarded, task.measures, count, scored)

    def scores(self, params: Mapping[str, NDArray[np.floating]], nodes: Nodes) -> dict[str, float]:
        task, ordered = self.problem.task, np.sort(nodes)
        on_device = {name: self.backend.asarray(value) for name, value in params.items()}
        found = self._together(lambda: self._gathering(ordered)(on_device))
        return scores_of(task, found, ordered, task.scored)

    def _gathering(self, nodes: Nodes) -> Callable[[Params], NDArray[np.floating]]:
        """What gives each process the task's outputs of all of these nodes, ascending, [len(nodes), k] on the host."""
        backend, rank = partitioned(self.backend), self._collectives.rank
        operands, task = self._place(nodes, training=False), self.problem.task
        is_mine = self._partition.owner_of(nodes) == rank
        top = nodes[is_mine]
        if computes_all(self.problem.config):
            everything = np.arange(self.problem.graph.num_nodes)
            top = everything[self._partition.owner_of(everything) == rank]
        at = np.searchsorted(top, nodes[is_mine])

        def gathered(params: Params) -> NDArray[np.floating]:
            rows = forward.outputs(backend, self.problem.layers, params, operands)
            own = self.backend.to_numpy(task.head(backend, params, rows, operands))
            found = np.zeros((len(nodes), own.shape[1]), dtype=own.dtype)
            found[is_mine] = own[at]
            # Each row is of one process, and 0 on all others: the sum is the row itself.
            return self.backend.to_numpy(self._collectives.all_reduce(self.backend.asarray(found)))

        return gathered

    def _make_run(self, held_out: Split | None) -> Run:
        backend, collectives = self.backend, self._collectives
        operands = self._place(split(self.problem.graph, "train").nodes, training=True)
        loss = make_loss(partitioned(backend), operands, self.problem, self._adds_penalty)
        measure = None if held_out is None else self._evaluation(held_out.nodes)
        step = validated(make_step(backend, self.problem, loss, self._summed), measure)
        step = scheduled(backend, self.problem.config, step)
        if collectives.compiled:
            run = backend.compile(step)

            def watched(state: State, keys: NDArray[np.uint32]) -> tuple[State, NDArray[np.float64]]:
                with self._watch():  # a compiled step's messages are seen by nobody else
                    return run(state, keys)

            return watched

        def fetch(metrics: list[tuple[Array, ...]]) -> NDArray[np.float64]:
            return np.array([[float(backend.to_numpy(value)) for value in row] for row in metrics], dtype=np.float64)

        return plain_loop(step, fetch, lambda *_: None)

    def _summed(self, loss: Array, grads: Params) -> tuple[Array, Params]:
        """The sums over all processes, in one message."""
        xp = self.backend.xp
        packed = xp.concat([xp.reshape(value, (-1,)) for value in (*grads.values(), loss)])
        summed = self._collectives.all_reduce(packed)
        unpacked, start = {}, 0
        for name, value in grads.items():
            size = int(np.prod(value.shape))
            unpacked[name] = xp.reshape(summed[start : start + size], value.shape)
            start += size
        return summed[start], unpacked

    def _evaluation(self, nodes: Nodes) -> Callable[[Params], tuple[Array, ...]]:
        """`evaluate(params) -> (loss, *sums of the task's metrics)` over all processes, without dropout."""
        backend, collectives = self.backend, self._collectives
        operands = self._place(nodes, training=False)
        measure = make_measure(partitioned(backend), operands, self.problem, self._adds_penalty)

        def evaluate(params: Params) -> tuple[Array, ...]:
            # One after the other: messages must not overtake each other.
            return tuple(collectives.all_reduce(backend.xp.reshape(each, (1,)))[0] for each in measure(params))

        return evaluate

    @property
    def _adds_penalty(self) -> bool:
        """One process alone, since the losses of all are summed."""
        return self._collectives.rank == 0

    def _place(self, nodes: Nodes, training: bool) -> Any:
        return place_part(self.backend, self.problem, self._partition, self._collectives, nodes, training)

    def _sum(self, value: float) -> float:
        return float(self.backend.to_numpy(self._collectives.all_reduce(self.backend.asarray(np.array([value]))))[0])

    def _together(self, work: Callable[[], Result]) -> Result:
        """Work in which other processes take part."""
        try:
            return work()
        except RuntimeError as error:
            if is_exhaustion(error):
                raise
            raise PeerLostError(self._watch.lost(str(error))) from error
