"""Graphs as memory-mapped arrays in a folder, of which a sampler reads the rows that it needs.

A folder NAME.graph holds header.json and one .npy file an array: the stored values of A + I as indptr int64 [n + 1] and
indices int32 or int64, and where they are not all 1 as weights float64, with the row sums of A and of A + I as sums
float64 [n, 2] (elsewhere they are counts, which the pointers tell); loops int32 [n], the place of each row's self-loop,
and own_loops, the nodes whose loop is one of A's; labels, splits; features dense [n, f] or as feature_indptr,
feature_indices and feature_data; the nodes' names one after the other as UTF-8, and where each ends. That is 4 to 12
bytes a stored value and 20 to 36 bytes a node beside its features and splits. No network's numbers are among them: what
an edge weighs in one is a function of A + I, taken when rows are read. The header names every array with its SHA-256.

Nothing in the folder is believed. Opening it holds each array's dtype and shape against the header; `DiskGraph.verify`
reads all of it once, in windows, for the checksums; and every number that a batch reads is held against its range
before it is an index, so that a file that is changed under a running training ends it with a message.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn._system.files import exists, is_file, is_folder, reason, whole_folder
from portgnn.disk._header import FORMAT, VERSION, padded_ids, read_header, save_array
from portgnn.disk._mapped import Mapped, Shape, Stored
from portgnn.errors import DatasetError, GraphError
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.checks import checked_splits, labelled
from portgnn.graphs.fingerprint import fingerprints
from portgnn.graphs.graph import UNLABELLED, Features, Graph
from portgnn.placing.edges import Looped
from portgnn.placing.elements import stored_elements
from portgnn.placing.features import in_form
from portgnn.text import shortened, shown

SUFFIX = ".graph"
_SPLITS = ("train", "val", "test")


class DiskGraph:
    """A graph in a folder that `write_graph` made. Small parts are read at once, matrices when they are asked for.

    Attributes as those of `Graph`, without the matrices. Raises DatasetError for a folder that is none, and for
    arrays that do not fit together.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        header = read_header(self.path)
        self.name, self.fingerprint, self.structure = header["name"], header["fingerprint"], header["structure"]
        self.num_nodes, self.num_features = header["nodes"], header["features"]
        self.num_edges, self.is_undirected = header["edges"], header["undirected"]
        self.class_names, self.feature_names = tuple(header["class_names"]), tuple(header["feature_names"])
        self.notes, self.target_names = tuple(header["notes"]), tuple(header.get("target_names", ()))
        self.weighted, self.sparse_features = header["weighted"], header["sparse_features"]
        self.checksums: dict[str, str] | None = header.get("checksums")
        self._maps = {name: self.map(name) for name in self._names()}
        if self.feature_names and len(self.feature_names) != self.num_features:
            raise DatasetError(f"{self.path} has {len(self.feature_names)} names for {self.num_features} features")
        self._check_matrices()
        self.labels, self.targets = self._checked_labels(), self._checked_targets()
        splits = {name: self._maps[name].array.copy() if name in self._maps else None for name in _SPLITS}
        try:
            checked = checked_splits(splits, self.num_nodes, labelled(self.labels, self.targets))
        except GraphError as error:
            raise DatasetError(f"{self.path}: {error}; convert the graph again") from None
        self.train, self.val, self.test = (checked[name] for name in _SPLITS)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def num_outputs(self) -> int:
        """How many things a model says of a node."""
        return self.num_classes if self.targets is None else len(self.target_names)

    @property
    def bytes(self) -> int:
        """The size of the folder's files."""
        return sum(file.stat().st_size for file in self.path.iterdir())

    def map(self, name: str) -> Mapped:
        """One of the folder's arrays. Raises DatasetError where it is not of the dtype and shape that it must have."""
        n, f = self.num_nodes, self.num_features
        wanted: dict[str, tuple[tuple[str, ...], Shape]] = {
            "indptr": (("i8",), (n + 1,)), "indices": (("i4", "i8"), (None,)), "weights": (("f8",), (None,)),
            "loops": (("i4",), (n,)), "own_loops": (("i8",), (None,)), "sums": (("f8",), (n, 2)),
            "features": (("f4", "f8"), (n, f)), "feature_indptr": (("i8",), (n + 1,)),
            "feature_indices": (("i4", "i8"), (None,)), "feature_data": (("f8",), (None,)), "labels": (("i8",), (n,)),
            "targets": (("f8",), (n, len(self.target_names))),
            "node_id_text": (("u1",), (None,)), "node_id_ends": (("i8",), (n,)),
        }  # fmt: skip
        dtypes, shape = wanted.get(name, (("i8",), (None,)))
        return Mapped(self.path / f"{name}.npy", dtypes, shape)

    def verify(self) -> None:
        """Reads every array once, window by window, and holds it against its checksum: a second for 1.2 GB or so.

        Raises DatasetError naming the first file that has changed. Folders of version 1 have no checksums.
        """
        for name, expected in (self.checksums or {}).items():
            if self._maps[name].checksum() != expected:
                self._maps[name].damaged("its content has changed since it was written (SHA-256)")

    def feature_rows(self, nodes: Nodes) -> Features:
        """The nodes' rows of the features as they are stored, [len(nodes), f]; nodes ascending."""
        return self.numbered_rows(nodes)[0]

    def dense_pieces(self, nodes: Nodes, out: Stored | None = None) -> Iterator[tuple[int, Stored]]:
        """Dense features' rows of ascending nodes as they are stored, a few at a time, and where each piece begins.

        out: an array of `feature_dtype` [len(nodes), f] whose rows the pieces then are.
        """
        dense = self._maps["features"]
        return ((start, dense.finite(piece)) for start, piece in dense.pieces(nodes, out))

    @property
    def feature_dtype(self) -> np.dtype[Any]:
        return self._maps["feature_data" if self.sparse_features else "features"].dtype

    def numbered_rows(self, nodes: Nodes) -> tuple[Features, NDArray[np.uint32] | None]:
        """The same rows, and the element numbers of their stored values where they are sparse."""
        if not self.sparse_features:
            dense = self._maps["features"]
            return dense.finite(dense.take(nodes)), None
        indptr, indices, data = (self._maps[f"feature_{part}"] for part in ("indptr", "indices", "data"))
        start, end = row_bounds(indptr, nodes, len(indices))
        counts = end - start
        at = stored_elements(start, end)
        ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        columns = indices.within(indices.take(at), 0, self.num_features)
        parts = (data.finite(data.take(at)), columns, ends)
        return sp.csr_array(parts, shape=(len(nodes), self.num_features)), at.astype(np.uint32)

    def load(self) -> Graph:
        """The graph in memory, as it was before it was written. Raises DatasetError where a file is damaged."""
        self.verify()
        n = self.num_nodes
        indptr, indices = self._maps["indptr"].array, self._maps["indices"].array
        weights = self._maps.get("weights")
        data = np.ones(len(indices)) if weights is None else weights.finite(weights.array, 0)
        self._checked_rows("indptr", indptr, len(indices))
        self._maps["indices"].within(indices, 0, n)
        adjacency = sp.csr_array((data, indices, indptr), shape=(n, n), copy=True)
        own = self._maps["own_loops"]
        added = np.setdiff1d(np.arange(n), own.within(own.array, 0, n))
        places = self._maps["loops"].within(self._maps["loops"].array, 0, np.diff(indptr))
        adjacency.data[indptr[added] + places[added]] = 0.0
        features: Any
        if self.sparse_features:
            pointers, columns, values = (self._maps[f"feature_{part}"].array for part in ("indptr", "indices", "data"))
            self._checked_rows("feature_indptr", pointers, len(columns))
            self._maps["feature_indices"].within(columns, 0, self.num_features)
            features = sp.csr_array((values, columns, pointers), shape=(n, self.num_features))
        else:
            features = self._maps["features"].array
        try:
            return Graph(
                adjacency,
                features,
                self.labels,
                self.train,
                self.val,
                self.test,
                name=self.name,
                class_names=self.class_names,
                node_ids=self._node_ids(),
                notes=self.notes,
                feature_names=self.feature_names,
                targets=self.targets,
                target_names=self.target_names,
            )
        except GraphError as error:
            raise DatasetError(f"{self.path}: {error}; convert the graph again") from None

    def _names(self) -> list[str]:
        """The arrays that there are: those that the header names; in version 1 those that lie there."""
        needed = ["indptr", "indices", "loops", "own_loops"] + ["weights"] * self.weighted
        needed += ["sums"] * (self.weighted and self.checksums is not None)
        needed += ["feature_indptr", "feature_indices", "feature_data"] if self.sparse_features else ["features"]
        more = ["labels", "targets", *_SPLITS, "node_id_text", "node_id_ends"]
        if self.checksums is None:
            return needed + [name for name in more if is_file(self.path / f"{name}.npy")]
        missing, unknown = set(needed) - set(self.checksums), set(self.checksums) - {*needed, *more}
        if missing or unknown:
            fault = f"lacks {sorted(missing)[0]}" if missing else f"has {shown(sorted(unknown)[0])}, which is no array"
            raise DatasetError(f"{self.path / 'header.json'} {fault}; convert the graph again")
        return list(self.checksums)

    def _check_matrices(self) -> None:
        """That arrays of one matrix are equally long. Of their content, only the ends are read here."""
        pairs = [("indptr", "indices", "weights"), ("feature_indptr", "feature_indices", "feature_data")]
        for pointers, columns, values in pairs:
            if columns not in self._maps:
                continue
            stored, ends = len(self._maps[columns]), self._maps[pointers].array
            if ends[0] != 0 or ends[-1] != stored:
                self._maps[pointers].damaged(f"it goes from {ends[0]} to {ends[-1]}, where there are {stored} values")
            if values in self._maps and len(self._maps[values]) != stored:
                self._maps[values].damaged(f"it holds {len(self._maps[values])} values, where there are {stored}")

    def _checked_labels(self) -> NDArray[np.int64] | None:
        labels = self._maps.get("labels")
        if labels is None:
            return None
        for window in labels.windows():
            labels.within(window, UNLABELLED, self.num_classes)
        return labels.array

    def _checked_targets(self) -> NDArray[np.float64] | None:
        targets = self._maps.get("targets")
        if targets is None:
            return None
        if np.isinf(targets.array).any():
            targets.damaged("it holds infinity")
        return targets.array

    def _checked_rows(self, name: str, indptr: NDArray[np.integer], stored: int) -> None:
        if (indptr[1:] < indptr[:-1]).any() or indptr[0] != 0 or indptr[-1] != stored:
            self._maps[name].damaged(f"it does not rise from 0 to {stored}")

    def _node_ids(self) -> object:
        if self.checksums is None:
            return padded_ids(self.path / "node_ids.npy", self.num_nodes)
        if "node_id_ends" not in self._maps or "node_id_text" not in self._maps:
            return None
        text, ends = self._maps["node_id_text"].array.tobytes(), self._maps["node_id_ends"]
        bounds = np.concatenate([[0], ends.array])
        if (bounds[1:] < bounds[:-1]).any() or bounds[-1] != len(text):
            ends.damaged(f"it does not rise to {len(text)}")
        places = bounds.tolist()
        try:
            return [text[start:end].decode() for start, end in pairwise(places)]
        except UnicodeDecodeError:
            self._maps["node_id_text"].damaged("it is not UTF-8")


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
            checksums = {name: save_array(part / f"{name}.npy", array) for name, array in _arrays(graph).items()}
            (part / "header.json").write_text(json.dumps(_header(graph) | {"checksums": checksums}), encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"cannot write {shortened(str(target))}: {reason(error)}") from None
    return DiskGraph(target)


def _header(graph: Graph) -> dict[str, object]:
    structure, whole = fingerprints(graph)
    return {
        "format": FORMAT, "version": VERSION, "name": graph.name, "nodes": graph.num_nodes,
        "features": graph.num_features, "edges": graph.num_edges, "undirected": graph.is_undirected,
        "class_names": list(graph.class_names), "feature_names": list(graph.feature_names),
        "notes": list(graph.notes), "target_names": list(graph.target_names),
        "structure": structure, "fingerprint": whole,
        "weighted": bool((graph.adjacency.data != 1.0).any()),
        "sparse_features": isinstance(in_form(graph.features, "auto"), sp.csr_array),
    }  # fmt: skip


def _arrays(graph: Graph) -> dict[str, NDArray[np.generic]]:
    everyone = np.arange(graph.num_nodes)
    looped = Looped.of(graph.adjacency)
    with_loops = looped.matrix
    rows = np.repeat(np.arange(graph.num_nodes, dtype=with_loops.indices.dtype), np.diff(with_loops.indptr))
    arrays: dict[str, NDArray[np.generic]] = {
        "indptr": with_loops.indptr.astype(np.int64),
        "indices": with_loops.indices,
        "loops": (np.flatnonzero(with_loops.indices == rows) - with_loops.indptr[:-1]).astype(np.int32),
        "own_loops": np.flatnonzero(~looped.is_added),
    }
    if (graph.adjacency.data != 1.0).any():
        arrays["weights"] = with_loops.data
        arrays["sums"] = np.stack([looped.plain(everyone), looped.looped(everyone)], axis=1)
    features = in_form(graph.features, "auto")
    if isinstance(features, sp.csr_array):
        arrays |= {
            "feature_indptr": features.indptr.astype(np.int64),
            "feature_indices": features.indices,
            "feature_data": features.data,
        }
    else:
        arrays["features"] = features
    small: dict[str, NDArray[np.generic] | None] = {
        "labels": graph.labels,
        "targets": graph.targets,
        "train": graph.train,
        "val": graph.val,
        "test": graph.test,
    }
    if graph.node_ids is not None:
        names = [name.encode() for name in graph.node_ids]
        small["node_id_text"] = np.frombuffer(b"".join(names), dtype=np.uint8)
        small["node_id_ends"] = np.cumsum([len(name) for name in names], dtype=np.int64)
    return arrays | {name: array for name, array in small.items() if array is not None}


def row_bounds(indptr: Mapped, nodes: Nodes, stored: int) -> tuple[Nodes, Nodes]:
    """Where the nodes' rows start and end among the stored values."""
    start = indptr.within(indptr.take(nodes), 0, stored + 1)
    end = indptr.within(indptr.take(nodes + 1), 0, stored + 1)
    if (end < start).any():
        indptr.damaged("it does not rise")
    return start, end
