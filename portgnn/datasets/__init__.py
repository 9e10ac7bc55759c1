"""Datasets by name: Cora, Citeseer and Pubmed as published, and two graphs that come with portgnn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from portgnn.datasets.catalog import DATASETS, Dataset
from portgnn.errors import DatasetError, DownloadError, near_matches
from portgnn.graph import Graph

__all__ = ["Dataset", "dataset_names", "describe_datasets", "load_graph"]

DEFAULT = "cora"
STAND_IN = "csbm-cora"
PATIENCE = 5.0
"""Seconds that fetching the default dataset may take before its stand-in is used."""


def load_graph(dataset: str | None = None, *, announce: Callable[[str], None] | None = None) -> Graph:
    """A graph by name; see `dataset_names`.

    dataset: a name. None means cora if it is at hand (PORTGNN_DATA, cache) or can be fetched within seconds,
        and else csbm-cora; `announce` and the graph's notes then say so. A dataset that was named is never
        replaced.
    announce: called with what a user should know while this goes on.

    Raises DatasetError if there is no such dataset or its files are not what they should be, DownloadError (a
    DatasetError) if a file of a named dataset cannot be fetched.
    """
    if dataset is None:
        return _default_graph(announce)
    if dataset in DATASETS:
        return DATASETS[dataset].load(announce=announce)
    # Readers for a user's own files branch off here, on what the path holds.
    if dataset and Path(dataset).exists():
        raise DatasetError(f"{dataset} is a path; load_graph takes the name of a dataset."
                           f"{near_matches(dataset, DATASETS)} For a graph of your own, make one with "
                           "portgnn.Graph.from_edges.")
    raise DatasetError(f"There is no dataset {dataset!r}, and no file or folder of that name."
                       f"{near_matches(dataset, DATASETS)}")


def dataset_names() -> tuple[str, ...]:
    """The names that `load_graph` knows."""
    return tuple(DATASETS)


def describe_datasets() -> list[dict[str, Any]]:
    """One record for each dataset, fit for JSON.

    Keys: name, description, source, paper, licence (text), nodes, edges, features, classes (int), at_hand
    ("bundled", "PORTGNN_DATA", "cache", or None where it has to be fetched). Raises DatasetError if
    PORTGNN_DATA names no folder.
    """
    texts = ("name", "description", "source", "paper", "licence", "nodes", "edges", "features", "classes")
    return [{key: getattr(entry, key) for key in texts} | {"at_hand": entry.at_hand()}
            for entry in DATASETS.values()]


def _default_graph(announce: Callable[[str], None] | None) -> Graph:
    try:
        return DATASETS[DEFAULT].load(within=PATIENCE, announce=announce)
    # Only what the net is to blame for: damaged files in PORTGNN_DATA are for the user to see to.
    except DownloadError as error:
        reason = str(error)
    note = (f"NOT {DEFAULT}: no dataset was named and {DEFAULT} could not be had, so the synthetic "
            f"{STAND_IN} takes its place; accuracies on it say nothing about {DEFAULT}")
    if announce is not None:
        announce(f"WARNING: {note}. Why: {reason} Name the dataset to make this an error.")
    graph = DATASETS[STAND_IN].load()
    # The reason stays out of the notes: it names the user's folders, and notes end up in published results.
    return replace(graph, notes=(*graph.notes, note))
