"""What one process of a study does: train the runs that it is handed, one after the other, and keep each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from portgnn import api
from portgnn._system import memory
from portgnn.disk.folder import is_disk_graph
from portgnn.errors import PortgnnError
from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet
from portgnn.presets import Config
from portgnn.studies.kept import FAILED, put
from portgnn.studies.plan import Dataset, Reading
from portgnn.training import NonFiniteLossError


@dataclass(frozen=True)
class Job:
    """A run to train. source: number of the dataset. file: where to keep it. identity: all that decides its numbers."""

    source: int
    split: str | None
    seed: int
    config: Config
    backend: str
    device: str
    dtype: str
    file: Path
    identity: dict[str, Any]


class Trainer:
    """Trains jobs in this process; the graph that it read last stays in memory."""

    def __init__(self, sources: Sequence[Dataset], reading: Reading) -> None:
        self._sources, self._reading = sources, reading
        self._read: tuple[Any, Graph | GraphSet] | None = None

    def __call__(self, job: Job) -> dict[str, Any]:
        """The run's document, which is in its file now. Raises PortgnnError."""
        graph = self._graph(job)
        resets, clock = memory.begin(), time.perf_counter()
        try:
            document = self._trained(graph, job)
        except NonFiniteLossError as error:  # the same each time: the study goes on without it
            document = {FAILED: str(error)}
        seconds = time.perf_counter() - clock
        peak = memory.peak_bytes() if resets else None
        document |= {"study": job.identity, "seconds": seconds, "peak_bytes": peak}
        put(job.file, document)
        return document

    def _trained(self, graph: Dataset, job: Job) -> dict[str, Any]:
        config = job.config
        values = {name: value for name, value in asdict(config).items() if name not in ("preset", "model")}
        result = api.train(
            graph, backend=job.backend, device=job.device, dtype=job.dtype, preset=config.preset,
            model=type(config).network_class, seed=job.seed, split=job.split, **values,
        )  # fmt: skip
        return result.to_dict()

    def _graph(self, job: Job) -> Dataset:
        given = self._sources[job.source]
        if is_disk_graph(given) and job.config.loader != "full":
            return given
        which = job.source, job.config.target
        if self._read is None or self._read[0] != which:
            self._read = None  # before the next one is read: both may not fit
            self._read = which, self._reading.graph(given, job.config, None)
        return self._read[1]


@dataclass(frozen=True)
class Failure:
    """What a worker could not do. expected: an error for users, which is one line; else a traceback."""

    said: str
    expected: bool


def serve(pipe: Connection, sources: Sequence[Dataset], reading: Reading) -> None:
    """The main function of a worker: answers each job with its document, until the other end is closed."""
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
            answer: Any = train(job)
        except PortgnnError as error:
            answer = Failure(str(error), True)
        except Exception:
            answer = Failure(traceback.format_exc(), False)
        try:
            pipe.send(answer)
        except OSError:  # the study was killed; its run is in its file
            return
