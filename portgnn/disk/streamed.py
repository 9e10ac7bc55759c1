"""A NAME.graph folder of edges and features that come some at a time: never held together, whatever their number.

Edges go into buckets by the range of their rows, a number of 64 bits each (row, column), both ways; each bucket is then
sorted alone. In memory lie one bucket, one block of what comes, and what a node costs: 8 bytes of row pointers, 4 of
its loop's place, its label and its part of the split. On the disk lie, beside the folder, 16 bytes an edge until it is
done. What is written is what `portgnn.disk.folder.write_graph` writes of the same graph, byte for byte.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portgnn._system.files import exists, reason, whole_folder
from portgnn.disk._header import FORMAT, VERSION, save_array
from portgnn.disk._mapped import Hashing, Mapped
from portgnn.disk.folder import SUFFIX, DiskGraph
from portgnn.errors import DatasetError, GraphError
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.checks import checked_classes, checked_labels, checked_splits
from portgnn.graphs.fingerprint import Digest
from portgnn.text import shortened

BUCKETS = 64
"""Ranges of rows: of 10^9 edges each holds some 250 MB."""
BLOCK = 1 << 20
"""Rows of a Parquet file, or numbers of an array, that are looked at together."""


@dataclass(frozen=True, eq=False)
class Described:
    """What is known of the nodes, as in `Graph`; each array [n], or the numbers of a part's nodes."""

    labels: NDArray[np.int64] | None
    train: NDArray[np.int64] | None
    val: NDArray[np.int64] | None
    test: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    targets: None = None


def write_streamed(
    path: str | os.PathLike[str],
    edges: Iterable[NDArray[Any]],
    features: Iterable[NDArray[Any]],
    num_nodes: int,
    *,
    labels: ArrayLike | None = None,
    class_names: tuple[str, ...] = (),
    feature_names: tuple[str, ...] = (),
    name: str = "graph",
    **splits: ArrayLike | None,
) -> DiskGraph:
    """Writes an undirected graph without weights as a folder NAME.graph, whole or not at all.

    edges: blocks [m, 2] of node numbers, in any order; each edge counts in both directions, and once however often it
    comes. features: blocks [m, f] of numbers, the nodes' rows in their order; kept as float32. labels: [n], -1 where
    none is known. splits: train, val, test.

    Raises GraphError for numbers that make no graph, DatasetError where the folder cannot be written.
    """
    target = Path(path)
    if target.suffix != SUFFIX:
        raise DatasetError(f"{target} must end in {SUFFIX}, so that it is known for what it is")
    if exists(target) or os.path.islink(target):
        raise DatasetError(f"{target} exists already; remove it, or name another folder")
    known = _described(num_nodes, labels, class_names, splits)
    try:
        with whole_folder(target) as part:
            checksums = {}
            width, checksums["features"] = _write_features(part / "features.npy", features, num_nodes)
            repeated = _fill_buckets(part, edges, num_nodes)
            adjacency = _Adjacency(part, num_nodes)
            adjacency.write(checksums)
            repeated = (repeated - adjacency.kept + adjacency.loops_kept) // 2
            for small in ("labels", "train", "val", "test"):
                array = getattr(known, small)
                if array is not None:
                    checksums[small] = save_array(part / f"{small}.npy", array)
            structure, whole = _fingerprints(part, adjacency, known, num_nodes, width)
            notes = [f"{repeated} repeated edges counted once"] if repeated else []
            header = {
                "format": FORMAT, "version": VERSION, "name": name, "nodes": num_nodes, "features": width,
                "edges": (adjacency.kept - adjacency.loops_kept) // 2 + adjacency.loops_kept, "undirected": True,
                "class_names": list(known.class_names), "feature_names": list(feature_names), "notes": notes,
                "target_names": [],
                "structure": structure, "fingerprint": whole, "weighted": False, "sparse_features": False,
                "checksums": checksums,
            }  # fmt: skip
            (part / "header.json").write_text(json.dumps(header), encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"cannot write {shortened(str(target))}: {reason(error)}") from None
    return DiskGraph(target)


def parquet_blocks(path: str | os.PathLike[str], columns: list[str] | None = None) -> Iterator[NDArray[Any]]:
    """Blocks [m, columns] of numbers of a Parquet file, BLOCK values or fewer at a time. columns: by default all.

    Raises DatasetError for columns that are not there or hold something else than numbers. Needs pyarrow.
    """
    from pyarrow import lib, parquet, types

    try:
        with parquet.ParquetFile(path) as file:
            names = columns or file.schema_arrow.names
            for name in names:
                at = file.schema_arrow.get_field_index(name)
                if at < 0:
                    raise DatasetError(f"{path} has no column {name}; it has {', '.join(file.schema_arrow.names[:9])}")
                kind = file.schema_arrow.field(at).type
                if not (types.is_integer(kind) or types.is_floating(kind)):
                    raise DatasetError(f"{path}: column {name} holds {kind}, and no numbers")
            for batch in file.iter_batches(max(BLOCK // len(names), 1), columns=names):
                if any(column.null_count for column in batch.columns):
                    raise DatasetError(f"{path} has empty cells")
                yield np.stack([column.to_numpy(zero_copy_only=False) for column in batch.columns], axis=1)
    except (OSError, lib.ArrowException) as error:
        raise DatasetError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from None


def _described(
    n: int, labels: ArrayLike | None, class_names: tuple[str, ...], splits: dict[str, ArrayLike | None]
) -> Described:
    unknown = set(splits) - {"train", "val", "test"}
    if unknown:
        raise TypeError(f"write_streamed has no argument {sorted(unknown)[0]}")
    found = checked_labels(None if labels is None else np.asarray(labels), n, len(class_names))
    if not class_names and found is not None:
        class_names = tuple(str(each) for each in range(int(found.max(initial=-1)) + 1))
    parts = checked_splits({each: splits.get(each) for each in ("train", "val", "test")}, n, found)
    return Described(found, parts["train"], parts["val"], parts["test"], checked_classes(class_names))


def _write_features(path: Path, blocks: Iterable[NDArray[Any]], n: int) -> tuple[int, str]:
    """How many columns there are, and the file's checksum."""
    file, rows, width = Hashing(path), 0, None
    try:
        for block in blocks:
            if block.ndim != 2 or (width is not None and block.shape[1] != width):
                raise GraphError(f"features come as blocks [m, f] of one width, and this one is {list(block.shape)}")
            if width is None:
                width = block.shape[1]
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "<f4", "fortran_order": False, "shape": (n, width)}
                )
            with np.errstate(over="ignore"):
                kept = np.ascontiguousarray(block, dtype="<f4")
            if not np.isfinite(kept).all():
                at = rows + int(np.flatnonzero(~np.isfinite(kept).all(axis=1))[0])
                raise GraphError(f"features of node {at} are not all finite in float32")
            file.write(kept.data)
            rows += len(block)
        if rows != n or not width:
            raise GraphError(f"there are features of {rows} nodes, and {n} nodes")
    finally:
        checksum = file.close()
    return width, checksum


def _fill_buckets(part: Path, edges: Iterable[NDArray[Any]], n: int) -> int:
    """Writes every edge both ways into the bucket of its row; how many numbers there are."""
    total = 0
    with ExitStack() as stack:
        files = [stack.enter_context(_bucket(part, at).open("xb")) for at in range(BUCKETS)]
        for block in edges:
            if block.ndim != 2 or block.shape[1] != 2 or block.dtype.kind not in "iu":
                raise GraphError(f"edges come as integers [m, 2], and this block is {block.dtype} {list(block.shape)}")
            outside = (block < 0) | (block >= n)
            if outside.any():
                raise GraphError(f"an edge ends at {block[outside][0]}, and nodes are numbered 0 to {n - 1}")
            ends = block.astype(np.uint64)
            keys = np.concatenate([ends[:, 0] << np.uint64(32) | ends[:, 1], ends[:, 1] << np.uint64(32) | ends[:, 0]])
            owner = ((keys >> np.uint64(32)) * np.uint64(BUCKETS) // np.uint64(n)).astype(np.uint8)
            order = np.argsort(owner, kind="stable")
            bounds = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=BUCKETS))])
            keys = keys[order]
            for at, file in enumerate(files):
                file.write(keys[bounds[at] : bounds[at + 1]].data)
            total += len(keys)
    return total


def _bucket(part: Path, at: int) -> Path:
    return part / f"edges-{at}"


class _Adjacency:
    """The stored values of A + I, bucket by bucket. kept: those of A; loops_kept: those of them that are loops."""

    def __init__(self, part: Path, n: int) -> None:
        self._part, self._n = part, n
        self.indptr = np.zeros(n + 1, dtype=np.int64)
        self.loops = np.zeros(n, dtype=np.int32)
        self.is_own = np.zeros(n, dtype=np.bool_)
        self.kept = self.loops_kept = 0

    def write(self, checksums: dict[str, str]) -> None:
        raw = self._part / "columns"
        with raw.open("xb") as file:
            for at in range(BUCKETS):
                # The first row of a bucket is the least r with r * BUCKETS // n == at.
                first, last = (-(-edge * self._n // BUCKETS) for edge in (at, at + 1))
                keys = np.unique(np.fromfile(_bucket(self._part, at), dtype=np.uint64))
                _bucket(self._part, at).unlink()
                file.write(self._sorted(keys, first, last).data)
        np.cumsum(self.indptr, out=self.indptr)
        own = np.flatnonzero(self.is_own)
        for name, array in (("indptr", self.indptr), ("loops", self.loops), ("own_loops", own)):
            checksums[name] = save_array(self._part / f"{name}.npy", array)
        checksums["indices"] = self._columns(raw)
        raw.unlink()

    def _sorted(self, keys: NDArray[np.uint64], first: int, last: int) -> NDArray[np.int32]:
        """The columns of rows first to last - 1, of their edges (row, column), ascending and different."""
        rows = np.arange(first, last, dtype=np.uint64)
        diagonal = rows << np.uint64(32) | rows
        own = (
            keys[np.minimum(np.searchsorted(keys, diagonal), max(len(keys) - 1, 0))] == diagonal if len(keys) else None
        )
        self.is_own[first:last] = False if own is None else own
        self.kept += len(keys)
        self.loops_kept += int(self.is_own[first:last].sum())
        keys = np.union1d(keys, diagonal)
        owner = (keys >> np.uint64(32)).astype(np.int64) - first
        counts = np.bincount(owner, minlength=last - first)
        self.indptr[first + 1 : last + 1] = counts
        starts = np.cumsum(counts) - counts
        self.loops[first:last] = np.searchsorted(keys, diagonal) - starts
        return (keys & np.uint64(0xFFFFFFFF)).astype(np.int32)

    def _columns(self, raw: Path) -> str:
        """Copies the columns behind a header, which says how many they are; the checksum."""
        file = Hashing(self._part / "indices.npy")
        try:
            shape = (int(self.indptr[-1]),)
            wide = self.indptr[-1] >= 2**31
            header = {"descr": "<i8" if wide else "<i4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            with raw.open("rb") as source:
                while content := source.read(4 * BLOCK):
                    columns = np.frombuffer(content, dtype=np.int32)
                    file.write(columns.astype(np.int64).data if wide else content)
        finally:
            checksum = file.close()
        return checksum

    def own_columns(self) -> Iterator[NDArray[np.integer]]:
        """The columns of A, without the loops that were added, some rows at a time."""
        indices = Mapped(self._part / "indices.npy", ("i4", "i8"), (None,))
        added = self.indptr[:-1][~self.is_own] + self.loops[~self.is_own]
        start = 0
        for window in indices.windows():
            inside = added[np.searchsorted(added, start) : np.searchsorted(added, start + len(window))]
            yield np.delete(window, inside - start)
            start += len(window)


def _fingerprints(part: Path, adjacency: _Adjacency, known: Described, n: int, width: int) -> tuple[str, str]:
    """As `portgnn.graphs.fingerprint.fingerprints` of the graph in memory."""
    digest = Digest()
    counts: Nodes = np.diff(adjacency.indptr) - ~adjacency.is_own
    digest.shape((n, n))
    digest.add(np.concatenate([[0], np.cumsum(counts)]), "<i8")
    for columns in adjacency.own_columns():
        digest.add(columns, "<i8")
    for start in range(0, adjacency.kept, BLOCK):
        digest.add(np.ones(min(BLOCK, adjacency.kept - start)), "<f8")
    features = Mapped(part / "features.npy", ("f4",), (n, width))
    digest.shape((n, width))
    digest.dense(lambda: features.windows(), n * width)
    return digest.both(known)
