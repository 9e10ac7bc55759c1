"""Sets of graphs by name or by path: those of the TU collection, its archives, and tables of a user's own."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from portgnn._system.files import exists, is_folder
from portgnn._system.untrusted import memory_limit
from portgnn.datasets._archive import Archive
from portgnn.datasets._collections import COLLECTIONS
from portgnn.datasets._pins import accepting
from portgnn.datasets._set_tables import has_set, read_set
from portgnn.datasets._tu import is_tu, read_tu
from portgnn.datasets.selection import check_ignored, selected, texts
from portgnn.datasets.splits import with_split
from portgnn.errors import DatasetError, near_matches
from portgnn.graphs.graph import UNLABELLED
from portgnn.graphs.sets import GraphSet
from portgnn.text import shortened


def load_graphs(
    dataset: str | os.PathLike[str],
    *,
    split: str | None = None,
    unknown: str | Iterable[str] = (),
    ignore: str | Iterable[str] = (),
    max_memory: int | str | None = None,
    accept_checksum: bool = False,
    announce: Callable[[str], None] | None = None,
) -> GraphSet:
    """A set of graphs by name (MUTAG, PROTEINS, ENZYMES, NCI1, …; see `graph_set_names`) or by path.

    dataset: a name; or a `.zip` or folder in the layout of the TU collection; or a folder with nodes.csv and edges.csv
        (or both as .parquet) that have a column `graph`. docs/graph-sets.md describes each.
    split: how to split the graphs, such as "folds:10:0"; see `portgnn.datasets.splits.with_split`.
    unknown: labels that stand for none. ignore: features that are left out.
    max_memory, accept_checksum, announce: see `portgnn.load_graph`.

    Raises DatasetError if there is no such set or its files are not what they should be, DownloadError if a file cannot
    be fetched, ConfigError or GraphError for a split that cannot be made.
    """
    given, left_out = texts(unknown, "unknown"), texts(ignore, "ignore")
    with memory_limit(max_memory), accepting(accept_checksum):
        graphs = _load(os.fspath(dataset), given, left_out, announce)
    return graphs if split is None else with_split(graphs, split)


def graph_set_names() -> tuple[str, ...]:
    """The names that `load_graphs` knows."""
    return tuple(COLLECTIONS)


def is_graph_set(dataset: object) -> bool:
    """Whether a name or a path is that of a set of graphs. Raises DatasetError for an archive that is damaged."""
    if not isinstance(dataset, str | os.PathLike):
        return False
    if os.fspath(dataset) in COLLECTIONS:
        return True
    path = Path(dataset)
    if not exists(path):
        return False
    if not is_folder(path):
        return path.suffix.lower() == ".zip" and is_tu(Archive(path))
    if any(exists(path / f"nodes{suffix}") for suffix in (".csv", ".parquet")):
        return has_set(path)
    return any(path.glob("*_graph_indicator.txt")) or any(path.glob("*/*_graph_indicator.txt"))


def _load(
    dataset: str, unknown: tuple[str, ...], ignore: tuple[str, ...], announce: Callable[[str], None] | None
) -> GraphSet:
    if dataset in COLLECTIONS:
        return selected_set(COLLECTIONS[dataset].load(announce=announce), unknown, ignore)
    path = Path(dataset)
    if not dataset or not exists(path):
        raise DatasetError(
            f"There is no set of graphs {shortened(dataset)!r}, and no file or folder of that name."
            f"{near_matches(dataset, COLLECTIONS)}"
        )
    tables = is_folder(path) and any(exists(path / f"nodes{suffix}") for suffix in (".csv", ".parquet"))
    graphs = read_set(path, unknown, ignore) if tables else selected_set(read_tu(path), unknown, ignore)
    if announce is not None:
        for note in graphs.notes:
            announce(f"{graphs.name}: {note}.")
    return graphs


def selected_set(graphs: GraphSet, unknown: Collection[str], ignore: Collection[str]) -> GraphSet:
    """A set without the features in `ignore`, and with the classes in `unknown` unknown.

    Raises DatasetError for a feature that there is not.
    """
    if ignore:
        check_ignored(ignore, graphs.feature_names, graphs.name)
        graphs = replace(graphs, union=selected(graphs.union, (), ignore))
    gone = [name for name in graphs.class_names if name in {text.strip() for text in unknown}]
    if gone and graphs.labels is not None:
        kept = [name for name in graphs.class_names if name not in gone]
        number = [kept.index(name) if name in kept else UNLABELLED for name in graphs.class_names]
        labels = np.array([*number, UNLABELLED])[graphs.labels]  # -1 takes the last
        graphs = replace(graphs, labels=labels if kept else None, class_names=tuple(kept))
    return graphs
