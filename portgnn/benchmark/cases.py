"""Which programs are timed on which graph: every backend, device and form that is here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from portgnn.benchmark.client import WorkerSpec
from portgnn.benchmark.contender import Recipe
from portgnn.benchmark.graphs import DENSE_LIMIT, BenchGraph, arxiv_size, synthetic
from portgnn.datasets import load_graph
from portgnn.graphs.graph import Graph
from portgnn.graphs.split import labels_at
from portgnn.presets import PRESETS
from portgnn.presets import preset as named

OURS = "portgnn"
DATASETS = ("cora", "citeseer")
RECIPES = tuple(name for name, config in PRESETS.items() if config.task == "auto")


@dataclass(frozen=True)
class Case:
    """One row: a contender on a device, with the options that its program gets."""

    contender: str
    kind: str
    title: str
    device: str | None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Unique within a dataset and recipe."""
        extra = [str(value) for key, value in self.options.items() if key != "dtype"]
        return " ".join([self.title, self.device or "", *(f"[{value}]" for value in extra)]).strip()


@dataclass(frozen=True)
class Contestant:
    """Who takes part, whatever the device. needs: what to install where it is absent, if that is known."""

    spec: WorkerSpec
    kind: str
    title: str
    needs: str = ""


def own_spec(name: str) -> WorkerSpec:
    return WorkerSpec(name, "portgnn.benchmark.own", name)


def own(name: str) -> Contestant:
    """A backend of portgnn, by its registered name or as `module:Class`."""
    return Contestant(own_spec(name), OURS, f"portgnn {name}")


def own_cases(name: str, devices: Sequence[str], graph: BenchGraph, forms: Sequence[str]) -> list[Case]:
    """csr with the needed rows and with all of them, dense, and edge lists where the adapter has a switch."""
    found = []
    for device in devices:
        for form in forms:
            if form == "dense":
                if graph.nodes <= DENSE_LIMIT:
                    found.append(Case(name, OURS, f"portgnn {name}", device, {"form": "dense", "rows": "all"}))
                continue
            for rows in ("needed", "all"):
                found.append(Case(name, OURS, f"portgnn {name}", device, {"form": form, "rows": rows}))
    return found


def recipe_of(preset: str, **overrides: Any) -> Recipe:
    """A preset of portgnn as plain data for the workers."""
    config = named(preset, **overrides)
    values = {n: getattr(config, n) for n in Recipe.__dataclass_fields__ if n != "name"}
    # One answer for all contenders, which know no rule that looks at the features first.
    values["normalize_features"] = config.normalize_features in ("auto", "row")
    return Recipe(name=preset, **values)


def load(dataset: str) -> BenchGraph:
    """A published or bundled dataset, "arxiv-size", or "synthetic:EDGES". Raises PortgnnError."""
    if dataset == "arxiv-size":
        return arxiv_size()
    if dataset.startswith("synthetic:"):
        return synthetic(int(float(dataset.partition(":")[2])))
    return travelling(load_graph(dataset), dataset)


def travelling(graph: Graph, name: str) -> BenchGraph:
    """A graph of portgnn as workers read it."""
    labels = labels_at(graph, np.arange(graph.num_nodes))
    train, val, test = (part if part is not None else labels[:0] for part in (graph.train, graph.val, graph.test))
    return BenchGraph(name, graph.adjacency, graph.features, labels, train, val, test, graph.num_classes)


def selected(names: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """The names asked for, all known ones by default; `none` asks for none. Raises ValueError for a stranger."""
    if names is None:
        return list(known)
    if list(names) == ["none"]:
        return []
    for name in names:
        if name not in known and ":" not in name:
            raise ValueError(f"unknown name {name!r}; choose from {', '.join(known)}")
    return list(names)
