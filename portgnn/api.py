"""The calls that most users need: `train`, `predict` and `classify`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portgnn import logs, tasks
from portgnn._request import Loaded, Request, engine_for, load, run_of, settle
from portgnn.checkpoints import runs
from portgnn.checkpoints.model import Model
from portgnn.errors import PeerLostError
from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet
from portgnn.hyperparameters import whole_number
from portgnn.loaders.links import LinkProblem
from portgnn.loaders.source import InMemory
from portgnn.models.network import Network
from portgnn.prediction.estimate import estimate as estimate
from portgnn.prediction.evaluation import split_codes
from portgnn.prediction.predict import classify as classify
from portgnn.prediction.predict import predict as predict
from portgnn.protocol import Backend
from portgnn.results import environment
from portgnn.results.callbacks import Callback, Callbacks, OnChunk, RunFacts
from portgnn.results.result import TrainResult as TrainResult
from portgnn.training import Engine, Fit, History, NonFiniteLossError, Problem, fit, memory
from portgnn.training.probe import check_network

if TYPE_CHECKING:
    from portgnn.distributed.start import ProcessGroup


def train(  # long: an argument is a line, and the docstring says what each is
    dataset: str | os.PathLike[str] | Graph | GraphSet | None = None,
    *,
    backend: str | Backend | None = None,
    device: str | None = None,
    dtype: object = None,
    preset: str | None = None,
    model: str | type[Network] | None = None,
    seed: int | None = None,
    epochs: int | None = None,
    patience: int | None = None,
    split: str | None = None,
    unknown: str | Sequence[str] | None = None,
    ignore: str | Sequence[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    every: int = 50,
    resume: str | os.PathLike[str] | None = None,
    distributed: bool = False,
    transport: str | None = None,
    timeout: float = 60.0,
    callbacks: Sequence[Callback] = (),
    on_chunk: Callable[[History], None] | None = None,
    announce: Callable[[str], None] | None = None,
    **hyperparameters: object,
) -> TrainResult:
    """Trains a network and tests it.

    dataset: a name, a path, a Graph, a GraphSet, whose graphs are then learned and not their nodes, or None for Cora
        where it can be had (else a synthetic graph of its size).
    backend: a registered name (None: numpy) with `device` (None: the fastest that works) and `dtype` (None:
        float32), or a Backend.
    preset: the recipe (None: the network's own, which is kipf for gcn); epochs, patience and every other field of
        `portgnn.presets.Config` replace its values. model: the network, by its name (see `portgnn.models`), as
        "package.module:Class" or as a class of your own, whose fields are hyperparameters, too (None: the preset's).
        seed: of weights and dropout (None: 0). split, unknown, ignore: see `portgnn.load_graph`.
    checkpoint: a file, which must not exist yet, that keeps the run: before the first epoch, after each `every`
        epochs, at the end, and when SIGINT or SIGTERM ends it (then KeyboardInterrupt or SystemExit(143) is
        raised). A second signal ends it at once.
    resume: a file that `checkpoint` made. Dataset, backend, dtype, recipe, seed, split and the like are the file's
        and need not be given; epochs may be raised, the backend may be another. The run goes on to the numbers
        that it would have reached undisturbed, and is kept in `checkpoint`, or else in the same file.
    distributed: train on the whole graph together with the other processes that torchrun or mlx.launch started;
        the numbers are those of one process. `transport` (None: the fastest, of gloo, nccl, ring, mpi) carries what
        they exchange, and `timeout` is how many seconds one waits for another before it gives up. After a restart
        by the launcher, the run goes on from `checkpoint`. docs/scaling.md has more.
    callbacks: told of the run's start, epochs and end; see `portgnn.Callback` and docs/interfaces.md. on_chunk: called
        with the history as training proceeds. announce: called with what the user should know; the logger "portgnn"
        is told as well. In a distributed run, all of them by the first process alone.

    Raises PortgnnError (BackendError, CheckpointError, ConfigError, DatasetError, GraphError, NonFiniteLossError,
    OutOfMemoryError, PeerLostError) for what cannot be used or done.
    """
    tell = logs.telling(announce)
    watchers = Callbacks([logs.Records(), *([OnChunk(on_chunk)] if on_chunk else []), *callbacks])
    every = whole_number("every", every, 1)
    keep_in, go_on = (None if path is None else Path(path) for path in (checkpoint, resume))
    group = _joined(backend, keep_in, go_on, transport, timeout) if distributed else None
    if group is not None:
        device, go_on = device or group.collectives.device, group.resume
        if not group.is_first:
            tell, watchers = (lambda message: None), Callbacks([])
    recipe = {"epochs": epochs, "patience": patience} | hyperparameters
    request = settle(
        dataset, preset, model, recipe, seed=seed, split=split, unknown=unknown, ignore=ignore, backend=backend,
        device=device, dtype=dtype, resume=go_on, checkpoint=keep_in,
    )  # fmt: skip
    return _run(request, group, watchers, every, tell)


def _joined(
    backend: str | Backend | None, checkpoint: Path | None, resume: Path | None, transport: str | None, timeout: float
) -> ProcessGroup:
    from portgnn.distributed.start import ProcessGroup

    return ProcessGroup(backend, checkpoint, resume, transport, timeout)


def _run(
    request: Request, group: ProcessGroup | None, watchers: Callbacks, every: int, tell: Callable[[str], None]
) -> TrainResult:
    """What was settled: load the graph, choose who computes, fit, test, report."""
    if request.keep_in is not None and request.begins_a_file and (group is None or group.is_first):
        runs.check_new(request.keep_in)
    backend = request.made(tell)
    check_network(backend, request.config.network)
    loaded = load(request, group is not None, tell)
    engine = engine_for(backend, loaded, group)
    memory.check_parameters(engine.problem.layers)
    with watchers:
        watchers.start(_facts(request, loaded, backend, group))
        with memory.told(whole(engine.problem), backend):
            done = _fitted(engine, request, loaded, group, watchers, every, tell)
            test = engine.problem.task.part("test")
            scores = {} if test is None else engine.scores(done.params, test)
            if group is not None:
                group.close()
        result = result_of(done, scores, request, loaded, backend, group, engine.problem.task)
        watchers.end(result)
    return result


def _facts(request: Request, loaded: Loaded, backend: Backend, group: ProcessGroup | None) -> RunFacts:
    graph, progress = loaded.graph, request.progress
    return RunFacts(
        loaded.config,
        graph.name,
        graph.num_nodes,
        graph.num_edges,
        backend.name,
        backend.device,
        backend.dtype,
        request.seed,
        len(progress.history) if progress else 0,
        group.collectives.size if group else 1,
    )


def _fitted(
    engine: Engine,
    request: Request,
    loaded: Loaded,
    group: ProcessGroup | None,
    watchers: Callbacks,
    every: int,
    tell: Callable[[str], None],
) -> Fit:
    """Trains, and keeps the run in a file where one is named; what ends it then says where the last state is."""
    if request.keep_in is None:
        return fit(engine, request.seed, watchers.epochs, progress=request.progress)
    run, new = run_of(request, loaded, engine.backend), request.begins_a_file
    keeping: AbstractContextManager[Any] = runs.FileCheckpointer(request.keep_in, run, every, tell, new)
    if group is not None:
        keeping = group.checkpointer(request.keep_in, run, every, tell, engine.any, new)
    with keeping as checkpointer:
        try:
            return fit(engine, request.seed, watchers.epochs, checkpointer, request.progress)
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{error}. The last finite state is kept: {checkpointer.advice()}") from None
        except PeerLostError as error:
            raise PeerLostError(f"{error} The last state is kept: {checkpointer.advice()}") from None


def result_of(
    done: Fit,
    scores: dict[str, float],
    request: Request,
    loaded: Loaded,
    backend: Backend,
    group: ProcessGroup | None,
    task: tasks.Task,
) -> TrainResult:
    """What a run that was fitted and tested leaves."""
    graph = loaded.graph
    trained = Model(
        done.params,
        loaded.config,
        task.names,
        graph.num_features,
        graph.name,
        loaded.fingerprint,
        graph.feature_names,
        loaded.moments,
        split_codes(graph),
        loaded.structure,
        task.constants(),
    )
    return TrainResult(
        model=trained,
        history=done.history,
        scores=scores,
        best_epoch=done.best_epoch,
        stopped_early=done.stopped_early,
        dataset=graph.name,
        nodes=graph.num_nodes,
        edges=graph.num_edges,
        backend=backend.name,
        device=backend.device,
        dtype=backend.dtype,
        seed=request.seed,
        notes=loaded.notes,
        environment=environment.of(backend),
        process=group.collectives.rank if group else 0,
        processes=group.collectives.size if group else 1,
    )


def whole(problem: Problem) -> Problem:
    """The graph behind a loader's source, where it is in memory."""
    return problem.prepared if isinstance(problem, InMemory | LinkProblem) else problem
