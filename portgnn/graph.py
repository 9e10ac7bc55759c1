"""One graph: canonical CSR adjacency, features, labels, splits; and the two normalisations of a GCN.

All input is checked here, once, so that no other module has to: what a `Graph` holds is valid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from portgnn.errors import GraphError

Features: TypeAlias = "NDArray[np.float64] | NDArray[np.float32] | sp.csr_array"

UNLABELLED = -1


def canonical_csr(matrix: Any, dtype: Any = np.float64) -> sp.csr_array:
    """CSR with sorted columns, duplicates summed and zeros removed: what a dropout mask hits depends on it.

    Column indices and row pointers are int32 (int64 only past 2**31 stored values). Never changes `matrix`.
    """
    csr = sp.csr_array(matrix, dtype=dtype, copy=True)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    if csr.nnz < 2**31 and max(csr.shape) < 2**31:
        csr.indices = csr.indices.astype(np.int32, copy=False)
        csr.indptr = csr.indptr.astype(np.int32, copy=False)
    return csr


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph with n nodes, f features a node and c classes. Valid and canonical once made.

    adjacency: [n, n], anything SciPy makes CSR of; weights must be finite and not negative. Row i holds the
        neighbours that node i sums over. Self-loops belong to the normalisation and are best left out.
    features: [n, f], dense or sparse, finite.
    labels: [n] integers in [0, c), -1 where unknown; None if all are.
    train, val, test: node numbers, without repetition and disjoint; None where there is no such split.
    class_names: c names; by default "0", "1", ….
    node_ids: n names of nodes; by default their numbers.
    notes: what was done to the data on the way in (symmetrised, duplicates merged…), for people to read.
    feature_names: f names of features; empty where they have none.

    Raises GraphError naming the first fault.
    """

    adjacency: sp.csr_array
    features: Features
    labels: NDArray[np.int64] | None = None
    train: NDArray[np.int64] | None = None
    val: NDArray[np.int64] | None = None
    test: NDArray[np.int64] | None = None
    name: str = "graph"
    class_names: tuple[str, ...] = ()
    node_ids: NDArray[np.str_] | None = None
    notes: tuple[str, ...] = field(default=())
    feature_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        put("adjacency", _checked_adjacency(self.adjacency))
        put("features", _checked_features(self.features, self.num_nodes))
        labels = _checked_labels(self.labels, self.num_nodes, len(self.class_names))
        put("labels", labels)
        if not self.class_names and labels is not None:
            put("class_names", tuple(str(c) for c in range(int(labels.max(initial=-1)) + 1)))
        put("class_names", tuple(str(name) for name in self.class_names))
        splits = {name: getattr(self, name) for name in ("train", "val", "test")}
        for name, index in _checked_splits(splits, self.num_nodes, labels).items():
            put(name, index)
        if self.node_ids is not None:
            ids = np.asarray(self.node_ids).astype(np.str_)
            if ids.shape != (self.num_nodes,):
                raise GraphError(
                    f"node_ids has shape {ids.shape}; it needs one name for each of {self.num_nodes} nodes"
                )
            put("node_ids", ids)
        put("feature_names", tuple(str(name) for name in self.feature_names))
        _check_text("class_names", self.class_names)
        _check_text("feature_names", self.feature_names)
        _check_text("node_ids", () if self.node_ids is None else self.node_ids)
        if self.feature_names and len(self.feature_names) != self.num_features:
            raise GraphError(f"feature_names holds {len(self.feature_names)} names for {self.num_features} features")

    @property
    def num_nodes(self) -> int:
        return int(self.adjacency.shape[0])

    @property
    def num_features(self) -> int:
        return int(self.features.shape[1])

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def is_undirected(self) -> bool:
        difference = self.adjacency - self.adjacency.T
        return bool(difference.nnz == 0 or abs(difference).max() == 0)

    @property
    def num_edges(self) -> int:
        """Undirected: pairs of nodes joined, self-loops included. Directed: stored edges."""
        if not self.is_undirected:
            return int(self.adjacency.nnz)
        loops = int(np.count_nonzero(self.adjacency.diagonal()))
        return (int(self.adjacency.nnz) - loops) // 2 + loops

    def symmetrized(self) -> Graph:
        """The undirected graph: an edge wherever there is one in either direction, the larger weight kept."""
        undirected = self.adjacency.maximum(self.adjacency.T)
        return replace(self, adjacency=undirected, notes=(*self.notes, "edges symmetrised"))

    def with_splits(self, train: ArrayLike, val: ArrayLike, test: ArrayLike) -> Graph:
        """The same graph with other splits."""
        index = [np.asarray(part) for part in (train, val, test)]
        return replace(self, train=index[0], val=index[1], test=index[2])

    @classmethod
    def from_edges(
        cls,
        edges: ArrayLike,
        features: Any,
        labels: ArrayLike | None = None,
        *,
        weights: ArrayLike | None = None,
        num_nodes: int | None = None,
        undirected: bool = True,
        **fields: Any,
    ) -> Graph:
        """A graph from an edge list [m, 2] of node numbers (source, target).

        undirected: store each edge in both directions. Repeated edges count once where there are no weights,
        and their weights are summed where there are. fields: the other fields of `Graph`.
        """
        pairs = np.asarray(edges)
        if pairs.size == 0:
            pairs = pairs.reshape(0, 2).astype(np.int64)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise GraphError(
                f"edges must be integers of shape [edges, 2], not {pairs.dtype} of shape {list(pairs.shape)}"
            )
        n = int(num_nodes if num_nodes is not None else np.shape(features)[0])
        _check_edge_range(pairs, n)
        values = np.ones(len(pairs)) if weights is None else np.asarray(weights, dtype=np.float64)
        if values.shape != (len(pairs),):
            raise GraphError(f"weights has shape {list(values.shape)}; it needs one for each of {len(pairs)} edges")
        adjacency = sp.csr_array((values, (pairs[:, 1], pairs[:, 0])), shape=(n, n))
        adjacency.sum_duplicates()
        if weights is None:
            adjacency.data[:] = 1.0
        if undirected:
            adjacency = adjacency.maximum(adjacency.T)
        return cls(adjacency, features, None if labels is None else np.asarray(labels), **fields)

    @classmethod
    def from_scipy(cls, matrix: Any, features: Any, labels: ArrayLike | None = None, **fields: Any) -> Graph:
        """A graph of a SciPy matrix or array [n, n] with the weight of an edge from i to j at (i, j), as
        `scipy.sparse.csgraph` has it. fields: the other fields of `Graph`.
        """
        return cls(matrix.T, features, None if labels is None else np.asarray(labels), **fields)

    def to_scipy(self) -> sp.csr_array:
        """CSR float64 [n, n] with the weight of an edge from i to j at (i, j); a copy."""
        return canonical_csr(self.adjacency.T)

    @classmethod
    def from_networkx(
        cls, graph: Any, features: Any = "features", label: str = "label", weight: str = "weight", **fields: Any
    ) -> Graph:
        """See `portgnn.datasets.convert.from_networkx`."""
        from portgnn.datasets import convert

        return convert.from_networkx(graph, features, label, weight, **fields)

    def to_networkx(self) -> Any:
        """See `portgnn.datasets.convert.to_networkx`."""
        from portgnn.datasets import convert

        return convert.to_networkx(self)

    @classmethod
    def from_pyg(cls, data: Any, **fields: Any) -> Graph:
        """See `portgnn.datasets.convert.from_pyg`."""
        from portgnn.datasets import convert

        return convert.from_pyg(data, **fields)

    def to_pyg(self) -> Any:
        """See `portgnn.datasets.convert.to_pyg`."""
        from portgnn.datasets import convert

        return convert.to_pyg(self)

    @classmethod
    def from_dgl(cls, graph: Any, features: str = "feat", label: str = "label", **fields: Any) -> Graph:
        """See `portgnn.datasets.convert.from_dgl`."""
        from portgnn.datasets import convert

        return convert.from_dgl(graph, features, label, **fields)

    def to_dgl(self) -> Any:
        """See `portgnn.datasets.convert.to_dgl`."""
        from portgnn.datasets import convert

        return convert.to_dgl(self)


def normalized_adjacency(adjacency: sp.csr_array) -> sp.csr_array:
    """D^-1/2 (A + I) D^-1/2 with D the row sums of A + I (Kipf & Welling 2017, eq. 2). float64 [n, n].

    A node that already has a self-loop keeps its weight, as in PyG's `gcn_norm`, so that none counts twice.
    """
    loops = np.where(adjacency.diagonal() == 0, 1.0, 0.0)
    with_loops = canonical_csr(adjacency + sp.diags_array(loops))
    scale = 1.0 / np.sqrt(np.asarray(with_loops.sum(axis=1)).ravel())
    rows = np.repeat(np.arange(with_loops.shape[0]), np.diff(with_loops.indptr))
    with_loops.data *= scale[rows] * scale[with_loops.indices]
    return with_loops


def row_normalized(features: Features) -> Features:
    """Each row divided by its sum (Kipf & Welling 2017, section 5.1); rows that sum to zero stay as they are."""
    scale = row_scales(features)
    if isinstance(features, sp.csr_array):
        scaled = features.astype(np.float64)
        scaled.data *= np.repeat(scale, np.diff(scaled.indptr))
        return scaled
    return np.asarray(features * scale[:, None])


def row_scales(features: Features) -> NDArray[np.float64]:
    """What `row_normalized` multiplies each row by, [n]."""
    sums = np.asarray(features.sum(axis=1), dtype=np.float64).ravel()
    return np.divide(1.0, sums, out=np.ones_like(sums), where=sums != 0)


def _check_text(what: str, names: Iterable[str]) -> None:
    """Half of a surrogate pair is a character to Python and to no file."""
    try:
        "".join(names).encode()
    except (UnicodeEncodeError, ValueError):
        raise GraphError(f"{what} holds a name that is not valid Unicode text") from None


def _checked_adjacency(adjacency: Any) -> sp.csr_array:
    if not sp.issparse(adjacency):
        adjacency = np.asarray(adjacency)
    if len(adjacency.shape) != 2 or adjacency.shape[0] != adjacency.shape[1]:
        raise GraphError(f"the adjacency must be square, not {list(adjacency.shape)}")
    if adjacency.shape[0] == 0:
        raise GraphError("the graph has no nodes")
    csr = canonical_csr(adjacency)
    if not np.isfinite(csr.data).all() or (csr.data < 0).any():
        at = int(np.flatnonzero(~(np.isfinite(csr.data) & (csr.data >= 0)))[0])
        row = int(np.searchsorted(csr.indptr, at, side="right")) - 1
        raise GraphError(
            f"edge {int(csr.indices[at])} -> {row} has weight {csr.data[at]}; weights must be finite and not negative"
        )
    return csr


def _checked_features(features: Any, num_nodes: int) -> Features:
    checked: Features
    if sp.issparse(features):
        checked = canonical_csr(features)
        bad = np.flatnonzero(~np.isfinite(checked.data))
        where = _sparse_position(checked, int(bad[0])) if len(bad) else (0, 0)
    else:
        checked = np.asarray(features)
        if checked.dtype.kind not in "fiub":
            raise GraphError(f"features must be numbers, not {checked.dtype}")
        checked = checked.astype(np.float32 if checked.dtype == np.float32 else np.float64)
        if checked.ndim != 2:
            raise GraphError(f"features must have shape [nodes, features], not {list(checked.shape)}")
        bad = np.flatnonzero(~np.isfinite(checked))
        where = divmod(int(bad[0]), checked.shape[1]) if len(bad) else (0, 0)
    if len(bad):
        raise GraphError(
            f"features hold NaN or infinity, first at node {where[0]}, column {where[1]} ({len(bad)} such values)"
        )
    if checked.shape[0] != num_nodes:
        raise GraphError(f"features have {checked.shape[0]} rows, the graph has {num_nodes} nodes")
    if checked.shape[1] == 0:
        raise GraphError("features have no columns; give each node at least one, for example a constant 1")
    return checked


def _sparse_position(matrix: sp.csr_array, at: int) -> tuple[int, int]:
    return int(np.searchsorted(matrix.indptr, at, side="right")) - 1, int(matrix.indices[at])


def _checked_labels(labels: Any, num_nodes: int, num_classes: int) -> NDArray[np.int64] | None:
    if labels is None:
        return None
    array = np.asarray(labels)
    if array.shape != (num_nodes,):
        raise GraphError(f"labels have shape {list(array.shape)}; the graph needs [{num_nodes}]")
    if array.dtype.kind not in "iu":
        raise GraphError(f"labels must be integers, not {array.dtype}; put names into class_names")
    high = num_classes if num_classes else np.iinfo(np.int64).max
    bad = np.flatnonzero((array < UNLABELLED) | (array >= high))
    if len(bad):
        bound = f"0 to {num_classes - 1}" if num_classes else "0 and above"
        raise GraphError(f"label {array[bad[0]]} of node {bad[0]} is out of range ({bound}, or -1 for none)")
    # Above this, numbers are ids rather than classes, and a weight matrix of that width would be made.
    if not num_classes and array.max(initial=-1) >= max(num_nodes, 2):
        raise GraphError(
            f"label {array.max()} is larger than the {num_nodes} nodes of the graph; number the "
            "classes 0, 1, 2, … or give class_names"
        )
    return array.astype(np.int64)


def _checked_splits(
    splits: dict[str, Any], num_nodes: int, labels: NDArray[np.int64] | None
) -> dict[str, NDArray[np.int64] | None]:
    owner = np.full(num_nodes, -1, dtype=np.int8)
    checked: dict[str, NDArray[np.int64] | None] = {}
    names = list(splits)
    for number, (name, given) in enumerate(splits.items()):
        if given is None:
            checked[name] = None
            continue
        index = np.asarray(given)
        if index.dtype == np.bool_ and index.shape == (num_nodes,):
            index = np.flatnonzero(index)
        if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
            raise GraphError(f"the {name} split must be a list of node numbers or a mask over all nodes")
        if not index.size:
            raise GraphError(f"the {name} split is empty")
        if index.min() < 0 or index.max() >= num_nodes:
            bad = index[(index < 0) | (index >= num_nodes)][0]
            raise GraphError(f"the {name} split names node {bad}; nodes go from 0 to {num_nodes - 1}")
        index = index.astype(np.int64)
        if len(np.unique(index)) != len(index):
            raise GraphError(f"the {name} split names a node twice")
        taken = index[owner[index] >= 0]
        if len(taken):
            raise GraphError(
                f"node {taken[0]} is in the {names[owner[taken[0]]]} split and in the {name} "
                "split; splits must not overlap"
            )
        owner[index] = number
        if labels is None or (labels[index] == UNLABELLED).any():
            missing = index[0] if labels is None else index[labels[index] == UNLABELLED][0]
            raise GraphError(f"node {missing} of the {name} split has no label")
        checked[name] = index
    return checked


def _check_edge_range(pairs: NDArray[Any], num_nodes: int) -> None:
    bad = np.flatnonzero(((pairs < 0) | (pairs >= num_nodes)).any(axis=1))
    if len(bad):
        source, target = pairs[bad[0]]
        raise GraphError(f"edge {bad[0]} joins {source} and {target}; nodes go from 0 to {num_nodes - 1}")
