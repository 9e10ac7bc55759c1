"""Graphs as memory-mapped arrays in a folder, of which a sampler reads the rows that it needs.

A folder NAME.graph holds header.json and one .npy file an array: the stored values of A + I as indptr int64 [n + 1],
indices int32 or int64, and weights float64 where they are not all 1; scale float64 [n], the diagonal of D^-1/2;
loops int32 [n], the place of each row's self-loop; labels, splits; features dense [n, f] or as feature_indptr,
feature_indices and feature_data. That is 4 to 16 bytes a stored value and 28 bytes a node beside its features.

Reading through a map makes its pages count as this process's memory until they are given back. They are, after each
`WINDOW` bytes of a file: that bounds what a batch adds, however large the graph is.
"""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.errors import ConfigError, DatasetError, GraphError
from portgnn.files import exists, is_file, is_folder, reason, whole_folder
from portgnn.fingerprint import fingerprint
from portgnn.graph import Features, Graph, canonical_csr, row_normalized
from portgnn.loaders.neighbor import ranked
from portgnn.loaders.source import Nodes, Source, even_bounds, within
from portgnn.operands import in_form
from portgnn.presets import Config
from portgnn.text import shortened

FORMAT = "portgnn-graph"
VERSION = 1
SUFFIX = ".graph"
WINDOW = 2 << 20
"""Bytes of a file that are read before its pages are given back."""


class Mapped:
    """A .npy file, read through a memory map. Raises DatasetError where it is none."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                version = np.lib.format.read_magic(file)
                read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                self.shape, by_column, self.dtype = read[version](file)
                start = file.tell()
                if by_column or self.dtype.hasobject:
                    raise ValueError("it is not an array of numbers, row by row")
                size = int(np.prod(self.shape)) * self.dtype.itemsize
                if os.fstat(file.fileno()).st_size < start + size:
                    raise ValueError("it is shorter than its header says")
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, KeyError) as error:
            raise DatasetError(f"{path} cannot be read: {error}; convert the graph again") from None
        self.array: NDArray[Any] = np.frombuffer(
            self._map, dtype=self.dtype, count=int(np.prod(self.shape)), offset=start
        ).reshape(self.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def take(self, at: NDArray[np.int64]) -> NDArray[Any]:
        """array[at], for `at` in any order; ascending ones are read window by window."""
        row = max(self.dtype.itemsize * int(np.prod(self.shape[1:])), 1)
        span = max(WINDOW // row, 1)
        if len(self) <= span:
            found: NDArray[Any] = self.array[at]
            return self._given_back(found)
        found = np.empty((len(at), *self.shape[1:]), dtype=self.dtype)
        cuts = np.searchsorted(at, np.arange(span, len(self) + span, span))
        start = 0
        for end in np.unique(cuts):
            found[start:end] = self.array[at[start:end]]
            self._given_back(found)
            start = int(end)
        return found

    def _given_back(self, found: NDArray[Any]) -> NDArray[Any]:
        if hasattr(self._map, "madvise"):  # not on Windows
            self._map.madvise(mmap.MADV_DONTNEED)
        return found


class DiskGraph:
    """A graph in a folder that `write_graph` made. Small parts are read at once, matrices when they are asked for.

    Attributes as those of `Graph`, without the matrices. Raises DatasetError for a folder that is none.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            header = json.loads((self.path / "header.json").read_text(encoding="utf-8"))
            if header["format"] != FORMAT or header["version"] != VERSION:
                raise ValueError(f"its header says {header['format']} {header['version']}, not {FORMAT} {VERSION}")
            self.name, self.fingerprint = str(header["name"]), str(header["fingerprint"])
            self.num_nodes, self.num_features = int(header["nodes"]), int(header["features"])
            self.num_edges, self.is_undirected = int(header["edges"]), bool(header["undirected"])
            self.class_names = tuple(str(name) for name in header["class_names"])
            self.feature_names = tuple(str(name) for name in header["feature_names"])
            self.notes = tuple(str(note) for note in header["notes"])
            self.weighted, self.sparse_features = bool(header["weighted"]), bool(header["sparse_features"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{self.path} is not a folder that portgnn convert wrote: {error}") from None
        self.labels = self.map("labels").array if self._has("labels") else None
        splits = {name: self.map(name).array.copy() if self._has(name) else None for name in ("train", "val", "test")}
        self.train, self.val, self.test = splits["train"], splits["val"], splits["test"]

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def bytes(self) -> int:
        """The size of the folder's files."""
        return sum(file.stat().st_size for file in self.path.iterdir())

    def map(self, name: str) -> Mapped:
        return Mapped(self.path / f"{name}.npy")

    def load(self) -> Graph:
        """The graph in memory, as it was before it was written."""
        indptr, indices = self.map("indptr").array, self.map("indices").array
        data = self.map("weights").array if self.weighted else np.ones(len(indices))
        adjacency = sp.csr_array((data, indices, indptr), shape=(self.num_nodes, self.num_nodes), copy=True)
        added = np.setdiff1d(np.arange(self.num_nodes), self.map("own_loops").array)
        adjacency.data[indptr[added] + self.map("loops").array[added]] = 0.0
        features: Any
        if self.sparse_features:
            parts = tuple(self.map(f"feature_{name}").array for name in ("data", "indices", "indptr"))
            features = sp.csr_array(parts, shape=(self.num_nodes, self.num_features))
        else:
            features = self.map("features").array
        splits = {"train": self.train, "val": self.val, "test": self.test}
        ids = self.map("node_ids").array if self._has("node_ids") else None
        return Graph(
            adjacency,
            features,
            self.labels,
            name=self.name,
            class_names=self.class_names,
            node_ids=ids,
            notes=self.notes,
            feature_names=self.feature_names,
            **splits,
        )

    def _has(self, name: str) -> bool:
        return is_file(self.path / f"{name}.npy")


def is_disk_graph(dataset: object) -> bool:
    """Whether a dataset is the path of a folder that `write_graph` made."""
    return isinstance(dataset, str | os.PathLike) and Path(dataset).suffix == SUFFIX and is_folder(dataset)


def write_graph(graph: Graph, path: str | os.PathLike[str]) -> DiskGraph:
    """Writes a graph as a folder NAME.graph, whole or not at all.

    Raises DatasetError where the name is another, something is in the way, or the disk does not take it.
    """
    target = Path(path)
    if target.suffix != SUFFIX:
        raise DatasetError(f"{target} must end in {SUFFIX}, so that it is known for what it is")
    if exists(target) or os.path.islink(target):
        raise DatasetError(f"{target} exists already; remove it, or name another folder")
    try:
        with whole_folder(target) as part:
            for name, array in _arrays(graph).items():
                np.save(part / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
            (part / "header.json").write_text(json.dumps(_header(graph)), encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"cannot write {shortened(str(target))}: {reason(error)}") from None
    return DiskGraph(target)


def _header(graph: Graph) -> dict[str, Any]:
    return {
        "format": FORMAT, "version": VERSION, "name": graph.name, "nodes": graph.num_nodes,
        "features": graph.num_features, "edges": graph.num_edges, "undirected": graph.is_undirected,
        "class_names": list(graph.class_names), "feature_names": list(graph.feature_names),
        "notes": list(graph.notes), "fingerprint": fingerprint(graph),
        "weighted": bool((graph.adjacency.data != 1.0).any()),
        "sparse_features": isinstance(in_form(graph.features, "auto"), sp.csr_array),
    }  # fmt: skip


def _arrays(graph: Graph) -> dict[str, NDArray[Any]]:
    diagonal = graph.adjacency.diagonal()
    with_loops = canonical_csr(graph.adjacency + sp.diags_array(np.where(diagonal == 0, 1.0, 0.0)))
    rows = np.repeat(np.arange(graph.num_nodes, dtype=with_loops.indices.dtype), np.diff(with_loops.indptr))
    arrays: dict[str, NDArray[Any]] = {
        "indptr": with_loops.indptr.astype(np.int64),
        "indices": with_loops.indices,
        "loops": (np.flatnonzero(with_loops.indices == rows) - with_loops.indptr[:-1]).astype(np.int32),
        "own_loops": np.flatnonzero(diagonal),
        "scale": 1.0 / np.sqrt(np.asarray(with_loops.sum(axis=1)).ravel()),
    }
    if (graph.adjacency.data != 1.0).any():
        arrays["weights"] = with_loops.data
    features = in_form(graph.features, "auto")
    if isinstance(features, sp.csr_array):
        arrays |= {
            "feature_indptr": features.indptr.astype(np.int64),
            "feature_indices": features.indices,
            "feature_data": features.data,
        }
    else:
        arrays["features"] = features
    small = {
        "labels": graph.labels,
        "train": graph.train,
        "val": graph.val,
        "test": graph.test,
        "node_ids": graph.node_ids,
    }
    return arrays | {name: array for name, array in small.items() if array is not None}


class OnDisk(Source):
    """The rows of a `DiskGraph`, normalised as they are read: the numbers are those of the graph in memory.

    Raises ConfigError where the recipe wants the graph in a form that the files do not have.
    """

    on_disk = True

    def __init__(self, graph: DiskGraph, config: Config) -> None:
        self.graph, self.config, self.sparse_features = graph, config, graph.sparse_features
        form = "sparse" if graph.sparse_features else "dense"
        if config.features not in ("auto", form):
            raise ConfigError(f"{graph.path} holds {form} features; leave --features {config.features} out")
        if config.undirected and not graph.is_undirected:
            raise GraphError(
                f"{graph.path} holds directed edges; convert it without --directed, or train with --directed"
            )
        self._indptr, self._indices = graph.map("indptr"), graph.map("indices")
        self._loops, self._scale = graph.map("loops"), graph.map("scale")
        self._weights = graph.map("weights") if graph.weighted else None
        names = ("feature_indptr", "feature_indices", "feature_data") if graph.sparse_features else ("features",)
        self._features = [graph.map(name) for name in names]

    def bounds(self, nodes: Nodes) -> tuple[Nodes, Nodes]:
        return self._indptr.take(nodes), self._indptr.take(nodes + 1)

    def balanced(self, parts: int) -> Nodes:
        return even_bounds(self._indptr.array, parts)

    def loops(self, nodes: Nodes) -> Nodes:
        return self._loops.take(nodes).astype(np.int64)

    def scales(self, nodes: Nodes) -> NDArray[np.float64]:
        return self._scale.take(nodes)

    def stored(self, nodes: Nodes, rows: Nodes, at: Nodes) -> tuple[Nodes, NDArray[np.float64]]:
        columns = self._indices.take(at).astype(np.int64)
        different, places = ranked(columns, self.graph.num_nodes)
        values: NDArray[np.float64] = self.scales(nodes)[rows] * self.scales(different)[places]
        return columns, values if self._weights is None else self._weights.take(at) * values

    def features(self, nodes: Nodes) -> tuple[Features, NDArray[np.uint32] | None]:
        if not self.sparse_features:
            return self._normalized(self._features[0].take(nodes)), None
        indptr, indices, data = self._features
        start = indptr.take(nodes)
        counts = indptr.take(nodes + 1) - start
        at = np.repeat(start, counts) + within(counts)
        bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        shape = (len(nodes), self.graph.num_features)
        return self._normalized(sp.csr_array((data.take(at), indices.take(at), bounds), shape=shape)), (
            at.astype(np.uint32)
        )

    def _normalized(self, features: Features) -> Features:
        return row_normalized(features) if self.config.normalize_features else features
