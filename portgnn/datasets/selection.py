"""What a user leaves out of a graph: columns (`ignore`) and classes that stand for "unknown" (`unknown`)."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from portgnn.errors import ConfigError, DatasetError
from portgnn.graphs.checks import bare, checked_labels
from portgnn.graphs.graph import UNLABELLED, Graph

_INDICES = ("index", "level_0", "__index_level_0__", "row", "rownames")
_COLOURS, _PLACES, _DRAWN = {"r", "g", "b"}, {"x", "y"}, ("r", "g", "b", "a", "x", "y", "z", "size")
_LISTED = 12


def texts(given: str | Iterable[str] | None, what: str) -> tuple[str, ...]:
    """A text or several as a tuple. Raises ConfigError for anything else."""
    found = (given,) if isinstance(given, str) else tuple(given or ())
    if not all(isinstance(text, str) for text in found):
        raise ConfigError(f"{what}={found!r} must be a text or a list of texts")
    return found


def check_ignored(ignore: Iterable[str], columns: Iterable[str], where: str, needed: Iterable[str] = ()) -> None:
    """Raises DatasetError for a name in `ignore` that is no column, or one of those that a graph needs."""
    known = list(dict.fromkeys(columns))
    for name in ignore:
        if name in needed:
            raise DatasetError(f"{where}: the column {name!r} cannot be left out")
        if name not in known:
            near = difflib.get_close_matches(name, known[:1000], n=3, cutoff=0.65)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            more = ", …" if len(known) > _LISTED else ""
            listed = ", ".join(each[:40] for each in known[:_LISTED]) or "none"
            raise DatasetError(f"{where} has no column {name!r} to leave out.{hint} Known: {listed}{more}.")


def feature_doubts(names: Sequence[str], columns: Mapping[str, object]) -> list[str]:
    """Notes on features that may be none: the number of a row, and where and how a node is drawn.

    columns: name -> numbers [n], of those columns that can be looked at.
    """
    counting = [
        name
        for name in names
        if name.lower() in _INDICES or name.startswith("Unnamed: ") or _counts_rows(columns.get(name))
    ]
    drawn = [name for name in names if name.lower() in _DRAWN]
    lower = {name.lower() for name in drawn}
    notes = []
    if counting:
        notes.append(f"{_listed(counting)} may be row numbers and no feature; {advice(counting)}")
    if lower >= _COLOURS or lower >= _PLACES:
        notes.append(f"{_listed(drawn)} may describe a drawing and be no features; {advice(drawn)}")
    return notes


def _counts_rows(column: Any) -> bool:
    if column is None or len(column) < 4:
        return False
    return bool(column[0] in (0, 1) and (np.diff(column) == 1).all())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"feature{'s' if len(names) > 1 else ''} {', '.join(repr(name[:40]) for name in names[:_LISTED])}{more}"


def advice(names: Sequence[str]) -> str:
    """What to type to leave columns out."""
    more = " …" if len(names) > 3 else ""
    return f"leave out with {' '.join(f'--ignore {_shell(name)}' for name in names[:3])}{more}"


def _shell(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else "'" + name.replace("'", "'\\''") + "'"


def with_bare_classes(labels: Any, names: Sequence[str]) -> tuple[Any, tuple[str, ...], list[str]]:
    """Labels [n] or None and class names that a file holds, without the space around names; a note says so.

    Names that only space tells apart become one class. Labels that are no numbers of these classes come back as they
    are, for `Graph` to refuse.
    """
    found = [bare(name) for name in names]
    if found == list(names):
        return labels, tuple(names), []
    distinct = tuple(dict.fromkeys(found))
    notes = ["names of classes had space around them, which was taken off"]
    if labels is None or len(distinct) == len(set(names)):
        return labels, distinct, notes
    known = checked_labels(labels, len(labels), len(names)) if np.ndim(labels) == 1 else None
    number = np.array([*map(distinct.index, found), UNLABELLED])  # -1 takes the last
    return labels if known is None else number[known], distinct, notes


def selected(graph: Graph, unknown: Collection[str], ignore: Collection[str]) -> Graph:
    """A graph that was read already, without the columns in `ignore` and with the classes in `unknown` unknown.

    Columns are the features' names, label and split. Raises DatasetError for a name that is none.
    """
    if ignore:
        has = {"label": graph.labels is not None, "split": graph.train is not None}
        check_ignored(ignore, [*graph.feature_names, *(name for name, there in has.items() if there)], graph.name)
        graph = _without_columns(graph, set(ignore))
    if unknown:
        graph = _without_classes(graph, [text.strip() for text in unknown])
    return graph


def targeted(graph: Graph, target: Sequence[str]) -> Graph:
    """The graph with these columns as its targets, in place of features and of the label.

    Raises DatasetError for a name that is none.
    """
    if not target or graph.target_names == tuple(target):
        return graph
    missing = [name for name in target if name not in graph.feature_names]
    if missing:
        near = difflib.get_close_matches(missing[0], graph.feature_names, n=3, cutoff=0.65)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        listed = ", ".join(each[:40] for each in graph.feature_names[:_LISTED]) or "none"
        raise DatasetError(f"{graph.name} has no column {missing[0]!r} to learn.{hint} Known: {listed}.")
    at = [graph.feature_names.index(name) for name in target]
    columns: Any = graph.features[:, at]
    values = columns.toarray() if sp.issparse(columns) else columns
    rest = _without_columns(graph, {*target, *({"label"} if graph.labels is not None else ())})
    parts = {name: getattr(graph, name) for name in ("train", "val", "test")}
    return replace(rest, targets=values, target_names=tuple(target), **parts)


def _without_columns(graph: Graph, ignore: set[str]) -> Graph:
    changes: dict[str, Any] = {}
    if "label" in ignore:
        changes |= {"labels": None, "class_names": ()}
    if ignore & {"label", "split"}:
        changes |= {"train": None, "val": None, "test": None, "stored_splits": ()}
    kept = [at for at, name in enumerate(graph.feature_names) if name not in ignore]
    if len(kept) < len(graph.feature_names):
        changes["features"] = graph.features[:, kept] if kept else sp.eye_array(graph.num_nodes, format="csr")
        changes["feature_names"] = tuple(graph.feature_names[at] for at in kept)
        if not kept:
            changes["notes"] = (*graph.notes, "features are the identity: all others are left out")
    return replace(graph, **changes)


def _without_classes(graph: Graph, unknown: Sequence[str]) -> Graph:
    gone = [name for name in graph.class_names if name in unknown]
    absent = [text for text in unknown if text not in graph.class_names and text not in ("", str(UNLABELLED))]
    notes = (*graph.notes, *(f"the label {text!r}, declared unknown, is at no node" for text in absent))
    if not gone or graph.labels is None:
        return replace(graph, notes=notes)
    kept = [name for name in graph.class_names if name not in gone]
    number = np.array([*(kept.index(name) if name in kept else UNLABELLED for name in graph.class_names), UNLABELLED])
    labels = number[graph.labels]  # -1 takes the last
    return replace(graph, labels=labels if kept else None, class_names=tuple(kept), notes=notes)
