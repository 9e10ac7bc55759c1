"""One graph: canonical CSR adjacency, features, labels, splits.

All input is checked here, once, by `portgnn.graphs.checks`, so that no other module has to: what a `Graph` holds is
valid.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from portgnn._markup import facts_table, render
from portgnn.errors import GraphError
from portgnn.graphs import _conversion
from portgnn.graphs.arrays import as_float64, host, is_symmetric, real, real_sparse, unmasked
from portgnn.graphs.arrays import canonical_csr as canonical_csr
from portgnn.graphs.checks import UNLABELLED as UNLABELLED
from portgnn.graphs.checks import Features as Features
from portgnn.graphs.checks import (
    check_distinct,
    check_edge_range,
    check_text,
    check_weights,
    checked_adjacency,
    checked_classes,
    checked_features,
    checked_ids,
    checked_labels,
    checked_names,
    checked_size,
    checked_splits,
    checked_stored,
    checked_target_names,
    checked_targets,
    labelled,
    one_or_many,
)
from portgnn.text import printable, shortened

_SHOWN = 8
"""Names of classes and notes that a notebook shows."""


def _is_stored(note: str) -> bool:
    return note.startswith("split ") and note.endswith(" that the data come with")


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph with n nodes, f features a node, and c classes or k targets. Valid and canonical once made.

    adjacency: [n, n], anything SciPy makes CSR of; weights must be finite and not negative. Row i holds the
        neighbours that node i sums over. Self-loops belong to the normalisation and are best left out.
    features: [n, f], dense or sparse, finite.
    labels: [n] integers in [0, c), or floats that are whole; -1, NaN, None or masked where unknown; None if all are.
        Of shape [n, k] they are targets, but for one column of integers.
    train, val, test: node numbers, without repetition and disjoint, or masks [n]; None where there is no such split.
    class_names: c names, each once, without the space around them; by default "0", "1", ….
    node_ids: n names of nodes, each once, an array of Python's own texts; by default their numbers. (NumPy's texts are
        all as long as the longest: among 30,000 names, one of 60,000 letters would take 7 GB.)
    notes: what was done to the data on the way in (symmetrised, duplicates merged…), for people to read.
    feature_names: f names of features; empty where they have none.
    stored_splits: further splits that the data come with, each a mapping with train, val and test (or masks); see
        `with_stored_split`.
    targets: [n, k] numbers in place of labels: values to estimate, or 0 and 1 for each of several labels; NaN, None or
        masked where unknown. Of shape [n], one column.
    target_names: k names, each once; by default "0", "1", ….

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
    node_ids: Any = None
    notes: tuple[str, ...] = field(default=())
    feature_names: tuple[str, ...] = ()
    stored_splits: tuple[Mapping[str, object], ...] = ()
    targets: NDArray[np.float64] | None = None
    target_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        for name in ("class_names", "feature_names", "target_names", "notes"):
            put(name, checked_names(getattr(self, name), name))
        put("name", str(self.name))
        put("adjacency", checked_adjacency(self.adjacency))
        put("features", checked_features(self.features, self.num_nodes))
        labels, targets = one_or_many(self.labels, self.targets)
        labels = checked_labels(labels, self.num_nodes, len(self.class_names))
        targets = checked_targets(targets, self.num_nodes)
        put("labels", labels)
        put("targets", targets)
        put("target_names", checked_target_names(self.target_names, targets))
        if not self.class_names and labels is not None:
            put("class_names", tuple(str(c) for c in range(int(labels.max(initial=-1)) + 1)))
        splits = {name: getattr(self, name) for name in ("train", "val", "test")}
        for name, index in checked_splits(splits, self.num_nodes, labelled(labels, targets)).items():
            put(name, index)
        put("stored_splits", checked_stored(self.stored_splits, self.num_nodes, labelled(labels, targets)))
        if self.node_ids is not None:
            put("node_ids", checked_ids(self.node_ids, self.num_nodes))
        check_text("class_names", self.class_names)
        put("class_names", checked_classes(self.class_names))
        check_text("feature_names", self.feature_names)
        check_text("node_ids", () if self.node_ids is None else self.node_ids)
        check_distinct("node_ids", () if self.node_ids is None else self.node_ids.tolist())
        if self.feature_names and len(self.feature_names) != self.num_features:
            raise GraphError(f"feature_names holds {len(self.feature_names)} names for {self.num_features} features")

    def __repr__(self) -> str:
        """One line: the arrays have too many."""
        sizes = f"{self.num_nodes:,} nodes, {self.num_edges:,} {'' if self.is_undirected else 'directed '}edges"
        return (
            f"Graph {printable(shortened(self.name, 40))!r}: {sizes}, {self.num_features:,} features, "
            f"{self._said}; {self.splits_in_words}"
        )

    @property
    def _said(self) -> str:
        """How much there is to say of a node, for people to read."""
        return f"{self.num_classes:,} classes" if self.targets is None else f"{len(self.target_names):,} targets"

    @property
    def splits_in_words(self) -> str:
        """How many nodes each split has, for people to read."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return ", ".join(f"{name} {len(index):,}" for name, index in parts.items() if index is not None) or "no split"

    def _repr_html_(self) -> str:
        """The graph as a notebook shows it."""
        kind = "" if self.is_undirected else "directed "
        what, names = ("classes", self.class_names) if self.targets is None else ("targets", self.target_names)
        more = ", …" if len(names) > _SHOWN else ""
        facts = [
            ("graph", self.name),
            ("nodes", f"{self.num_nodes:,}"),
            (f"{kind}edges", f"{self.num_edges:,}"),
            ("features", f"{self.num_features:,}"),
            (what, f"{len(names):,}: {', '.join(names[:_SHOWN])}{more}"),
            ("splits", self.splits_in_words),
            *(("note", note) for note in self.notes[:_SHOWN]),
        ]
        return render(facts_table(facts))

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
    def num_outputs(self) -> int:
        """How many things a model says of a node."""
        return self.num_classes if self.targets is None else len(self.target_names)

    @cached_property
    def is_undirected(self) -> bool:
        return is_symmetric(self.adjacency)

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
        parts: dict[str, Any] = {"train": train, "val": val, "test": test}
        return replace(self, **parts)

    def with_stored_split(self, number: int) -> Graph:
        """The same graph with one of the splits that it came with, counted from 0. Raises GraphError for any other."""
        if not 0 <= number < len(self.stored_splits):
            there = f"splits 0 to {len(self.stored_splits) - 1}" if self.stored_splits else "no stored splits"
            raise GraphError(f"{self.name} has {there}, and no split {number}")
        parts: dict[str, Any] = {part: self.stored_splits[number].get(part) for part in ("train", "val", "test")}
        note = f"split {number} of the {len(self.stored_splits)} that the data come with"
        return replace(self, **parts, notes=(*(each for each in self.notes if not _is_stored(each)), note))

    @classmethod
    def from_edges(
        cls,
        edges: ArrayLike,
        features: Any,
        labels: Any = None,
        *,
        weights: ArrayLike | None = None,
        num_nodes: int | None = None,
        undirected: bool = True,
        **fields: Any,
    ) -> Graph:
        """A graph from an edge list [m, 2] of node numbers (source, target).

        undirected: store each edge in both directions, the larger weight where both are given. Repeated edges count
        once where there are no weights, and their weights are summed where there are; a note says how many.
        fields: the other fields of `Graph`.
        """
        pairs = unmasked(edges, "edges")
        if pairs.size == 0:
            pairs = pairs.reshape(0, 2).astype(np.int64)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            raise GraphError(
                f"edges must be integers of shape [edges, 2], not {pairs.dtype} of shape {list(pairs.shape)}"
            )
        features = host(features, "features")
        if not features.shape:
            raise GraphError("features must have shape [nodes, features]")
        n = checked_size(features.shape[0] if num_nodes is None else num_nodes, features.shape[0])
        check_edge_range(pairs, n)
        values = np.ones(len(pairs)) if weights is None else as_float64(real(weights, "weights"))
        if values.shape != (len(pairs),):
            raise GraphError(f"weights has shape {list(values.shape)}; it needs one for each of {len(pairs)} edges")
        # Before they are summed and compared: -4 is gone from maximum(A, A^T), and 4 - 4 from a sum.
        check_weights(values, lambda at: (int(pairs[at, 0]), int(pairs[at, 1])))
        adjacency = sp.csr_array((values, (pairs[:, 1], pairs[:, 0])), shape=(n, n))
        adjacency.sum_duplicates()
        repeated = len(pairs) - adjacency.nnz
        if weights is None:
            adjacency.data[:] = 1.0
        if repeated:
            note = f"{repeated} repeated edges {'counted once' if weights is None else 'summed'}"
            fields["notes"] = (*fields.get("notes", ()), note)
        if undirected:
            both = adjacency.maximum(adjacency.T)
            smaller = 0 if weights is None else (both.multiply(adjacency != 0) - adjacency).count_nonzero()
            if smaller:
                note = f"{smaller} edges given both ways with different weights: the larger counts"
                fields["notes"] = (*fields.get("notes", ()), note)
            adjacency = both
        return cls(adjacency, features, labels, **fields)

    @classmethod
    def from_scipy(cls, matrix: Any, features: object, labels: Any = None, **fields: Any) -> Graph:
        """A graph of a SciPy matrix or array [n, n] with the weight of an edge from i to j at (i, j), as
        `scipy.sparse.csgraph` has it. fields: the other fields of `Graph`.
        """
        given = host(matrix, "the adjacency")
        # SciPy transposes without a look at the indices, or with an exception of its own.
        given = real_sparse(given, "the adjacency") if sp.issparse(given) else given
        return cls(given.T, features, labels, **fields)

    def to_scipy(self) -> sp.csr_array:
        """CSR float64 [n, n] with the weight of an edge from i to j at (i, j); a copy."""
        return canonical_csr(self.adjacency.T)

    @classmethod
    def from_networkx(
        cls,
        graph: Any,
        features: Any = "features",
        label: str | None = "label",
        weight: str | None = "weight",
        *,
        split: str | None = "split",
        unknown: Collection[str] = (),
        **fields: Any,
    ) -> Graph:
        """A graph of a networkx Graph, DiGraph, or multigraph (parallel edges: weights summed, else counted once).

        features: the node attribute that holds a list of numbers, or a list of attributes that hold one number
            each, or a matrix [n, f] in the order of `graph.nodes`; without such an attribute, the identity.
        label: the node attribute with the class's name, left out, None or NaN where unknown. unknown: labels that
            stand for none, too. weight: the edge attribute; edges have weights if at least one has it, and the others
            then weigh 1. split: the node attribute that is train, val or test, where no split is among the fields.
            None reads none of these. Attributes that are not read are noted.
        fields: the other fields of `Graph`. An undirected graph's edges go both ways, a directed one's as given.

        What `to_networkx` writes comes back: classes and features keep their order and names.

        Raises GraphError naming the node or edge at fault.
        """
        return cls.from_edges(
            **_conversion.read_networkx(graph, features, label, weight, split=split, unknown=unknown, **fields)
        )

    def to_networkx(self) -> object:
        """A networkx Graph (DiGraph where the graph is directed): nodes under their ids with `label` (class name),
        `split` and `features` (list of floats), edges with `weight`; the graph with `class_names` and `feature_names`.
        Needs networkx. Its `write_gml` leaves `label` out, which in GML names the node: copy it to `class` before.
        """
        return _conversion.write_networkx(self)

    @classmethod
    def from_pyg(cls, data: Any, **fields: Any) -> Graph:
        """A graph of a `torch_geometric.data.Data`, or of anything with edge_index [2, m] and x [n, f].

        Taken where they are: y [n], edge_weight [m] (or edge_attr of one column), train_mask, val_mask, test_mask:
        masks [n], of booleans or of 0 and 1, or node numbers; class_names, a list. Edges are kept as given; repeated
        ones are summed, with a note, as PyG's `gcn_norm` and convolutions do. fields: replace or add fields of `Graph`.
        Raises GraphError.
        """
        return cls.from_edges(**_conversion.read_pyg(data, **fields))

    def to_pyg(self) -> object:
        """A `torch_geometric.data.Data` with edge_index, edge_weight, x (dense), y, the masks and class_names (a list).

        Numbers are float32, or float64 where that would make infinity or 0 of one. Names of nodes and features stay
        behind.
        """
        return _conversion.write_pyg(self)

    @classmethod
    def from_dgl(cls, graph: Any, features: str = "feat", label: str = "label", **fields: Any) -> Graph:
        """A graph of a homogeneous `dgl.DGLGraph`: edges() and ndata[features], ndata[label], ndata["train_mask"]….

        Edge weights are taken from edata["weight"] or edata["w"]. Edges are kept as given; repeated ones are summed,
        with a note, as DGL's convolutions do. Masks as for `from_pyg`. Raises GraphError.
        """
        return cls.from_edges(**_conversion.read_dgl(graph, features, label, **fields))

    def to_dgl(self) -> object:
        """A `dgl.DGLGraph` with ndata "feat", "label" and the masks, and edata "weight"."""
        return _conversion.write_dgl(self)
