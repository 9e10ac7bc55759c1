"""The constants of one forward pass on a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from portgnn.graphs.checks import Features
from portgnn.placing.elements import Numbers
from portgnn.placing.targets import Targets
from portgnn.protocol import CSR, Array, Backend


@dataclass(frozen=True, eq=False, kw_only=True)
class Counted:
    """What a loss counts, on a device: see `portgnn.placing.targets.Targets`."""

    targets: Array
    labels: Array
    count: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Operands(Counted):
    """The constants of one forward pass on a device, and what is counted of its output. Each has an entry a layer.

    features: dense or CSR [rows of layer 0, f].
    adjacency: the edges' weights, dense or CSR; None where the product with the features is already in them.
    picked: picks the output's rows out of the input's; None where nothing is kept of these, or they are the same.
    index: the element numbers of the layer's dense input for dropout; None for 0, 1, 2, ….
    """

    features: Array | CSR
    adjacency: tuple[Array | CSR | None, ...]
    picked: tuple[CSR | None, ...]
    index: tuple[Array | None, ...]


def on_device(
    backend: Backend,
    features: Features,
    feature_numbers: Numbers | None,
    adjacency: tuple[Array | CSR | None, ...],
    picked: Sequence[sp.csr_array | None],
    index: Sequence[Numbers | None],
    targets: Targets,
) -> Operands:
    """The operands from what lies on the host, but for the adjacency, which is placed.

    feature_numbers: the element numbers of sparse features' stored values.
    """
    return Operands(
        features=placed_features(backend, features, feature_numbers),
        adjacency=adjacency,
        picked=tuple(None if matrix is None else backend.csr(matrix) for matrix in picked),
        index=tuple(None if numbers is None else backend.asarray(numbers) for numbers in index),
        targets=backend.asarray(targets.weights),
        labels=backend.asarray(targets.labels),
        count=targets.count,
    )


def placed_features(backend: Backend, features: Features, numbers: Numbers | None = None) -> Array | CSR:
    if isinstance(features, np.ndarray):
        return backend.asarray(features)
    return backend.csr(features, numbers)


def placed_once(backend: Backend, matrices: Sequence[sp.csr_array], dense: bool = False) -> tuple[Array | CSR, ...]:
    """The matrices on the device; layers that share one share its handle, so that a device holds it once."""
    different = {id(matrix): matrix for matrix in matrices}
    handles = {
        key: backend.asarray(matrix.toarray()) if dense else backend.csr(matrix) for key, matrix in different.items()
    }
    return tuple(handles[id(matrix)] for matrix in matrices)
