"""What a study trains: rows of its table, settings that compete in a row, and the runs of a setting."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from portgnn import tasks
from portgnn._version import __version__
from portgnn.disk.folder import DiskGraph, is_disk_graph
from portgnn.errors import ConfigError
from portgnn.graphs.fingerprint import fingerprints
from portgnn.graphs.graph import Graph
from portgnn.graphs.sets import GraphSet
from portgnn.models.network import Network
from portgnn.presets import Config, preset
from portgnn.recipe import known
from portgnn.registry import dtype_name, get_backend
from portgnn.studies.space import Space, grid, space

Dataset: TypeAlias = str | os.PathLike[str] | Graph | GraphSet | None
Tell: TypeAlias = Callable[[str], None]
DRAWN = ("random", "fraction", "folds", "fair")
"""Kinds of splits of which there are many."""
LARGE = 10_000
"""Runs from which a grid is more likely a slip."""


@dataclass(frozen=True, eq=False)
class Source:
    """A dataset of a study. number: its place among them. splits: None for the one that it comes with.

    validates: whether there is what hyperparameters are chosen by.
    """

    number: int
    given: Dataset
    name: str
    nodes: int
    edges: int
    fingerprint: str
    splits: tuple[str | None, ...]
    validates: bool

    @classmethod
    def of(cls, number: int, given: Dataset, splits: Splits, read: Reading, config: Config, tell: Tell) -> Source:
        """Reads the dataset, and asks it for each split. Raises ConfigError, DatasetError or GraphError."""
        if isinstance(given, str | os.PathLike) and is_disk_graph(given):
            disk = DiskGraph(given)
            if splits.asked:
                raise ConfigError(f"the splits of {given} are in its files; leave --split and --splits out")
            return cls(
                number,
                given,
                disk.name,
                disk.num_nodes,
                disk.num_edges,
                disk.fingerprint,
                (None,),
                disk.val is not None,
            )
        graph = read.graph(given, config, tell)
        texts = splits.of(graph)
        validating = [_checked_split(graph, text, config) for text in texts]
        fingerprint = fingerprints(graph)[1]
        return cls(number, given, graph.name, graph.num_nodes, graph.num_edges, fingerprint, texts, all(validating))

    @property
    def label(self) -> str:
        """What tables call it."""
        return self.name if self.given is None or isinstance(self.given, Graph | GraphSet) else _last(self.given)


def _last(path: str | os.PathLike[str]) -> str:
    return Path(path).name or os.fspath(path)


@dataclass(frozen=True)
class Reading:
    """How files are read: see `portgnn.load_graph`."""

    unknown: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def graph(self, given: Dataset, config: Config, tell: Tell | None) -> Graph | GraphSet:
        from portgnn.datasets import is_graph_set, load_graph, load_graphs
        from portgnn.datasets.selection import selected, targeted
        from portgnn.datasets.sets import selected_set

        if isinstance(given, GraphSet):
            return selected_set(given, self.unknown, self.ignore)
        if isinstance(given, Graph):
            return targeted(selected(given, self.unknown, self.ignore), config.targets)
        if given is not None and is_graph_set(given):
            return load_graphs(given, unknown=self.unknown, ignore=self.ignore, announce=tell)
        return load_graph(given, unknown=self.unknown, ignore=self.ignore, target=config.targets, announce=tell)


@dataclass(frozen=True)
class Splits:
    """asked: texts as of `--split`. count: how many of the one text, or of those that the data have; None for one."""

    asked: tuple[str, ...] = ()
    count: int | None = None

    def of(self, graph: Graph | GraphSet) -> tuple[str | None, ...]:
        """The splits of this graph. Raises ConfigError where it does not have so many."""
        if self.count is None:
            return self.asked or (None,)
        if not self.asked:
            return self._stored(graph)
        if len(self.asked) > 1:
            raise ConfigError(f"--split lists {len(self.asked)} splits; leave --splits {self.count} out")
        kind, *numbers = self.asked[0].split(":")
        if kind in ("folds", "fair"):
            return self._folds(kind, numbers)
        if kind not in DRAWN or len(numbers) != 2:
            raise ConfigError(
                f"--split {self.asked[0]} is one split, and --splits {self.count} wants as many; drawn splits without "
                "a seed are many: random:20:30 or fraction:0.6:0.2, or folds:10"
            )
        return tuple(f"{self.asked[0]}:{seed}" for seed in range(self.count))

    def _stored(self, graph: Graph | GraphSet) -> tuple[str | None, ...]:
        there = len(graph.stored_splits) if isinstance(graph, Graph) else 0
        if there < (self.count or 0):
            has = f"comes with {there} splits" if there else "comes with one split at most"
            drawn = "folds:10" if isinstance(graph, GraphSet) else "random:20:30"
            raise ConfigError(f"{graph.name} {has}; to draw others, add --split {drawn} to --splits {self.count}")
        return tuple(f"stored:{number}" for number in range(self.count or 0))

    def _folds(self, kind: str, numbers: Sequence[str]) -> tuple[str | None, ...]:
        if len(numbers) != 1 or not numbers[0].isdecimal() or int(numbers[0]) < (self.count or 0):
            raise ConfigError(f"--splits {self.count} of folds needs as many: --split {kind}:{self.count}")
        return tuple(f"{kind}:{numbers[0]}:{fold}" for fold in range(self.count or 0))


def _checked_split(graph: Graph | GraphSet, text: str | None, config: Config) -> bool:
    """Whether the split has what to validate by.

    Raises ConfigError or GraphError where it is none of this graph, or nothing can be trained or tested by it.
    """
    from portgnn.datasets.splits import with_split

    divided = graph if text is None else with_split(graph, text)
    if tasks.of(config, divided).about == "pairs":
        return True
    if divided.train is None or divided.test is None:
        missing = "training" if divided.train is None else "test"
        raise ConfigError(f"{graph.name} has no {missing} split; ask for one, for example --split fraction:0.6:0.2")
    return divided.val is not None


@dataclass(frozen=True, eq=False)
class Row:
    """A row of the table: what is compared. base: its recipe before any hyperparameter is tried."""

    source: Source
    base: Config
    backend: str
    device: str
    dtype: str

    @property
    def names(self) -> dict[str, str]:
        """What tells it from others, by column."""
        return {
            "dataset": self.source.label,
            "model": self.base.model,
            "preset": self.base.preset,
            "backend": self.backend,
            "device": self.device,
            "dtype": self.dtype,
        }

    @property
    def identity(self) -> dict[str, str]:
        return self.names | {"fingerprint": self.source.fingerprint}

    def tried(self, among: Space) -> Space:
        """Of what the study tries, that which this row's network has."""
        has = known(type(self.base).network_class)
        return {name: values for name, values in among.items() if name in has}

    def setting(self, values: dict[str, object]) -> Setting:
        """Raises ConfigError where the values do not go together."""
        return Setting(self, values, self.base.with_(**values))


@dataclass(frozen=True, eq=False)
class Setting:
    """Values of what is tried, in a row. config: the whole recipe."""

    row: Row
    values: dict[str, Any]
    config: Config

    def runs(self, seeds: Iterable[int]) -> list[Run]:
        """Seed by seed, so that the first of them have seen every split."""
        return [Run(self, seed, split) for seed in seeds for split in self.row.source.splits]

    @property
    def said(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.values.items())


@dataclass(frozen=True, eq=False)
class Run:
    """One training of a setting."""

    setting: Setting
    seed: int
    split: str | None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that decides its numbers."""
        row, config = self.setting.row, asdict(self.setting.config)
        where = {"backend": row.backend, "device": row.device.partition(":")[0], "dtype": row.dtype}
        data = {"fingerprint": row.source.fingerprint, "split": self.split, "seed": self.seed}
        return {"portgnn": __version__, "config": config} | where | data

    @cached_property
    def key(self) -> str:
        """Its name among the runs of a study: the same for the same numbers."""
        text = json.dumps(self.identity, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def said(self) -> str:
        row, split = self.setting.row, [] if self.split is None else [self.split]
        return " ".join(
            filter(None, [row.source.label, row.base.model, self.setting.said, f"seed {self.seed}", *split])
        )


@dataclass(frozen=True, eq=False)
class Plan:
    """rows: in the order of the table. space: what is tried of their hyperparameters. seeds: of every setting."""

    rows: tuple[Row, ...]
    space: Space
    seeds: tuple[int, ...]
    reading: Reading = field(default_factory=Reading)

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple({row.source.number: row.source for row in self.rows}.values())

    def settings(self) -> list[Setting]:
        """Of a grid, row by row. Raises ConfigError for values that do not go together, and for too many runs."""
        count = 0
        for row in self.rows:
            lengths = [len(values) for values in row.tried(self.space).values() if isinstance(values, tuple)]
            count += math.prod([*lengths, len(self.seeds), len(row.source.splits)])
        if count > LARGE:
            raise ConfigError(f"the grid comes to {count:,} runs, more than {LARGE:,}; draw from it with --search 100")
        return [row.setting(values) for row in self.rows for values in grid(row.tried(self.space))]


def planned(
    datasets: Sequence[Dataset],
    models: Sequence[str | type[Network] | None],
    presets: Sequence[str | None],
    backends: Sequence[str],
    device: str | None,
    dtypes: Sequence[Any],
    given: dict[str, Any],
    seeds: Sequence[int],
    splits: Splits,
    reading: Reading,
    tell: Tell,
) -> Plan:
    """The plan, checked before anything is trained. Raises PortgnnError for what cannot be used."""
    bases = _bases(models, presets, given)
    names = {name: one for base in bases for name, one in known(type(base).network_class).items()}
    tried = space(given, names)
    for base in bases:
        lacking = [name for name in tried if name not in known(type(base).network_class)]
        if lacking:
            tell(f"{base.model} has no {' and no '.join(lacking)}; its rows are tried without.")
    places = [(name, _device(name, device, dtype), dtype) for name in backends for dtype in map(dtype_name, dtypes)]
    first = {
        name: values[0] for name, values in tried.items() if name in ("target", "task") and isinstance(values, tuple)
    }
    sources = [Source.of(at, each, splits, reading, bases[0].with_(**first), tell) for at, each in enumerate(datasets)]
    rows = [
        Row(source, base, name, where, dtype)
        for source, base, (name, where, dtype) in itertools.product(sources, bases, places)
    ]
    return Plan(tuple(rows), tried, tuple(seeds), reading)


def _bases(
    models: Sequence[str | type[Network] | None], presets: Sequence[str | None], given: dict[str, object]
) -> list[Config]:
    """The recipes, none twice: the presets of every model, and of a preset the model that it is for."""
    task = given.get("task")
    hint = {"task": task} if isinstance(task, str) and "," not in task else {}
    made: Iterator[Config] = (preset(name, model, **hint) for model in models for name in presets)
    return list({json.dumps(asdict(each), sort_keys=True): each for each in made}.values())


def _device(backend: str, device: str | None, dtype: str) -> str:
    """The device that runs are on. Raises BackendError for a backend, device or dtype that is not here."""
    return get_backend(backend, device=device, dtype=dtype).device
