"""The rows of a graph on disk, for batches and for parts of several processes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portgnn import tasks
from portgnn.disk.folder import SUFFIX, DiskGraph, row_bounds
from portgnn.errors import ConfigError, DatasetError, GraphError
from portgnn.graphs.arrays import Nodes
from portgnn.graphs.graph import Features
from portgnn.loaders.source import Source, even_bounds
from portgnn.placing.edges import Sums
from portgnn.placing.features import Moments, normalized, settled
from portgnn.presets import Config


class OnDisk(Source):
    """The rows of a `DiskGraph`, weighted as they are read: the numbers are those of the graph in memory.

    Raises ConfigError where the recipe wants the graph in a form that the files do not have, DatasetError for a folder
    of version 1, which has a network's numbers and not the graph's.
    """

    on_disk = True

    def __init__(self, graph: DiskGraph, config: Config, moments: Moments | None = None) -> None:
        self.graph, self._folder, self.sparse_features = graph, graph, graph.sparse_features
        form = "sparse" if graph.sparse_features else "dense"
        if config.features not in ("auto", form):
            raise ConfigError(f"{graph.path} holds {form} features; leave --features {config.features} out")
        if config.undirected and not graph.is_undirected:
            raise GraphError(
                f"{graph.path} holds directed edges; convert it without --directed, or train with --directed"
            )
        if graph.checksums is None:
            new = graph.path.with_name(f"{graph.path.stem}-2{SUFFIX}")
            raise DatasetError(
                f"{graph.path} has the format of portgnn 0.1, which cannot be trained on in batches; convert it: "
                f"portgnn convert {shlex.quote(str(graph.path))} {shlex.quote(str(new))}"
            )
        graph.verify()
        self._indptr, self._indices = graph.map("indptr"), graph.map("indices")
        self._loops, own = graph.map("loops"), graph.map("own_loops")
        self._is_added = np.ones(graph.num_nodes, dtype=bool)
        self._is_added[own.within(own.array, 0, graph.num_nodes)] = False
        self._weights, self._sums = (graph.map(name) if graph.weighted else None for name in ("weights", "sums"))
        self.config, self._moments = settled(graph, tasks.settled(config, graph), moments)

    def bounds(self, nodes: Nodes) -> tuple[Nodes, Nodes]:
        start, end = row_bounds(self._indptr, nodes, len(self._indices))
        if (end == start).any():
            self._indptr.damaged("a row has no self-loop")
        return start, end

    def balanced(self, parts: int) -> Nodes:
        return even_bounds(self._indptr.array, parts)

    def loops(self, nodes: Nodes) -> Nodes:
        start, end = self.bounds(nodes)
        return self._loops.within(self._loops.take(nodes), 0, end - start).astype(np.int64)

    @property
    def sums(self) -> Sums:
        return self

    def looped(self, nodes: Nodes) -> NDArray[np.float64]:
        if self._sums is None:
            start, end = self.bounds(nodes)
            return (end - start).astype(np.float64)
        return self._sums.finite(self._sums.take(nodes), 0)[:, 1]

    def plain(self, nodes: Nodes) -> NDArray[np.float64]:
        if self._sums is None:
            return self.looped(nodes) - self.added(nodes)
        return self._sums.finite(self._sums.take(nodes), 0)[:, 0]

    def added(self, nodes: Nodes) -> NDArray[np.bool_]:
        chosen: NDArray[np.bool_] = self._is_added[nodes]
        return chosen

    def stored(self, at: Nodes) -> tuple[Nodes, NDArray[np.float64]]:
        columns = self._indices.within(self._indices.take(at), 0, self.graph.num_nodes).astype(np.int64)
        if self._weights is None:
            return columns, np.ones(len(columns))
        return columns, self._weights.finite(self._weights.take(at), 0)

    @property
    def dense_dtype(self) -> np.dtype[Any]:
        as_stored = self.config.normalize_features == "none"
        return self._folder.feature_dtype if as_stored else np.dtype(np.float64)

    def dense_pieces(self, nodes: Nodes) -> Iterator[tuple[int, NDArray[np.floating]]]:
        rule = self.config.normalize_features
        for start, piece in self._folder.dense_pieces(nodes):
            yield start, np.asarray(normalized(piece, rule, self._moments))

    def fill(self, nodes: Nodes, out: NDArray[np.floating]) -> None:
        if self.config.normalize_features == "none" and out.dtype == self._folder.feature_dtype:
            for _ in self._folder.dense_pieces(nodes, out):
                pass  # it lies where it is to be
        else:
            super().fill(nodes, out)

    def features(self, nodes: Nodes) -> tuple[Features, NDArray[np.uint32] | None]:
        features, numbers = self._folder.numbered_rows(nodes)
        return normalized(features, self.config.normalize_features, self._moments), numbers
