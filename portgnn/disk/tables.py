"""`nodes.parquet` and `edges.parquet` as a NAME.graph folder, without either being held."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn._system.files import is_file
from portgnn.disk.folder import DiskGraph
from portgnn.disk.streamed import parquet_blocks, write_streamed
from portgnn.errors import DatasetError
from portgnn.graphs.graph import UNLABELLED

PARTS = ("train", "val", "test")


def write_tables(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], ignore: Collection[str] = ()
) -> DiskGraph:
    """Writes the graph of a folder's tables as they are read: undirected, without weights.

    nodes.parquet: node i is row i; `id`, where there is one, says so; `label` holds whole numbers from 0 on, -1 or
    nothing where none is known, `split` train, val, test or nothing, and every other column numbers: the features.
    edges.parquet: `source` and `target`, numbers of nodes. ignore: columns of the nodes to leave out.

    Raises DatasetError for tables that are not so, and as `write_streamed` does. Needs pyarrow.
    """
    place = Path(folder)
    nodes, edges = place / "nodes.parquet", place / "edges.parquet"
    for path in (nodes, edges):
        if not is_file(path):
            raise DatasetError(f"{path} is missing: convert --streamed reads nodes.parquet and edges.parquet")
    count, names = _schema(nodes)
    if "weight" in _schema(edges)[1]:
        raise DatasetError(f"{edges} has weights; convert it without --streamed, or leave the column out")
    _check_ids(nodes, names)
    labels = _labels(nodes, count) if "label" in names and "label" not in ignore else None
    splits = _splits(nodes, count, labels) if "split" in names else {}
    features = [name for name in names if name not in {"id", "label", "split", *ignore}]
    if not features:
        raise DatasetError(f"{nodes} has no column of features")
    blocks = parquet_blocks(edges, ["source", "target"]), parquet_blocks(nodes, features)
    return write_streamed(out, *blocks, count, labels=labels, name=place.name, feature_names=tuple(features), **splits)


def _schema(path: Path) -> tuple[int, list[str]]:
    """Rows and names of columns."""
    from pyarrow import lib, parquet

    try:
        with parquet.ParquetFile(path) as file:
            return file.metadata.num_rows, list(file.schema_arrow.names)
    except (OSError, lib.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from None


def _columns(path: Path, name: str) -> Iterator[Any]:
    """A column's pieces, as pyarrow has them."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(1 << 16, columns=[name]):
            yield batch.column(0)


def _check_ids(path: Path, names: list[str]) -> None:
    row = 0
    for block in parquet_blocks(path, ["id"]) if "id" in names else ():
        wrong = np.flatnonzero(block[:, 0] != np.arange(row, row + len(block)))
        if len(wrong):
            raise DatasetError(
                f"{path}: row {row + wrong[0]} has id {block[wrong[0], 0]}; --streamed wants node i in row i: number "
                "the nodes, or convert without --streamed"
            )
        row += len(block)


def _labels(path: Path, count: int) -> NDArray[np.int64]:
    from pyarrow import types

    labels, row = np.full(count, UNLABELLED, dtype=np.int64), 0
    for piece in _columns(path, "label"):
        if not types.is_integer(piece.type):
            raise DatasetError(f"{path}: label holds {piece.type}; --streamed wants whole numbers: number the classes")
        labels[row : row + len(piece)] = piece.fill_null(UNLABELLED).to_numpy(zero_copy_only=False)
        row += len(piece)
    return labels


def _splits(path: Path, count: int, labels: NDArray[np.int64] | None) -> dict[str, Any]:
    """The nodes of each part; those without a label are in none."""
    owner, row = np.full(count, -1, dtype=np.int8), 0
    for piece in _columns(path, "split"):
        for number, value in enumerate(piece.to_pylist(), start=row):
            if value not in (*PARTS, "", None):
                raise DatasetError(f"{path}: row {number} is in split {str(value)[:40]!r}; it is train, val or test")
            owner[number] = PARTS.index(value) if value else -1
        row += len(piece)
    if labels is not None:
        owner[labels == UNLABELLED] = -1
    return {name: np.flatnonzero(owner == at) for at, name in enumerate(PARTS) if (owner == at).any()}
