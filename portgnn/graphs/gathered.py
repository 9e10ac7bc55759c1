"""Many graphs of other libraries, as arguments of `portgnn.graphs.sets.GraphSet`; and features of nodes without any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.errors import GraphError
from portgnn.graphs.arrays import host
from portgnn.graphs.graph import Graph


def degree_features(degrees: NDArray[np.int64], most: int = 1000) -> tuple[Any, tuple[str, ...], str]:
    """Features [n, f] of nodes that have none, their names, and a note: one-hot degrees, or where one is above `most`
    the logarithm of 1 + degree (Errica et al. 2020, section 4, takes degrees for social networks).
    """
    largest = int(degrees.max(initial=0))
    if largest > most:
        return (
            np.log1p(degrees)[:, None].astype(np.float64),
            ("log degree",),
            "features are log(1 + degree): there are none",
        )
    kept, at = np.unique(degrees, return_inverse=True)
    matrix = sp.csr_array((np.ones(len(degrees)), at, np.arange(len(degrees) + 1)), shape=(len(degrees), len(kept)))
    return matrix, tuple(f"degree {value}" for value in kept), "features are the degrees, one-hot: there are none"


def read_many(
    cls: Any, given: Iterable[Any], read: Callable[..., Graph], target: Callable[[object], object], labels: Any,
    targets: Any, fields: dict[str, Any], options: dict[str, Any],
) -> Any:  # fmt: skip
    """A set of other libraries' graphs. read: makes a `Graph` of one. target: what it says of a graph's target."""
    own = set(cls.__dataclass_fields__)
    options = options | {name: value for name, value in fields.items() if name not in own}
    fields = {name: value for name, value in fields.items() if name in own}
    listed, made, bare = list(given), [], 0
    for at, each in enumerate(listed):
        try:
            graph, featureless = _one(each, read, options)
        except GraphError as error:
            raise GraphError(f"graph {at}: {error}") from None
        made.append(graph)
        bare += featureless
    if bare and bare < len(listed):
        raise GraphError(f"{bare} of {len(listed)} graphs have no features; give all graphs the same, or none of them")
    notes = fields.pop("notes", ())
    if bare:
        degrees = np.concatenate([np.diff(graph.adjacency.indptr) for graph in made]).astype(np.int64)
        matrix, names, note = degree_features(degrees)
        ends = np.cumsum([graph.num_nodes for graph in made])
        parts = zip(made, ends, strict=True)
        made = [
            replace(graph, features=matrix[end - graph.num_nodes : end], feature_names=names) for graph, end in parts
        ]
        notes = (*notes, note)
    if labels is None and targets is None:
        labels, targets = as_labels([target(each) for each in listed])
    if labels is not None:
        labels, names = _named(labels, fields.get("class_names", ()))
        fields = {"class_names": names} | fields if names else fields
    return cls.of(made, labels, targets, notes=notes, **fields)


def _one(given: object, read: Callable[..., Graph], options: dict[str, object]) -> tuple[Graph, bool]:
    """A graph, and whether its features are the identity for want of any: in a set each graph's would be its own."""
    graph = read(given, **options)
    missing = any(note.startswith("features are the identity") for note in graph.notes)
    return replace(graph, features=np.ones((graph.num_nodes, 1)), feature_names=()) if missing else graph, missing


def as_labels(values: Sequence[object]) -> tuple[object, object]:
    """(labels, targets) of what graphs say of themselves; (None, None) where one says nothing."""
    if not values or any(value is None for value in values):
        return None, None
    arrays = [np.asarray(value).reshape(-1) for value in values]
    if len({len(array) for array in arrays}) > 1:
        raise GraphError("graphs have targets of different lengths; give labels= or targets=")
    joined = np.stack(arrays)
    if joined.shape[1] == 1 and joined.dtype.kind in "iubUSO":
        return joined[:, 0], None
    return None, joined


def _named(labels: object, names: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """Labels as numbers, and the classes' names where they were texts."""
    array = np.asarray(host(labels, "labels"))
    if array.dtype.kind not in "US" or names:
        return labels, ()
    kept, at = np.unique(array, return_inverse=True)
    return at.astype(np.int64), tuple(map(str, kept))


def label_of_networkx(graph: object) -> Any:
    return getattr(graph, "graph", {}).get("label")


def y_of_pyg(data: object) -> Any:
    y = getattr(data, "y", None)
    return None if y is None else host(y, "y")


def dense(features: object) -> NDArray[np.generic]:
    return np.asarray(features.toarray() if isinstance(features, sp.csr_array) else features)
