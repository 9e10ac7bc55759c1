"""Graphs by name or by path: published ones, two that come with portgnn, and a user's own files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from portgnn._system.files import exists, is_file, is_folder
from portgnn._system.untrusted import memory_limit
from portgnn.datasets._catalog import DATASETS, Dataset
from portgnn.datasets._collections import COLLECTIONS
from portgnn.datasets._pins import accepting
from portgnn.datasets.download import fetch_all
from portgnn.datasets.selection import selected, targeted, texts
from portgnn.datasets.sets import graph_set_names as graph_set_names
from portgnn.datasets.sets import is_graph_set as is_graph_set
from portgnn.datasets.sets import load_graphs as load_graphs
from portgnn.datasets.splits import with_split
from portgnn.errors import ConfigError, DatasetError, DownloadError, near_matches
from portgnn.graphs.graph import Graph
from portgnn.text import shortened

__all__ = [
    "Dataset", "dataset_names", "describe_datasets", "fetch_files", "graph_set_names", "is_graph_set", "load_graph",
    "load_graphs",
]  # fmt: skip

DEFAULT = "cora"
STAND_IN = "csbm-cora"
PATIENCE = 5.0
"""Seconds that fetching the default dataset may take before its stand-in is used."""


def load_graph(
    dataset: str | os.PathLike[str] | None = None,
    *,
    split: str | None = None,
    undirected: bool = False,
    unknown: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
    target: str | Iterable[str] = (),
    max_memory: int | str | None = None,
    accept_checksum: bool = False,
    announce: Callable[[str], None] | None = None,
) -> Graph:
    """A graph by name (see `dataset_names`) or by path.

    dataset: a name; or a folder with nodes.csv and edges.csv (or both as .parquet); or an .npz file in the
        layout of Shchur et al. 2018, a .graphml or a .gml file. docs/data.md describes each. None means cora if
        it is at hand (PORTGNN_DATA, cache) or can be fetched within seconds, and else csbm-cora; `announce` and
        the graph's notes then say so. A dataset that was named is never replaced.
    split: how to split the nodes; see `portgnn.datasets.splits.with_split`. None keeps what the data has.
    undirected: store each edge in both directions, where the data is directed. The graph's notes say so.
    unknown: labels that stand for none, beside those that always do (empty, NaN, -1 among whole numbers).
    ignore: columns (attributes) that are left out, whatever they hold.
    max_memory: bytes, or a text such as "2GiB", that reading a file may take however small the file is; 256 MiB, or
        what the environment's PORTGNN_MAX_MEMORY says. Reading may always take 100 times the file's size.
    accept_checksum: use a file of which portgnn knows no checksum, and keep the one that it has: a later file that
        differs is refused. Without it, the first download is kept aside, and the message says its checksum.
    target: columns (attributes) of the nodes that are `Graph.targets`, in place of features and of the label; in
        tables, empty where unknown.
    announce: called with what a user should know while this goes on: for a file, all that its reader noted.

    Raises DatasetError if there is no such dataset or its files are not what they should be, DownloadError (a
    DatasetError) if a file of a named dataset cannot be fetched, ConfigError or GraphError for a split that
    cannot be made.
    """
    choice = texts(unknown, "unknown"), texts(ignore, "ignore"), texts(target, "target")
    with memory_limit(max_memory), accepting(accept_checksum):
        graph = targeted(_load(None if dataset is None else os.fspath(dataset), announce, *choice), choice[2])
    if undirected and not graph.is_undirected:
        graph = graph.symmetrized()
    if split is None:
        return graph
    if split == "public" and dataset is not None and dataset not in DATASETS:
        raise ConfigError(
            f"{dataset} has no public split; type --split given for the one in its files, or "
            f"--split random:20:30. Public splits: {', '.join(DATASETS)}."
        )
    return with_split(graph, split)


def _load(
    dataset: str | None,
    announce: Callable[[str], None] | None,
    unknown: tuple[str, ...],
    ignore: tuple[str, ...],
    target: tuple[str, ...],
) -> Graph:
    if dataset is None:
        return selected(_default_graph(announce), unknown, ignore)
    if dataset in DATASETS:
        return selected(DATASETS[dataset].load(announce=announce), unknown, ignore)
    if is_graph_set(dataset):
        raise DatasetError(f"{shortened(dataset)} is a set of graphs and not one graph; take portgnn.load_graphs")
    path = Path(dataset)
    if not dataset or not exists(path):
        raise DatasetError(
            f"There is no dataset {shortened(dataset)!r}, and no file or folder of that name."
            f"{near_matches(dataset, [*DATASETS, *COLLECTIONS])}"
        )
    graph = _read(path, unknown, ignore, target)
    if announce is not None:
        for note in graph.notes:
            announce(f"{graph.name}: {note}.")
    if not graph.is_undirected:
        graph = replace(graph, notes=(*graph.notes, _directions(graph)))
    return graph


def _directions(graph: Graph) -> str:
    """What makes a graph a directed one."""
    stored = graph.adjacency.nnz
    there = graph.adjacency.astype(bool).astype(np.int64)
    both = int(there.multiply(there.T).nnz)
    different = int((graph.adjacency != graph.adjacency.T).nnz) - 2 * (stored - both)
    parts = [f"{stored - both} of {stored} edges go one way"] if stored > both else []
    parts += [f"{different} of {stored} edges weigh something else than their way back"] if different else []
    return f"directed: {', '.join(parts)}"


def _read(path: Path, unknown: tuple[str, ...], ignore: tuple[str, ...], target: tuple[str, ...]) -> Graph:
    if is_folder(path) and path.suffix == ".graph":
        from portgnn.disk.folder import DiskGraph

        return selected(DiskGraph(path).load(), unknown, ignore)
    if path.suffix.lower() == ".zip" or is_file(path / "raw" / "edge.csv.gz"):
        from portgnn.datasets._ogb import read_ogb

        return selected(read_ogb(path), unknown, ignore)
    if is_folder(path):
        from portgnn.datasets._tables import read_folder

        return read_folder(path, unknown, ignore, target)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        from portgnn.datasets._npz import read_npz

        return read_npz(path, unknown, ignore)
    if suffix in (".graphml", ".gml"):
        from portgnn.datasets._graphml import read_markup

        return read_markup(path, unknown, ignore)
    if suffix in (".csv", ".parquet"):
        raise DatasetError(
            f"{path} is one table of two; name the folder that holds nodes{suffix} and edges{suffix}: {path.parent}"
        )
    raise DatasetError(
        f"{path} is a file of no known kind; known: a folder with nodes.csv and edges.csv, .npz, .graphml, .gml, "
        "OGB's .zip"
    )


def dataset_names() -> tuple[str, ...]:
    """The names that `load_graph` knows."""
    return tuple(DATASETS)


def fetch_files(
    name: str, *, accept_checksum: bool = False, announce: Callable[[str], None] | None = None
) -> list[Path]:
    """The checked files of a dataset that has a name, fetched where they are not at hand; none of a bundled one.

    accept_checksum, announce: see `load_graph`. Raises DatasetError, DownloadError.
    """
    known = {each: dataset.files for each, dataset in DATASETS.items()}
    known |= {each: (found.file,) for each, found in COLLECTIONS.items()}
    if name not in known:
        raise DatasetError(f"There is no dataset {shortened(name)!r}.{near_matches(name, known)}")
    with accepting(accept_checksum):
        return fetch_all(known[name], announce=announce)


def describe_datasets() -> list[dict[str, Any]]:
    """One record for each dataset, fit for JSON.

    Keys: name, description, source, paper, licence (text), nodes, edges, features, classes (int), at_hand
    ("bundled", "PORTGNN_DATA", "cache", or None where it has to be fetched). Raises DatasetError if
    PORTGNN_DATA names no folder.
    """
    texts = ("name", "description", "source", "paper", "licence", "nodes", "edges", "features", "classes")
    return [{key: getattr(entry, key) for key in texts} | {"at_hand": entry.at_hand()} for entry in DATASETS.values()]


def describe_graph_sets() -> list[dict[str, Any]]:
    """One record for each set of graphs that has a name: name, description, source, paper, licence, graphs, classes and
    at_hand, as in `describe_datasets`.
    """
    keys = ("name", "description", "source", "paper", "licence", "graphs", "classes")
    return [{key: getattr(each, key) for key in keys} | {"at_hand": each.at_hand()} for each in COLLECTIONS.values()]


def _default_graph(announce: Callable[[str], None] | None) -> Graph:
    try:
        return DATASETS[DEFAULT].load(within=PATIENCE, announce=announce)
    # Only what the net is to blame for: damaged files in PORTGNN_DATA are for the user to see to.
    except DownloadError as error:
        reason = str(error)
    note = (
        f"NOT {DEFAULT}: no dataset was named and {DEFAULT} could not be had, so the synthetic "
        f"{STAND_IN} takes its place; accuracies on it say nothing about {DEFAULT}"
    )
    if announce is not None:
        announce(f"WARNING: {note}. Why: {reason} Name the dataset to make this an error.")
    graph = DATASETS[STAND_IN].load()
    # The reason stays out of the notes: it names the user's folders, and notes end up in published results.
    return replace(graph, notes=(*graph.notes, note))
