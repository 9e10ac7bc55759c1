"""Graphs from other libraries' objects and back. Each is known by what it offers; none is imported to read it."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.arrays import host
from portgnn.datasets.tables import numbered_classes
from portgnn.errors import GraphError
from portgnn.graph import UNLABELLED, Graph

_MASKS = {"train": "train_mask", "val": "val_mask", "test": "test_mask"}


def from_networkx(
    graph: Any, features: Any = "features", label: str = "label", weight: str = "weight", **fields: Any
) -> Graph:
    """A graph of a networkx Graph, DiGraph, or multigraph (parallel edges: weights summed, else counted once).

    features: the node attribute that holds a list of numbers, or a list of attributes that hold one number
        each, or a matrix [n, f] in the order of `graph.nodes`; without such an attribute, the identity.
    label: the node attribute with the class's name, left out or None where unknown. weight: the edge attribute;
        edges have weights if at least one has it, and the others then weigh 1.
    fields: the other fields of `Graph`. An undirected graph's edges go both ways, a directed one's as given.

    Raises GraphError naming the node or edge at fault.
    """
    nodes = list(graph.nodes)
    index = {node: position for position, node in enumerate(nodes)}
    names = [str(node) for node in nodes]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise GraphError(f"two nodes are named {twice!r} when written as text; give them distinct names")
    pairs, weights, weighted = [], [], False
    for source, target, value in graph.edges(data=weight, default=None):
        pairs.append((index[source], index[target]))
        weighted = weighted or value is not None
        weights.append(_number(1 if value is None else value, f"{weight!r} of edge {source!r} -> {target!r}"))
    labels: Any = [graph.nodes[node].get(label) for node in nodes]
    labels, classes = numbered_classes(["" if value is None else str(value) for value in labels])
    notes = tuple(fields.pop("notes", ()))
    if isinstance(features, str | list) and (isinstance(features, str) or all(isinstance(f, str) for f in features)):
        matrix, more = _attributes(graph, nodes, features)
        notes += more
        if isinstance(features, list) and not more:
            fields = {"feature_names": tuple(features)} | fields
    else:
        matrix = features
    given = {"name": str(graph.name or "graph"), "class_names": classes, "node_ids": names}
    return Graph.from_edges(
        np.array(pairs, dtype=np.int64).reshape(-1, 2),
        matrix,
        labels,
        weights=weights if weighted else None,
        num_nodes=len(nodes),
        undirected=not graph.is_directed(),
        notes=notes,
        **(given | fields),
    )


def _attributes(graph: Any, nodes: list[Any], names: str | list[str]) -> tuple[Any, tuple[str, ...]]:
    several = isinstance(names, list)
    rows = [
        [graph.nodes[node].get(name) for name in names] if several else graph.nodes[node].get(names) for node in nodes
    ]
    if not several and all(row is None for row in rows):
        return sp.eye_array(len(nodes), format="csr"), ("features are the identity: the nodes have none",)
    width = -1
    for node, row in zip(nodes, rows, strict=True):
        values = np.asarray(row if row is not None else [np.nan])
        if values.ndim != 1 or values.dtype.kind not in "fiub" or (width >= 0 and len(values) != width):
            raise GraphError(
                f"attribute {names!r} of node {node!r} is {str(row)[:40]}; it must be "
                f"{'numbers' if width < 0 else f'{width} numbers'}"
            )
        width = len(values)
    return np.array(rows, dtype=np.float64).reshape(len(nodes), -1), ()


def _number(value: Any, what: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise GraphError(f"{what} is {str(value)[:40]!r}, which is not a number") from None


def to_networkx(graph: Graph) -> Any:
    """A networkx Graph (DiGraph where the graph is directed): nodes under their ids with `label` (class name),
    `split` and `features` (list of floats), edges with `weight`. Needs networkx.
    """
    library = _library("networkx", "data")
    made = library.Graph(name=graph.name) if graph.is_undirected else library.DiGraph(name=graph.name)
    names = node_names(graph)
    dense = graph.features.toarray() if isinstance(graph.features, sp.csr_array) else graph.features
    for node, name in enumerate(names):
        made.add_node(name, features=dense[node].tolist())
        if graph.labels is not None and graph.labels[node] != UNLABELLED:
            made.nodes[name]["label"] = graph.class_names[graph.labels[node]]
    for split in _MASKS:
        index = getattr(graph, split)
        for node in () if index is None else index:
            made.nodes[names[node]]["split"] = split
    source, target, weights = edge_list(graph)
    for i, j, weight in zip(source.tolist(), target.tolist(), weights.tolist(), strict=True):
        made.add_edge(names[i], names[j], weight=weight)
    return made


def from_pyg(data: Any, **fields: Any) -> Graph:
    """A graph of a `torch_geometric.data.Data`, or of anything with edge_index [2, m] and x [n, f].

    Taken where they are: y [n], edge_weight [m] (or edge_attr of one column), train_mask, val_mask, test_mask
    [n]. Edges are kept as given. fields: replace or add fields of `Graph`. Raises GraphError.
    """
    edge_index, features = getattr(data, "edge_index", None), getattr(data, "x", None)
    if edge_index is None:
        raise GraphError("the data has no edge_index; a graph needs edges [2, m]")
    pairs = _host(edge_index)
    if pairs.ndim != 2 or pairs.shape[0] != 2:
        raise GraphError(f"edge_index has shape {list(pairs.shape)}; it must be [2, edges]")
    notes = tuple(fields.pop("notes", ()))
    if features is None:
        count = getattr(data, "num_nodes", None)
        if count is None:
            raise GraphError("the data has neither x nor num_nodes")
        features, notes = sp.eye_array(int(count), format="csr"), (*notes, "features are the identity: there is no x")
    else:
        features = _host(features)
    weights = getattr(data, "edge_weight", None)
    if weights is None and (attr := getattr(data, "edge_attr", None)) is not None:
        attr = _host(attr)
        if attr.ndim == 1 or attr.shape[1] == 1:
            weights = attr.reshape(-1)
        else:
            notes = (*notes, f"edge_attr of {attr.shape[1]} columns left out: a GCN takes one weight an edge")
    given = _labels_and_masks(getattr(data, "y", None), lambda name: getattr(data, name, None))
    return Graph.from_edges(
        pairs.T,
        features,
        weights=None if weights is None else _host(weights),
        undirected=False,
        notes=notes,
        **(given | fields),
    )


def to_pyg(graph: Graph) -> Any:
    """A `torch_geometric.data.Data` with edge_index, edge_weight, x (dense float32), y and the masks."""
    data = _library("torch_geometric.data", None)
    tensor = _library("torch", None).as_tensor
    source, target, weights = edge_list(graph)
    arrays = {"edge_index": np.stack([source, target]), "edge_weight": weights.astype(np.float32)}
    return data.Data(**{name: tensor(value) for name, value in (arrays | _node_arrays(graph, "x", "y")).items()})


def from_dgl(graph: Any, features: str = "feat", label: str = "label", **fields: Any) -> Graph:
    """A graph of a homogeneous `dgl.DGLGraph`: edges() and ndata[features], ndata[label], ndata["train_mask"]….

    Edge weights are taken from edata["weight"] or edata["w"]. Edges are kept as given. Raises GraphError.
    """
    source, target = (_host(part) for part in graph.edges())
    data, edge_data = graph.ndata, graph.edata
    matrix = _host(data[features]) if features in data else sp.eye_array(int(graph.num_nodes()), format="csr")
    notes = tuple(fields.pop("notes", ()))
    if features not in data:
        notes = (*notes, f"features are the identity: there is no ndata[{features!r}]")
    weights = next((_host(edge_data[name]).reshape(-1) for name in ("weight", "w") if name in edge_data), None)
    given = _labels_and_masks(data.get(label), data.get)
    return Graph.from_edges(
        np.stack([source, target], axis=1),
        matrix,
        weights=weights,
        num_nodes=int(graph.num_nodes()),
        undirected=False,
        notes=notes,
        **(given | fields),
    )


def to_dgl(graph: Graph) -> Any:
    """A `dgl.DGLGraph` with ndata "feat", "label" and the masks, and edata "weight"."""
    library, tensor = _library("dgl", None), _library("torch", None).as_tensor
    source, target, weights = edge_list(graph)
    made = library.graph((tensor(source), tensor(target)), num_nodes=graph.num_nodes)
    made.edata["weight"] = tensor(weights.astype(np.float32))
    for name, value in _node_arrays(graph, "feat", "label").items():
        made.ndata[name] = tensor(value)
    return made


def edge_list(graph: Graph) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """(source [m], target [m], weight [m]) of every stored edge; an undirected edge is there both ways."""
    target = np.repeat(np.arange(graph.num_nodes), np.diff(graph.adjacency.indptr))
    return graph.adjacency.indices.astype(np.int64), target, graph.adjacency.data.copy()


def node_names(graph: Graph) -> list[str]:
    """The node's ids, or their numbers as text where they have none."""
    names: Iterable[Any] = range(graph.num_nodes) if graph.node_ids is None else graph.node_ids.tolist()
    return [str(name) for name in names]


def _node_arrays(graph: Graph, features: str, label: str) -> dict[str, NDArray[Any]]:
    dense = graph.features.toarray() if isinstance(graph.features, sp.csr_array) else graph.features
    arrays: dict[str, NDArray[Any]] = {features: dense.astype(np.float32)}
    if graph.labels is not None:
        arrays[label] = graph.labels.copy()
    for split, mask in _MASKS.items():
        if (index := getattr(graph, split)) is not None:
            arrays[mask] = np.zeros(graph.num_nodes, dtype=np.bool_)
            arrays[mask][index] = True
    return arrays


def _labels_and_masks(labels: Any, mask_of: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if labels is not None:
        labels = _host(labels)
        found["labels"] = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    for split, mask in _MASKS.items():
        if (given := mask_of(mask)) is not None:
            array = _host(given)
            if array.ndim != 1:
                raise GraphError(
                    f"{mask} has shape {list(array.shape)}; choose one split, for example {split}={mask}[:, 0]"
                )
            if array.any():
                found[split] = array.astype(np.bool_)
    return found


def _host(value: Any) -> Any:
    """A tensor of whatever library as a NumPy array or, where it is sparse, a SciPy matrix. Raises GraphError."""
    return host(value, "a tensor of the data")


def _library(name: str, extra: str | None) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = f'"portgnn[{extra}]"' if extra else name.partition(".")[0].replace("_", "-")
        raise GraphError(f"this needs {name.partition('.')[0]}. Install it with: pip install {package}") from None
