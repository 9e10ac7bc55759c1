"""The calls that most users need: `train`, `predict` and `classify`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portgnn import environment, logs, memory, runs
from portgnn.callbacks import Callback, Callbacks, OnChunk, RunFacts
from portgnn.checkpoint import Model
from portgnn.distributed.loop import Distributed
from portgnn.errors import CheckpointError, ConfigError, PeerLostError
from portgnn.evaluation import split_codes
from portgnn.features import Moments, explained
from portgnn.fingerprint import fingerprints
from portgnn.graph import Graph
from portgnn.loaders.engine import Sampled
from portgnn.loaders.source import InMemory, Source
from portgnn.operands import Prepared
from portgnn.outofcore import DiskGraph, OnDisk, is_disk_graph
from portgnn.prediction import classify as classify
from portgnn.prediction import oriented
from portgnn.prediction import predict as predict
from portgnn.presets import Config, whole_number
from portgnn.presets import preset as named_preset
from portgnn.protocol import Backend
from portgnn.registry import backend_of, dtype_name
from portgnn.result import TrainResult as TrainResult
from portgnn.training import Engine, History, NonFiniteLossError, Task, WholeGraph, fit

if TYPE_CHECKING:
    from portgnn.distributed.start import Together


def train(
    dataset: str | os.PathLike[str] | Graph | None = None,
    *,
    backend: str | Backend | None = None,
    device: str | None = None,
    dtype: Any = None,
    preset: str | None = None,
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
    **hyperparameters: Any,
) -> TrainResult:
    """Trains the GCN and tests it.

    dataset: a name, a path, a Graph, or None for Cora where it can be had (else a synthetic graph of its size).
    backend: a registered name (None: numpy) with `device` (None: the fastest that works) and `dtype` (None:
        float32), or a Backend.
    preset: the recipe (None: kipf); epochs, patience and every other field of `portgnn.presets.Config` replace
        its values. seed: of weights and dropout (None: 0). split, unknown, ignore: see `portgnn.load_graph`.
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
    from portgnn.datasets.selection import texts

    tell = logs.telling(announce)
    watchers = Callbacks([logs.Records(), *([OnChunk(on_chunk)] if on_chunk else []), *callbacks])
    dtype = None if dtype is None else dtype_name(dtype)
    seed, every = None if seed is None else whole_number("seed", seed, 0), whole_number("every", every, 1)
    overrides = {"epochs": epochs, "patience": patience} | hyperparameters
    together = None
    if distributed:
        from portgnn.distributed.start import Together

        kept_in, kept_as = (None if path is None else Path(path) for path in (checkpoint, resume))
        together = Together(backend, kept_in, kept_as, transport, timeout)
        device, resume = device or together.collectives.device, together.resume
        if not together.is_first:
            tell, watchers = (lambda message: None), Callbacks([])
    kept, progress = (None, None) if resume is None else runs.load_run(Path(resume))
    if kept is None:
        config = named_preset(preset or "kipf", **overrides)
        seed = 0 if seed is None else seed
        choice = texts(unknown, "unknown"), texts(ignore, "ignore")
        source = dataset
    else:
        given = {
            name: None if value is None else texts(value, name)
            for name, value in (("unknown", unknown), ("ignore", ignore))
        }
        config = runs.continued(kept, preset, overrides, seed=seed, dtype=dtype, split=split, **given)
        choice = kept.unknown, kept.ignore
        seed, dtype, split = kept.seed, kept.dtype, kept.split or None
        source = dataset if dataset is not None else kept.dataset or None
        if source is None:
            raise ConfigError(
                f"{resume} was trained on a graph made in Python; give it with --dataset, there as dataset="
            )
        checkpoint = resume if checkpoint is None else checkpoint
    keep_in = None if checkpoint is None else Path(checkpoint)
    new = keep_in is not None and (resume is None or keep_in != Path(resume))
    if new and keep_in is not None and (not together or together.is_first):
        runs.check_new(keep_in)
    chosen = backend if backend is not None else "numpy" if kept is None else kept.backend
    on = backend_of(chosen, device, dtype or "float32")
    if device is None and isinstance(chosen, str):
        tell(f"{on.name} runs on {on.device}, the fastest device here that passes its self-check.")
    graph: Graph | DiskGraph
    if is_disk_graph(source) and (config.loader != "full" or together):
        graph = _opened(source, split, *choice)
        structure, print_of_graph = graph.structure, graph.fingerprint
    else:
        graph, note = oriented(_load(source, tell, split, *choice), config)
        if note:
            tell(f"{graph.name}: {note}.")
        structure, print_of_graph = fingerprints(graph)
    if kept is not None and kept.fingerprint != print_of_graph:
        raise CheckpointError(
            f"{resume} belongs to another graph: {graph.name} has changed since, or it is not the "
            f"one that the run was trained on ({kept.dataset or 'a Graph'})"
        )
    if kept is not None and kept.class_names != graph.class_names:
        raise CheckpointError(
            f"{resume} was trained with other names of the classes, or in another order, than {graph.name} has"
        )
    # The run keeps what was asked for: the same graph, which a resumed run has, leads to the same.
    asked, (config, moments, note) = config, explained(graph, config)
    if note:
        tell(f"{graph.name}: {note}.")
    engine = _engine(on, graph, config, moments, together)
    memory.check_parameters(engine.task.dimensions)
    name = "" if isinstance(source, Graph) else os.fspath(source or graph.name)
    run = runs.Run(
        asked,
        seed,
        on.name,
        on.dtype,
        name,
        split or "",
        print_of_graph,
        graph.class_names,
        graph.num_features,
        *choice,
    )
    facts = RunFacts(
        config,
        graph.name,
        graph.num_nodes,
        graph.num_edges,
        on.name,
        on.device,
        on.dtype,
        seed,
        len(progress.history) if progress else 0,
        together.collectives.size if together else 1,
    )
    with watchers:
        watchers.start(facts)
        try:
            if keep_in is None:
                done = fit(engine, seed, watchers.epochs, progress=progress)
            else:
                keeping: AbstractContextManager[Any] = runs.FileKeeper(keep_in, run, every, tell, new)
                if together is not None:
                    keeping = together.keeper(keep_in, run, every, tell, engine.any, new)
                with keeping as keeper:
                    try:
                        done = fit(engine, seed, watchers.epochs, keeper, progress)
                    except NonFiniteLossError as error:
                        raise NonFiniteLossError(f"{error}. The last finite state is kept: {keeper.advice()}") from None
                    except PeerLostError as error:
                        raise PeerLostError(f"{error} The last state is kept: {keeper.advice()}") from None
            trained = Model(
                done.params,
                config,
                graph.class_names,
                graph.num_features,
                graph.name,
                print_of_graph,
                graph.feature_names,
                moments,
                split_codes(graph),
                structure,
            )
            accuracy = None if graph.test is None else engine.accuracy(done.params, graph.test)
            if together is not None:
                together.close()
        except (MemoryError, RuntimeError) as error:
            if not memory.is_exhaustion(error):
                raise
            raise memory.translated(
                error, _whole(engine.task), f"{on.name} ({on.device}, {on.dtype})", on.dtype
            ) from error
        result = TrainResult(
            model=trained,
            history=done.history,
            test_accuracy=accuracy,
            best_epoch=done.best_epoch,
            stopped_early=done.stopped_early,
            dataset=graph.name,
            nodes=facts.nodes,
            edges=facts.edges,
            backend=on.name,
            device=on.device,
            dtype=on.dtype,
            seed=seed,
            notes=(*graph.notes, note) if note else graph.notes,
            environment=environment.of(on),
            process=together.collectives.rank if together else 0,
            processes=facts.processes,
        )
        watchers.end(result)
    return result


def _opened(path: Any, split: str | None, unknown: tuple[str, ...], ignore: tuple[str, ...]) -> DiskGraph:
    if unknown or ignore:
        raise ConfigError(f"{path} is read as it is; give --unknown and --ignore to portgnn convert")
    if split not in (None, "given"):
        raise ConfigError(f"the splits of {path} are in its files; convert the graph with --split {split}")
    return DiskGraph(path)


def _engine(
    on: Backend, graph: Graph | DiskGraph, config: Config, moments: Moments | None, together: Together | None
) -> Engine:
    """Who computes the epochs: steps over the whole graph, over batches, or one process's share of them."""
    if together is None and config.loader == "full":
        assert isinstance(graph, Graph)
        return WholeGraph(on, Prepared.of(graph, config, moments))
    if together is not None and config.loader != "full":
        raise ConfigError(f"--distributed trains on the whole graph; leave --loader {config.loader} out")
    if graph.train is None:
        raise ConfigError(f"{graph.name} has no training split; give one with --split")
    source: Source
    if isinstance(graph, Graph):
        source = InMemory(Prepared.of(graph, config, moments))
    else:
        source = OnDisk(graph, config, moments)
    if together is None:
        return Sampled(on, source)
    return Distributed(on, source, together.collectives, together.watch)


def _whole(task: Task) -> Task:
    """The graph behind a loader's source, where it is in memory."""
    return task.prepared if isinstance(task, InMemory) else task


def _load(
    dataset: str | os.PathLike[str] | Graph | None,
    announce: Callable[[str], None],
    split: str | None,
    unknown: tuple[str, ...],
    ignore: tuple[str, ...],
) -> Graph:
    from portgnn.datasets import load_graph
    from portgnn.datasets.selection import selected
    from portgnn.datasets.splits import with_split

    if isinstance(dataset, Graph):
        graph = selected(dataset, unknown, ignore)
        return graph if split is None else with_split(graph, split)
    return load_graph(dataset, split=split, unknown=unknown, ignore=ignore, announce=announce)
