"""Other libraries' objects as arguments of `Graph.from_edges`, and back. None of these libraries is imported to read.

An object is known by what it offers. What is read is given back as arguments, and what is written is any record with
the fields of a graph: so `Graph` can offer these, and nothing here needs it.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from portgnn.errors import GraphError
from portgnn.graphs.arrays import host, unmasked
from portgnn.graphs.checks import UNLABELLED, Features, bare, is_missing, is_zero_one
from portgnn.graphs.labels import SPLIT_WORDS, Classes, classes_of

_MASKS = {"train": "train_mask", "val": "val_mask", "test": "test_mask"}
_LISTED = 12


class Record(Protocol):
    """What is written of a graph; `portgnn.graphs.graph.Graph` says what each field holds."""

    @property
    def name(self) -> str: ...
    @property
    def adjacency(self) -> sp.csr_array: ...
    @property
    def features(self) -> Features: ...
    @property
    def labels(self) -> NDArray[np.int64] | None: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def feature_names(self) -> tuple[str, ...]: ...
    @property
    def node_ids(self) -> Any: ...
    @property
    def num_nodes(self) -> int: ...
    @property
    def is_undirected(self) -> bool: ...


def read_networkx(
    graph: Any,
    features: Any = "features",
    label: str | None = "label",
    weight: str | None = "weight",
    *,
    split: str | None = "split",
    unknown: Collection[str] = (),
    **fields: Any,
) -> dict[str, Any]:
    """What `Graph.from_networkx` reads, as arguments of `Graph.from_edges`."""
    nodes = list(graph.nodes)
    index = {node: position for position, node in enumerate(nodes)}
    names = [str(node) for node in nodes]
    _check_distinct(names, "when written as text")
    pairs, weights, weighted, left = [], [], False, set()
    for source, target, data in graph.edges(data=True):
        value = None if weight is None else data.get(weight)
        pairs.append((index[source], index[target]))
        weighted = weighted or value is not None
        weights.append(_number(1 if value is None else value, f"{weight!r} of edge {source!r} -> {target!r}"))
        left.update(data)
    notes = [*fields.pop("notes", ()), *_left_out("edge", left - {weight, "id", "key"}, _weight_advice(weight))]
    read = {label, split, *(features if _are_names(features) else [features] if isinstance(features, str) else [])}
    of_nodes = {name for _, data in graph.nodes(data=True) for name in data}
    notes += _left_out("node", of_nodes - read, "name those that are features in features=[…]")
    classes = classes_of([graph.nodes[node].get(label) for node in nodes], unknown)
    notes += classes.notes
    matrix = features
    if features is None or isinstance(features, str) or _are_names(features):
        matrix, more = _attributes(graph, nodes, features)
        notes += more
        known: Any = features if isinstance(features, list) and not more else graph.graph.get("feature_names")
        if _are_names(known) and len(known) == matrix.shape[1]:
            fields = {"feature_names": tuple(known)} | fields
    if not {*_MASKS} & set(fields):
        fields |= _parts(graph, nodes, split)
    given = {"name": str(graph.name or "graph"), "node_ids": names}
    edges = {
        "edges": np.array(pairs, dtype=np.int64).reshape(-1, 2),
        "weights": weights if weighted else None,
        "num_nodes": len(nodes),
        "undirected": not graph.is_directed(),
    }
    nodes_have = {"features": matrix, "notes": tuple(notes)} | _in_order(classes, graph.graph.get("class_names"))
    return edges | given | nodes_have | fields


def _left_out(kind: str, names: Iterable[str], only: str) -> list[str]:
    """A note on attributes that were in the data and are not read."""
    found = sorted(map(str, names))
    if not found:
        return []
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    listed = ", ".join(repr(name[:40]) for name in found[:_LISTED])
    return [f"{kind} attribute{'s' if len(found) > 1 else ''} {listed}{more} left out: {only}"]


def _check_distinct(names: list[str], when: str) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise GraphError(f"two nodes are named {twice!r} {when}; give them distinct names")


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _weight_advice(weight: str | None) -> str:
    return "weights are left out, too" if weight is None else f"only {weight!r} is read, as the weight"


def _in_order(classes: Classes, names: Any) -> dict[str, object]:
    """Labels and class names; in the order of `names`, where those hold all classes."""
    names = [bare(name) for name in names] if _are_names(names) else []
    if len(set(names)) != len(names) or not set(classes.names) <= set(names):
        return {"labels": classes.labels, "class_names": classes.names}
    if classes.labels is None:
        return {"class_names": tuple(names)}
    number = np.array([*map(names.index, classes.names), UNLABELLED])  # -1 takes the last
    return {"labels": number[classes.labels], "class_names": tuple(names)}


def _parts(graph: Any, nodes: list[Any], split: str | None) -> dict[str, list[int]]:
    """Node numbers by the split that the nodes' attribute names."""
    parts: dict[str, list[int]] = {}
    for position, node in enumerate(nodes):
        value = graph.nodes[node].get(split)
        word = "" if is_missing(value) else str(value).strip()
        if word and word not in SPLIT_WORDS:
            raise GraphError(f"node {str(node)[:40]!r}: {split} {word[:40]!r} is none of train, val, test")
        if word:
            parts.setdefault(tuple(_MASKS)[SPLIT_WORDS[word]], []).append(position)
    return parts


def _attributes(graph: Any, nodes: list[Any], names: str | list[str] | None) -> tuple[Any, tuple[str, ...]]:
    several = isinstance(names, list)
    rows: list[Any] = [
        [graph.nodes[node].get(name) for name in names] if isinstance(names, list) else graph.nodes[node].get(names)
        for node in nodes
    ]
    if not several and all(row is None for row in rows):
        return sp.eye_array(len(nodes), format="csr"), ("features are the identity: the nodes have none",)
    width = -1
    for node, row in zip(nodes, rows, strict=True):
        values = unmasked(row if row is not None else [np.nan], f"attribute {names!r} of node {node!r}")
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


def write_networkx(graph: Record) -> object:
    """What `Graph.to_networkx` gives."""
    library = _library("networkx", "data")
    made = library.Graph(name=graph.name) if graph.is_undirected else library.DiGraph(name=graph.name)
    names = node_names(graph)
    _check_distinct(names, "in node_ids")
    for key, value in (("class_names", graph.class_names), ("feature_names", graph.feature_names)):
        if value:
            made.graph[key] = list(value)
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


def read_pyg(data: Any, **fields: Any) -> dict[str, Any]:
    """What `Graph.from_pyg` reads, as arguments of `Graph.from_edges`."""
    edge_index, features = getattr(data, "edge_index", None), getattr(data, "x", None)
    if edge_index is None:
        raise GraphError("the data has no edge_index; a graph needs edges [2, m]")
    pairs = unmasked(edge_index, "edge_index")
    if pairs.ndim != 2 or pairs.shape[0] != 2:
        raise GraphError(f"edge_index has shape {list(pairs.shape)}; it must be [2, edges]")
    notes = tuple(fields.pop("notes", ()))
    if features is None:
        count = getattr(data, "num_nodes", None)
        if count is None:
            raise GraphError("the data has neither x nor num_nodes")
        features, notes = sp.eye_array(int(count), format="csr"), (*notes, "features are the identity: there is no x")
    else:
        features = host(features, "x")
    weights, more = _pyg_weights(data)
    names = getattr(data, "class_names", None)
    given = _labels_and_masks(getattr(data, "y", None), lambda name: getattr(data, name, None), (*features.shape, 0)[0])
    if isinstance(names, list) and _are_names(names):
        given["class_names"] = tuple(names)
    return _summed(pairs.T, weights, features=features, notes=(*notes, *more), **(given | fields))


def _pyg_weights(data: Any) -> tuple[object, list[str]]:
    """Weights [m] or None, and notes on what was taken or left."""
    weights, attr = getattr(data, "edge_weight", None), getattr(data, "edge_attr", None)
    if attr is None:
        return weights, []
    attr = host(attr, "edge_attr")
    if weights is not None:
        return weights, ["edge_attr left out: edge_weight is the weight"]
    if len(attr.shape) < 2 or attr.shape[1] == 1:
        return attr.reshape(-1), ["edge_attr taken for the weight: it has one column"]
    return None, [f"edge_attr of {attr.shape[1]} columns left out: a GCN takes one weight an edge"]


def _summed(pairs: NDArray[np.generic], weights: object, **fields: object) -> dict[str, object]:
    """Edges [m, 2] that are all kept: a repeated edge weighs as much as its parts together."""
    values = np.ones(len(pairs)) if weights is None else unmasked(weights, "edge_weight").reshape(-1)
    return {"edges": pairs, "weights": values, "undirected": False} | fields


def write_pyg(graph: Record) -> object:
    """What `Graph.to_pyg` gives."""
    data = _library("torch_geometric.data", None)
    tensor = _library("torch", None).as_tensor
    source, target, weights = edge_list(graph)
    arrays = {"edge_index": np.stack([source, target]), "edge_weight": _narrow(weights)}
    made = data.Data(**{name: tensor(value) for name, value in (arrays | _node_arrays(graph, "x", "y")).items()})
    if graph.class_names:
        made.class_names = list(graph.class_names)
    return made


def _narrow(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """float32, unless that loses a value altogether."""
    with np.errstate(over="ignore", under="ignore"):
        narrow = array.astype(np.float32)
    return narrow if np.isfinite(narrow).all() and ((narrow == 0) == (array == 0)).all() else array.astype(np.float64)


def read_dgl(graph: Any, features: str = "feat", label: str = "label", **fields: Any) -> dict[str, Any]:
    """What `Graph.from_dgl` reads, as arguments of `Graph.from_edges`."""
    source, target = (unmasked(part, "the graph's edges") for part in graph.edges())
    data, edge_data = graph.ndata, graph.edata
    count = int(graph.num_nodes())
    matrix = host(data[features], features) if features in data else sp.eye_array(count, format="csr")
    notes = tuple(fields.pop("notes", ()))
    if features not in data:
        notes = (*notes, f"features are the identity: there is no ndata[{features!r}]")
    weights = next((edge_data[name] for name in ("weight", "w") if name in edge_data), None)
    given = _labels_and_masks(data.get(label), data.get, count)
    pairs = np.stack([source, target], axis=1)
    return _summed(pairs, weights, features=matrix, num_nodes=count, notes=notes, **(given | fields))


def write_dgl(graph: Record) -> object:
    """What `Graph.to_dgl` gives."""
    library, tensor = _library("dgl", None), _library("torch", None).as_tensor
    source, target, weights = edge_list(graph)
    made = library.graph((tensor(source), tensor(target)), num_nodes=graph.num_nodes)
    made.edata["weight"] = tensor(_narrow(weights))
    for name, value in _node_arrays(graph, "feat", "label").items():
        made.ndata[name] = tensor(value)
    return made


def edge_list(graph: Record) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """(source [m], target [m], weight [m]) of every stored edge; an undirected edge is there both ways."""
    target = np.repeat(np.arange(graph.num_nodes), np.diff(graph.adjacency.indptr))
    return graph.adjacency.indices.astype(np.int64), target, graph.adjacency.data.copy()


def node_names(graph: Record) -> list[str]:
    """The node's ids, or their numbers as text where they have none."""
    names: Iterable[object] = range(graph.num_nodes) if graph.node_ids is None else graph.node_ids.tolist()
    return [str(name) for name in names]


def _node_arrays(graph: Record, features: str, label: str) -> dict[str, NDArray[np.generic]]:
    dense = graph.features.toarray() if isinstance(graph.features, sp.csr_array) else graph.features
    arrays: dict[str, NDArray[np.generic]] = {features: _narrow(dense)}
    if graph.labels is not None:
        arrays[label] = graph.labels.copy()
    for split, mask in _MASKS.items():
        if (index := getattr(graph, split)) is not None:
            arrays[mask] = np.zeros(graph.num_nodes, dtype=np.bool_)
            arrays[mask][index] = True
    return arrays


def _labels_and_masks(labels: Any, mask_of: Any, num_nodes: int) -> dict[str, object]:
    found: dict[str, Any] = {}
    if labels is not None:
        labels = host(labels, "the labels")
        found["labels"] = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    for split, mask in _MASKS.items():
        if (given := mask_of(mask)) is not None:
            array = unmasked(given, mask)
            if array.ndim != 1:
                raise GraphError(
                    f"{mask} has shape {list(array.shape)}; choose one split, for example {split}={mask}[:, 0]"
                )
            # A mask by its name; by its values it may be a list of node numbers.
            if array.shape == (num_nodes,) and (array.dtype == np.bool_ or is_zero_one(array)):
                array = np.flatnonzero(array)
            if array.size:
                found[split] = array
    return found


def _library(name: str, extra: str | None) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        package = f'"portgnn[{extra}]"' if extra else name.partition(".")[0].replace("_", "-")
        raise GraphError(f"this needs {name.partition('.')[0]}. Install it with: pip install {package}") from None
