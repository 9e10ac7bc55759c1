"""Pairs of nodes out of a table, as a graph's edges are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portgnn.datasets._columns import Table, read_csv, read_parquet
from portgnn.errors import DatasetError
from portgnn.graphs.graph import Graph

ENDS = ("source", "target")
_READERS = {".csv": read_csv, ".parquet": read_parquet}


def read_pairs(path: Path, graph: Graph) -> NDArray[np.int64]:
    """The pairs [m, 2] of a .csv or .parquet with the columns `source` and `target`: names of nodes, which are their
    numbers where the graph has no others. Other columns are left out, so that what `predict` writes can be read again.

    Raises DatasetError naming file, line and column.
    """
    if path.suffix not in _READERS:
        raise DatasetError(f"pairs of nodes are read from {' or '.join(_READERS)}, and not from {path}")
    others: list[str] = []
    _READERS[path.suffix](path, lambda name: True, lambda where, names: others.extend(_others(where, names)))
    table = _READERS[path.suffix](path, lambda name: True, ignore=others)
    ids = map(str, range(graph.num_nodes) if graph.node_ids is None else graph.node_ids.tolist())
    places = {name: at for at, name in enumerate(ids)}
    return np.stack([_numbers(table, column, places, graph.name) for column in ENDS], axis=1)


def _others(path: Path, names: list[str]) -> list[str]:
    if not set(ENDS) <= set(names):
        found = ",".join(names[:8])[:200]
        raise DatasetError(f"{path} has the columns {found!r}; its first line must be source,target")
    return [name for name in names if name not in ENDS]


def _numbers(table: Table, column: str, places: dict[str, int], graph: str) -> NDArray[np.int64]:
    names = table.text[column]
    found = np.array([places.get(name, -1) for name in names], dtype=np.int64)
    wrong = np.flatnonzero(found < 0)
    if len(wrong):
        row = int(wrong[0])
        raise DatasetError(f"{table.where(row, column)}: node {names[row][:40]!r} is not in {graph}")
    return found
