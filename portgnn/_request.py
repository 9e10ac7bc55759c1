"""What a call of `train` comes to: the recipe, the graph and who computes, settled before the first epoch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from portgnn import tasks
from portgnn._system import threads
from portgnn.checkpoints import runs
from portgnn.disk.folder import DiskGraph, is_disk_graph
from portgnn.distributed.loop import Distributed
from portgnn.errors import CheckpointError, ConfigError
from portgnn.graphs.fingerprint import fingerprints
from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet
from portgnn.graphs.split import split
from portgnn.hyperparameters import plain_number, whole_number
from portgnn.loaders.links import LinkProblem, Links, SampledLinks
from portgnn.loaders.on_device import sampled
from portgnn.loaders.on_disk import OnDisk
from portgnn.loaders.sets import GraphBatches, PreparedSet
from portgnn.loaders.source import InMemory, Source
from portgnn.models import Network, own_network
from portgnn.optimization import check_has_batches
from portgnn.placing.features import Moments, explained
from portgnn.placing.prepared import Prepared
from portgnn.prediction.predict import oriented
from portgnn.presets import Config, preset
from portgnn.protocol import Backend
from portgnn.registry import backend_of, dtype_name
from portgnn.text import shown
from portgnn.training import Engine, Progress, WholeGraph

if TYPE_CHECKING:
    from portgnn.distributed.start import ProcessGroup

Dataset = str | os.PathLike[str] | Graph | GraphSet
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """A run as it was asked for; what was not named comes from the run that goes on, or is the default.

    kept, progress: the run that goes on, out of the file `resume`. keep_in: the file that the run is to be kept in.
    """

    dataset: Dataset | None
    split: str | None
    unknown: tuple[str, ...]
    ignore: tuple[str, ...]
    config: Config
    seed: int
    backend: str | Backend
    device: str | None
    dtype: str
    resume: Path | None = None
    kept: runs.Run | None = None
    progress: Progress | None = None
    keep_in: Path | None = None

    @property
    def begins_a_file(self) -> bool:
        """Whether the file to keep the run in is not the one that it goes on from."""
        return self.keep_in is not None and self.keep_in != self.resume

    def made(self, tell: Tell) -> Backend:
        """The backend; its device is told where it was not asked for."""
        backend = backend_of(self.backend, self.device, self.dtype)
        if self.device is None and isinstance(self.backend, str):
            tell(f"{backend.name} runs on {backend.device}, the fastest device here that passes its self-check.")
        return backend


def settle(
    dataset: Dataset | None,
    name: str | None,
    model: str | type[Network] | None,
    overrides: dict[str, object],
    *,
    seed: object,
    split: str | None,
    unknown: str | Sequence[str] | None,
    ignore: str | Sequence[str] | None,
    backend: str | Backend | None,
    device: str | None,
    dtype: object,
    resume: Path | None,
    checkpoint: Path | None,
) -> Request:
    """The request of `portgnn.train`'s arguments; None where nothing was asked for. name, model, overrides: the
    recipe's.

    Raises ConfigError for what cannot be used or would make a kept run another one, CheckpointError for its file.
    """
    from portgnn.datasets.selection import texts

    dtype = None if dtype is None else dtype_name(dtype)
    seed = None if seed is None else _one_seed(seed)
    if resume is None:
        return Request(
            dataset,
            split,
            texts(unknown, "unknown"),
            texts(ignore, "ignore"),
            preset(name, model, **overrides),
            seed or 0,
            "numpy" if backend is None else backend,
            device,
            dtype or "float32",
            keep_in=checkpoint,
        )
    kept, progress = runs.load_run(resume, own_network(model))
    given = {
        each: None if value is None else texts(value, each)
        for each, value in (("unknown", unknown), ("ignore", ignore))
    }
    config = runs.continued(
        kept, {"preset": name, "model": model}, overrides, seed=seed, dtype=dtype, split=split, **given
    )
    dataset = dataset if dataset is not None else kept.dataset or None
    if dataset is None:
        raise ConfigError(f"{resume} was trained on a graph made in Python; give it with --dataset, there as dataset=")
    backend = kept.backend if backend is None else backend
    return Request(
        dataset, kept.split or None, kept.unknown, kept.ignore, config, kept.seed, backend, device, kept.dtype,
        resume, kept, progress, checkpoint or resume,
    )  # fmt: skip


def _one_seed(given: Any) -> int:
    """Raises ConfigError for what is no seed, or several."""
    if isinstance(given, list | tuple | range) or getattr(given, "ndim", 0) > 0:
        listed = shown([plain_number(each) for each in given], 40)
        raise ConfigError(
            f"seed={listed} is several, and a run has one; to train them all: portgnn.study(…, seeds={listed})"
        )
    return whole_number("seed", given, 0)


@dataclass(frozen=True, eq=False)
class Loaded:
    """The graph of a run as the recipe has it, and the recipe with what it comes to on this graph.

    moments: see `portgnn.placing.features.settled`. notes: what was done to the graph. digested: the pair of
    `portgnn.graphs.fingerprint.fingerprints`, which is found while the graph is prepared for training.
    """

    graph: Graph | DiskGraph | GraphSet
    config: Config
    moments: Moments | None
    notes: tuple[str, ...]
    digested: Callable[[], tuple[str, str]]

    @property
    def structure(self) -> str:
        return self.digested()[0]

    @property
    def fingerprint(self) -> str:
        return self.digested()[1]


def load(request: Request, distributed: bool, tell: Tell) -> Loaded:
    """The request's graph, in memory or, where the engine reads rows as it needs them, on disk.

    Raises DatasetError, GraphError or ConfigError for a graph that cannot be used, CheckpointError where the run that
    goes on belongs to another one.
    """
    graph: Graph | DiskGraph | GraphSet
    by_rows = request.config.loader != "full" or distributed
    if is_disk_graph(request.dataset) and by_rows and tasks.of(request.config).about == "nodes":
        graph = _opened(request)
        known = graph.structure, graph.fingerprint
        digested: Callable[[], tuple[str, str]] = lambda: known  # noqa: E731
    else:
        graph, note = oriented(_read(request, tell), request.config)
        if note:
            tell(f"{graph.name}: {note}.")
        digested = threads.ahead(partial(fingerprints, graph))
    _check_same(request, graph, digested)
    settled = tasks.settled(request.config, graph, request.seed)
    config, moments, note = explained(_trained_on(graph), settled)
    task = tasks.of(config, graph)
    if task.about == "nodes":
        task.check()
    said = task.said if request.config.task == "auto" else ""
    notes = [each for each in (note, said, task.advice(not graph.is_undirected)) if each]
    for each in notes:
        tell(f"{graph.name}: {each}.")
    _check_names(request, graph.name, task)
    return Loaded(graph, config, moments, (*graph.notes, *notes), digested)


def _trained_on(graph: Graph | DiskGraph | GraphSet) -> Graph | DiskGraph:
    """What says how features are normalised: the graph; of a set, those that are trained on, since the others are not
    to be looked at.
    """
    if not isinstance(graph, GraphSet):
        return graph
    chosen = graph if graph.train is None else graph.taken(graph.train)
    return replace(chosen.union, name=graph.name)


def engine_for(backend: Backend, loaded: Loaded, group: ProcessGroup | None) -> Engine:
    """Who computes the epochs: steps over the whole graph, over batches, or one process's share of them."""
    graph, config, moments = loaded.graph, loaded.config, loaded.moments
    if isinstance(graph, GraphSet):
        if group is not None or tasks.of(config).about == "pairs":
            what = "--distributed" if group is not None else f"--task {config.task}"
            raise ConfigError(f"{graph.name} is a set of graphs, and {what} is for one graph; leave it out")
        split(graph, "train")
        return GraphBatches(backend, PreparedSet(graph, config, moments))
    check_has_batches(config)
    if tasks.of(config).about == "pairs":
        return _links(backend, loaded, group is not None)
    if group is None and config.loader == "full":
        assert isinstance(graph, Graph)
        return WholeGraph(backend, Prepared.of(graph, config, moments))
    return _by_rows(backend, loaded, group)


def _by_rows(backend: Backend, loaded: Loaded, group: ProcessGroup | None) -> Engine:
    """Who reads a source's rows as they are needed: for batches, or for one process's share."""
    graph, config, moments = loaded.graph, loaded.config, loaded.moments
    if group is not None and config.loader != "full":
        raise ConfigError(f"--distributed trains on the whole graph; leave --loader {config.loader} out")
    if group is not None and not config.network.prunable:
        raise ConfigError(
            f"rows of this {config.model} depend on each other; leave --distributed out, or take --norm layer"
        )
    assert not isinstance(graph, GraphSet)
    split(graph, "train")
    source: Source
    if isinstance(graph, Graph):
        source = InMemory(Prepared.of(graph, config, moments))
    else:
        source = OnDisk(graph, config, moments)
    if group is None:
        return sampled(backend, source)
    return Distributed(backend, source, group.collectives, group.watch)


def _links(backend: Backend, loaded: Loaded, distributed: bool) -> Engine:
    if distributed:
        raise ConfigError("links are learnt in one process; leave --distributed out")
    if loaded.config.loader == "cluster":
        raise ConfigError("links join nodes of several clusters; leave --loader cluster out, or take --loader neighbor")
    assert isinstance(loaded.graph, Graph)
    problem = LinkProblem.of(loaded.graph, loaded.config, loaded.moments)
    return Links(backend, problem) if loaded.config.loader == "full" else SampledLinks(backend, problem)


def run_of(request: Request, loaded: Loaded, backend: Backend) -> runs.Run:
    """What a file keeps of the run, apart from where it stands.

    The recipe is kept as it was asked for, but for the task and the readout of a set, on which the parameters depend:
    the same graph, which a run that goes on has, leads to the same.
    """
    given, graph = request.dataset, loaded.graph
    name = "" if isinstance(given, Graph | GraphSet) else os.fspath(given or graph.name)
    task = tasks.of(loaded.config, graph)
    of_set = {"readout": loaded.config.readout} if isinstance(graph, GraphSet) else {}
    return runs.Run(
        request.config.with_(task=loaded.config.task, **of_set),
        request.seed,
        backend.name,
        backend.dtype,
        name,
        request.split or "",
        loaded.fingerprint,
        task.names,
        graph.num_features,
        request.unknown,
        request.ignore,
    )


def _opened(request: Request) -> DiskGraph:
    path: Any = request.dataset
    if request.unknown or request.ignore:
        raise ConfigError(f"{path} is read as it is; give --unknown and --ignore to portgnn convert")
    if request.split not in (None, "given"):
        raise ConfigError(f"the splits of {path} are in its files; convert the graph with --split {request.split}")
    graph, learned = DiskGraph(path), request.config.targets
    if learned and learned != graph.target_names:
        there = f"the targets {','.join(graph.target_names)}" if graph.target_names else "no targets"
        raise ConfigError(f"{path} has {there} in its files; convert the graph with --target {','.join(learned)}")
    return graph


def _read(request: Request, tell: Tell) -> Graph | GraphSet:
    from portgnn.datasets import is_graph_set, load_graph, load_graphs
    from portgnn.datasets.selection import selected, targeted
    from portgnn.datasets.sets import selected_set
    from portgnn.datasets.splits import with_split

    given, split, unknown, ignore = request.dataset, request.split, request.unknown, request.ignore
    if isinstance(given, Graph):
        graph = targeted(selected(given, unknown, ignore), request.config.targets)
        return graph if split is None else with_split(graph, split)
    if isinstance(given, GraphSet):
        graphs = selected_set(given, unknown, ignore)
        return graphs if split is None else with_split(graphs, split)
    if given is not None and is_graph_set(given):
        return load_graphs(given, split=split, unknown=unknown, ignore=ignore, announce=tell)
    learned = request.config.targets
    return load_graph(given, split=split, unknown=unknown, ignore=ignore, target=learned, announce=tell)


def _check_same(request: Request, graph: Graph | DiskGraph | GraphSet, digested: Callable[[], tuple[str, str]]) -> None:
    kept = request.kept
    if kept is not None and kept.fingerprint != digested()[1]:
        raise CheckpointError(
            f"{request.resume} belongs to another graph: {graph.name} has changed since, or it is not the "
            f"one that the run was trained on ({kept.dataset or 'a Graph'})"
        )


def _check_names(request: Request, name: str, task: tasks.Task) -> None:
    if request.kept is not None and request.kept.class_names != task.names:
        raise CheckpointError(
            f"{request.resume} was trained with other names of the {task.things}, or in another order, than {name} has"
        )
