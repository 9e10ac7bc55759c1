"""The constants of one forward pass on a device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from portgnn.graphs.checks import Features
from portgnn.models.layer import Layer
from portgnn.parts import csr_pair, message_passing
from portgnn.placing.elements import Numbers
from portgnn.protocol import CSR, Array, Backend, EdgeHandle
from portgnn.tasks.targets import Counted, Targets


class Fetched(ABC):
    """Edges some of whose sources are elsewhere, and are fetched before anything goes along them.

    A class to derive from, and no protocol: a step asks this of each layer's edges, and a protocol's members are looked
    up anew each time, 19 µs on a handle that is none.
    """

    @abstractmethod
    def fetched(self, backend: Backend, sent: Array) -> tuple[EdgeHandle, Array]:
        """The edges, and what all of their sources send."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Operands(Counted):
    """The constants of one forward pass on a device, and what is counted of its output. Each has an entry a layer.

    features: dense or CSR [rows of layer 0, f].
    adjacency: the edges' weights, dense or CSR, or a handle of `MessagePassing`; None where the layer has no edges, and
    where the product with the features is already in them.
    picked: picks the output's rows out of the input's; None where nothing is kept of these, or they are the same.
    index: the element numbers of the layer's dense input for dropout; None for 0, 1, 2, ….
    edge_index: the element numbers of the edges' values, [edges, values]; None where these are not dropped out.
    share: [rows, 2], that of each row in a mean, see `portgnn.models.layer.SHARE`; None where no layer takes one.
    commuted: whether the first layer's edges are multiplied with its input before its `message`, in place of behind it.
    """

    features: Array | CSR
    adjacency: tuple[Array | CSR | EdgeHandle | None, ...]
    picked: tuple[CSR | None, ...]
    index: tuple[Array | None, ...]
    edge_index: tuple[Array | None, ...]
    commuted: bool = False
    share: Array | None = None


def on_device(
    backend: Backend,
    features: Array | CSR,
    adjacency: tuple[Array | CSR | EdgeHandle | None, ...],
    picked: Sequence[sp.csr_array | None],
    index: Sequence[Numbers | None],
    edge_index: Sequence[Numbers | None],
    targets: Targets,
    commuted: bool = False,
) -> Operands:
    """The operands from what lies on the host, but for features and adjacency, which are placed."""
    return Operands(
        features=features,
        adjacency=adjacency,
        picked=tuple(None if matrix is None else backend.csr(matrix) for matrix in picked),
        index=_numbers(backend, index),
        edge_index=_numbers(backend, edge_index),
        commuted=commuted,
        **vars(targets.placed(backend)),
    )


def placed_features(backend: Backend, features: Features, numbers: Numbers | None = None) -> Array | CSR:
    """numbers: the element numbers of sparse features' stored values."""
    if isinstance(features, np.ndarray):
        return backend.asarray(features)
    return backend.csr(features, numbers)


def _numbers(backend: Backend, numbers: Sequence[Numbers | None]) -> tuple[Array | None, ...]:
    return tuple(None if each is None else backend.asarray(each) for each in numbers)


Handles: TypeAlias = dict[tuple[int, bool], Any]
"""What is on a device of matrices, by `id` and whether layers look at its edges one by one."""


Transposes: TypeAlias = Mapping[int, sp.csr_array]
"""Matrices' transposes, by the matrix's `id`."""


def placed_once(
    backend: Backend,
    layers: Sequence[Layer],
    matrices: Sequence[sp.csr_array | None],
    dense: bool = False,
    known: Handles | None = None,
    transposes: Transposes | None = None,
) -> tuple[Array | CSR | EdgeHandle | None, ...]:
    """The layers' matrices on the device; those that share one share its handle, so that a device holds it once.

    known: handles of matrices that have been placed before. transposes: of some of them.
    """
    handles: Handles = dict(known or {})
    for layer, matrix in zip(layers, matrices, strict=True):
        one_by_one = layer.along == "edges"
        if matrix is None or (id(matrix), one_by_one) in handles:
            continue
        if one_by_one:
            handle = message_passing(backend).edges(matrix)
        else:
            turned = (transposes or {}).get(id(matrix))
            handle = backend.asarray(matrix.toarray()) if dense else csr_pair(backend, matrix, turned)
        handles[id(matrix), one_by_one] = handle
    return tuple(
        None if matrix is None else handles[id(matrix), layer.along == "edges"]
        for layer, matrix in zip(layers, matrices, strict=True)
    )
