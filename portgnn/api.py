"""The calls that most users need: `train` and `predict`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from portgnn import environment, logs, memory, runs
from portgnn.callbacks import Callback, Callbacks, OnChunk, RunFacts
from portgnn.checkpoint import Model
from portgnn.distributed.loop import Distributed
from portgnn.errors import CheckpointError, ConfigError, GraphError, PeerLostError
from portgnn.fingerprint import fingerprint
from portgnn.graph import Graph
from portgnn.loaders.engine import Sampled
from portgnn.loaders.source import InMemory, Source
from portgnn.operands import Prepared
from portgnn.outofcore import DiskGraph, OnDisk, is_disk_graph
from portgnn.presets import Config, whole_number
from portgnn.presets import preset as named_preset
from portgnn.protocol import Backend
from portgnn.registry import dtype_name, get_backend
from portgnn.result import TrainResult as TrainResult
from portgnn.training import Engine, History, NonFiniteLossError, Task, WholeGraph, fit, logits

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
        its values. seed: of weights and dropout (None: 0). split: see `portgnn.load_graph`.
    checkpoint: a file, which must not exist yet, that keeps the run: before the first epoch, after each `every`
        epochs, at the end, and when SIGINT or SIGTERM ends it (then KeyboardInterrupt or SystemExit(143) is
        raised). A second signal ends it at once.
    resume: a file that `checkpoint` made. Dataset, backend, dtype, recipe, seed and split are those of the file
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
        source = dataset
    else:
        config = runs.continued(kept, preset, overrides, seed=seed, dtype=dtype, split=split)
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
    on = _resolve(chosen, device, dtype or "float32")
    if device is None and isinstance(chosen, str):
        tell(f"{on.name} runs on {on.device}, the fastest device here that passes its self-check.")
    graph: Graph | DiskGraph
    if is_disk_graph(source) and (config.loader != "full" or together):
        graph = _opened(source, split)
        print_of_graph = graph.fingerprint
    else:
        graph = _oriented(_load(source, tell, split), config, tell)
        print_of_graph = fingerprint(graph)
    if kept is not None and kept.fingerprint != print_of_graph:
        raise CheckpointError(
            f"{resume} belongs to another graph: {graph.name} has changed since, or it is not the "
            f"one that the run was trained on ({kept.dataset or 'a Graph'})"
        )
    engine = _engine(on, graph, config, together)
    memory.check_parameters(engine.task.dimensions)
    name = "" if isinstance(source, Graph) else os.fspath(source or graph.name)
    run = runs.Run(
        config, seed, on.name, on.dtype, name, split or "", print_of_graph, graph.class_names, graph.num_features
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
            notes=graph.notes,
            environment=environment.of(on),
            process=together.collectives.rank if together else 0,
            processes=facts.processes,
        )
        watchers.end(result)
    return result


def _opened(path: Any, split: str | None) -> DiskGraph:
    if split not in (None, "given"):
        raise ConfigError(f"the splits of {path} are in its files; convert the graph with --split {split}")
    return DiskGraph(path)


def _engine(on: Backend, graph: Graph | DiskGraph, config: Config, together: Together | None) -> Engine:
    """Who computes the epochs: steps over the whole graph, over batches, or one process's share of them."""
    if together is None and config.loader == "full":
        assert isinstance(graph, Graph)
        return WholeGraph(on, Prepared.of(graph, config))
    if together is not None and config.loader != "full":
        raise ConfigError(f"--distributed trains on the whole graph; leave --loader {config.loader} out")
    if graph.train is None:
        raise ConfigError(f"{graph.name} has no training split; give one with --split")
    source: Source = InMemory(Prepared.of(graph, config)) if isinstance(graph, Graph) else OnDisk(graph, config)
    if together is None:
        return Sampled(on, source)
    return Distributed(on, source, together.collectives, together.watch)


def predict(
    model_or_path: Model | TrainResult | str | os.PathLike[str],
    graph: Graph | str | os.PathLike[str],
    *,
    backend: str | Backend = "numpy",
    device: str | None = None,
    dtype: Any = "float32",
) -> NDArray[Any]:
    """Logits [nodes, classes] of a trained model, on any backend, for the graph it was trained on or another.

    Raises GraphError where the graph's features do not fit the model or its classes are not the model's,
    CheckpointError for an unreadable file, OutOfMemoryError.
    """
    if isinstance(model_or_path, TrainResult):
        trained = model_or_path.model
    elif isinstance(model_or_path, Model):
        trained = model_or_path
    else:
        trained = Model.load(model_or_path)
    target = _load(graph, lambda message: None)
    check_fit(trained, target)
    target = _oriented(target, trained.config, lambda message: None)
    on = _resolve(backend, device, dtype)
    prepared = Prepared.of(target, trained.config)
    try:
        return logits(on, prepared, trained.params)
    except (MemoryError, RuntimeError) as error:
        if not memory.is_exhaustion(error):
            raise
        raise memory.translated(error, prepared, f"{on.name} ({on.device}, {on.dtype})", on.dtype) from error


def check_fit(trained: Model, graph: Graph) -> None:
    """Raises GraphError, naming the features or classes at fault, where a model cannot be used on a graph."""
    of = f"the model was trained on {trained.dataset or 'a graph'}"
    if trained.feature_names and graph.feature_names and trained.feature_names != graph.feature_names:
        missing = [name for name in trained.feature_names if name not in set(graph.feature_names)]
        unknown = [name for name in graph.feature_names if name not in set(trained.feature_names)]
        faults = [f"{graph.name} lacks {_names(missing)}"] if missing else []
        faults += [f"the model does not know {_names(unknown)}"] if unknown else []
        at = next(
            (
                i
                for i, pair in enumerate(zip(trained.feature_names, graph.feature_names, strict=False))
                if pair[0] != pair[1]
            ),
            0,
        )
        faults = faults or [
            f"they stand in another order, first at column {at + 1}: {graph.feature_names[at]!r} "
            f"where the model expects {trained.feature_names[at]!r}"
        ]
        raise GraphError(f"the features of {graph.name} are not those that {of} with: {'; '.join(faults)}")
    if graph.num_features != trained.num_features:
        raise GraphError(f"{graph.name} has {graph.num_features} features a node; {of} with {trained.num_features}")
    unknown = [name for name in graph.class_names if name not in set(trained.class_names)]
    if unknown:
        raise GraphError(
            f"{graph.name} has classes that the model does not know: {_names(unknown)}; it knows "
            f"{_names(trained.class_names)}. Leave the labels out to predict without comparing."
        )


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _oriented(graph: Graph, config: Config, tell: Callable[[str], None]) -> Graph:
    """The graph with its edges as the recipe counts them; what was done is said and noted."""
    if graph.is_undirected or not config.undirected:
        return graph
    note = f"directed edges symmetrised, as the {config.preset} recipe has it; --directed keeps them as they are"
    tell(f"{graph.name}: {note}.")
    return replace(graph.symmetrized(), notes=(*graph.notes, note))


def _whole(task: Task) -> Task:
    """The graph behind a loader's source, where it is in memory."""
    return task.prepared if isinstance(task, InMemory) else task


def _resolve(backend: str | Backend, device: str | None, dtype: Any) -> Backend:
    if isinstance(backend, str):
        return get_backend(backend, device=device, dtype=dtype)
    return backend


def _load(
    dataset: str | os.PathLike[str] | Graph | None, announce: Callable[[str], None], split: str | None = None
) -> Graph:
    from portgnn.datasets import load_graph
    from portgnn.datasets.splits import with_split

    if isinstance(dataset, Graph):
        return dataset if split is None else with_split(dataset, split)
    return load_graph(dataset, split=split, announce=announce)
