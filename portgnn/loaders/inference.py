"""Exact evaluation of any number of nodes in bounded device memory: layer by layer, some rows at a time.

As GraphSAGE's and Cluster-GCN's evaluations do it: each layer is finished for all nodes that the next one reads
before that begins, so that no neighbour is sampled and no row computed twice. On the host lie the outputs of two
layers, [nodes needed, width] each; on the device a chunk.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from portgnn.graphs.arrays import Nodes
from portgnn.loaders.source import Source
from portgnn.models.layer import Layer
from portgnn.placing import forward
from portgnn.placing.field import narrowed
from portgnn.placing.operands import placed_features, placed_once
from portgnn.protocol import CSR, Array, Backend, Params

Rows: TypeAlias = tuple[NDArray[np.floating], ...]
"""A layer's output and what it carries on, on the host."""

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
        for layer in reversed(source.layers):
            above = self._levels[0]
            self._levels.insert(0, above if layer.along == "nothing" else self._inputs_of(above, n))

    def logits(self, params: Mapping[str, Array]) -> NDArray[np.floating]:
        """[nodes, classes], float32 or float64. params: on the backend's device."""
        if not len(self._levels[-1]):
            return self._room(0, self._source.layers[-1].fan_out)
        rows: Rows = ()
        for layer in self._source.layers:
            own = layer.own(params)
            sent, kept = self._messages(layer, own, rows)
            rows = self._received(layer, own, sent, kept)
        return rows[0]

    def _messages(self, layer: Layer, own: Params, rows: Rows) -> tuple[NDArray[np.floating], object]:
        """What all of the layer's input rows send, and what they keep. rows: () for the features."""
        below, message = self._levels[layer.number], cast(Any, layer.message)
        found: Rows = ()
        kept: object = None
        for part in self._even(len(below), layer.fan_in):
            sent, kept = message(self._backend, own, *self._input(rows, below, part))
            found = self._written(found, part, _arrays((sent, kept)), len(below))
        stayed = iter(found[1:])
        return found[0], forward.mapped(lambda _: next(stayed), kept)

    def _received(self, layer: Layer, own: Params, sent: NDArray[np.floating], kept: object) -> Rows:
        """The layer's output rows, and those of what it carries on."""
        backend, below, above = self._backend, self._levels[layer.number], self._levels[layer.number + 1]
        found: Rows = ()
        for part in self._by_stored(above):
            at = np.searchsorted(below, above[part])
            edges, columns = None, at
            if layer.along != "nothing":
                block, nodes = narrowed(self._source.rows(above[part]))
                edges, columns = placed_once(backend, (layer,), (block,))[0], np.searchsorted(below, nodes)
            rows = backend.asarray(sent[columns])
            _give_back(sent)
            stayed = forward.mapped(partial(self._rows, at=at), kept)
            output = forward.received(backend, layer, own, edges, rows, stayed)
            found = self._written(found, part, output, len(above))
        return found

    def _rows(self, kept: NDArray[np.floating], at: Nodes) -> Array:
        return self._backend.asarray(kept[at])

    def _written(self, room: Rows, part: slice, rows: Sequence[Array], height: int) -> Rows:
        """The arrays on the host, made with the first rows that come, with these in their place."""
        room = room or tuple(self._room(height, each.shape[1]) for each in rows)
        for each, values in zip(room, rows, strict=True):
            each[part] = self._backend.to_numpy(values)
            _give_back(each)
        return room

    def _input(self, rows: Rows, nodes: Nodes, part: slice) -> Sequence[Array | CSR]:
        if rows:
            return [self._backend.asarray(each[part]) for each in rows]
        return [placed_features(self._backend, self._source.features(nodes[part])[0])]

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

    def _room(self, rows: int, width: int) -> NDArray[np.floating]:
        dtype = np.float64 if self._backend.dtype == "float64" else np.float32
        if not self._source.on_disk:
            return np.empty((rows, width), dtype=dtype)
        # Pages of a file can leave memory; the name is gone at once, and the room with the last reference.
        with tempfile.TemporaryFile() as file:
            return np.memmap(file, dtype=dtype, mode="w+", shape=(max(rows, 1), width))[:rows]


def _arrays(kept: object) -> list[Array]:
    """The arrays of what is kept, in the order in which `forward.mapped` comes to them."""
    found: list[Array] = []
    forward.mapped(found.append, kept)
    return found


def _give_back(array: NDArray[np.floating]) -> None:
    """Lets the pages of a mapped file leave this process's memory; what was written stays in the file."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mapped, "madvise"):  # not on Windows
        mapped.madvise(mmap.MADV_DONTNEED)
