"""Processes that train runs side by side: started anew (spawn), given one job at a time, ended with the study."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from portgnn.errors import PortgnnError
from portgnn.studies.plan import Dataset, Reading
from portgnn.studies.work import Done, Failure, Job, Seed, Trainer, serve

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class StudyError(PortgnnError):
    """A run of a study could not be trained; those that were are kept."""


class Crew(Protocol):
    """Who trains."""

    def train(self, jobs: Sequence[Job], done: Done) -> None:
        """All jobs. done: called with each run as it is finished, in any order. Raises PortgnnError for the first job
        that cannot be trained."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def crew(jobs: int, sources: Sequence[Dataset], reading: Reading, devices: Sequence[str]) -> Iterator[Crew]:
    """jobs: processes; one trains in this process. devices: of one kind, on which the processes take turns; empty where
    each run goes to its own."""
    if jobs == 1:
        yield _Alone(Trainer(sources, reading))
        return
    made = _Processes(jobs, sources, reading, devices)
    try:
        yield made
    finally:
        made.end()


class _Alone:
    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def train(self, jobs: Sequence[Job], done: Done) -> None:
        for job in jobs:
            self._trainer(job, done)


@dataclass(eq=False)
class _Worker:
    process: BaseProcess
    pipe: Connection
    device: str | None
    job: Job | None = None


class _Processes:
    """Workers are started when there is a job for each."""

    def __init__(self, jobs: int, sources: Sequence[Dataset], reading: Reading, devices: Sequence[str]) -> None:
        self._most, self._sources, self._reading, self._devices = jobs, sources, reading, devices
        self._workers: list[_Worker] = []
        self._context = multiprocessing.get_context("spawn")

    def train(self, jobs: Sequence[Job], done: Done) -> None:
        waiting = list(reversed(jobs))
        while waiting or any(worker.job for worker in self._workers):
            while waiting and (worker := self._free()):
                self._hand(worker, waiting.pop())
            busy = {worker.pipe: worker for worker in self._workers if worker.job}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                assert worker.job is not None
                answer = self._answer(worker, worker.job)
                if answer is None:
                    worker.job = None
                else:
                    done(*answer)

    def end(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
            if worker.job is not None:
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join()

    def _free(self) -> _Worker | None:
        free = next((worker for worker in self._workers if worker.job is None), None)
        return free or (self._start() if len(self._workers) < self._most else None)

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, self._sources, self._reading), daemon=True)
        with _threads(max(cores() // self._most, 1)):
            process.start()
        theirs.close()
        device = self._devices[len(self._workers) % len(self._devices)] if self._devices else None
        self._workers.append(_Worker(process, ours, device))
        return self._workers[-1]

    def _hand(self, worker: _Worker, job: Job) -> None:
        worker.job = job
        try:
            worker.pipe.send(replace(job, device=worker.device or job.device))
        except OSError:
            raise _lost(worker, job) from None

    def _answer(self, worker: _Worker, job: Job) -> tuple[Seed, dict[str, object]] | None:
        """A run that is done; None where the job is."""
        try:
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            raise _lost(worker, job) from None
        if not isinstance(answer, Failure):
            return answer  # type: ignore[no-any-return]
        if answer.expected:
            raise StudyError(f"{_said(job)}: {answer.said}")
        raise RuntimeError(f"{_said(job)}: a process of the study failed:\n{answer.said}")


def _said(job: Job) -> str:
    first, last = job.runs[0].seed, job.runs[-1].seed
    seeds = f"seed {first}" if len(job.runs) == 1 else f"seeds {first} to {last}"
    return f"{job.config.model}, {seeds}" + ("" if job.split is None else f", split {job.split}")


def _lost(worker: _Worker, job: Job) -> StudyError:
    worker.process.join(5)
    return StudyError(
        f"{_said(job)}: its process ended with status {worker.process.exitcode}, as it does when memory runs out; all "
        "finished runs are kept. Go on by the same command, with a smaller --jobs"
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Lets processes that are started now use so many threads each, where the user has said nothing."""
    put = {name: str(count) for name in THREADS if name not in os.environ}
    os.environ.update(put)
    try:
        yield
    finally:
        for name in put:
            del os.environ[name]
