"""The receptive field of some nodes on a device, with a place for a mask over its edges and features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.explaining.overlay import Overlay, Watched
from portgnn.graphs.arrays import Nodes
from portgnn.models.layer import Layer
from portgnn.parts import message_passing
from portgnn.placing import forward
from portgnn.placing.field import Field, computes_all, field_in, picks
from portgnn.placing.operands import Operands
from portgnn.placing.prepared import Prepared
from portgnn.protocol import Array, Backend, Params


@dataclass(frozen=True, eq=False)
class Along:
    """The edges of one layer. handle: on the device. picking: the matrix that gives each of them its mask's value, and
    loops: [edges, 1], 1 for those that have none; None where no edge has a mask.
    """

    handle: object
    picking: Any
    loops: Any


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """nodes: whose features are read. edges: [m, 2], sources and targets by their numbers in the graph, each once,
    loops left out. features: [nodes, f] on the host, normalised. rows: the nodes of the output. whole: how many nodes
    the graph has.
    """

    backend: Backend
    layers: tuple[Layer, ...]
    params: Params
    nodes: Nodes
    rows: Nodes
    edges: NDArray[np.int64]
    features: NDArray[np.float64]
    along: tuple[Along | None, ...]
    picked: tuple[Any, ...]
    whole: int

    @classmethod
    def of(
        cls, backend: Backend, prepared: Prepared, layers: tuple[Layer, ...], params: Params, top: Nodes
    ) -> Neighbourhood:
        """What the output rows of the nodes `top`, ascending, come from. params: on the device."""
        n = prepared.graph.num_nodes
        rows = np.arange(n, dtype=np.int64) if computes_all(prepared.config) else top
        field = field_in(prepared.adjacency, rows, layers)
        keys = [None if block is None else _keys(field, at, n) for at, block in enumerate(field.blocks)]
        found = [key[key >= 0] for key in keys if key is not None]
        different = np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)
        nodes = field.levels[0]
        chosen: object = prepared.features[nodes]
        dense = chosen.toarray() if isinstance(chosen, sp.csr_array) else np.asarray(chosen, dtype=np.float64)
        placed: dict[int, Along] = {}
        along: list[Along | None] = []
        for block, key in zip(field.blocks, keys, strict=True):
            if block is None or key is None:
                along.append(None)
                continue
            if id(block) not in placed:
                placed[id(block)] = _placed(backend, block, key, different)
            along.append(placed[id(block)])
        picked = tuple(
            None if matrix is None else backend.csr(matrix)
            for matrix in picks(field.levels, [layer.keeps for layer in layers])
        )
        edges = np.stack([different % n, different // n], axis=1)
        return cls(backend, layers, params, nodes, field.levels[-1], edges, dense, tuple(along), picked, n)

    def outputs(self, features: Array, mask: Array | None = None) -> tuple[Array, tuple[Watched | None, ...]]:
        """The last layer's rows, [rows, k], and what was seen along the edges of each layer.

        features: on the device. mask: of the edges, [m, 1], on the device; None for all ones.
        """
        watched = tuple(None if each is None else self._watched(each, mask) for each in self.along)
        nothing: Any = None
        operands = Operands(
            features=features,
            adjacency=watched,
            picked=self.picked,
            index=(None,) * len(self.layers),
            edge_index=(None,) * len(self.layers),
            weights=nothing,
            labels=nothing,
            count=0,
        )
        overlay: Any = Overlay(self.backend)
        return forward.outputs(overlay, self.layers, self.params, operands), watched

    def _watched(self, along: Along, mask: Array | None) -> Watched:
        if mask is None or along.picking is None:
            return Watched(along.handle)
        return Watched(along.handle, self.backend.matmul(along.picking, mask) + along.loops)


def _keys(field: Field, at: int, n: int) -> NDArray[np.int64]:
    """Of each stored value of a layer's block, target * n + source in the graph; -1 for a node's own place."""
    block: Any = field.blocks[at]
    targets = np.repeat(field.levels[at + 1], np.diff(block.indptr)).astype(np.int64)
    sources = field.levels[at][block.indices].astype(np.int64)
    return np.where(targets == sources, -1, targets * n + sources)


def _placed(backend: Backend, block: sp.csr_array, key: NDArray[np.int64], different: NDArray[np.int64]) -> Along:
    handle = message_passing(backend).edges(block)
    if not len(different):
        return Along(handle, None, None)
    has = key >= 0
    at = np.searchsorted(different, key[has]).astype(np.int32)
    ends = np.concatenate([[0], np.cumsum(has)]).astype(np.int32)
    picking = sp.csr_array((np.ones(len(at)), at, ends), shape=(len(key), len(different)))
    return Along(handle, backend.csr(picking), backend.asarray((~has).astype(np.float64)[:, None]))
