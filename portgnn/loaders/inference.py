"""Exact evaluation of any number of nodes in bounded device memory: layer by layer, some rows at a time.

As GraphSAGE's and Cluster-GCN's evaluations do it: each layer is finished for all nodes that the next one reads
before that begins, so that no neighbour is sampled and no row computed twice. On the host lie the outputs of two
layers, [nodes needed, width] each; on the device a chunk.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.loaders.source import Source
from portgnn.models.layer import Layer
from portgnn.placing import forward
from portgnn.placing.field import narrowed
from portgnn.placing.operands import placed_features
from portgnn.protocol import CSR, Array, Backend, Params

STORED_A_CHUNK = 1 << 20
"""Stored values of the adjacency, or values of a layer's input, that are on the device at a time."""


class Inference:
    """Logits of some nodes for changing parameters: which rows each layer needs is found once.

    nodes: ascending, without repetition; None for all. chunk: stored values at a time; by default STORED_A_CHUNK.
    """

    def __init__(self, backend: Backend, source: Source, nodes: Nodes | None, chunk: int | None = None) -> None:
        self._backend, self._source = backend, source
        # Out of core, a chunk's own arrays are most of what memory holds.
        self._chunk = chunk or (STORED_A_CHUNK // 8 if source.on_disk else STORED_A_CHUNK)
        n = source.graph.num_nodes
        top = np.arange(n) if nodes is None else nodes
        self._levels = [top]
        for _ in source.layers:
            self._levels.insert(0, self._inputs_of(self._levels[0], n))

    def logits(self, params: Mapping[str, Array]) -> NDArray[np.generic]:
        """[nodes, classes], float32 or float64. params: on the backend's device."""
        hidden: NDArray[np.generic] | None = None
        for layer in self._source.layers:
            own = layer.own(params)
            sent, kept = self._messages(layer, own, hidden)
            hidden = self._received(layer, own, sent, kept)
        assert hidden is not None
        return hidden

    def _messages(
        self, layer: Layer, own: Params, hidden: NDArray[np.generic] | None
    ) -> tuple[NDArray[np.generic], NDArray[np.generic] | None]:
        """What all of the layer's input rows send, and what they keep. hidden: None for the features."""
        below = self._levels[layer.number]
        found: list[NDArray[np.generic] | None] = [None, None]
        for part in self._even(len(below), layer.fan_in):
            for which, rows in enumerate(layer.message(self._backend, own, self._input(hidden, below, part))):
                if rows is not None:
                    found[which] = self._written(found[which], part, rows, len(below))
        sent, kept = found
        return self._room(0, layer.fan_out) if sent is None else sent, kept  # none where no node is asked for

    def _received(
        self, layer: Layer, own: Params, sent: NDArray[np.generic], kept: NDArray[np.generic] | None
    ) -> NDArray[np.generic]:
        """The layer's output rows."""
        backend, below, above = self._backend, self._levels[layer.number], self._levels[layer.number + 1]
        hidden = self._room(len(above), layer.fan_out)
        for part in self._by_stored(above):
            block, columns = narrowed(self._source.rows(above[part]))
            rows = backend.asarray(sent[np.searchsorted(below, columns)])
            _give_back(sent)
            stayed = None if kept is None else backend.asarray(kept[np.searchsorted(below, above[part])])
            output = forward.received(backend, layer, own, backend.csr(block), rows, stayed)
            hidden = self._written(hidden, part, output, len(above))
        return hidden

    def _written(self, room: NDArray[np.generic] | None, part: slice, rows: Array, height: int) -> NDArray[np.generic]:
        """The array on the host, made with the first rows that come, with these in their place."""
        if room is None:
            room = self._room(height, rows.shape[1])
        room[part] = self._backend.to_numpy(rows)
        _give_back(room)
        return room

    def _input(self, hidden: NDArray[np.generic] | None, nodes: Nodes, part: slice) -> Array | CSR:
        if hidden is not None:
            return self._backend.asarray(hidden[part])
        return placed_features(self._backend, self._source.features(nodes[part])[0])

    def _inputs_of(self, nodes: Nodes, n: int) -> Nodes:
        if len(nodes) == n:
            return nodes
        read = np.zeros(n, dtype=bool)
        for part in self._by_stored(nodes):
            read[self._source.rows(nodes[part]).indices] = True
        return np.flatnonzero(read)

    def _even(self, count: int, width: int) -> Iterator[slice]:
        step = max(self._chunk // width, 1)
        return (slice(start, min(start + step, count)) for start in range(0, count, step))

    def _by_stored(self, nodes: Nodes) -> Iterator[slice]:
        start, end = self._source.bounds(nodes)
        filled = np.cumsum(end - start)
        first = 0
        while first < len(nodes):
            before = filled[first - 1] if first else 0
            last = max(int(np.searchsorted(filled, before + self._chunk, side="right")), first + 1)
            yield slice(first, last)
            first = last

    def _room(self, rows: int, width: int) -> NDArray[np.generic]:
        dtype = np.float64 if self._backend.dtype == "float64" else np.float32
        if not self._source.on_disk:
            return np.empty((rows, width), dtype=dtype)
        # Pages of a file can leave memory; the name is gone at once, and the room with the last reference.
        with tempfile.TemporaryFile() as file:
            return np.memmap(file, dtype=dtype, mode="w+", shape=(max(rows, 1), width))[:rows]


def _give_back(array: NDArray[np.generic]) -> None:
    """Lets the pages of a mapped file leave this process's memory; what was written stays in the file."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mapped, "madvise"):  # not on Windows
        mapped.madvise(mmap.MADV_DONTNEED)
