"""Rows that processes hand to each other in each step, for adapters that bring no `portgnn.protocol.Routing`."""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from portgnn.parts import provides
from portgnn.placing.field import picking
from portgnn.protocol import CSR, Array, Backend, Collectives, Counts, Routing


class _Route(NamedTuple):
    """rows: which go out, [sum(counts[rank])]; widths: of the arrays that they were picked from so far, with the matrix
    that picks them."""

    rows: NDArray[np.integer]
    counts: Counts
    matrices: dict[int, CSR]


class PlainRoutes:
    """`portgnn.protocol.Routing` over any collectives: rows are picked by a product with a matrix of ones, which every
    adapter has deterministic and differentiable."""

    def __init__(self, backend: Backend, collectives: Collectives) -> None:
        self._backend, self._collectives = backend, collectives

    def route(self, rows: NDArray[np.integer], counts: Counts) -> _Route:
        return _Route(rows, counts, {})

    def fetched(self, route: _Route, x: Array) -> Array:
        height = x.shape[0]
        if height not in route.matrices:
            route.matrices[height] = self._backend.csr(picking(route.rows.astype(np.int64), height))
        return self._collectives.exchange(self._backend.spmm(route.matrices[height], x), route.counts)

    def product(self, route: _Route, own: CSR, halo: CSR, x: Array) -> Array:
        received = self.fetched(route, x)
        return self._backend.spmm(own, x) + self._backend.spmm(halo, received)


def routing(backend: Backend, collectives: Collectives) -> Routing:
    """The collectives themselves where they know routes, else `PlainRoutes` over them."""
    return cast(Routing, collectives) if provides(collectives, Routing) else PlainRoutes(backend, collectives)
