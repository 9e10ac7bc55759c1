"""Many graphs with one target each, side by side in one block-diagonal graph: whatever knows rows knows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from portgnn._markup import facts_table, render
from portgnn.errors import GraphError
from portgnn.graphs.arrays import Nodes, as_float64, host, real
from portgnn.graphs.checks import (
    UNLABELLED,
    check_distinct,
    check_text,
    checked_classes,
    checked_labels,
    checked_names,
    checked_splits,
)
from portgnn.graphs.gathered import as_labels, dense, label_of_networkx, read_many, y_of_pyg
from portgnn.graphs.graph import Graph
from portgnn.text import printable, shortened

Checked = TypeVar("Checked")


@dataclass(frozen=True, eq=False)
class GraphSet:
    """g graphs, each with a class or with k real targets. Valid once made.

    union: all graphs as one, block-diagonal, the nodes of the first before those of the second; its labels and splits
        are none. sizes: [g] whole numbers, how many nodes each graph has, at least one.
    labels: [g] numbers of classes, -1 or NaN where unknown; targets: [g] or [g, k] real numbers, a row of NaN where
        unknown. One of the two, or neither.
    train, val, test: numbers of graphs, without repetition and disjoint, or masks [g]; None where there is none.
    class_names, target_names: c and k names. graph_ids: g names; by default their numbers. notes: for people to read.

    Raises GraphError naming the first fault.
    """

    union: Graph
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64] | None = None
    targets: NDArray[np.float64] | None = None
    train: NDArray[np.int64] | None = None
    val: NDArray[np.int64] | None = None
    test: NDArray[np.int64] | None = None
    name: str = "graphs"
    class_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    graph_ids: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        put("name", str(self.name))
        for name in ("class_names", "target_names", "graph_ids", "notes"):
            names = checked_names(getattr(self, name), name)
            put(name, names)
            check_text(name, names)
        put("sizes", _checked_sizes(self.sizes, self.union.num_nodes))
        _check_blocks(self.union, self.sizes)
        count = len(self)
        if self.labels is not None and self.targets is not None:
            raise GraphError(f"{self.name} has both labels and targets; a graph has a class or numbers")
        labels = _of_graphs(lambda: checked_labels(self.labels, count, len(self.class_names)))
        put("labels", labels)
        if not self.class_names and labels is not None:
            put("class_names", tuple(str(c) for c in range(int(labels.max(initial=-1)) + 1)))
        put("class_names", checked_classes(self.class_names))
        put("targets", None if self.targets is None else _checked_targets(self.targets, count))
        put("target_names", self.target_names or tuple(f"target {k}" for k in range(self._num_targets)))
        for name, due in (("target_names", self._num_targets), ("graph_ids", count)):
            names = getattr(self, name)
            check_distinct(name, names)
            if names and len(names) != due:
                raise GraphError(f"{name} holds {len(names)} names, where {due} are due")
        splits = {name: getattr(self, name) for name in ("train", "val", "test")}
        for name, index in _of_graphs(lambda: checked_splits(splits, count, self.known)).items():
            put(name, index)

    def __len__(self) -> int:
        """How many graphs there are."""
        return len(self.sizes)

    def __getitem__(self, number: int) -> Graph:
        """One graph, with its features, without label and split."""
        place = range(len(self))[number]  # IndexError, also for -1 of none
        rows = slice(int(self.starts[place]), int(self.starts[place] + self.sizes[place]))
        name = self.graph_ids[place] if self.graph_ids else str(place)
        return Graph(
            self.union.adjacency[rows, rows], self.union.features[rows], name=f"{self.name} {name}",
            feature_names=self.union.feature_names,
        )  # fmt: skip

    def __repr__(self) -> str:
        """One line: the arrays have too many."""
        said = f"{len(self.class_names):,} classes" if self.targets is None else f"{self._num_targets:,} targets"
        return (
            f"GraphSet {printable(shortened(self.name, 40))!r}: {len(self):,} graphs, {self.num_nodes:,} nodes, "
            f"{self.num_edges:,} edges, {self.num_features:,} features, {said}; {self.splits_in_words}"
        )

    def _repr_html_(self) -> str:
        """The set as a notebook shows it."""
        facts = [
            ("graphs", f"{self.name}: {len(self):,}"),
            ("nodes", f"{self.num_nodes:,}, {self.num_nodes / len(self):.1f} a graph"),
            ("edges", f"{self.num_edges:,}"),
            ("features", f"{self.num_features:,}"),
            ("classes", ", ".join(self.class_names[:8])) if self.targets is None else ("targets", self.num_outputs),
            ("splits", self.splits_in_words),
            *(("note", note) for note in self.notes[:8]),
        ]
        return render(facts_table([(name, str(text)) for name, text in facts]))

    @property
    def splits_in_words(self) -> str:
        """How many graphs each split has, for people to read."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return ", ".join(f"{name} {len(index):,}" for name, index in parts.items() if index is not None) or "no split"

    @cached_property
    def starts(self) -> Nodes:
        """[g]: the first node of each graph."""
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def known(self) -> NDArray[np.int64] | None:
        """[g]: the label, or for targets 0 where a graph has any and -1 elsewhere; None where nothing is known."""
        if self.targets is None:
            return self.labels
        return np.where(np.isfinite(self.targets).any(axis=1), 0, UNLABELLED)

    @property
    def node_ids(self) -> Any:
        """[g] of Python's texts: the names of the graphs, of which a set says something as a graph does of nodes."""
        names = np.empty(len(self), dtype=object)
        names[:] = self.graph_ids or [str(number) for number in range(len(self))]
        return names

    @property
    def num_nodes(self) -> int:
        """Of all graphs together."""
        return self.union.num_nodes

    @property
    def num_edges(self) -> int:
        """Of all graphs together, counted as `Graph.num_edges` does."""
        return self.union.num_edges

    @property
    def num_features(self) -> int:
        return self.union.num_features

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self.union.feature_names

    @property
    def is_undirected(self) -> bool:
        return self.union.is_undirected

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def _num_targets(self) -> int:
        return 0 if self.targets is None else self.targets.shape[1]

    @property
    def num_outputs(self) -> int:
        """How many things are said of a graph: classes or targets."""
        return self.num_classes if self.targets is None else self._num_targets

    def symmetrized(self) -> GraphSet:
        """The set with every edge in both directions; see `Graph.symmetrized`."""
        return replace(self, union=self.union.symmetrized(), notes=(*self.notes, "edges symmetrised"))

    def with_splits(self, train: ArrayLike, val: ArrayLike | None, test: ArrayLike | None) -> GraphSet:
        """The same graphs with other splits."""
        parts: dict[str, Any] = {"train": train, "val": val, "test": test}
        return replace(self, **parts)

    def taken(self, graphs: Sequence[int] | NDArray[np.int64]) -> GraphSet:
        """Some of the graphs, in the order given, each once, without splits. Raises GraphError for one that is not."""
        index = np.asarray(graphs)
        if index.ndim != 1 or not len(index) or index.dtype.kind not in "iu" or len(np.unique(index)) < len(index):
            raise GraphError("graphs to take must be a list of different numbers of graphs, one at least")
        if index.min() < 0 or index.max() >= len(self):
            raise GraphError(f"there are graphs 0 to {len(self) - 1}, and none of them is {index.max()}")
        rows = self.nodes_of(index)
        union = replace(
            self.union, adjacency=self.union.adjacency[rows][:, rows], features=self.union.features[rows], node_ids=None
        )
        return replace(
            self, union=union, sizes=self.sizes[index], train=None, val=None, test=None,
            labels=None if self.labels is None else self.labels[index],
            targets=None if self.targets is None else self.targets[index],
            graph_ids=tuple(self.graph_ids[at] for at in index) if self.graph_ids else (),
        )  # fmt: skip

    def nodes_of(self, graphs: NDArray[np.integer]) -> Nodes:
        """The numbers of the nodes of some graphs, one graph after the other."""
        counts = self.sizes[graphs]
        ends = np.cumsum(counts)
        within = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - counts, counts)
        nodes: Nodes = np.repeat(self.starts[graphs], counts) + within
        return nodes

    @classmethod
    def of(cls, graphs: Iterable[Graph], labels: Any = None, targets: Any = None, **fields: Any) -> GraphSet:
        """A set of graphs with the same features. labels, targets, fields: see the class.

        Labels and splits of the graphs' own nodes are left out, with a note. Raises GraphError for none at all, and for
        a graph whose features are others than the first's.
        """
        listed = list(graphs)
        if not listed:
            raise GraphError("a set needs one graph at least, and there is none")
        first = listed[0]
        for at, graph in enumerate(listed):
            if not isinstance(graph, Graph):
                raise GraphError(
                    f"graph {at} is a {type(graph).__name__} and no portgnn.Graph; see from_networkx, from_pyg"
                )
            if (graph.num_features, graph.feature_names) != (first.num_features, first.feature_names):
                raise GraphError(
                    f"graph {at} has {graph.num_features} features and graph 0 has {first.num_features}, or other "
                    "names of them; all graphs of a set have the same"
                )
        notes = fields.pop("notes", ())
        if any(graph.labels is not None for graph in listed):
            notes = (*notes, "labels of nodes left out: a graph of a set has one target")
        sparse = all(isinstance(graph.features, sp.csr_array) for graph in listed)
        features: Any = [graph.features if sparse else dense(graph.features) for graph in listed]
        union = Graph(
            sp.block_diag([graph.adjacency for graph in listed], format="csr"),
            sp.vstack(features, format="csr") if sparse else np.concatenate(features),
            name=str(fields.get("name", "graphs")), feature_names=first.feature_names,
        )  # fmt: skip
        sizes = np.array([graph.num_nodes for graph in listed])
        return cls(union, sizes, labels, targets, notes=notes, **fields)

    @classmethod
    def from_networkx(cls, graphs: Iterable[Any], labels: Any = None, targets: Any = None, **fields: Any) -> GraphSet:
        """A set of networkx graphs; features, weight: as for `Graph.from_networkx`, here by default those of degrees.

        labels: [g] names or numbers of classes; None takes the graphs' attribute `label` (`graph.graph["label"]`)
        where all of them have it. fields: other fields of the set.
        """
        options: dict[str, Any] = {"label": None, "split": None}
        made: GraphSet = read_many(
            cls, graphs, Graph.from_networkx, label_of_networkx, labels, targets, fields, options
        )
        return made

    @classmethod
    def from_pyg(cls, graphs: Iterable[Any], labels: Any = None, targets: Any = None, **fields: Any) -> GraphSet:
        """A set of `torch_geometric.data.Data`, such as a dataset of them: x, edge_index, edge_weight as for
        `Graph.from_pyg`. labels or targets: None takes each one's `y`: a whole number is a class, others are targets.
        """
        options: dict[str, Any] = dict.fromkeys(("labels", "train", "val", "test"))
        made: GraphSet = read_many(cls, graphs, Graph.from_pyg, y_of_pyg, labels, targets, fields, options)
        return made

    @classmethod
    def from_dgl(cls, graphs: Iterable[Any], labels: Any = None, targets: Any = None, **fields: Any) -> GraphSet:
        """A set of `dgl.DGLGraph`, or of pairs of one and its label, as DGL's datasets give them; features: ndata's
        "feat" or "attr". See `Graph.from_dgl`.
        """
        listed = list(graphs)
        if listed and all(isinstance(each, tuple) and len(each) == 2 for each in listed):
            if labels is None and targets is None:
                labels, targets = as_labels([host(label, "a label") for _, label in listed])
            listed = [graph for graph, _ in listed]
        options: dict[str, Any] = {"labels": None}
        made: GraphSet = read_many(cls, listed, Graph.from_dgl, lambda _: None, labels, targets, fields, options)
        return made


def _of_graphs(check: Callable[[], Checked]) -> Checked:
    """What a check of nodes says, said of graphs: both are numbered things with labels and splits."""
    try:
        return check()
    except GraphError as error:
        text = str(error).replace("nodes of the graph", "graphs of the set").replace("the graph needs", "the set needs")
        raise GraphError(text.replace("node", "graph")) from None


def _checked_sizes(sizes: object, nodes: int) -> NDArray[np.int64]:
    array = np.asarray(host(sizes, "sizes"))
    if array.ndim != 1 or not len(array) or array.dtype.kind not in "iu":
        raise GraphError("sizes must be a list of whole numbers, the nodes of each graph, of one graph at least")
    empty = np.flatnonzero(array < 1)
    if len(empty):
        raise GraphError(f"graph {empty[0]} has no nodes; leave it out, or give it one")
    if int(array.sum()) != nodes:
        raise GraphError(f"the sizes of {len(array)} graphs add up to {int(array.sum())}, and there are {nodes} nodes")
    return array.astype(np.int64)


def _check_blocks(union: Graph, sizes: NDArray[np.int64]) -> None:
    """Raises GraphError for an edge from one graph to another."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    rows = np.repeat(np.arange(union.num_nodes), np.diff(union.adjacency.indptr))
    across = np.flatnonzero(owner[rows] != owner[union.adjacency.indices])
    if len(across):
        source, target = union.adjacency.indices[across[0]], rows[across[0]]
        raise GraphError(
            f"the edge from node {source} to {target} joins graph {owner[source]} and graph {owner[target]}; no edge "
            "leaves its graph"
        )


def _checked_targets(targets: Any, count: int) -> NDArray[np.float64]:
    array = as_float64(real(targets, "targets"))
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.shape[0] != count or not array.shape[1]:
        raise GraphError(f"targets have shape {list(array.shape)}; the set needs a row for each of {count} graphs")
    bad = np.argwhere(np.isinf(array))
    if len(bad):
        raise GraphError(f"target {bad[0][1]} of graph {bad[0][0]} is infinite; give NaN where it is unknown")
    return array.copy()
