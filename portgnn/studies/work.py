"""What one process of a study does: train the runs that it is handed, one after the other, and keep each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from portgnn import api
from portgnn._request import Loaded, Request, engine_for, load, settle
from portgnn._system import memory
from portgnn.disk.folder import is_disk_graph
from portgnn.errors import PortgnnError
from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet
from portgnn.presets import Config
from portgnn.studies.kept import FAILED, put
from portgnn.studies.plan import Dataset, Reading
from portgnn.tasks import settled
from portgnn.training import NonFiniteLossError, fit
from portgnn.training.memory import check_parameters, told
from portgnn.training.probe import check_network
from portgnn.training.together import Outcome, Shared, at_once, fit_together


@dataclass(frozen=True)
class Seed:
    """One run of a job. file: where to keep it. identity: all that decides its numbers."""

    seed: int
    file: Path
    identity: dict[str, object]


@dataclass(frozen=True)
class Job:
    """Runs to train that differ in their seed alone. source: number of the dataset."""

    source: int
    split: str | None
    config: Config
    backend: str
    device: str
    dtype: str
    runs: tuple[Seed, ...]


Done = Callable[[Seed, dict[str, Any]], None]


class Trainer:
    """Trains jobs in this process; the graph that it read last stays in memory."""

    def __init__(self, sources: Sequence[Dataset], reading: Reading) -> None:
        self._sources, self._reading = sources, reading
        self._read: tuple[object, Graph | GraphSet] | None = None

    def __call__(self, job: Job, done: Done) -> None:
        """Trains the job's runs. done: called with each and its document, which is in its file by then.

        Raises PortgnnError.
        """
        graph, left = self._graph(job), list(job.runs)
        while left:
            resets = memory.begin()
            placed = Placed.of(graph, job, left[0].seed)
            count = placed.at_once([each.seed for each in left])
            batch, left = left[:count], left[count:]
            for each, document in placed.trained(batch):
                peak = memory.peak_bytes() if resets else None
                document |= {"study": each.identity, "peak_bytes": peak}
                put(each.file, document)
                done(each, document)

    def _graph(self, job: Job) -> Dataset:
        given = self._sources[job.source]
        if is_disk_graph(given) and job.config.loader != "full":
            return given
        which = job.source, job.config.target
        if self._read is None or self._read[0] != which:
            self._read = None  # before the next one is read: both may not fit
            self._read = which, self._reading.graph(given, job.config, None)
        return self._read[1]


@dataclass(frozen=True, eq=False)
class Placed:
    """A graph placed for the runs of a job: what is the same for all seeds is made once."""

    request: Request
    loaded: Loaded
    engine: Shared

    @classmethod
    def of(cls, graph: Dataset, job: Job, seed: int) -> Placed:
        config = job.config
        values = {name: value for name, value in asdict(config).items() if name not in ("preset", "model")}
        request = settle(
            graph, config.preset, type(config).network_class, values, seed=seed, split=job.split, unknown=None,
            ignore=None, backend=job.backend, device=job.device, dtype=job.dtype, resume=None, checkpoint=None,
        )  # fmt: skip
        backend = request.made(_say_nothing)
        check_network(backend, request.config.network)
        loaded = load(request, False, _say_nothing)
        engine = Shared(engine_for(backend, loaded, None))
        check_parameters(engine.problem.layers)
        return cls(request, loaded, engine)

    def at_once(self, seeds: Sequence[int]) -> int:
        """How many of the first of these seeds it serves: all, but where a seed changes more than what is drawn."""
        here = [settled(self.request.config, self.loaded.graph, seed) for seed in seeds]
        same = [each == here[0] for each in here]
        return (*same, False).index(False)

    def trained(self, runs: Sequence[Seed]) -> Iterator[tuple[Seed, dict[str, Any]]]:
        """Each run's document, with the seconds that it took, or its share of those that several took together."""
        together, _ = at_once(self.engine.problem)
        for start in range(0, len(runs), together):
            batch, clock = runs[start : start + together], time.perf_counter()
            with told(api.whole(self.engine.problem), self.engine.backend):
                outcomes = self._fitted([each.seed for each in batch])
                documents = [self._document(each, found) for each, found in zip(batch, outcomes, strict=True)]
            seconds = (time.perf_counter() - clock) / len(batch)
            for each, document in zip(batch, documents, strict=True):
                yield each, document | {"seconds": seconds, "together": len(batch)}

    def _fitted(self, seeds: Sequence[int]) -> Sequence[Outcome]:
        if len(seeds) > 1:
            return fit_together(self.engine, seeds)
        try:
            return [fit(self.engine, seeds[0])]
        except NonFiniteLossError as error:
            return [error]

    def _document(self, each: Seed, found: Outcome) -> dict[str, object]:
        if isinstance(found, NonFiniteLossError):  # the same each time: the study goes on without it
            return {FAILED: str(found)}
        task = self.engine.problem.task
        test = task.part("test")
        scores = {} if test is None else self.engine.scores(found.params, test)
        request = replace(self.request, seed=each.seed)
        return api.result_of(found, scores, request, self.loaded, self.engine.backend, None, task).to_dict()


def _say_nothing(message: str) -> None:
    """What a run tells a user is in its notes."""


@dataclass(frozen=True)
class Failure:
    """What a worker could not do. expected: an error for users, which is one line; else a traceback."""

    said: str
    expected: bool


def serve(pipe: Connection, sources: Sequence[Dataset], reading: Reading) -> None:
    """The main function of a worker: answers each job with its runs and their documents, one by one, and None after,
    until the other end is closed.
    """
    import signal
    import traceback

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the study's own process hears it, and ends its workers
    train = Trainer(sources, reading)
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            train(job, lambda each, document: _send(pipe, (each, document)))
            _send(pipe, None)
        except PortgnnError as error:
            _send(pipe, Failure(str(error), True))
        except Exception:
            _send(pipe, Failure(traceback.format_exc(), False))


def _send(pipe: Connection, answer: object) -> None:
    with suppress(OSError):  # the study was killed; its runs are in their files
        pipe.send(answer)
